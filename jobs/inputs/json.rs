//! `--json FILE`: an object a line, or one array of them; or plain values. What is written is kept: 1e3 stays 1e3.

use rankpool::Error;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    rows::{Cursor, Row},
    text::{Lines, Reader, refused},
};

/// Goes through the values of a text.
pub struct JsonCursor {
    values: Values,
    /// Of the first object
    keys: Option<Row>,
    /// Was read to know the keys
    first: Option<Row>,
}

enum Values {
    /// A value a line
    Lines(Lines),
    /// The values of one array, in memory
    Array { name: String, number: u64, values: std::vec::IntoIter<Box<RawValue>> },
}

impl JsonCursor {
    /// Also gives the keys of the first object.
    pub fn new(name: &str, reader: Reader) -> Result<(JsonCursor, Option<Row>), Error> {
        let mut lines = Lines::new(name, reader, b'\n');
        let values = match lines.peek()? {
            Some(b'[') => {
                let array: Vec<Box<RawValue>> = serde_json::from_str(&lines.rest()?).map_err(|error| {
                    refused(
                        name,
                        format!("is no JSON array: {error}; expected one, or else an object a line"),
                    )
                })?;
                Values::Array { name: name.into(), number: 0, values: array.into_iter() }
            }
            _ => Values::Lines(lines),
        };
        let mut cursor = JsonCursor { values, keys: None, first: None };
        let mut first = Row::new();
        if cursor.read(true, &mut first)? {
            cursor.first = Some(first);
        }
        let keys = cursor.keys.clone();
        Ok((cursor, keys))
    }

    fn read(&mut self, is_first: bool, row: &mut Row) -> Result<bool, Error> {
        let keys = &mut self.keys;
        match &mut self.values {
            Values::Array { name, number, values } => {
                let Some(value) = values.next() else {
                    return Ok(false);
                };
                *number += 1;
                row_of(value.get(), is_first, keys, row)
                    .map_err(|why| refused(name, format!("value {number} {why}")))?;
            }
            Values::Lines(lines) => loop {
                let Some(line) = lines.next()? else {
                    return Ok(false);
                };
                if line.trim().is_empty() {
                    continue;
                }
                let read = row_of(line, is_first, keys, row);
                read.map_err(|why| lines.refused(why))?;
                break;
            },
        }
        Ok(true)
    }
}

impl Cursor for JsonCursor {
    fn next(&mut self, row: &mut Row) -> Result<bool, Error> {
        match self.first.take() {
            Some(first) => {
                *row = first;
                Ok(true)
            }
            None => self.read(false, row),
        }
    }
}

/// Makes a row of an object, by the keys of the first one, or of a plain value.
fn row_of(text: &str, is_first: bool, keys: &mut Option<Row>, row: &mut Row) -> Result<(), String> {
    let failed = |error: serde_json::Error| {
        let why = error.to_string();
        let (why, _) = why.split_once(" at line ").unwrap_or((&why, ""));
        format!(
            "is no JSON value: {why} at its byte {}; give a whole one on each line, or one array",
            error.column()
        )
    };
    row.clear();
    if !text.trim_start().starts_with('{') {
        if keys.is_some() {
            return Err("is no object, as those before it; make it one".into());
        }
        row.push(written(serde_json::from_str(text).map_err(failed)?)?);
        return Ok(());
    }
    let Object(members) = serde_json::from_str(text).map_err(failed)?;
    if is_first {
        *keys = Some(members.iter().map(|(key, _)| key.clone()).collect());
    }
    let keys =
        keys.as_ref().ok_or("is an object, and those before it are not; give objects only, or none")?;
    row.resize(keys.len(), String::new());
    let mut found = vec![false; keys.len()];
    for (key, value) in members {
        let column = keys.iter().position(|known| *known == key).ok_or_else(|| {
            format!(
                "has the key {key:?}, which the first object has not; give it to that one too, null at least"
            )
        })?;
        if std::mem::replace(&mut found[column], true) {
            return Err(format!("has the key {key:?} twice; take one out"));
        }
        row[column] = written(value)?;
    }
    Ok(())
}

/// A text without its quotes, nothing for null, anything else as it is written.
fn written(value: &RawValue) -> Result<String, String> {
    match value.get() {
        "null" => Ok(String::new()),
        text if text.starts_with('"') => {
            serde_json::from_str(text).map_err(|error| format!("is no text: {error}"))
        }
        other => Ok(other.into()),
    }
}

/// The members of an object, as they are written.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<'de>, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}
