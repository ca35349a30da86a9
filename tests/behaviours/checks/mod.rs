//! The checks: each is given a running executor, in whatever mode, and leaves it usable.

mod chunks;
mod costs;
mod ends;
mod failures;
mod futures;
mod lasting;
mod maps;
mod places;
mod scattered;

use std::time::Duration;

use rankpool::{Executor, Task};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub type Check = (&'static str, fn(&Executor));

/// Lists the checks of a file.
macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        pub(super) const CHECKS: &[super::Check] = &[$((stringify!($name), $name)),*];
    };
}
use checks;

/// Every check there is.
pub fn all() -> impl Iterator<Item = Check> {
    let files = [
        maps::CHECKS,
        chunks::CHECKS,
        scattered::CHECKS,
        costs::CHECKS,
        lasting::CHECKS,
        futures::CHECKS,
        failures::CHECKS,
        places::CHECKS,
        ends::CHECKS,
    ];
    files.concat().into_iter()
}

fn same(n: u64) -> u64 {
    n
}

fn square(n: u64) -> u64 {
    n * n
}

fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

fn fail_at(n: u64) -> Result<u64, String> {
    if n % 10 == 7 { Err(format!("{n} is no good")) } else { Ok(n) }
}

/// Refuses to be encoded when it holds 13.
#[derive(Debug, Deserialize, PartialEq)]
struct Shy(u64);

impl Serialize for Shy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 13 {
            return Err(serde::ser::Error::custom("13 is not told"));
        }
        self.0.serialize(serializer)
    }
}

/// Refuses to be decoded when it holds 13.
#[derive(Debug, Serialize, PartialEq)]
struct Picky(u64);

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Picky, D::Error> {
        match u64::deserialize(deserializer)? {
            13 => Err(serde::de::Error::custom("13 is not heard")),
            n => Ok(Picky(n)),
        }
    }
}

fn good_at_third(n: u64) -> Result<u64, String> {
    let attempt = Task::current().attempt();
    if n.is_multiple_of(5) && attempt < 3 { Err(format!("attempt {attempt}")) } else { Ok(n) }
}
