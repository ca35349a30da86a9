//! Decimal numbers as they are written, and ranges of them, which do not drift: 0, 0.1, 0.2, 0.3.

/// The most digits of a number, also behind the point.
const DIGITS: i64 = 30;

/// A decimal number: so many units of its last place.
#[derive(Clone, Copy)]
struct Decimal {
    units: i128,
    /// Digits behind the point
    places: u32,
}

impl Decimal {
    fn parse(text: &str) -> Result<Decimal, String> {
        let no_number = || format!("{text:?} is no finite decimal number, as 2, -0.5 or 1e-3");
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let exponent: i64 = exponent.parse().map_err(|_| no_number())?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let digits = digits.strip_prefix(['-', '+']).unwrap_or(&digits);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(no_number());
        }
        let too_long = || format!("{text:?} has more than {DIGITS} digits; write fewer");
        let shift = exponent.checked_sub(fraction.len() as i64).ok_or_else(too_long)?;
        if shift.unsigned_abs() > DIGITS as u64 {
            return Err(too_long());
        }
        let units: i128 = digits.parse().map_err(|_| too_long())?;
        let units = if mantissa.starts_with('-') { -units } else { units };
        let number = Decimal { units, places: (-shift).max(0) as u32 };
        let units = units.checked_mul(10i128.pow(shift.max(0) as u32)).ok_or_else(too_long)?;
        Ok(Decimal { units, ..number })
    }

    /// In units of a place that is as far behind the point or further.
    fn units_at(self, places: u32) -> Option<i128> {
        self.units.checked_mul(10i128.checked_pow(places - self.places)?)
    }
}

/// Numbers from a first one on, by a step: `START:END` or `START:END:STEP`, both ends in it as far as the steps fit.
#[derive(Debug)]
pub struct Range {
    start: i128,
    step: i128,
    places: u32,
    pub count: u64,
}

impl Range {
    /// `None` if the text is not written as a range of numbers.
    pub fn parse(text: &str) -> Option<Result<Range, String>> {
        let parts: Vec<&str> = text.split(':').collect();
        let numeric = parts.iter().all(|part| part.parse::<f64>().is_ok());
        (numeric && (2..=3).contains(&parts.len())).then(|| Range::of(&parts))
    }

    fn of(parts: &[&str]) -> Result<Range, String> {
        let numbers = [parts[0], parts[1], parts.get(2).unwrap_or(&"1")];
        let [start, end, step] = numbers.map(Decimal::parse);
        let (start, end, step) = (start?, end?, step?);
        let places = start.places.max(end.places).max(step.places);
        let too_long = || "its numbers are too far from each other; write fewer digits".to_string();
        let units = |number: Decimal| number.units_at(places).ok_or_else(too_long);
        let (start, end, step) = (units(start)?, units(end)?, units(step)?);
        if step == 0 {
            return Err("its step is 0, and never comes to the end; give another one".into());
        }
        let length = end.checked_sub(start).ok_or_else(too_long)?;
        if length.signum() == -step.signum() {
            return Err("its step leads away from its end; give it the other sign".into());
        }
        let count =
            u64::try_from(length / step + 1).map_err(|_| "it has too many steps; make them larger")?;
        Ok(Range { start, step, places, count })
    }

    /// The number after `k` steps, without zeros at its end.
    pub fn value(&self, k: u64) -> String {
        let units = self.start + i128::from(k) * self.step;
        let places = self.places as usize;
        let digits = format!("{:0>width$}", units.unsigned_abs(), width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let fraction = fraction.trim_end_matches('0');
        let sign = if units < 0 { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(text: &str) -> Vec<String> {
        let range = Range::parse(text).unwrap().unwrap();
        (0..range.count).map(|k| range.value(k)).collect()
    }

    #[test]
    fn numbers_are_short_and_do_not_drift() {
        let tenths = ["0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1"];
        assert_eq!(values("0:1:0.1"), tenths);
        assert_eq!(values("1:4"), ["1", "2", "3", "4"]);
        assert_eq!(values("1:0:-0.25"), ["1", "0.75", "0.5", "0.25", "0"]);
        assert_eq!(values("-0.5:.5:5e-1"), ["-0.5", "0", "0.5"]);
        assert_eq!(values("1e2:1.2e2:10.0"), ["100", "110", "120"]);
        assert_eq!(values("0:1e-3:4e-4"), ["0", "0.0004", "0.0008"]);
        assert_eq!(values("3:3:7"), ["3"]);
        let last = Range::parse("0:1e6:1e-6").unwrap().unwrap();
        assert_eq!((last.count, last.value(999_999_999_999).as_str()), (1_000_000_000_001, "999999.999999"));
    }

    #[test]
    fn a_range_that_has_no_end_or_no_step_is_refused() {
        for (text, why) in [
            ("0:1:0", "step is 0"),
            ("0:1:-1", "leads away"),
            ("0:inf:1", "no finite"),
            ("nan:1", "no finite"),
            ("0:1:1e-40", "more than 30 digits"),
            ("0:1e30:1e-30", "too far from each other"),
            ("0:1e25:1", "too many steps"),
            ("0:1e9999999999", "more than 30 digits"),
        ] {
            let error = Range::parse(text).map(|range| range.unwrap_err());
            assert!(error.as_ref().is_some_and(|error| error.contains(why)), "{text}: {error:?}");
        }
    }

    #[test]
    fn what_is_written_otherwise_is_no_range() {
        for text in ["", "a:b", "1", "1:2:3:4", "1:", "a,b", "0..1"] {
            assert!(Range::parse(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn both_ends_are_in_as_far_as_the_steps_fit(
            start in -1000i64..1000, step in 1i64..50, steps in 0u64..60, beyond in 0i64..50, down: bool,
        ) {
            let sign = if down { -1 } else { 1 };
            let end = start + sign * (step * steps as i64 + beyond % step);
            let hundredths = |n: i64| format!("{}{}.{:02}", if n < 0 { "-" } else { "" }, n.abs() / 100, n.abs() % 100);
            let text = [start, end, sign * step].map(hundredths).join(":");
            let found = values(&text);
            prop_assert_eq!(found.len() as u64, steps + 1);
            for (k, value) in found.iter().enumerate() {
                let exact = start + sign * step * k as i64;
                prop_assert_eq!(value.parse::<f64>().unwrap(), exact as f64 / 100.0, "{}", text);
                // The shortest that means this number.
                prop_assert_eq!(value, &(exact as f64 / 100.0 + 0.0).to_string());
            }
        }
    }
}
