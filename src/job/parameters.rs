//! A job's parameters as they are stored: as JSON. JSON has neither infinity nor NaN and would keep null in their
//! place, and a run that is resumed would have other parameters. So such values are refused.

use std::fmt::{self, Display};

use serde::{
    de::DeserializeOwned,
    ser::{
        Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
        SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
    },
};
use serde_json::Value;

use crate::{
    error::Error,
    wire::{decode, encode},
};

/// The parameters of a job, to be stored, but for those that are `incidental`.
///
/// # Errors
/// When one of them cannot be stored as what it is; it is named.
pub(super) fn stored<T: Serialize>(parameters: &T, job: &str, incidental: &[&str]) -> Result<Value, Error> {
    let refused = |why: &dyn Display| Error::usage(format!("the parameters of {job} cannot be kept: {why}"));
    parameters.serialize(Look).map_err(|unkept| refused(&unkept))?;
    let mut stored = serde_json::to_value(parameters).map_err(|error| refused(&error))?;
    if let Value::Object(fields) = &mut stored {
        incidental.iter().for_each(|name| drop(fields.shift_remove(*name)));
    }
    Ok(stored)
}

/// Makes sure, before any work, that the parameters reach the workers as what they are.
///
/// # Errors
/// When the codec, which writes no types and no names, does not give them back.
pub(super) fn check_sent<T: Serialize + DeserializeOwned>(parameters: &T, job: &str) -> Result<(), Error> {
    let refused = |why: &dyn Display| {
        Error::usage(format!(
            "the parameters of {job} cannot be sent: {why}; serde's skip_serializing_if, flatten, untagged and tag \
             do not go with them"
        ))
    };
    let sent = encode(parameters).map_err(|error| refused(&error))?;
    let back: T = decode(&sent).map_err(|error| refused(&error))?;
    // Not the bytes: a HashMap has them in another order each time.
    match encode(&back) {
        Ok(again) if again.len() == sent.len() => Ok(()),
        _ => Err(refused(&"they come back as others")),
    }
}

/// A value that cannot be stored, and the names that lead to it, the innermost first.
#[derive(Debug)]
struct Unkept {
    names: Vec<String>,
    why: String,
}

impl Unkept {
    fn inside(mut self, name: impl Into<String>) -> Unkept {
        self.names.push(name.into());
        self
    }
}

impl Display for Unkept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names.iter().rev().map(String::as_str).collect();
        if names.is_empty() { f.write_str(&self.why) } else { write!(f, "{}: {}", names.join("."), self.why) }
    }
}

impl std::error::Error for Unkept {}

impl serde::ser::Error for Unkept {
    fn custom<T: Display>(why: T) -> Unkept {
        Unkept { names: Vec::new(), why: why.to_string() }
    }
}

/// Looks at every number of a value, and keeps nothing.
struct Look;

/// Counts the elements of a list, for their names.
struct Counted(usize);

impl Counted {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unkept> {
        let at = self.0;
        self.0 += 1;
        value.serialize(Look).map_err(|unkept| unkept.inside(at.to_string()))
    }
}

/// Remembers the key whose value comes next.
struct Keyed(String);

macro_rules! nothing_to_see {
    ($($method:ident $type:ty;)*) => {
        $(fn $method(self, _: $type) -> Result<(), Unkept> {
            Ok(())
        })*
    };
}

impl Serializer for Look {
    type Ok = ();
    type Error = Unkept;
    type SerializeSeq = Counted;
    type SerializeTuple = Counted;
    type SerializeTupleStruct = Counted;
    type SerializeTupleVariant = Counted;
    type SerializeMap = Keyed;
    type SerializeStruct = Look;
    type SerializeStructVariant = Look;

    nothing_to_see! {
        serialize_bool bool;
        serialize_i8 i8;
        serialize_i16 i16;
        serialize_i32 i32;
        serialize_i64 i64;
        serialize_u8 u8;
        serialize_u16 u16;
        serialize_u32 u32;
        serialize_u64 u64;
        serialize_char char;
        serialize_str &str;
        serialize_bytes &[u8];
    }

    fn serialize_f32(self, value: f32) -> Result<(), Unkept> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Unkept> {
        if value.is_finite() {
            Ok(())
        } else {
            Err(Unkept::custom(format_args!("{value} is no finite number")))
        }
    }

    fn serialize_i128(self, value: i128) -> Result<(), Unkept> {
        if i64::try_from(value).is_ok() || u64::try_from(value).is_ok() {
            return Ok(());
        }
        Err(Unkept::custom(format_args!("{value} does not fit 64 bits")))
    }

    fn serialize_u128(self, value: u128) -> Result<(), Unkept> {
        if u64::try_from(value).is_ok() {
            return Ok(());
        }
        Err(Unkept::custom(format_args!("{value} does not fit 64 bits")))
    }

    fn serialize_none(self) -> Result<(), Unkept> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unkept> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unkept> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unkept> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Unkept> {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unkept> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Unkept> {
        value.serialize(self).map_err(|unkept| unkept.inside(variant))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Counted, Unkept> {
        Ok(Counted(0))
    }

    fn serialize_tuple(self, _: usize) -> Result<Counted, Unkept> {
        Ok(Counted(0))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Counted, Unkept> {
        Ok(Counted(0))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Counted, Unkept> {
        Ok(Counted(0))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Keyed, Unkept> {
        Ok(Keyed(String::new()))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Look, Unkept> {
        Ok(Look)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Look, Unkept> {
        Ok(Look)
    }
}

macro_rules! elements {
    ($($trait:ident $method:ident;)*) => {
        $(impl $trait for Counted {
            type Ok = ();
            type Error = Unkept;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unkept> {
                self.element(value)
            }

            fn end(self) -> Result<(), Unkept> {
                Ok(())
            }
        })*
    };
}

elements! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

macro_rules! fields {
    ($($trait:ident;)*) => {
        $(impl $trait for Look {
            type Ok = ();
            type Error = Unkept;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Unkept> {
                value.serialize(Look).map_err(|unkept| unkept.inside(name))
            }

            fn end(self) -> Result<(), Unkept> {
                Ok(())
            }
        })*
    };
}

fields! {
    SerializeStruct;
    SerializeStructVariant;
}

impl SerializeMap for Keyed {
    type Ok = ();
    type Error = Unkept;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unkept> {
        key.serialize(Look)?;
        // What is no text or number is refused as it is stored.
        let key = serde_json::to_value(key).unwrap_or_default();
        self.0 = key.as_str().map_or_else(|| key.to_string(), ToString::to_string);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unkept> {
        value.serialize(Look).map_err(|unkept| unkept.inside(std::mem::take(&mut self.0)))
    }

    fn end(self) -> Result<(), Unkept> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf};

    use serde::Serialize;

    use super::*;

    #[derive(Default, Serialize)]
    struct Parameters {
        radius: f64,
        pairs: Vec<(f32, f32)>,
        limit: Option<f64>,
        weights: BTreeMap<String, f64>,
        wide: u128,
        file: PathBuf,
    }

    #[test]
    fn a_number_that_would_be_kept_as_null_is_refused_by_its_name() {
        let refused = |change: &dyn Fn(&mut Parameters)| {
            let mut parameters = Parameters::default();
            change(&mut parameters);
            let error = stored(&parameters, "draw", &[]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            error.to_string().strip_prefix("the parameters of draw cannot be kept: ").unwrap().to_string()
        };
        assert_eq!(refused(&|p| p.radius = f64::NAN), "radius: NaN is no finite number");
        assert_eq!(
            refused(&|p| p.pairs = vec![(0.0, 1.0), (0.0, f32::NEG_INFINITY)]),
            "pairs.1.1: -inf is no finite number"
        );
        assert_eq!(refused(&|p| p.limit = Some(f64::INFINITY)), "limit: inf is no finite number");
        assert_eq!(
            refused(&|p| p.weights = [("a".to_string(), f64::NAN)].into()),
            "weights.a: NaN is no finite number"
        );
        assert_eq!(refused(&|p| p.wide = 1 << 64), "wide: 18446744073709551616 does not fit 64 bits");
        let path = |p: &mut Parameters| p.file = OsStr::from_bytes(b"a\xff").into();
        assert_eq!(refused(&path), "file: path contains invalid UTF-8 characters");
        stored(&Parameters::default(), "draw", &[]).unwrap();
    }

    #[test]
    fn parameters_that_would_not_reach_a_worker_are_refused() {
        #[derive(Serialize, serde::Deserialize)]
        struct Sparse {
            #[serde(skip_serializing_if = "Option::is_none")]
            maybe: Option<u64>,
            others: std::collections::HashMap<u64, String>,
        }
        let with = |maybe| Sparse { maybe, others: (0..9).map(|k| (k, k.to_string())).collect() };
        check_sent(&with(Some(3)), "sparse").unwrap();
        for refused in [check_sent(&with(None), "sparse"), check_sent(&Value::from(3), "sparse")] {
            let error = refused.unwrap_err();
            assert!(error.to_string().contains("sparse cannot be sent") && error.exit_code() == 2, "{error}");
        }
    }
}
