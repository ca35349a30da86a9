//! How long the tasks of a simulated run take.

use std::{fmt, str::FromStr};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::nanos::{nanos, readable};
use crate::error::ParseError;

/// How the times of tasks are spread; all times are in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Spread {
    /// All alike.
    Constant(f64),
    /// Anywhere between two times.
    Uniform(f64, f64),
    /// By its mean.
    Exponential(f64),
    /// By its mean and the sigma of its logarithm.
    Lognormal(f64, f64),
    /// By its mean and its exponent, above 1.
    Pareto(f64, f64),
    /// From the time of the first task, in equal steps, to that of the last.
    Ramp(f64, f64),
    /// All alike, but for each third worker, which takes so many times as long.
    Slow(f64, f64),
}

/// What a time distribution may be.
const EXPECTED: &str = "expected constant:TIME, uniform:LEAST,MOST, exponential:MEAN, lognormal:MEAN,SIGMA, \
    pareto:MEAN,EXPONENT (above 1), ramp:FIRST,LAST or slow:TIME,FACTOR, with times as in 1.5us, 10ms, 2s or 2 (seconds)";

impl FromStr for Spread {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Spread, ParseError> {
        let refused = || ParseError::new(text, "distribution of task times", EXPECTED);
        let (name, rest) = text.split_once(':').ok_or_else(refused)?;
        let fields: Vec<&str> = rest.split(',').collect();
        let seconds = |field: &str| field.parse().ok().filter(|seconds: &f64| (0.0..1e9).contains(seconds));
        let time = |field: &str| nanos(field).or_else(|| Some(1e9 * seconds(field)?)).ok_or_else(refused);
        let plain = |field: &str| {
            let number = field.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
            number.ok_or_else(refused)
        };
        let spread = match (name, &fields[..]) {
            ("constant", [one]) => Spread::Constant(time(one)?),
            ("uniform", [least, most]) => Spread::Uniform(time(least)?, time(most)?),
            ("exponential", [mean]) => Spread::Exponential(time(mean)?),
            ("lognormal", [mean, sigma]) => Spread::Lognormal(time(mean)?, plain(sigma)?),
            ("pareto", [mean, exponent]) => Spread::Pareto(time(mean)?, plain(exponent)?),
            ("ramp", [first, last]) => Spread::Ramp(time(first)?, time(last)?),
            ("slow", [one, factor]) => Spread::Slow(time(one)?, plain(factor)?),
            _ => return Err(refused()),
        };
        let sound = match spread {
            Spread::Uniform(least, most) => least <= most,
            Spread::Pareto(_, exponent) => exponent > 1.0,
            Spread::Slow(_, factor) => factor >= 1.0,
            _ => true,
        };
        if sound { Ok(spread) } else { Err(refused()) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = readable;
        match *self {
            Spread::Constant(time) => write!(f, "constant:{}", t(time)),
            Spread::Uniform(least, most) => write!(f, "uniform:{},{}", t(least), t(most)),
            Spread::Exponential(mean) => write!(f, "exponential:{}", t(mean)),
            Spread::Lognormal(mean, sigma) => write!(f, "lognormal:{},{sigma}", t(mean)),
            Spread::Pareto(mean, exponent) => write!(f, "pareto:{},{exponent}", t(mean)),
            Spread::Ramp(first, last) => write!(f, "ramp:{},{}", t(first), t(last)),
            Spread::Slow(time, factor) => write!(f, "slow:{},{factor}", t(time)),
        }
    }
}

/// The times of the tasks of one run. A task takes the same time whoever runs it, and however often, but for
/// workers that are slow.
///
/// The draws are those of the job `sleep` with the same seed: its tasks and these take the same times.
#[derive(Debug)]
pub(super) struct Times {
    spread: Spread,
    tasks: u64,
    rng: ChaCha8Rng,
    /// The longest that was asked for.
    pub(super) longest: f64,
}

impl Times {
    pub(super) fn new(spread: Spread, tasks: u64, seed: u64) -> Times {
        Times { spread, tasks, rng: ChaCha8Rng::seed_from_u64(seed), longest: 0.0 }
    }

    /// How many times longer than others this worker takes; workers are numbered from 0.
    pub(super) fn slowness(&self, worker: usize) -> f64 {
        match self.spread {
            Spread::Slow(_, factor) if worker.is_multiple_of(3) => factor,
            _ => 1.0,
        }
    }

    /// Nanoseconds that a worker of the usual speed spends on this task.
    pub(super) fn of(&mut self, task: u64) -> f64 {
        let time = match self.spread {
            Spread::Constant(time) | Spread::Slow(time, _) => time,
            Spread::Ramp(first, last) => {
                first + (last - first) * task as f64 / self.tasks.saturating_sub(1).max(1) as f64
            }
            Spread::Uniform(least, most) => least + (most - least) * self.draw(task, uniform),
            Spread::Exponential(mean) => mean * self.draw(task, |rng| -uniform(rng).ln()),
            Spread::Pareto(mean, exponent) => {
                let least = mean * (exponent - 1.0) / exponent;
                least * self.draw(task, uniform).powf(-1.0 / exponent)
            }
            Spread::Lognormal(mean, sigma) => {
                let normal = self.draw(task, |rng| {
                    // Box and Muller (1958).
                    (-2.0 * uniform(rng).ln()).sqrt() * (std::f64::consts::TAU * uniform(rng)).cos()
                });
                mean * (sigma * normal - sigma * sigma / 2.0).exp()
            }
        };
        self.longest = self.longest.max(time);
        time
    }

    fn draw(&mut self, task: u64, from: impl FnOnce(&mut ChaCha8Rng) -> f64) -> f64 {
        self.rng.set_word_pos(0);
        self.rng.set_stream(task);
        from(&mut self.rng)
    }
}

/// A number in (0, 1].
pub(super) fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_distribution_has_the_mean_that_it_names_and_reads_as_it_is_written() {
        for (text, mean) in [
            ("constant:1us", 1e3),
            ("uniform:1ms,3ms", 2e6),
            ("exponential:10ms", 1e7),
            ("lognormal:10ms,1", 1e7),
            ("pareto:10ms,3", 1e7),
            ("ramp:2ms,0s", 1e6),
            ("slow:1.5us,3", 1.5e3),
        ] {
            let spread: Spread = text.parse().unwrap();
            assert_eq!(spread.to_string(), text);
            let tasks = 100_000;
            let mut times = Times::new(spread, tasks, 7);
            let sum: f64 = (0..tasks).map(|task| times.of(task)).sum();
            let ratio = sum / tasks as f64 / mean;
            assert!((0.98..1.02).contains(&ratio), "{text}: {ratio}");
        }
    }

    #[test]
    fn a_task_takes_the_time_that_its_own_stream_draws() {
        let mut times = Times::new(Spread::Exponential(1e6), 10, 3);
        for task in (0..10).chain((0..10).rev()) {
            let mut rng = ChaCha8Rng::seed_from_u64(3);
            rng.set_stream(task);
            assert_eq!(times.of(task), -1e6 * uniform(&mut rng).ln());
        }
    }

    #[test]
    fn what_is_no_distribution_is_refused() {
        assert_eq!("constant:0.5".parse(), Ok(Spread::Constant(5e8)), "bare seconds");
        for text in [
            "10ms",
            "constant:",
            "constant:x",
            "constant:-1",
            "uniform:2s,1s",
            "pareto:1s,1",
            "slow:1s,0.5",
            "gauss:1s",
        ] {
            assert!(text.parse::<Spread>().is_err(), "{text}");
        }
    }
}
