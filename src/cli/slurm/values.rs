//! The values of sbatch's options: each is checked, so that none can become another option or another line.

use std::{ops::RangeInclusive, str::FromStr};

use serde::Serialize;

use crate::cli::values::duration;

/// A text that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Checked(String);

impl Checked {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Texts of letters, digits and these other characters.
fn only(text: &str, others: &str, example: &str) -> Result<Checked, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    if text.is_empty() || text.starts_with('-') || !text.chars().all(fits) {
        return Err(format!("expected letters, digits and {others}, as in {example}"));
    }
    Ok(Checked(text.to_string()))
}

pub(super) fn name(text: &str) -> Result<Checked, String> {
    only(text, "_.,-", "fast")
}

pub(super) fn gres(text: &str) -> Result<Checked, String> {
    only(text, "_:=.,*()-", "gpu:a100:2")
}

pub(super) fn dependency(text: &str) -> Result<Checked, String> {
    only(text, "_:,?+*-", "afterok:1234")
}

pub(super) fn mail(text: &str) -> Result<Checked, String> {
    only(text, "_.%+@,-", "you@example.org")
}

pub(super) fn mpi(text: &str) -> Result<Checked, String> {
    only(text, "_", "pmix")
}

/// A module, or several apart by blanks.
pub(super) fn modules(text: &str) -> Result<Checked, String> {
    let names: Result<Vec<Checked>, String> =
        text.split_whitespace().map(|module| only(module, "_./+:@=-", "openmpi/4.1.4")).collect();
    match names? {
        names if names.is_empty() => Err("expected the name of a module, as in openmpi/4.1.4".into()),
        names => Ok(Checked(names.iter().map(Checked::as_str).collect::<Vec<_>>().join(" "))),
    }
}

/// Any text that stays on its line.
pub(super) fn line(text: &str) -> Result<Checked, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err("expected one line of text, without control characters".into());
    }
    Ok(Checked(text.to_string()))
}

/// An option of sbatch's, as it stands behind #SBATCH.
pub(super) fn option(text: &str) -> Result<Checked, String> {
    if !text.starts_with('-') {
        return Err("expected an option of sbatch, as in --constraint=avx2".into());
    }
    line(text)
}

/// A time, as sbatch takes it. A bare number is seconds, as to all flags; to sbatch it would be minutes.
pub(super) fn time(text: &str) -> Result<Checked, String> {
    let seconds = seconds(text)?;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let clock = format!("{:02}:{:02}:{:02}", hours % 24, minutes % 60, seconds % 60);
    Ok(Checked(if days > 0 { format!("{days}-{clock}") } else { clock }))
}

/// A time in whole seconds, of which a part counts as one.
fn seconds(text: &str) -> Result<u64, String> {
    let time = duration(text)?;
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    if seconds == 0 { Err("a time above 0 is needed".into()) } else { Ok(seconds) }
}

/// How long before its end a job is told, in seconds: what sbatch's --signal takes.
pub(super) fn grace(text: &str) -> Result<u64, String> {
    const LIMITS: RangeInclusive<u64> = 5..=65_535;
    let seconds = seconds(text)?;
    if LIMITS.contains(&seconds) {
        Ok(seconds)
    } else {
        Err(format!("from {} to {} seconds are possible", LIMITS.start(), LIMITS.end()))
    }
}

pub(super) fn memory(text: &str) -> Result<Checked, String> {
    let number = text.strip_suffix(['K', 'M', 'G', 'T']).unwrap_or(text);
    if number.is_empty() || !number.bytes().all(|c| c.is_ascii_digit()) {
        return Err("expected a size, as in 800M or 4G".into());
    }
    Ok(Checked(text.to_string()))
}

pub(super) fn array(text: &str) -> Result<Checked, String> {
    let starts = text.starts_with(|c: char| c.is_ascii_digit());
    if !starts || !text.chars().all(|c| c.is_ascii_digit() || "-,:%".contains(c)) {
        return Err("expected numbers and ranges, as in 0-9 or 1,3,5-7%2".into());
    }
    Ok(Checked(text.to_string()))
}

/// How many nodes: a number, or the least and the most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nodes {
    pub(super) least: u32,
    pub(super) text: Checked,
}

impl FromStr for Nodes {
    type Err = String;

    fn from_str(text: &str) -> Result<Nodes, String> {
        let expected = || "expected a number of nodes, or a range, as in 2 or 2-4".to_string();
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        match (least.parse::<u32>(), most.parse::<u32>()) {
            (Ok(least @ 1..), Ok(most)) if most >= least => {
                Ok(Nodes { least, text: Checked(text.to_string()) })
            }
            _ => Err(expected()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Check = fn(&str) -> Result<Checked, String>;
    const CHECKS: [Check; 11] =
        [name, gres, dependency, mail, mpi, modules, line, option, time, memory, array];

    #[test]
    fn what_users_write_is_taken() {
        for (text, of_sbatch) in [
            ("90m", "01:30:00"),
            ("2h", "02:00:00"),
            ("90:30", "01:30:30"),
            ("1:30:00", "01:30:00"),
            ("2-12", "2-12:00:00"),
            ("2-12:30:59", "2-12:30:59"),
            ("0.5s", "00:00:01"),
            ("90", "00:01:30"),
        ] {
            assert_eq!(time(text).unwrap().as_str(), of_sbatch);
        }
        for text in ["0", "0s", "0:00", "1:2:3:4", "-5", "2-", "", "1:"] {
            assert!(time(text).is_err(), "{text}");
        }
        assert_eq!(grace("2m"), Ok(120));
        assert!(grace("4s").is_err() && grace("1-0").is_err());
        assert!(memory("4G").is_ok() && memory("G").is_err() && memory("4GB").is_err());
        assert!(array("0-9%2").is_ok() && array("%a").is_err());
        assert!(
            "2-4".parse::<Nodes>().is_ok()
                && "0".parse::<Nodes>().is_err()
                && "4-2".parse::<Nodes>().is_err()
        );
        assert_eq!(modules("gcc/12  openmpi/4.1").unwrap().as_str(), "gcc/12 openmpi/4.1");
        assert!(gres("gpu:a100:2").is_ok() && dependency("afterok:12?afterany:13").is_ok());
    }

    proptest! {
        #[test]
        fn no_value_leaves_its_line(text in "\\PC*[\n\r\u{0}\u{1b}]?\\PC*") {
            for check in CHECKS {
                if let Ok(checked) = check(&text) {
                    prop_assert!(!checked.as_str().chars().any(char::is_control));
                }
            }
        }

        #[test]
        fn names_hold_nothing_that_a_shell_or_sbatch_would_take_apart(text in "\\PC{0,12}") {
            for check in [name, gres, dependency, mail, mpi, time, memory, array] {
                if let Ok(checked) = check(&text) {
                    prop_assert!(!checked.as_str().contains(|c: char| c.is_whitespace() || "\"'`$;&|<>\\#".contains(c)));
                }
            }
        }
    }
}
