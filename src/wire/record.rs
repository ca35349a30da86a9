//! Values whose columns are known only at run time.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use crate::error::ParseError;

/// An error shows this much of a text that is no record.
const TOLD_CHARS: usize = 80;

/// A row whose columns are known only at run time: a JSON object, such as a program prints.
///
/// As the [`Output`](crate::Job::Output) of a job, or as a field of a struct that is one, it becomes typed columns of the
/// result file, one for each key, found out over all rows while they come:
///
/// | values | column |
/// |---|---|
/// | whole numbers | `i64`, or `u64` where they need it |
/// | numbers | `f64` |
/// | booleans, texts | `bool`, text |
/// | arrays of numbers | lists of `i64` or `f64` |
/// | objects | a column for each key, as in `a.b` |
/// | anything else, or a mixture | text: JSON |
///
/// Where a row lacks the key, or has null, a column of numbers has NaN, and all of it is `f64`; a column of texts or
/// lists is empty there; a column of booleans becomes text. Columns stand in the order in which their keys first
/// appear, task by task. The columns of a field stand beside the other fields of the struct. HDF5 has neither an empty
/// name nor `.`, and no name with `/` or NUL: an underscore replaces each such character, and is added to a name that
/// is taken already.
///
/// ```
/// use rankpool::Record;
/// let row = Record::from_json(r#"{"energy": -1.5, "steps": 12}"#)?;
/// assert_eq!(row.json(), r#"{"energy": -1.5, "steps": 12}"#);
/// assert!(Record::from_json("[1, 2]").is_err());
///
/// let made: Record = [("x".to_string(), 3.into())].into_iter().collect();
/// assert_eq!(made.to_string(), r#"{"x":3}"#);
/// # Ok::<(), rankpool::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record(String);

impl Record {
    /// The name that it goes by in serde. The codec does not write it; it tells those who ask for the type of a row.
    pub(crate) const NAME: &'static str = "rankpool::Record";

    /// The record that this text is; blanks around it are dropped.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn from_json(text: &str) -> Result<Record, ParseError> {
        let text = text.trim();
        match serde_json::from_str::<Map<String, Value>>(text) {
            Ok(_) => Ok(Record(text.into())),
            Err(_) => {
                let told: String = text.chars().take(TOLD_CHARS).collect();
                Err(ParseError::new(&told, "record", "expected a JSON object, as in {\"energy\": -1.5}"))
            }
        }
    }

    /// The record as JSON.
    pub fn json(&self) -> &str {
        &self.0
    }
}

/// The record without columns.
impl Default for Record {
    fn default() -> Record {
        Record("{}".into())
    }
}

/// If several values have one name, the last one counts.
impl FromIterator<(String, Value)> for Record {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(values: I) -> Record {
        let object: Map<String, Value> = values.into_iter().collect();
        Record(Value::Object(object).to_string())
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(Record::NAME, &self.0)
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Record, D::Error> {
        struct Text {
            /// The codec's are records as they were sent; others may be anything.
            unknown: bool,
        }

        impl<'de> de::Visitor<'de> for Text {
            type Value = Record;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object, as text")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Record, D::Error> {
                deserializer.deserialize_string(self)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Record, E> {
                self.visit_string(text.into())
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Record, E> {
                if self.unknown { Record::from_json(&text).map_err(E::custom) } else { Ok(Record(text)) }
            }
        }

        let unknown = deserializer.is_human_readable();
        deserializer.deserialize_newtype_struct(Record::NAME, Text { unknown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{decode, encode};

    #[test]
    fn a_record_comes_back_as_its_text() {
        let record = Record::from_json(" {\"a\": [1,  2]}\n").unwrap();
        assert_eq!(record.json(), "{\"a\": [1,  2]}");
        let bytes = encode(&(7u8, &record)).unwrap();
        assert_eq!(bytes, encode(&(7u8, record.json())).unwrap(), "it travels as a string");
        assert_eq!(decode::<(u8, Record)>(&bytes).unwrap(), (7, record.clone()));
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }

    #[test]
    fn what_is_no_object_is_no_record() {
        for text in ["", "3", "[{}]", "null", "{\"a\": 1", "{} {}", "{\"a\": NaN}"] {
            let told = Record::from_json(text).unwrap_err().to_string();
            assert!(told.contains("expected a JSON object"), "{told}");
            assert!(serde_json::from_value::<Record>(text.into()).is_err());
        }
        assert!(Record::from_json(&"x".repeat(1000)).unwrap_err().to_string().len() < 200);
        assert_eq!(Record::default(), Record::from_json("{}").unwrap());
    }
}
