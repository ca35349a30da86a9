//! Times as they are written: a number, which may have a fraction, and a unit.

/// The units, in nanoseconds.
const UNITS: [(&str, f64); 5] = [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("h", 3.6e12)];

/// Nanoseconds of a text like `1.5us`; `None` when it is no time.
pub(crate) fn nanos(text: &str) -> Option<f64> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let number: f64 = number.trim().parse().ok()?;
    (number >= 0.0 && number.is_finite()).then_some(number * factor)
}

/// A time in the unit that suits it.
pub(crate) fn readable(nanos: f64) -> String {
    let unit = UNITS[..4].iter().rev().find(|(_, factor)| nanos >= *factor).unwrap_or(&UNITS[3]);
    let number = nanos / unit.1;
    let digits = if number == 0.0 { 0 } else { (3 - number.log10().floor() as i32).clamp(0, 3) as usize };
    let text = format!("{number:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", unit.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, value) in
            [("1.5us", 1.5e3), ("10ms", 1e7), ("2s", 2e9), ("500ns", 500.0), ("12.35s", 1.235e10)]
        {
            assert_eq!(nanos(text), Some(value));
            assert_eq!(readable(value), text);
        }
        assert_eq!(readable(0.0), "0s");
        assert_eq!(nanos("1h"), Some(3.6e12));
        for text in ["", "10", "ms", "-1s", "1 day", "infs", "nans"] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }
}
