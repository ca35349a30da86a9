//! Tries a type of rows before any task is run: what its `Serialize` writes must be what its `Deserialize` reads. The
//! two may differ because of `skip_serializing_if` or a custom `with`, often for some values only. So it makes values
//! that meet such conditions, and sends them through the codec and back.

use serde::{Serialize, de::DeserializeOwned};

use super::{Scalar, Schema, walk};
use crate::wire::{decode, encode};

/// Kinds of values that are tried; of an enum each variant, up to a limit, in an option as well.
const KINDS: usize = 6;
const MOST_KINDS: usize = 256;

/// Tries the type.
///
/// # Errors
/// What is wrong with it, as text.
pub(super) fn try_out<T: Serialize + DeserializeOwned>(schema: &Schema) -> Result<(), String> {
    let kinds = (2 * most_variants(schema)).clamp(KINDS, MOST_KINDS);
    let samples: Vec<Vec<u8>> = (0..kinds).map(|kind| sample(schema, kind)).collect();
    let Some(bad) = samples.iter().position(|sample| !comes_back::<T>(schema, sample)) else {
        return Ok(());
    };
    let what = match guilty_field::<T>(schema, bad, kinds) {
        Some(field) => format!("the field `{field}` is"),
        None => "it is".to_string(),
    };
    Err(format!(
        "{what} not always written as it is read; take skip_serializing_if, or what else makes its Serialize and its \
         Deserialize differ, away (an Option holds what may be missing)"
    ))
}

/// The first field that alone makes the difference, beside others that come back.
fn guilty_field<T: Serialize + DeserializeOwned>(schema: &Schema, bad: usize, kinds: usize) -> Option<&str> {
    let Schema::Struct(fields) = schema else { return None };
    let with = |guilty: usize, good: usize| {
        let mut bytes = Vec::new();
        for (k, (_, field)) in fields.iter().enumerate() {
            bytes.extend(sample(field, if k == guilty { bad } else { good }));
        }
        bytes
    };
    let good = (0..kinds).find(|kind| comes_back::<T>(schema, &sample(schema, *kind)))?;
    let guilty = (0..fields.len()).find(|k| !comes_back::<T>(schema, &with(*k, good)))?;
    Some(&fields[guilty].0)
}

/// Whether a value comes back from the codec. One that the type refuses is in no row.
fn comes_back<T: Serialize + DeserializeOwned>(schema: &Schema, sample: &[u8]) -> bool {
    let Ok(value) = decode::<T>(sample) else { return true };
    let Ok(written) = encode(&value) else { return true };
    let mut rest = written.as_slice();
    let fits = walk(schema, &mut rest).is_ok() && rest.is_empty();
    fits && decode::<T>(&written).is_ok_and(|value| encode(&value).is_ok_and(|again| again == written))
}

/// The most variants of any enum inside.
fn most_variants(schema: &Schema) -> usize {
    match schema {
        Schema::Enum(names) => names.len(),
        Schema::Array(of, _) | Schema::List(of) | Schema::Block(of) | Schema::Option(of) => most_variants(of),
        Schema::Struct(fields) => fields.iter().map(|(_, field)| most_variants(field)).max().unwrap_or(0),
        Schema::Scalar(_) | Schema::Text | Schema::Char | Schema::RawText | Schema::Record => 0,
    }
}

/// A value of this kind, encoded. In kind 0 everything is zero or empty. The other kinds are what else conditions may
/// ask for. What a list or an option holds is of the kind before its own, so that some hold zeros and empty values.
fn sample(schema: &Schema, kind: usize) -> Vec<u8> {
    let mut out = Vec::new();
    append(schema, kind, &mut out);
    out
}

fn append(schema: &Schema, kind: usize, out: &mut Vec<u8>) {
    let length = kind % 3;
    // Equal ones: a hash set or map of several would come back in another order.
    let inner = kind.saturating_sub(1);
    let real = [0.0, 1.0, f64::NAN, -1.0, f64::INFINITY, 0.5][kind % KINDS];
    match schema {
        Schema::Scalar(Scalar::Bool) => out.push((kind % 2) as u8),
        Schema::Scalar(Scalar::F32) => out.extend_from_slice(&(real as f32).to_le_bytes()),
        Schema::Scalar(Scalar::F64) => out.extend_from_slice(&real.to_le_bytes()),
        Schema::Scalar(scalar) => {
            let signed = matches!(scalar, Scalar::I8 | Scalar::I16 | Scalar::I32 | Scalar::I64);
            // Large numbers may be lengths, for which a type of the user's would find room.
            let whole: i64 = if signed && kind == 3 { -1 } else { (kind % KINDS) as i64 };
            out.extend_from_slice(&whole.to_le_bytes()[..scalar.size()]);
        }
        Schema::Enum(names) => out.extend_from_slice(&((kind % names.len().max(1)) as u32).to_le_bytes()),
        Schema::Array(of, count) => (0..*count).for_each(|_| append(of, kind, out)),
        Schema::Struct(fields) => fields.iter().for_each(|(_, field)| append(field, kind, out)),
        Schema::List(of) => {
            out.extend_from_slice(&(length as u64).to_le_bytes());
            (0..length).for_each(|_| append(of, inner, out));
        }
        Schema::Block(of) => {
            let size = of.fixed_size().unwrap_or(0);
            out.extend_from_slice(&((length * size) as u64).to_le_bytes());
            (0..length).for_each(|_| append(of, kind, out));
        }
        Schema::Option(_) if kind.is_multiple_of(2) => out.push(0),
        Schema::Option(of) => {
            out.push(1);
            append(of, kind / 2, out);
        }
        Schema::Text | Schema::RawText => {
            out.extend_from_slice(&(length as u64).to_le_bytes());
            out.extend(std::iter::repeat_n(b'a', length));
        }
        Schema::Record => {
            out.extend_from_slice(&2u64.to_le_bytes());
            out.extend_from_slice(b"{}");
        }
        Schema::Char => out.push(if length == 0 { b' ' } else { b'a' }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use serde::{Deserialize, Deserializer, Serializer};

    use super::*;
    use crate::wire::Block;

    fn tried<T: Serialize + DeserializeOwned>() -> Result<(), String> {
        try_out::<T>(&Schema::of::<T>().map_err(|why| why.to_string())?)
    }

    #[track_caller]
    fn refused<T: Serialize + DeserializeOwned>(what: &str) {
        let why = tried::<T>().unwrap_err();
        assert!(why.starts_with(what), "{why}");
    }

    #[test]
    fn a_field_that_is_left_out_for_some_values_is_named() {
        #[derive(Serialize, Deserialize)]
        struct Optional {
            k: u32,
            #[serde(skip_serializing_if = "Option::is_none", default)]
            maybe: Option<f64>,
        }
        refused::<Optional>("the field `maybe` is not always written");
        #[derive(Serialize, Deserialize)]
        struct Empty {
            #[serde(skip_serializing_if = "Vec::is_empty", default)]
            list: Vec<u8>,
            text: String,
        }
        refused::<Empty>("the field `list`");
        #[derive(Serialize, Deserialize)]
        struct Missing {
            k: u8,
            #[serde(skip_serializing_if = "is_nan", default)]
            rate: f64,
        }
        fn is_nan(value: &f64) -> bool {
            value.is_nan()
        }
        refused::<Missing>("the field `rate`");
        #[derive(Serialize, Deserialize)]
        struct Wrapped(Vec<Empty>);
        refused::<Wrapped>("it is not always written");
        refused::<(u8, Option<Vec<Empty>>)>("the field `1`");
    }

    #[test]
    fn a_type_that_writes_other_than_it_reads_is_refused() {
        #[derive(Serialize, Deserialize)]
        struct Never {
            #[serde(skip_serializing, default)]
            #[allow(dead_code)]
            secret: u32,
        }
        refused::<Never>("");
        #[derive(Serialize, Deserialize)]
        struct Unread {
            k: u8,
            #[serde(skip_deserializing)]
            extra: u32,
        }
        refused::<Unread>("");
        #[derive(Serialize, Deserialize)]
        struct AsText {
            #[serde(serialize_with = "text")]
            k: u64,
        }
        fn text<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(&"a".repeat(*value as usize))
        }
        refused::<AsText>("");
        #[derive(Serialize, Deserialize)]
        struct Crossed {
            #[serde(serialize_with = "wide")]
            a: u32,
            #[serde(serialize_with = "narrow")]
            b: u64,
        }
        fn wide<S: Serializer>(value: &u32, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u64(u64::from(*value))
        }
        fn narrow<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u32(*value as u32)
        }
        refused::<Crossed>("");
        // A variant that is left out moves those behind it, for one side only.
        #[derive(Serialize, Deserialize)]
        enum Gap {
            A,
            #[serde(skip)]
            #[allow(dead_code)]
            B,
            C,
        }
        refused::<Gap>("");
    }

    #[test]
    fn types_whose_sides_agree_are_taken() {
        #[derive(Serialize, Deserialize)]
        enum Colour {
            Red,
            Blue,
        }
        #[derive(Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Row {
            #[serde(rename(serialize = "out", deserialize = "in"))]
            renamed: f32,
            #[serde(skip)]
            #[allow(dead_code)]
            cache: u64,
            #[serde(default)]
            listed: Vec<Option<u8>>,
            names: HashMap<String, BTreeSet<i32>>,
            block: Block<f64>,
            colour: Option<Colour>,
            #[serde(with = "half")]
            half: u32,
            mark: char,
            nonzero: std::num::NonZeroU8,
            time: std::time::Duration,
        }
        mod half {
            use super::*;
            pub fn serialize<S: Serializer>(value: &u32, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u16((*value / 2) as u16)
            }
            pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
                u16::deserialize(deserializer).map(|value| 2 * u32::from(value))
            }
        }
        tried::<Row>().unwrap();
        tried::<(u8, [f64; 3], String)>().unwrap();
        tried::<()>().unwrap();
        tried::<Option<Option<bool>>>().unwrap();
        tried::<Vec<(HashMap<u8, String>, Option<Colour>)>>().unwrap();
    }
}
