//! Values that people write in more than one way: times and counts. For this command line, and for the flags of a
//! user's own jobs.

use std::time::Duration;

use crate::{
    error::ParseError,
    job::{Amount, Halt},
    scheduler::Chunk,
};

/// A time, as every flag of the command line takes one: with units as in `90s`, `1h 30m` and `250ms`; by the clock as in
/// `01:30:00`, `5:00` (minutes and seconds) and `2-12` (days and hours), as Slurm has it; or in bare seconds as in `90`
/// and `0.25`.
///
/// It is a value parser for the flags of a job:
///
/// ```
/// use std::time::Duration;
///
/// #[derive(clap::Args)]
/// struct Simulate {
///     /// How long one system is simulated
///     #[arg(long, default_value = "10ms", value_parser = rankpool::cli::duration)]
///     time: Duration,
/// }
///
/// assert_eq!(rankpool::cli::duration("1:30:00"), Ok(Duration::from_secs(5400)));
/// assert!(rankpool::cli::duration("soon").is_err());
/// ```
///
/// # Errors
/// What is expected instead, for a text that is no time, and for a time below 0.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    let is_clock = text.contains(':') || text.contains('-');
    if is_clock && let Some(time) = by_the_clock(text) {
        return Ok(time);
    }
    humantime::parse_duration(text)
        .map_err(|_| "expected a time, as in 90s, 1h 30m, 250ms, 01:30:00 or 90 (seconds)".to_string())
}

/// `[DAYS-]HOURS:MINUTES:SECONDS`, `MINUTES:SECONDS`, `DAYS-HOURS` or `DAYS-HOURS:MINUTES`.
fn by_the_clock(text: &str) -> Option<Duration> {
    let number = |field: &str| -> Option<u64> {
        let is_number = !field.is_empty() && field.len() <= 6 && field.bytes().all(|c| c.is_ascii_digit());
        if is_number { field.parse().ok() } else { None }
    };
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(number(days)?), rest),
        None => (None, text),
    };
    let fields: Vec<u64> = rest.split(':').map(number).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = match (days, &fields[..]) {
        (_, &[hours, minutes, seconds]) => [hours, minutes, seconds],
        (Some(_), &[hours, minutes]) => [hours, minutes, 0],
        (Some(_), &[hours]) => [hours, 0, 0],
        (None, &[minutes, seconds]) => [0, minutes, seconds],
        _ => return None,
    };
    Some(Duration::from_secs(((days.unwrap_or(0) * 24 + hours) * 60 + minutes) * 60 + seconds))
}

/// A count, as every flag of the command line takes one: `1000000`, `1_000_000` or `1e6`.
///
/// It is a value parser for the flags of a job, for any whole number that is not negative:
///
/// ```
/// #[derive(clap::Args)]
/// struct Simulate {
///     /// How many systems are simulated
///     #[arg(long, default_value_t = 100, value_parser = rankpool::cli::count::<u64>)]
///     systems: u64,
/// }
///
/// assert_eq!(rankpool::cli::count::<u64>("1.5e6"), Ok(1_500_000));
/// assert!(rankpool::cli::count::<u8>("1e6").is_err());
/// ```
///
/// # Errors
/// What is expected instead, for a text that is no whole number, and for a number that the type does not hold.
pub fn count<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let count =
        whole(text).ok_or_else(|| "expected a whole number, as in 1000, 1_000_000 or 1e6".to_string())?;
    T::try_from(count).map_err(|_| format!("{text} is too large"))
}

/// As [`count`], and at least 1.
///
/// # Errors
/// As [`count`], and for 0.
pub fn count_from_1<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    match whole(text) {
        None | Some(0) => Err("expected a whole number from 1, as in 1000, 1_000_000 or 1e6".into()),
        Some(_) => count(text),
    }
}

/// A size of chunks, whose numbers are counts.
///
/// # Errors
/// What is expected instead.
pub(super) fn chunk(text: &str) -> Result<Chunk, ParseError> {
    whole(text).map_or_else(|| text.parse(), |tasks| tasks.to_string().parse())
}

/// A number of workers: a count, or one less than zero, which counts down from all.
///
/// # Errors
/// As [`count`].
pub(super) fn from_all(text: &str) -> Result<i64, String> {
    match text.strip_prefix('-') {
        Some(fewer) => count::<i64>(fewer).map(|fewer| -fewer),
        None => count(text),
    }
}

/// A number or a part of all tasks, whose number is a count.
///
/// # Errors
/// What is expected instead.
pub(super) fn amount(text: &str) -> Result<Amount, ParseError> {
    whole(text).map_or_else(|| text.parse(), |tasks| Ok(Amount::Tasks(tasks)))
}

/// When a run ends early, its number being a count.
///
/// # Errors
/// What is expected instead.
pub(super) fn halt(text: &str) -> Result<Halt, ParseError> {
    let number = text.split_once('=').and_then(|(when, tasks)| Some((when, whole(tasks)?)));
    number.map_or_else(|| text.parse(), |(when, tasks)| format!("{when}={tasks}").parse())
}

/// The whole number, without going through a float.
fn whole(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (mantissa, exponent) = lower.split_once('e').unwrap_or((&lower, "0"));
    let exponent: usize = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let plain = before.replace('_', "");
    let is_digits = |digits: &str| digits.bytes().all(|c| c.is_ascii_digit());
    let is_apart = !before.starts_with('_') && !before.ends_with('_') && !before.contains("__");
    if plain.is_empty() || !is_apart || !is_digits(&plain) || !is_digits(after) || exponent > 19 {
        return None;
    }
    let after = after.trim_end_matches('0');
    let zeros = exponent.checked_sub(after.len())?;
    format!("{plain}{after}{}", "0".repeat(zeros)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_units_by_the_clock_and_in_bare_seconds() {
        let known = [
            ("90s", 90.0),
            ("1h 30m", 5400.0),
            ("1h30m", 5400.0),
            ("0.25", 0.25),
            ("0", 0.0),
            ("1e3", 1000.0),
            ("01:30:00", 5400.0),
            ("5:00", 300.0),
            ("0:90", 90.0),
            ("2-12", 216_000.0),
            ("2-12:30", 217_800.0),
            ("1-00:00:01", 86_401.0),
            ("250ms", 0.25),
        ];
        for (text, seconds) in known {
            assert_eq!(duration(text).map(|time| time.as_secs_f64()), Ok(seconds), "{text}");
        }
        for bad in ["", "-1", "soon", "1e999", "nan", "1:2:3:4", "1:", ":5", "2-", "-5", "1:x", "1:2-3"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_are_read_with_underscores_and_exponents() {
        let known = [
            ("0", 0),
            ("1000", 1000),
            ("1_000_000", 1_000_000),
            ("1e6", 1_000_000),
            ("1E6", 1_000_000),
            ("1e+6", 1_000_000),
            ("2.5e3", 2500),
            ("1.0", 1),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, number) in known {
            assert_eq!(count::<u64>(text), Ok(number), "{text}");
        }
        for bad in [
            "",
            "-1",
            "1.5",
            "1e-3",
            "e6",
            "_1",
            "1_",
            "1__0",
            "1e6e1",
            "1e20",
            "x",
            "18446744073709551616",
            "+1",
        ] {
            assert!(count::<u64>(bad).is_err(), "{bad}");
        }
        assert!(count::<u8>("256").is_err());
        assert!(count_from_1::<u64>("0").is_err() && count_from_1::<u64>("1e1") == Ok(10));
        assert_eq!((from_all("1e2"), from_all("-2"), from_all("-x").is_err()), (Ok(100), Ok(-2), true));
        assert_eq!((amount("1e3"), amount("5%")), (Ok(Amount::Tasks(1000)), Ok(Amount::Percent(5.0))));
        assert_eq!(halt("now,done=1e3"), "now,done=1000".parse());
        assert!(halt("soon,fail=0").is_err() && halt("soon").is_err() && amount("many").is_err());
    }
}
