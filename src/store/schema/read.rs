//! Walking over encoded values.

use serde_json::{Map, Number, Value};

use super::{Scalar, Schema};

/// Values without bytes that a list may have.
const MOST_EMPTY: usize = 1 << 20;

/// Bytes that are no value of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the encoded value does not fit its type")]
pub(crate) struct Malformed;

/// Takes `count` bytes off the front.
pub(crate) fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Malformed> {
    let (front, rest) = bytes.split_at_checked(count).ok_or(Malformed)?;
    *bytes = rest;
    Ok(front)
}

/// Takes a number of values, or of bytes, off the front.
pub(crate) fn take_length(bytes: &mut &[u8]) -> Result<usize, Malformed> {
    let length = u64::from_le_bytes(take(bytes, 8)?.try_into().map_err(|_| Malformed)?);
    usize::try_from(length).map_err(|_| Malformed)
}

/// Takes a character off the front.
pub(crate) fn take_char<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, Malformed> {
    let width = match bytes.first().ok_or(Malformed)? {
        0x00..=0x7f => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    std::str::from_utf8(take(bytes, width)?).map_err(|_| Malformed)
}

/// Takes a text off the front.
pub(crate) fn take_text<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, Malformed> {
    let length = take_length(bytes)?;
    std::str::from_utf8(take(bytes, length)?).map_err(|_| Malformed)
}

/// Takes a value off the front and shows it. JSON has no infinities and nothing that is not a number:
/// these are text.
pub(crate) fn json(schema: &Schema, bytes: &mut &[u8]) -> Result<Value, Malformed> {
    Ok(match schema {
        Schema::Scalar(scalar) => number(*scalar, take(bytes, scalar.size())?),
        Schema::Enum(names) => {
            let index = u32::from_le_bytes(take(bytes, 4)?.try_into().map_err(|_| Malformed)?);
            Value::from(names.get(index as usize).ok_or(Malformed)?.as_str())
        }
        Schema::Array(of, count) => list(of, usize::try_from(*count).map_err(|_| Malformed)?, bytes)?,
        Schema::List(of) => {
            let count = take_length(bytes)?;
            list(of, count, bytes)?
        }
        Schema::Block(of) => {
            let length = take_length(bytes)?;
            list(of, length / of.fixed_size().filter(|size| *size > 0).ok_or(Malformed)?, bytes)?
        }
        Schema::Struct(fields) => {
            let fields = fields.iter().map(|(name, field)| Ok((name.clone(), json(field, bytes)?)));
            Value::Object(fields.collect::<Result<_, Malformed>>()?)
        }
        Schema::Option(of) => match take(bytes, 1)? {
            [0] => Value::Null,
            _ => json(of, bytes)?,
        },
        Schema::Text => Value::from(take_text(bytes)?),
        Schema::Char => Value::from(take_char(bytes)?),
        Schema::RawText => {
            let length = take_length(bytes)?;
            Value::from(String::from_utf8_lossy(take(bytes, length)?))
        }
        Schema::Record => match take_text(bytes)? {
            "" => Value::Object(Map::new()),
            text => Value::Object(serde_json::from_str(text).map_err(|_| Malformed)?),
        },
    })
}

/// Takes a value off the front and makes nothing of it.
pub(crate) fn walk(schema: &Schema, bytes: &mut &[u8]) -> Result<(), Malformed> {
    match schema {
        Schema::Scalar(Scalar::Bool) => flag(bytes).map(drop),
        Schema::Scalar(scalar) => take(bytes, scalar.size()).map(drop),
        Schema::Enum(names) => {
            let index = u32::from_le_bytes(take(bytes, 4)?.try_into().map_err(|_| Malformed)?);
            if (index as usize) < names.len() { Ok(()) } else { Err(Malformed) }
        }
        Schema::Array(of, count) => walk_list(of, usize::try_from(*count).map_err(|_| Malformed)?, bytes),
        Schema::List(of) => {
            let count = take_length(bytes)?;
            walk_list(of, count, bytes)
        }
        Schema::Block(of) => {
            let length = take_length(bytes)?;
            let whole = of.fixed_size().is_some_and(|size| size > 0 && length.is_multiple_of(size));
            if whole { take(bytes, length).map(drop) } else { Err(Malformed) }
        }
        Schema::Struct(fields) => fields.iter().try_for_each(|(_, field)| walk(field, bytes)),
        Schema::Option(of) => {
            if flag(bytes)? {
                walk(of, bytes)
            } else {
                Ok(())
            }
        }
        Schema::Text | Schema::Record => take_text(bytes).map(drop),
        Schema::Char => take_char(bytes).map(drop),
        Schema::RawText => {
            let length = take_length(bytes)?;
            take(bytes, length).map(drop)
        }
    }
}

fn walk_list(of: &Schema, count: usize, bytes: &mut &[u8]) -> Result<(), Malformed> {
    match of.fixed_size() {
        // Any bytes are such numbers.
        Some(size) if matches!(of, Schema::Scalar(scalar) if *scalar != Scalar::Bool) => {
            take(bytes, count.checked_mul(size).ok_or(Malformed)?).map(drop)
        }
        Some(0) => Ok(()),
        _ => (0..count).try_for_each(|_| walk(of, bytes)),
    }
}

/// Takes what is true or false off the front.
fn flag(bytes: &mut &[u8]) -> Result<bool, Malformed> {
    match take(bytes, 1)? {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(Malformed),
    }
}

fn list(of: &Schema, count: usize, bytes: &mut &[u8]) -> Result<Value, Malformed> {
    // Values without bytes could be any number of them.
    if of.fixed_size() == Some(0) && count > MOST_EMPTY {
        return Err(Malformed);
    }
    (0..count).map(|_| json(of, bytes)).collect::<Result<_, _>>().map(Value::Array)
}

fn number(scalar: Scalar, bytes: &[u8]) -> Value {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    let unsigned = u64::from_le_bytes(word);
    let unused = 64 - 8 * bytes.len() as u32;
    let float = |value: f64| Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number);
    match scalar {
        Scalar::Bool => Value::from(unsigned != 0),
        Scalar::U8 | Scalar::U16 | Scalar::U32 | Scalar::U64 => Value::from(unsigned),
        Scalar::I8 | Scalar::I16 | Scalar::I32 | Scalar::I64 => {
            Value::from((unsigned << unused) as i64 >> unused)
        }
        Scalar::F32 => float(f64::from(f32::from_bits(unsigned as u32))),
        Scalar::F64 => float(f64::from_bits(unsigned)),
    }
}
