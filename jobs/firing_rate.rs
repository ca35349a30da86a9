//! The mean firing rate of spike trains, as `elephant.statistics.mean_firing_rate` (elephant 1.2,
//! <https://python-elephant.org>) has it: the number of spikes t with t_start <= t <= t_stop, divided
//! by t_stop - t_start. By default t_start is 0, and t_stop is the last spike; a generated train
//! ends at --t-stop, as a neo.SpikeTrain does.
//!
//! elephant's `axis` is that of a table with a train in each row: along axis 1 each train has a
//! rate, with axis none the spikes of all trains are taken for those of one. Axis 0, a rate of
//! the first spikes, the second spikes and so on, has no meaning for trains of different lengths.
//!
//! An empty train has the rate 0 where --t-stop says when it ends, as an empty neo.SpikeTrain has.
//! Where it does not, the train's task fails, as elephant refuses an empty array; so does that of a
//! train without a spike after t_start, for which elephant divides by 0 or by a negative time.

use std::{error::Error as StdError, ops::RangeInclusive, path::PathBuf};

use rankpool::{Error, Job, Rows, Task};
use serde::{Deserialize, Serialize};

use crate::trains::{Stretch, Trains};

/// Mean firing rates of spike trains
#[derive(clap::Args, Serialize, Deserialize)]
pub struct FiringRate {
    #[command(flatten)]
    trains: Trains,
    /// Axis of the table of trains and their spikes, along which spikes are counted
    #[arg(long, value_enum, default_value = "1")]
    axis: Axis,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum, Serialize, Deserialize)]
enum Axis {
    /// A rate for each train
    #[value(name = "1")]
    Spikes,
    /// One rate for the spikes of all trains together
    #[value(name = "none")]
    None,
}

#[derive(Serialize)]
pub struct Summary {
    /// Those of all tasks that ended well, in 1/s
    rates: Vec<f64>,
    mean: f64,
    min: f64,
    max: f64,
}

/// In 1/s, of spike times in s.
fn mean_firing_rate(spikes: &[f64], interval: RangeInclusive<f64>) -> f64 {
    let count = spikes.iter().filter(|time| interval.contains(time)).count();
    count as f64 / (interval.end() - interval.start())
}

impl Job for FiringRate {
    const NAME: &'static str = "firing-rate";
    type Item = Stretch;
    /// In 1/s
    type Output = f64;
    type Summary = Summary;

    fn items(&self) -> Result<impl Iterator<Item = Stretch>, Error> {
        self.trains.stretches(self.axis == Axis::None)
    }

    fn task(&self, train: Stretch) -> Result<f64, Box<dyn StdError>> {
        let spikes = self.trains.spikes(train, Task::current().seed())?;
        Ok(mean_firing_rate(&spikes, self.trains.interval(&spikes)?))
    }

    fn rows(&self) -> Rows {
        Rows::new().unit("1/s")
    }

    fn files(&self) -> Vec<PathBuf> {
        self.trains.file.iter().cloned().collect()
    }

    fn summary(&self, results: impl Iterator<Item = (u64, f64)>) -> Result<Summary, Error> {
        let rates: Vec<f64> = results.map(|(_, rate)| rate).collect();
        Ok(Summary {
            mean: rates.iter().sum::<f64>() / rates.len() as f64,
            min: rates.iter().copied().fold(f64::INFINITY, f64::min),
            max: rates.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            rates,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_the_one_of_elephants_example() {
        // mean_firing_rate([0.3, 4.5, 6.7, 9.3])
        assert_eq!(mean_firing_rate(&[0.3, 4.5, 6.7, 9.3], 0.0..=9.3), 0.4301075268817204);
    }

    #[test]
    fn spikes_at_both_ends_count() {
        let spikes = [0.5, 1.0, 2.0, 3.0, 3.5];
        assert_eq!(mean_firing_rate(&spikes, 1.0..=3.0), 1.5);
        assert_eq!(mean_firing_rate(&spikes, 1.1..=2.9), 1.0 / (2.9 - 1.1));
        assert_eq!(mean_firing_rate(&[], 0.0..=2.0), 0.0);
    }
}
