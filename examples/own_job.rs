//! A job of one's own, with every command and flag: `mpiexec -n 3 own_job run collatz --n 100000`.

use rankpool::{Error, Job};
use serde::{Deserialize, Serialize};

/// Find the number below N with the longest Collatz sequence
#[derive(clap::Args, Serialize, Deserialize)]
struct Collatz {
    /// The numbers 1..N are tried
    #[arg(long, default_value_t = 100_000)]
    n: u64,
}

impl Job for Collatz {
    const NAME: &'static str = "collatz";
    type Item = u64;
    type Output = u32;
    type Summary = String;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        Ok((1..self.n as usize).map(|n| n as u64))
    }

    fn task(&self, item: u64) -> Result<u32, Box<dyn std::error::Error>> {
        let step = |n: &u64| Some(if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 });
        Ok(std::iter::successors(Some(item), step).take_while(|n| *n != 1).count() as u32)
    }

    fn summary(&self, results: impl Iterator<Item = (u64, u32)>) -> Result<String, Error> {
        let longest = results.max_by_key(|(index, steps)| (*steps, u64::MAX - index));
        Ok(longest.map_or("none".into(), |(index, steps)| format!("{} takes {steps} steps", index + 1)))
    }
}

fn main() -> std::process::ExitCode {
    rankpool::cli::main(rankpool::jobs![Collatz])
}
