//! Time histograms of spike trains, one for each bin size, as `elephant.statistics.time_histogram`
//! with output='counts' has them (elephant 1.2, <https://python-elephant.org>): the number of spikes
//! of all trains together in each bin of the time from t_start to t_stop. By default t_start is 0, and
//! t_stop the last spike of them all: the `obs_intervals` that an NWB file may have are not read.
//!
//! The bins are those of `elephant.conversion.BinnedSpikeTrain`. There are (t_stop - t_start) / bin_size
//! of them, and a spike at t_start <= t <= t_stop falls into bin (t - t_start) (1 / bin_size). Both are
//! rounded down, but up from 1e-8 below an integer: a spike on an edge belongs to the bin that
//! begins there, whatever rounding has done to it. A spike at the end of the last bin or after it
//! is in no bin.

use std::{error::Error as StdError, ops::RangeInclusive, path::PathBuf, sync::OnceLock};

use rankpool::{Block, Error, Job, Rows, Task};
use serde::{Deserialize, Serialize};

use crate::{
    input::{MOST_NUMBERS, positive},
    trains::{Stretch, Trains},
};

/// elephant's tolerance for rounding errors, in bins.
const TOLERANCE: f64 = 1e-8;

/// Time histograms of spike trains, one for each bin size
#[derive(clap::Args, Serialize, Deserialize)]
pub struct TimeHistogram {
    #[command(flatten)]
    trains: Trains,
    /// Bin sizes in s: A,B,.. or A..B/N, which is N evenly spaced ones from A to B
    #[arg(long, default_value = "0.1..1.0/8", value_parser = bin_sizes, allow_negative_numbers = true)]
    bins: Block<f64>,
    /// What this worker has read or generated, or why it could not
    #[arg(skip)]
    #[serde(skip)]
    spikes: OnceLock<Result<Vec<f64>, Error>>,
}

/// One over a bin size must be a number, too.
fn bin_size(text: &str) -> Result<f64, String> {
    positive(text).and_then(|size| if size.is_normal() { Ok(size) } else { Err("is too small".into()) })
}

fn bin_sizes(text: &str) -> Result<Block<f64>, String> {
    let Some((first, rest)) = text.split_once("..") else {
        return text.split(',').map(bin_size).collect();
    };
    let (last, count) = rest.split_once('/').ok_or("expected A..B/N, as in 0.1..1.0/8")?;
    let (first, last) = (bin_size(first)?, bin_size(last)?);
    let count: u16 = count.trim().parse().map_err(|error| format!("{count:?}: {error}"))?;
    if count < 2 {
        return Err("A..B/N has A and B, so N is 2 or more".into());
    }
    // As numpy.linspace rounds.
    let step = (last - first) / f64::from(count - 1);
    Ok((0..count - 1).map(|k| f64::from(k) * step + first).chain([last]).collect())
}

#[derive(Serialize)]
pub struct Summary {
    histograms: Vec<Histogram>,
}

#[derive(Serialize)]
struct Histogram {
    bin_size: f64,
    bins: usize,
    /// Spikes in all bins
    total: u64,
    /// Spikes in the fullest bin
    max: u64,
}

/// Rounds down, but up from a little below the next integer: `elephant.utils.round_binning_errors`.
fn round(number: f64) -> usize {
    (if number % 1.0 >= 1.0 - TOLERANCE { number + 0.5 } else { number }) as usize
}

/// The number of bins in the interval.
fn bins(interval: &RangeInclusive<f64>, bin_size: f64) -> Result<usize, Error> {
    let length = interval.end() - interval.start();
    let why = match round(length / bin_size) {
        0 => "are longer than that; choose smaller ones".to_string(),
        bins if bins > MOST_NUMBERS => format!("are over {MOST_NUMBERS} of them; choose larger ones"),
        bins => return Ok(bins),
    };
    Err(Error::usage(format!("the time that counts is {length:?} s, and bins of {bin_size:?} s {why}")))
}

fn time_histogram(
    spikes: &[f64],
    interval: &RangeInclusive<f64>,
    bin_size: f64,
) -> Result<Block<u64>, Error> {
    let mut counts = vec![0; bins(interval, bin_size)?];
    let per_second = 1.0 / bin_size;
    for time in spikes.iter().filter(|time| interval.contains(time)) {
        let bin = round((time - interval.start()) * per_second);
        if let Some(count) = counts.get_mut(bin) {
            *count += 1;
        }
    }
    Ok(counts.into())
}

impl Job for TimeHistogram {
    const NAME: &'static str = "time-histogram";
    /// A bin size, and where all trains are
    type Item = (f64, Stretch);
    /// Spikes in each bin
    type Output = Block<u64>;
    type Summary = Summary;

    fn items(&self) -> Result<impl Iterator<Item = (f64, Stretch)>, Error> {
        // There is one stretch, of all trains.
        let all = self.trains.stretches(true)?.next().unwrap_or_default();
        if let Some(interval) = self.trains.known_interval() {
            self.bins.iter().try_for_each(|bin_size| bins(&interval, *bin_size).map(drop))?;
        }
        Ok(self.bins.iter().map(move |bin_size| (*bin_size, all.clone())))
    }

    fn task(&self, (bin_size, all): (f64, Stretch)) -> Result<Block<u64>, Box<dyn StdError>> {
        let read = || self.trains.spikes(all, Task::current().seed());
        let spikes = self.spikes.get_or_init(read).as_ref().map_err(Error::to_string)?;
        Ok(time_histogram(spikes, &self.trains.interval(spikes)?, bin_size)?)
    }

    fn rows(&self) -> Rows {
        Rows::new().unit("spikes").task_axis("bin_size", "s", self.bins.to_vec())
    }

    fn files(&self) -> Vec<PathBuf> {
        self.trains.file.iter().cloned().collect()
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Block<u64>)>) -> Result<Summary, Error> {
        let histogram = |(task, counts): (u64, Block<u64>)| Histogram {
            bin_size: self.bins[task as usize],
            bins: counts.len(),
            total: counts.iter().sum(),
            max: counts.iter().copied().max().unwrap_or(0),
        };
        Ok(Summary { histograms: results.map(histogram).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What elephant 1.2.1 says of the same spikes.
    #[track_caller]
    fn assert_counts(spikes: &[f64], interval: RangeInclusive<f64>, bin_size: f64, counts: &[u64]) {
        assert_eq!(time_histogram(spikes, &interval, bin_size).unwrap().into_vec(), counts);
    }

    #[test]
    fn the_counts_are_those_of_elephants_example() {
        let trains = [0.3, 4.5, 6.7, 9.3, 0.7, 4.3, 8.2];
        assert_counts(&trains, 0.0..=10.0, 1.0, &[2, 0, 0, 0, 2, 0, 1, 0, 1, 1]);
    }

    #[test]
    fn a_spike_on_an_edge_belongs_to_the_bin_that_begins_there() {
        let edges: Vec<f64> = (0..=10).map(|k| 0.1 * f64::from(k)).collect();
        assert_counts(&edges, 0.0..=1.0, 0.1, &[1; 10]);
        assert_counts(&edges, 0.0..=1.0, 0.3, &[3, 3, 3]);
        assert_counts(&edges, 0.25..=1.0, 0.25, &[2, 3, 2]);
        let edges = [-0.5, -0.2, 0.0, 0.1, 0.4, 0.9, 1.0];
        assert_counts(&edges, -0.5..=0.9, 0.2, &[1, 1, 1, 1, 1, 0, 0]);
    }

    #[test]
    fn a_spike_within_1e_8_bins_below_an_edge_counts_as_on_it() {
        let spikes = [0.3 - 1e-10, 0.6 - 1e-8, 0.1, 0.1 - 2e-9, 0.1 - 0.5e-9, 0.2 - 1.1e-9];
        assert_counts(&spikes, 0.0..=1.0, 0.1, &[1, 3, 0, 1, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn the_number_of_bins_is_rounded_as_elephant_rounds_it() {
        let sizes = [
            (0.1, 10),
            (0.3, 3),
            (0.7, 1),
            (1.0 / 3.0, 3),
            (1.0 / 49.0, 49),
            (0.5 + 1e-9, 2),
            (0.5 + 1e-7, 1),
        ];
        for (bin_size, expected) in sizes {
            assert_eq!(bins(&(0.0..=1.0), bin_size).unwrap(), expected, "{bin_size}");
        }
        for (bin_size, why) in [(1.1, "smaller"), (1e-9, "larger"), (1e-300, "larger")] {
            assert!(bins(&(0.0..=1.0), bin_size).unwrap_err().to_string().contains(why), "{bin_size}");
        }
    }

    #[test]
    fn bin_sizes_are_a_list_or_evenly_spaced() {
        assert_eq!(bin_sizes("0.1, 0.5").unwrap().into_vec(), [0.1, 0.5]);
        // numpy.linspace(0.1, 1.0, 8), and (1, 0.5, 2)
        let eight = [
            0.1,
            0.2285714285714286,
            0.3571428571428572,
            0.48571428571428577,
            0.6142857142857143,
            0.7428571428571429,
            0.8714285714285716,
            1.0,
        ];
        assert_eq!(bin_sizes("0.1..1.0/8").unwrap().into_vec(), eight);
        assert_eq!(bin_sizes("1..0.5/2").unwrap().into_vec(), [1.0, 0.5]);
        for wrong in [
            "",
            "0",
            "-1",
            "1,,2",
            "1e-320",
            "1e-320..1/2",
            "nan",
            "1..2",
            "1..2/1",
            "1..2/70000",
            "0..1/3",
            "1../3",
            "1..inf/3",
        ] {
            assert!(bin_sizes(wrong).is_err(), "{wrong}");
        }
    }
}
