//! Tasks that only take time: for trying schedules.

use std::{error::Error as StdError, time::Duration};

use rankpool::{Error, Job, Rows, Task, rand_chacha::rand_core::Rng};
use serde::{Deserialize, Serialize};

/// Sleep, to try schedules
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Sleep {
    /// Number of tasks
    #[arg(long, default_value_t = 10, value_parser = rankpool::cli::count::<usize>)]
    tasks: usize,
    /// Mean duration of a task, as in 100ms or 2s
    #[arg(long, default_value = "100ms", value_parser = rankpool::cli::duration)]
    duration: Duration,
    /// How durations are spread around the mean
    #[arg(long, value_enum, default_value = "constant")]
    spread: Spread,
}

#[derive(Clone, Copy, clap::ValueEnum, Serialize, Deserialize)]
enum Spread {
    /// All alike
    Constant,
    /// Many short, some long
    Exponential,
    /// Most near the mean, a few several times as long (sigma 1)
    Lognormal,
}

#[derive(Serialize)]
pub struct Summary {
    slept_s: f64,
    longest_s: f64,
}

/// A number in (0, 1].
fn uniform(rng: &mut impl Rng) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
}

impl Spread {
    /// A factor with mean 1.
    fn factor(self, rng: &mut impl Rng) -> f64 {
        match self {
            Spread::Constant => 1.0,
            Spread::Exponential => -uniform(rng).ln(),
            Spread::Lognormal => {
                // Box and Muller (1958); a lognormal with mu = -sigma^2 / 2 has mean 1.
                let normal = (-2.0 * uniform(rng).ln()).sqrt() * (std::f64::consts::TAU * uniform(rng)).cos();
                (normal - 0.5).exp()
            }
        }
    }
}

impl Job for Sleep {
    const NAME: &'static str = "sleep";
    type Item = ();
    /// Seconds that the task was meant to take
    type Output = f64;
    type Summary = Summary;

    fn items(&self) -> Result<impl Iterator<Item = ()>, Error> {
        Ok(std::iter::repeat_n((), self.tasks))
    }

    fn task(&self, (): ()) -> Result<f64, Box<dyn StdError>> {
        let seconds = self.duration.as_secs_f64() * self.spread.factor(&mut Task::current().rng());
        std::thread::sleep(Duration::try_from_secs_f64(seconds)?);
        Ok(seconds)
    }

    fn rows(&self) -> Rows {
        Rows::new().unit("s")
    }

    fn summary(&self, results: impl Iterator<Item = (u64, f64)>) -> Result<Summary, Error> {
        let (slept_s, longest_s) =
            results.fold((0.0, 0.0f64), |(sum, longest), (_, seconds)| (sum + seconds, longest.max(seconds)));
        Ok(Summary { slept_s, longest_s })
    }
}
