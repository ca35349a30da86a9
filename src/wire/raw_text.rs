//! What programs print.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What a program printed: bytes that are mostly UTF-8.
///
/// It travels byte by byte. In a result file it is a text, in which bytes that are no UTF-8 stand as U+FFFD.
///
/// ```
/// use rankpool::RawText;
/// let printed = RawText::from(b"caf\xe9\n".to_vec());
/// assert_eq!(printed.as_bytes(), b"caf\xe9\n");
/// assert_eq!(printed.to_string_lossy(), "caf\u{fffd}\n");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RawText(Vec<u8>);

impl RawText {
    /// The name that it goes by in serde. The codec does not write it; it tells those who ask for the type of a row.
    pub(crate) const NAME: &'static str = "rankpool::RawText";

    /// The bytes as they were printed.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, with U+FFFD in the place of what is no UTF-8.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<Vec<u8>> for RawText {
    fn from(bytes: Vec<u8>) -> RawText {
        RawText(bytes)
    }
}

impl Serialize for RawText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Bytes<'b>(&'b [u8]);

        impl Serialize for Bytes<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.0)
            }
        }

        serializer.serialize_newtype_struct(RawText::NAME, &Bytes(&self.0))
    }
}

impl<'de> Deserialize<'de> for RawText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawText, D::Error> {
        struct Bytes;

        impl<'de> de::Visitor<'de> for Bytes {
            type Value = RawText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<RawText, D::Error> {
                deserializer.deserialize_byte_buf(self)
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<RawText, E> {
                Ok(RawText(bytes.to_vec()))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<RawText, E> {
                Ok(RawText(bytes))
            }

            // As JSON has bytes.
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut bytes: A) -> Result<RawText, A::Error> {
                let mut found = Vec::new();
                while let Some(byte) = bytes.next_element()? {
                    found.push(byte);
                }
                Ok(RawText(found))
            }
        }

        deserializer.deserialize_newtype_struct(RawText::NAME, Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{decode, encode};

    #[test]
    fn any_bytes_come_back() {
        let all = RawText::from((0..=255).collect::<Vec<u8>>());
        let bytes = encode(&(7u8, &all)).unwrap();
        assert_eq!(bytes.len(), 1 + 8 + 256);
        assert_eq!(decode::<(u8, RawText)>(&bytes).unwrap(), (7, all));
    }
}
