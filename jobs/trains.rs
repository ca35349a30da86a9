//! Spike trains: of an NWB file, or generated.
//!
//! An NWB file (Neurodata Without Borders 2, <https://nwb-schema.readthedocs.io>, "Units") holds
//! the spike times of all its units back to back, in seconds, in `/units/spike_times`; entry k of
//! `/units/spike_times_index` says where those of unit k end.
//!
//! A generated train is a homogeneous Poisson process: the intervals between its spikes are
//! exponential with mean 1 / rate, -ln(U) / rate for U uniform in (0, 1] (Devroye, 1986, ch. VI).
//! U is drawn from the run's seed and the train's number as [`Task::rng`](rankpool::Task::rng)
//! draws from the seed and the task's, so with one seed all jobs have the same trains.

use std::{
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
};

use clap::builder::{OsStringValueParser, TypedValueParser};
use rankpool::{
    Error,
    rand_chacha::{
        ChaCha8Rng,
        rand_core::{Rng, SeedableRng},
    },
};
use serde::{Deserialize, Serialize};

use crate::input::{Dataset, MOST_NUMBERS, finite, hdf5_file};

/// Where generated trains stop, in s, unless --t-stop says otherwise.
const T_STOP: f64 = 10.0;

#[derive(clap::Args, Serialize, Deserialize)]
pub struct Trains {
    /// NWB file of spike trains, which every worker can read; without it they are generated
    #[arg(value_name = "FILE.nwb")]
    #[arg(value_parser = OsStringValueParser::new().try_map(hdf5_file).map(PathBuf::from))]
    pub file: Option<PathBuf>,
    /// Number of trains to generate
    #[arg(long, default_value_t = 8, value_parser = rankpool::cli::count_from_1::<u64>)]
    #[arg(conflicts_with = "file")]
    trains: u64,
    /// Mean rate of the generated trains, in 1/s
    #[arg(long, default_value_t = 10.0, value_parser = finite, allow_negative_numbers = true)]
    #[arg(conflicts_with = "file")]
    rate: f64,
    /// First moment that counts, in s
    #[arg(long, default_value_t = 0.0, value_parser = finite, allow_negative_numbers = true)]
    t_start: f64,
    /// Last moment that counts, in s [default: 10, or with a file the last spike]
    #[arg(long, value_parser = finite, allow_negative_numbers = true)]
    t_stop: Option<f64>,
}

/// One or several neighbouring trains.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// Their places in `/units/spike_times`, or, of generated trains, their numbers
    places: Range<u64>,
    /// How many places or numbers there are in all
    of: u64,
}

impl Trains {
    /// A stretch for each train, or one for all. Of a file it reads the index and not the spikes.
    ///
    /// # Errors
    /// When the flags make no sense, or the file is not as NWB has it.
    pub fn stretches(&self, as_one: bool) -> Result<impl Iterator<Item = Stretch>, Error> {
        if let Some(interval) = self.known_interval() {
            let (t_start, t_stop) = interval.into_inner();
            if t_stop <= t_start {
                return Err(Error::usage(format!("--t-stop {t_stop} must be after --t-start {t_start}")));
            } else if !(t_stop - t_start).is_normal() {
                return Err(Error::usage(format!(
                    "from --t-start {t_start:?} to --t-stop {t_stop:?} is too long or too short for a number"
                )));
            }
        }
        let bounds = self.file.as_deref().map(bounds).transpose()?;
        let trains = bounds.as_ref().map_or(self.trains as usize, |bounds| bounds.len() - 1);
        let step = if as_one { trains } else { 1 };
        let bound = move |train: usize| bounds.as_ref().map_or(train as u64, |bounds| bounds[train]);
        let firsts = (0..trains).step_by(step);
        match self.file.as_deref().map(spike_times) {
            Some(times) => firsts
                .clone()
                .try_for_each(|first| times.check_count((bound(first + step) - bound(first)) as usize))?,
            None => self.check_rate(step)?,
        }
        let of = bound(trains);
        Ok(firsts.map(move |first| Stretch { places: bound(first)..bound(first + step), of }))
    }

    /// The spike times of a stretch, in s. The seed is the run's.
    ///
    /// # Errors
    /// When the file cannot be read, or is another one than at the start or on rank 0's host.
    pub fn spikes(&self, Stretch { places, of }: Stretch, seed: u64) -> Result<Vec<f64>, Error> {
        match &self.file {
            Some(file) => {
                spike_times(file).floats_in(places.start as usize..places.end as usize, of as usize)
            }
            None => {
                let interval = self.t_start..=self.t_stop.unwrap_or(T_STOP);
                Ok(places.flat_map(|train| poisson(seed, train, self.rate, interval.clone())).collect())
            }
        }
    }

    /// The time that counts, from --t-start to --t-stop, or to the last of these spikes.
    ///
    /// # Errors
    /// When these spikes leave no time.
    pub fn interval(&self, spikes: &[f64]) -> Result<RangeInclusive<f64>, Error> {
        let file = match self.t_stop() {
            Ok(t_stop) => return Ok(self.t_start..=t_stop),
            Err(file) => file,
        };
        let why = match spikes.iter().copied().reduce(f64::max) {
            Some(last) if last > self.t_start => return Ok(self.t_start..=last),
            Some(last) => format!("the last spike, at {last} s, is not after --t-start {}", self.t_start),
            None => "a train without spikes has no last one to stop at".into(),
        };
        Err(spike_times(file).refused(format!("{why}; give --t-stop")))
    }

    /// The time that counts, where it does not depend on the spikes.
    pub fn known_interval(&self) -> Option<RangeInclusive<f64>> {
        self.t_stop().ok().map(|t_stop| self.t_start..=t_stop)
    }

    /// The last moment that counts, or the file whose last spike it is.
    fn t_stop(&self) -> Result<f64, &Path> {
        match (self.t_stop, &self.file) {
            (Some(t_stop), _) => Ok(t_stop),
            (None, None) => Ok(T_STOP),
            (None, Some(file)) => Err(file),
        }
    }

    fn check_rate(&self, trains: usize) -> Result<(), Error> {
        let interval = self.interval(&[])?;
        let spikes = self.rate * (interval.end() - interval.start()) * trains as f64;
        if (0.0..=MOST_NUMBERS as f64).contains(&spikes) {
            return Ok(());
        }
        Err(Error::usage(format!(
            "--rate {:?} would give {spikes:?} spikes in one task; from 0 to {MOST_NUMBERS} are possible",
            self.rate
        )))
    }
}

fn spike_times(file: &Path) -> Dataset {
    Dataset::new(file, "/units/spike_times")
}

/// Where the trains of a file begin in its spike times, and where the last one ends.
fn bounds(file: &Path) -> Result<Vec<u64>, Error> {
    let (times, index) = (spike_times(file), Dataset::new(file, "/units/spike_times_index"));
    let [length] = times.shape()?[..] else {
        return Err(times.refused("must have one dimension, as NWB has it"));
    };
    let mut bounds = vec![0];
    bounds.extend(index.integers()?);
    let falls = bounds.windows(2).position(|pair| pair[1] < pair[0]);
    if let Some(unit) = falls {
        return Err(index.refused(format!(
            "unit {unit} ends at {}, before it begins at {}; write the file anew",
            bounds[unit + 1],
            bounds[unit]
        )));
    }
    let end = bounds[bounds.len() - 1];
    if end != length as u64 {
        return Err(index.refused(format!(
            "the last unit ends at {end}, but spike_times has {length} numbers; write the file anew"
        )));
    }
    if bounds.len() == 1 {
        return Err(index.refused("has no units; choose a file with spike trains"));
    }
    Ok(bounds)
}

/// The spike times of a generated train, in ascending order.
fn poisson(seed: u64, train: u64, rate: f64, interval: RangeInclusive<f64>) -> impl Iterator<Item = f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(train);
    let mut elapsed = 0.0;
    std::iter::from_fn(move || {
        let uniform = ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        elapsed -= uniform.ln() / rate;
        Some(interval.start() + elapsed).filter(|time| interval.contains(time))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trains of a rate, generated from 1 s to 11 s.
    fn generated(trains: u64, rate: f64) -> Trains {
        Trains { file: None, trains, rate, t_start: 1.0, t_stop: Some(11.0) }
    }

    #[test]
    fn generated_counts_have_the_mean_and_the_variance_of_a_poisson_process() {
        let trains = generated(2000, 5.0);
        let counts: Vec<f64> = trains
            .stretches(false)
            .unwrap()
            .map(|train| {
                let spikes = trains.spikes(train, 3).unwrap();
                assert!(spikes.is_sorted() && spikes.iter().all(|time| (1.0..=11.0).contains(time)));
                spikes.len() as f64
            })
            .collect();
        let mean = counts.iter().sum::<f64>() / 2000.0;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 1999.0;
        // Both are 50, with standard errors of 0.16 and 1.6.
        assert!((mean - 50.0).abs() < 0.8, "{mean}");
        assert!((variance - 50.0).abs() < 8.0, "{variance}");
    }

    #[test]
    fn a_train_is_the_same_alone_and_among_others() {
        let trains = generated(3, 2.0);
        let alone: Vec<f64> =
            trains.stretches(false).unwrap().flat_map(|train| trains.spikes(train, 7).unwrap()).collect();
        let all = trains.stretches(true).unwrap().next().unwrap();
        assert_eq!(all, Stretch { places: 0..3, of: 3 });
        assert_eq!(trains.spikes(all.clone(), 7).unwrap(), alone);
        assert_ne!(trains.spikes(all, 8).unwrap(), alone);
    }

    #[test]
    fn rates_that_make_no_sense_are_refused() {
        for rate in [-1.0, 1e300] {
            assert!(generated(1, rate).stretches(false).is_err(), "{rate}");
        }
        assert_eq!(generated(1, 0.0).spikes(Stretch { places: 0..1, of: 1 }, 0).unwrap(), [0.0; 0]);
        assert!(generated(1 << 20, 100.0).stretches(false).is_ok());
        assert!(generated(1 << 20, 100.0).stretches(true).is_err(), "too many in one task");
    }

    #[cfg(feature = "hdf5")]
    mod files {
        use super::*;

        /// An NWB file as far as this module reads it.
        fn file<I: hdf5::H5Type>(times: &[f64], index: &[I]) -> (tempfile::TempDir, Trains) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("units.nwb");
            let units = hdf5::File::create(&path).unwrap().create_group("units").unwrap();
            units.new_dataset_builder().with_data(times).create("spike_times").unwrap();
            units.new_dataset_builder().with_data(index).create("spike_times_index").unwrap();
            (folder, Trains { file: Some(path), t_start: 0.0, t_stop: None, ..generated(1, 1.0) })
        }

        #[test]
        fn the_index_tells_the_trains_apart_also_empty_ones() {
            let (_folder, trains) = file(&[0.5, 2.0, 1.5], &[0u8, 2, 2, 3]);
            let stretches: Vec<Stretch> = trains.stretches(false).unwrap().collect();
            assert_eq!(stretches, [0..0, 0..2, 2..2, 2..3].map(|places| Stretch { places, of: 3 }));
            let other = Stretch { places: 0..2, of: 4 };
            assert!(trains.spikes(other, 0).unwrap_err().to_string().contains("had 4 numbers at the start"));
            let spikes = stretches.into_iter().map(|train| trains.spikes(train, 0).unwrap());
            assert_eq!(spikes.collect::<Vec<_>>(), [vec![], vec![0.5, 2.0], vec![], vec![1.5]]);
            let all = trains.stretches(true).unwrap().next();
            assert_eq!(all, Some(Stretch { places: 0..3, of: 3 }));
            assert_eq!(trains.interval(&[0.5, 2.0, 1.5]).unwrap(), 0.0..=2.0);
            assert!(trains.interval(&[]).is_err() && trains.interval(&[0.0]).is_err());
        }

        #[test]
        fn a_file_may_be_of_any_size_where_each_task_reads_little_of_it() {
            let most = MOST_NUMBERS as u64;
            let file = |index: &[u64]| {
                let (folder, trains) = file::<u64>(&[], index);
                let file = hdf5::File::open_rw(trains.file.as_ref().unwrap()).unwrap();
                let units = file.group("units").unwrap();
                units.unlink("spike_times").unwrap();
                let times = units.new_dataset::<f64>().chunk(1 << 20).shape(2 * MOST_NUMBERS);
                times.create("spike_times").unwrap();
                (folder, trains)
            };
            let (_folder, trains) = file(&[2, most + 2, 2 * most]);
            let first = trains.stretches(false).unwrap().next().unwrap();
            assert_eq!(trains.spikes(first, 0).unwrap(), [0.0; 2]);
            let (_other, longer) = file(&[2, most + 3, 2 * most]);
            for refused in [trains.stretches(true).err(), longer.stretches(false).err()] {
                let error = refused.unwrap().to_string();
                assert!(error.contains("at most 134217728 numbers can be read"), "{error}");
            }
        }

        #[test]
        fn an_index_that_does_not_fit_the_spikes_is_refused() {
            for (index, why) in [
                (&[2i32, 1, 3][..], "unit 1 ends at 1, before it begins at 2"),
                (&[1, 2], "the last unit ends at 2, but spike_times has 3"),
                (&[1, 4], "the last unit ends at 4, but spike_times has 3"),
                (&[-1, 3], "number 0 is -1, less than 0"),
            ] {
                let (_folder, trains) = file(&[0.5, 2.0, 1.5], index);
                let error = trains.stretches(false).err().unwrap().to_string();
                assert!(error.contains("/units/spike_times_index: ") && error.contains(why), "{error}");
            }
            let (_folder, trains) = file(&[0.5, 2.0, 1.5], &[1.0, 3.0]);
            assert!(trains.stretches(false).err().unwrap().to_string().contains("must hold whole numbers"));
            let (_folder, trains) = file::<u8>(&[], &[]);
            assert!(trains.stretches(true).err().unwrap().to_string().contains("has no units"));
        }
    }
}
