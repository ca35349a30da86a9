//! The lines that go to a program that stays, and those that it answers: the protocol of docs/pipe.md.

use rankpool::{
    Record, Task,
    rand_chacha::ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use serde_json::{Map, Value, json};

use crate::inputs;

/// The column of an answer that is one value, and of a line that is taken as it is.
const VALUE: &str = "value";
const LINE: &str = "line";

/// A number for task `index` alone, which any language can hold: 53 bits.
pub fn seed(task: &Task, index: u64) -> u64 {
    let mut rng = ChaCha8Rng::seed_from_u64(task.seed());
    rng.set_stream(index);
    rng.next_u64() >> 11
}

/// The line of a task: its input is an object where the columns have names, or else one value, or a list.
pub fn question(index: u64, seed: u64, names: Option<&[String]>, item: &[String]) -> Vec<u8> {
    let values = item.iter().map(|text| inputs::value(text));
    let input = match (names, item) {
        (Some(names), _) => Value::Object(names.iter().cloned().zip(values).collect()),
        (None, [one]) => inputs::value(one),
        (None, _) => values.collect(),
    };
    let mut line = json!({"task": index, "seed": seed, "input": input}).to_string().into_bytes();
    line.push(b'\n');
    line
}

/// What a line answers: columns, or the error of its task.
///
/// # Errors
/// Why it is no answer.
pub fn read(line: &[u8]) -> Result<Result<Record, String>, String> {
    let refused = || {
        let shown: String = String::from_utf8_lossy(line).chars().take(80).collect();
        format!(
            "the program answered {shown:?}, which is neither {{\"result\": ...}} nor {{\"error\": \"...\"}}"
        )
    };
    let mut answer: Map<String, Value> = serde_json::from_slice(line).map_err(|_| refused())?;
    if let Some(error) = answer.remove("error").filter(|error| !error.is_null()) {
        return Ok(Err(error.as_str().map_or_else(|| error.to_string(), ToString::to_string)));
    }
    match answer.remove("result").ok_or_else(refused)? {
        Value::Object(columns) => Ok(Ok(columns.into_iter().collect())),
        value => Ok(Ok([(VALUE.to_string(), value)].into_iter().collect())),
    }
}

/// A line that is taken as it is.
pub fn raw(line: &[u8]) -> Record {
    [(LINE.to_string(), Value::from(String::from_utf8_lossy(line)))].into_iter().collect()
}

/// The line that [`raw`] took.
pub fn raw_line(record: &Record) -> String {
    let columns: Map<String, Value> = serde_json::from_str(record.json()).unwrap_or_default();
    columns.get(LINE).and_then(Value::as_str).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_the_input_as_what_it_is() {
        let item = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
        let line = |names: Option<&[String]>, values: &[&str]| {
            String::from_utf8(question(7, 5, names, &item(values))).unwrap()
        };
        let names = item(&["x", "method"]);
        assert_eq!(
            line(Some(&names), &["0.5", "a"]),
            "{\"task\":7,\"seed\":5,\"input\":{\"x\":0.5,\"method\":\"a\"}}\n"
        );
        assert_eq!(line(None, &["3"]), "{\"task\":7,\"seed\":5,\"input\":3}\n");
        assert_eq!(line(None, &["3", "b"]), "{\"task\":7,\"seed\":5,\"input\":[3,\"b\"]}\n");
    }

    #[test]
    fn an_answer_is_a_result_or_an_error_and_anything_else_is_nonsense() {
        let columns =
            |line: &str| read(line.as_bytes()).map(|answer| answer.map(|record| record.json().to_string()));
        assert_eq!(columns(r#"{"result": {"a": 1}}"#), Ok(Ok(r#"{"a":1}"#.into())));
        assert_eq!(columns(r#"{"result": [1, 2], "task": 3}"#), Ok(Ok(r#"{"value":[1,2]}"#.into())));
        assert_eq!(columns(r#"{"result": null}"#), Ok(Ok(r#"{"value":null}"#.into())));
        assert_eq!(columns(r#"{"error": "no"}"#), Ok(Err("no".into())));
        for nonsense in ["", "{}", "3", "ready", r#"{"error": null}"#] {
            columns(nonsense).unwrap_err();
        }
    }

    #[test]
    fn a_raw_line_comes_back() {
        assert_eq!(raw_line(&raw(b"a \"b\" \\ c")), "a \"b\" \\ c");
    }
}
