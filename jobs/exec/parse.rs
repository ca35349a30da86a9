//! `--parse`: columns from the last line that a program prints.

use std::str::FromStr;

use rankpool::Record;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::inputs::value;

/// What the last line is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Parse {
    /// An object, whose keys are columns, or another value
    Json,
    Number,
    /// Values with commas between them
    Csv,
}

impl FromStr for Parse {
    type Err = String;

    fn from_str(text: &str) -> Result<Parse, String> {
        match text {
            "json" => Ok(Parse::Json),
            "number" => Ok(Parse::Number),
            "csv" => Ok(Parse::Csv),
            _ => Err("expected json, number or csv".into()),
        }
    }
}

/// The column of a line that is one value.
const VALUE: &str = "value";

/// A cut of a line, for an error.
fn shown(line: &str) -> String {
    let cut: String = line.chars().take(80).collect();
    if cut.len() < line.len() { format!("{cut}...") } else { cut }
}

impl Parse {
    /// The columns of a line.
    ///
    /// # Errors
    /// Why it has none.
    pub fn record(self, line: &[u8]) -> Result<Record, String> {
        let refused =
            |line: &str, what: &str| format!("the last line of its output is no {what}: {:?}", shown(line));
        let line = str::from_utf8(line).map_err(|_| refused(&String::from_utf8_lossy(line), "UTF-8"))?.trim();
        if line.is_empty() {
            return Err("it printed no line that --parse could read".into());
        }
        match self {
            Parse::Json => match serde_json::from_str(line) {
                Ok(Value::Object(_)) => Record::from_json(line).map_err(|error| error.to_string()),
                Ok(value) => Ok(one(value)),
                Err(_) => Err(refused(line, "JSON")),
            },
            Parse::Number => match value(line) {
                Value::Number(number) => Ok(one(Value::Number(number))),
                // Infinity and not a number have no place in JSON.
                _ if line.parse::<f64>().is_ok() => Ok(one(Value::Null)),
                _ => Err(refused(line, "number")),
            },
            Parse::Csv => {
                let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
                let row = reader.records().next().and_then(Result::ok).ok_or_else(|| refused(line, "CSV"))?;
                let columns = row.iter().enumerate();
                Ok(columns.map(|(k, text)| (format!("c{}", k + 1), value(text.trim()))).collect())
            }
        }
    }
}

fn one(value: Value) -> Record {
    Map::from_iter([(VALUE.to_string(), value)]).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_becomes_columns() {
        let record =
            |parse: Parse, line: &str| parse.record(line.as_bytes()).map(|record| record.json().to_string());
        assert_eq!(record(Parse::Json, r#" {"a": 1.5} "#).unwrap(), r#"{"a": 1.5}"#);
        assert_eq!(record(Parse::Json, "[1,2]").unwrap(), r#"{"value":[1,2]}"#);
        assert_eq!(record(Parse::Number, "3").unwrap(), r#"{"value":3}"#);
        assert_eq!(record(Parse::Number, "1e-3").unwrap(), r#"{"value":0.001}"#);
        assert_eq!(record(Parse::Number, "nan").unwrap(), r#"{"value":null}"#);
        assert_eq!(record(Parse::Csv, "1, x,\"a,b\"").unwrap(), r#"{"c1":1,"c2":"x","c3":"a,b"}"#);
        for (parse, line) in
            [(Parse::Json, "{"), (Parse::Number, "three"), (Parse::Number, ""), (Parse::Json, "")]
        {
            record(parse, line).unwrap_err();
        }
    }
}
