//! The one place that names the codec crate: bincode, fixed-width integers, little endian.

use bincode::{
    config::{Configuration, Fixint, Limit, LittleEndian},
    enc::write::Writer,
    error::EncodeError,
};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{encodings::Encodings, sharing};

/// A value that could not be turned into bytes, or bytes that are no such value.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The value's `Serialize` refused, or the format cannot express it.
    #[error("cannot be encoded: {0}")]
    Encode(#[from] bincode::error::EncodeError),
    /// The bytes are not an encoding of the type that was asked for.
    #[error("cannot be decoded as {type_name}: {source}")]
    Decode {
        /// The type that was asked for.
        type_name: &'static str,
        /// What the codec found.
        source: bincode::error::DecodeError,
    },
    /// A whole value was decoded and bytes were left over.
    #[error("cannot be decoded as {type_name}: {left} bytes are left over behind it")]
    Trailing {
        /// The type that was asked for.
        type_name: &'static str,
        /// How many bytes follow the value.
        left: usize,
    },
}

impl CodecError {
    /// The same error, naming this type: the user knows of no other.
    pub(crate) fn of_type<T>(self) -> CodecError {
        let type_name = std::any::type_name::<T>();
        match self {
            CodecError::Decode { source, .. } => CodecError::Decode { type_name, source },
            CodecError::Trailing { left, .. } => CodecError::Trailing { type_name, left },
            CodecError::Encode(_) => self,
        }
    }
}

type Format<const LIMIT: usize> = Configuration<LittleEndian, Fixint, Limit<LIMIT>>;

fn format<const LIMIT: usize>() -> Format<LIMIT> {
    bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<LIMIT>()
}

/// All that memory can hold; without a limit the codec's format would be another type.
const NO_LIMIT: usize = usize::MAX >> 1;

struct To<'e>(&'e mut Encodings);

impl Writer for To<'_> {
    #[inline]
    fn write(&mut self, run: &[u8]) -> Result<(), EncodeError> {
        self.0.write(run);
        Ok(())
    }
}

/// Appends the encoding of `value` to `out`; on an error `out` is as it was.
pub(super) fn encode_into<T: Serialize>(value: &T, out: &mut Encodings) -> Result<(), CodecError> {
    let before = out.mark();
    let written = bincode::serde::encode_into_writer(value, To(out), format::<NO_LIMIT>());
    written.map_err(|error| {
        out.truncate(before);
        error.into()
    })
}

/// The encoding of `value` in a vector of its own.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    bincode::serde::encode_into_std_write(value, &mut out, format::<NO_LIMIT>())?;
    Ok(out)
}

/// Appends the encoding of `value`; on an error `out` is as it was.
#[inline]
pub(crate) fn encode_onto<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let before = out.len();
    let written = bincode::serde::encode_into_std_write(value, out, format::<NO_LIMIT>());
    written.map(drop).map_err(|error| {
        out.truncate(before);
        error.into()
    })
}

/// Decodes one value that fills `bytes` exactly. A large block in it shares their memory instead of copying it, if it
/// is at least half of the `kept` bytes that it then keeps alive.
pub(crate) fn decode_sharing<T: DeserializeOwned>(bytes: &Bytes, kept: usize) -> Result<T, CodecError> {
    if bytes.len() < sharing::LARGE {
        return decode(bytes);
    }
    sharing::with(bytes.clone(), kept.div_ceil(2), || decode(bytes))
}

/// Decodes one value that fills `bytes` exactly.
///
/// The codec's limit is a constant, so one is picked by the length at hand: a hostile length
/// inside the bytes can make it reserve 256 times what was received at most, never more.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    use bincode::serde::borrow_decode_from_slice as read;
    let decoded = match bytes.len() {
        0..=0xffff => read(bytes, format::<{ 1 << 16 }>()),
        0x1_0000..=0xff_ffff => read(bytes, format::<{ 1 << 24 }>()),
        0x100_0000..=0xffff_ffff => read(bytes, format::<{ 1 << 32 }>()),
        _ => read(bytes, format::<{ 1 << 40 }>()),
    };
    let type_name = std::any::type_name::<T>();
    match decoded {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok((_, used)) => Err(CodecError::Trailing { type_name, left: bytes.len() - used }),
        Err(source) => Err(CodecError::Decode { type_name, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Block;

    #[test]
    fn a_value_comes_back_and_trailing_bytes_are_refused() {
        let value = (7u64, "seven".to_string(), vec![1.5f64, -2.5]);
        let mut bytes = encode(&value).unwrap();
        assert_eq!(decode::<(u64, String, Vec<f64>)>(&bytes).unwrap(), value);
        bytes.push(0);
        let error = decode::<(u64, String, Vec<f64>)>(&bytes).unwrap_err();
        assert!(error.to_string().contains("1 bytes are left over"), "{error}");
    }

    #[test]
    fn a_hostile_length_is_an_error_and_allocates_nothing_near_it() {
        let bytes = encode(&u64::MAX).unwrap();
        assert!(decode::<Vec<u8>>(&bytes).is_err());
        assert!(decode::<String>(&bytes).is_err());
        let bytes = encode(&(1u64 << 39)).unwrap();
        assert!(decode::<Vec<[u64; 4]>>(&bytes).is_err());
    }

    #[test]
    fn a_failed_encoding_leaves_nothing_behind() {
        struct Refuses;
        impl Serialize for Refuses {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                use serde::ser::{Error, SerializeTuple};
                let mut tuple = s.serialize_tuple(2)?;
                tuple.serialize_element(&1u64)?;
                Err(S::Error::custom("refused on purpose"))
            }
        }
        let mut out = Encodings::default();
        out.write(&[9]);
        let error = encode_into(&(Block::from(vec![7u8; sharing::LARGE]), Refuses), &mut out).unwrap_err();
        assert!(error.to_string().contains("refused on purpose"), "{error}");
        assert_eq!(out.len(), 1);
        assert_eq!(out.finish().joined(), [9][..]);
    }
}
