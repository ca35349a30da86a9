//! Pi by throwing darts: the share of random points of the unit square that fall into the
//! quarter circle is pi / 4. Each task has random numbers of its own, drawn from the seed and the
//! task's index, so the estimate has the same bits whoever runs which task.

use std::error::Error as StdError;

use rankpool::{Error, Job, Task, rand_chacha::rand_core::Rng};
use serde::{Deserialize, Serialize};

/// Estimate pi by the Monte Carlo method
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Pi {
    /// Number of tasks
    #[arg(long, default_value_t = 100, value_parser = rankpool::cli::count::<usize>)]
    tasks: usize,
    /// Random points in each task
    #[arg(long, default_value_t = 1_000_000, value_parser = rankpool::cli::count_from_1::<u64>)]
    samples: u64,
}

#[derive(Serialize)]
pub struct Summary {
    pi: f64,
    /// The standard error of the estimate, 4 sqrt(p (1 - p) / n) for n points
    std_error: f64,
}

/// A number in [0, 1) of 53 random bits.
fn uniform(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

impl Job for Pi {
    const NAME: &'static str = "pi";
    type Item = u64;
    /// Points inside the quarter circle
    type Output = u64;
    type Summary = Summary;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        Ok(std::iter::repeat_n(self.samples, self.tasks))
    }

    fn task(&self, samples: u64) -> Result<u64, Box<dyn StdError>> {
        let mut rng = Task::current().rng();
        let inside = |_: &u64| {
            let (x, y) = (uniform(&mut rng), uniform(&mut rng));
            x * x + y * y < 1.0
        };
        Ok((0..samples).filter(inside).count() as u64)
    }

    fn summary(&self, results: impl Iterator<Item = (u64, u64)>) -> Result<Summary, Error> {
        let (tasks, inside) = results.fold((0, 0), |(tasks, sum), (_, inside)| (tasks + 1, sum + inside));
        let points = (tasks * self.samples).max(1) as f64;
        let share = inside as f64 / points;
        Ok(Summary { pi: 4.0 * share, std_error: 4.0 * (share * (1.0 - share) / points).sqrt() })
    }
}
