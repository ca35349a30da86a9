//! The sum of the squares of 1..n: the smallest job, and a check of everything around it.

use std::error::Error as StdError;

use rankpool::{Error, Job, cli::count};
use serde::{Deserialize, Serialize};

/// Sum the squares of 1..=N
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Squares {
    /// The last number squared; the sum must fit 64 bits
    #[arg(long, default_value_t = 5000, value_parser = last_number)]
    n: u64,
}

fn last_number(text: &str) -> Result<u64, String> {
    const MOST: u64 = 3_810_777;
    count(text).and_then(|n| if n <= MOST { Ok(n) } else { Err(format!("{n} is more than {MOST}")) })
}

#[derive(Serialize)]
pub struct Summary {
    /// n (n + 1) (2 n + 1) / 6
    sum: u128,
}

impl Job for Squares {
    const NAME: &'static str = "squares";
    type Item = u64;
    type Output = u64;
    type Summary = Summary;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        let last = usize::try_from(self.n).map_err(|_| Error::usage("--n is too large for this machine"))?;
        Ok((0..last).map(|k| k as u64 + 1))
    }

    fn task(&self, item: u64) -> Result<u64, Box<dyn StdError>> {
        Ok(item * item)
    }

    fn summary(&self, results: impl Iterator<Item = (u64, u64)>) -> Result<Summary, Error> {
        Ok(Summary { sum: results.map(|(_, square)| u128::from(square)).sum() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_the_formula() {
        let job = Squares { n: 5000 };
        let squares = job.items().unwrap().map(|item| job.task(item).unwrap()).enumerate();
        let summary = job.summary(squares.map(|(index, square)| (index as u64, square))).unwrap();
        assert_eq!(summary.sum, 41_679_167_500);
    }
}
