//! What an input is, where a file or a program is to have it as a number.

use rankpool::Record;
use serde_json::{Number, Value};

/// A number, if the text is one and nothing of it would be lost; else the text.
pub fn value(text: &str) -> Value {
    let plain = text.strip_prefix('-').unwrap_or(text);
    let has_zeros = plain.len() > 1 && plain.starts_with('0') && !plain.starts_with("0.");
    let begins = plain.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if has_zeros || !begins {
        return Value::from(text);
    }
    let whole = text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from));
    let number = whole.ok().or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64));
    number.map_or_else(|| Value::from(text), Value::Number)
}

/// The inputs of a task, a column a name: numbers where they are some.
pub fn record(names: &[String], values: &[String]) -> Record {
    names.iter().cloned().zip(values.iter().map(|text| value(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_more_than_its_number_stays_a_text() {
        for text in ["007", "1.2.3", "inf", "+5", "1_000", "0x10", "", "-", "a"] {
            assert_eq!(value(text), Value::from(text), "{text}");
        }
        for text in ["0", "-3", "0.5", "12", "18446744073709551615", "1e10", ".5"] {
            assert!(value(text).is_number(), "{text}");
        }
    }
}
