//! When a run ends before all of its tasks have: `--max-failures`, and `--halt` as GNU parallel has it.

use std::str::FromStr;

use crate::error::{Error, ParseError};

/// A number of tasks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Amount {
    Tasks(u64),
    /// Of all tasks.
    Percent(f64),
}

impl Amount {
    /// The number, of a run of so many tasks.
    ///
    /// # Errors
    /// When it is a part of a number that is not known; `flag` is named.
    pub(super) fn of(self, all: Option<u64>, flag: &str) -> Result<u64, Error> {
        match (self, all) {
            (Amount::Tasks(tasks), _) => Ok(tasks),
            (Amount::Percent(percent), Some(all)) => Ok((percent / 100.0 * all as f64) as u64),
            (Amount::Percent(_), None) => Err(Error::usage(format!(
                "{flag} in percent needs a job that knows how many tasks it has: give a number"
            ))),
        }
    }
}

impl FromStr for Amount {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Amount, ParseError> {
        let refused =
            || ParseError::new(text, "number of tasks", "expected a number, or a part of all as in 5%");
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.trim().parse::<f64>().map_err(|_| refused())?;
                if (0.0..=100.0).contains(&percent) { Ok(Amount::Percent(percent)) } else { Err(refused()) }
            }
            None => text.parse().map(Amount::Tasks).map_err(|_| refused()),
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Failed,
    Done,
    Both,
}

/// When the run ends early.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Halt {
    /// What runs is waited for; otherwise it is ended.
    pub(crate) soon: bool,
    pub(crate) counted: Counted,
    pub(crate) amount: Amount,
    /// So many are allowed, and one more ends the run.
    pub(crate) allowed: bool,
}

impl Halt {
    /// More failures than `--max-failures` allows.
    pub(crate) fn beyond(amount: Amount) -> Halt {
        Halt { soon: false, counted: Counted::Failed, amount, allowed: true }
    }

    /// The flag that asks for it.
    fn flag(self) -> &'static str {
        if self.allowed { "--max-failures" } else { "--halt" }
    }
}

impl FromStr for Halt {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Halt, ParseError> {
        let refused = || {
            ParseError::new(
                text,
                "way to halt",
                "expected now or soon, a comma, and fail, success or done with a number of tasks, as \
                 in soon,fail=1 or now,fail=5%",
            )
        };
        let (when, what) = text.split_once(',').ok_or_else(refused)?;
        let (counted, amount) = what.split_once('=').ok_or_else(refused)?;
        let soon = match when {
            "soon" => true,
            "now" => false,
            _ => return Err(refused()),
        };
        let counted = match counted {
            "fail" => Counted::Failed,
            "success" => Counted::Done,
            "done" => Counted::Both,
            _ => return Err(refused()),
        };
        let amount = amount.parse().map_err(|_| refused())?;
        if amount == Amount::Tasks(0) {
            Err(refused())
        } else {
            Ok(Halt { soon, counted, amount, allowed: false })
        }
    }
}

/// What has been counted, and where it ends.
#[derive(Debug)]
pub(super) struct Counter {
    halt: Option<Halt>,
    /// The run ends when so many have been counted.
    at: u64,
    pub(super) failed: u64,
    pub(super) done: u64,
}

impl Counter {
    /// # Errors
    /// When a part of a number is asked for that is not known.
    pub(super) fn new(halt: Option<Halt>, all: Option<u64>) -> Result<Counter, Error> {
        let at = match halt {
            Some(halt) if halt.allowed => halt.amount.of(all, halt.flag())?.saturating_add(1),
            Some(halt) => halt.amount.of(all, halt.flag())?.max(1),
            None => u64::MAX,
        };
        Ok(Counter { halt, at, failed: 0, done: 0 })
    }

    /// Counts so many tasks. Returns how the run ends, if it ends here.
    pub(super) fn count(&mut self, failed: u64, done: u64) -> Option<Halt> {
        self.failed += failed;
        self.done += done;
        let halt = self.halt?;
        let counted = match halt.counted {
            Counted::Failed => self.failed,
            Counted::Done => self.done,
            Counted::Both => self.failed + self.done,
        };
        (counted >= self.at).then_some(halt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_halt_are_read_as_parallel_has_them() {
        let soon = Halt { soon: true, counted: Counted::Failed, amount: Amount::Tasks(1), allowed: false };
        assert_eq!("soon,fail=1".parse::<Halt>().unwrap(), soon);
        let now = Halt { soon: false, counted: Counted::Both, amount: Amount::Percent(30.0), allowed: false };
        assert_eq!("now,done=30%".parse::<Halt>().unwrap(), now);
        for bad in
            ["", "now", "never", "soon,fail", "soon,fail=0", "soon,fails=1", "later,fail=1", "now,fail=101%"]
        {
            assert!(bad.parse::<Halt>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_run_ends_where_enough_was_counted() {
        let mut counter = Counter::new(Some("soon,fail=2".parse().unwrap()), None).unwrap();
        assert_eq!(counter.count(1, 5), None);
        assert!(counter.count(1, 0).is_some_and(|halt| halt.soon));
        let mut counter = Counter::new(Some("now,success=50%".parse().unwrap()), Some(8)).unwrap();
        assert_eq!(counter.count(3, 3), None);
        assert!(counter.count(0, 1).is_some_and(|halt| !halt.soon));
        let mut counter = Counter::new(Some(Halt::beyond(Amount::Tasks(1))), None).unwrap();
        assert_eq!(counter.count(1, 0), None);
        assert!(counter.count(1, 0).is_some());
        assert!(Counter::new(Some("now,fail=50%".parse().unwrap()), None).is_err());
    }
}
