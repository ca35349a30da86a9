//! What several jobs read: numbers on the command line, and datasets of HDF5 files. Only here does
//! it matter whether the program was built with HDF5.

use std::{ffi::OsString, ops::Range, path::PathBuf};

use rankpool::Error;
use serde::{Deserialize, Serialize};

#[cfg(feature = "hdf5")]
use crate::file;
use crate::file::EMPTY;

/// The most numbers that one task may make or read, 1 GiB of them; more is a slip in a flag or a file.
pub const MOST_NUMBERS: usize = 1 << 27;

/// A flag's number, neither infinite nor NaN.
pub fn finite(text: &str) -> Result<f64, String> {
    let number: f64 = text.trim().parse().map_err(|error| format!("{error}"))?;
    if number.is_finite() { Ok(number) } else { Err("must be finite".into()) }
}

/// A flag's number that is more than 0.
pub fn positive(text: &str) -> Result<f64, String> {
    let number = finite(text)?;
    if number > 0.0 { Ok(number) } else { Err("must be more than 0".into()) }
}

/// The name of a file that HDF5 is to open.
pub fn hdf5_file(name: OsString) -> Result<String, String> {
    utf8(name).and_then(|name| if name.is_empty() { Err(EMPTY.into()) } else { Ok(name) })
}

/// HDF5 takes no names but UTF-8.
fn utf8(name: OsString) -> Result<String, String> {
    let why = "the name is not UTF-8, and HDF5 opens no other; rename the file, or give it a link with another name";
    name.into_string().map_err(|_| why.into())
}

/// A dataset of an HDF5 file, written as FILE:DATASET.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dataset {
    pub file: PathBuf,
    name: String,
}

impl Dataset {
    pub fn parse(text: OsString) -> Result<Dataset, String> {
        match utf8(text)?.rsplit_once(':') {
            Some((file, name)) if !file.is_empty() && !name.is_empty() => Ok(Dataset::new(file, name)),
            _ => Err("expected FILE:DATASET, as in data.h5:/x".into()),
        }
    }

    pub fn new(file: impl Into<PathBuf>, name: &str) -> Dataset {
        Dataset { file: file.into(), name: name.into() }
    }

    /// An error that names the file and the dataset.
    pub fn refused(&self, why: impl std::fmt::Display) -> Error {
        Error::usage(format!("{}: dataset {}: {why}", self.file.display(), self.name))
    }

    /// Refuses to read so many of the numbers at once, where they are too many.
    pub fn check_count(&self, numbers: usize) -> Result<(), Error> {
        if numbers > MOST_NUMBERS {
            return Err(self.refused(format!(
                "{numbers} numbers of it are needed at once, and at most {MOST_NUMBERS} numbers can be read; \
                 choose a smaller one"
            )));
        }
        Ok(())
    }
}

/// Each call opens the file once; nothing is kept open between tasks. Errors are those of [`Dataset::refused`].
#[cfg(feature = "hdf5")]
impl Dataset {
    /// The length of each dimension. The dataset holds numbers, maybe more than can be read.
    pub fn shape(&self) -> Result<Vec<usize>, Error> {
        self.open().map(|(_, _, shape)| shape)
    }

    /// All numbers of a dataset of one dimension, which are whole and not negative.
    pub fn integers(&self) -> Result<Vec<u64>, Error> {
        let (dataset, kind, shape) = self.open_to_read()?;
        if shape.len() != 1 {
            return Err(self.refused("must have one dimension"));
        }
        match kind {
            Kind::Unsigned => dataset.read_raw().map_err(|error| self.refused(error)),
            // HDF5 would make 0 of a negative number that is read as one without a sign.
            Kind::Signed => {
                let numbers: Vec<i64> = dataset.read_raw().map_err(|error| self.refused(error))?;
                let negative = |k: usize| self.refused(format!("number {k} is {}, less than 0", numbers[k]));
                numbers.iter().enumerate().map(|(k, n)| u64::try_from(*n).map_err(|_| negative(k))).collect()
            }
            Kind::Float => Err(self.refused("holds fractions, and must hold whole numbers")),
        }
    }

    /// All numbers, the last dimension running fastest, and the length of each dimension. Each number is
    /// finite; those of another type are converted.
    pub fn floats(&self) -> Result<(Vec<f64>, Vec<usize>), Error> {
        let (dataset, _, shape) = self.open_to_read()?;
        let numbers = dataset.read_raw().map_err(|error| self.refused(error))?;
        Ok((self.all_finite(numbers, 0)?, shape))
    }

    /// Some numbers of a dataset of one dimension, which had `of` numbers at the start and has them still.
    /// Each is finite; those of another type are converted.
    pub fn floats_in(&self, part: Range<usize>, of: usize) -> Result<Vec<f64>, Error> {
        let (dataset, _, shape) = self.open()?;
        if shape != [of] {
            let why = format!("has the shape {shape:?} here, and had {of} numbers at the start");
            return Err(self.refused(why));
        }
        self.check_count(part.len())?;
        let first = part.start;
        let numbers = dataset.read_slice_1d(part).map_err(|error| self.refused(error))?;
        self.all_finite(numbers.to_vec(), first)
    }

    fn all_finite(&self, numbers: Vec<f64>, first: usize) -> Result<Vec<f64>, Error> {
        match numbers.iter().position(|number| !number.is_finite()) {
            None => Ok(numbers),
            Some(k) => Err(self.refused(format!("number {} is {}", first + k, numbers[k]))),
        }
    }

    /// As [`Dataset::open`], where all numbers can be read.
    fn open_to_read(&self) -> Result<(hdf5::Dataset, Kind, Vec<usize>), Error> {
        let opened = self.open()?;
        self.check_count(opened.2.iter().fold(1, |size: usize, length| size.saturating_mul(*length)))?;
        Ok(opened)
    }

    /// The dataset, what the numbers are in it, and the length of each dimension.
    fn open(&self) -> Result<(hdf5::Dataset, Kind, Vec<usize>), Error> {
        use hdf5::types::TypeDescriptor::{Float, Integer, Unsigned};
        // The system says in fewer words than HDF5 that there is no such file.
        file::check(&self.file)?;
        let file = hdf5::File::open(&self.file).map_err(|error| {
            file::refused(&self.file, format!("cannot be opened as an HDF5 file: {error}"))
        })?;
        let dataset = file
            .dataset(&self.name)
            .map_err(|error| self.refused(format!("{error}; choose a file and a dataset that is in it")))?;
        if let Some(why) = crate::filters::missing(&dataset) {
            return Err(self.refused(why));
        }
        let kind = match dataset.dtype().map_err(|error| self.refused(error))?.to_descriptor() {
            Ok(Unsigned(_)) => Kind::Unsigned,
            Ok(Integer(_)) => Kind::Signed,
            Ok(Float(_)) => Kind::Float,
            _ => return Err(self.refused("holds no numbers; choose one that does")),
        };
        let shape = dataset.shape();
        Ok((dataset, kind, shape))
    }
}

/// What the numbers of a dataset are in the file.
#[cfg(feature = "hdf5")]
enum Kind {
    Unsigned,
    Signed,
    Float,
}

#[cfg(not(feature = "hdf5"))]
impl Dataset {
    pub fn shape(&self) -> Result<Vec<usize>, Error> {
        Err(self.refused(
            "this program was built without the feature hdf5 and cannot read it; build it with that feature",
        ))
    }

    pub fn integers(&self) -> Result<Vec<u64>, Error> {
        self.shape().map(|_| Vec::new())
    }

    pub fn floats(&self) -> Result<(Vec<f64>, Vec<usize>), Error> {
        self.shape().map(|shape| (Vec::new(), shape))
    }

    pub fn floats_in(&self, _: Range<usize>, _: usize) -> Result<Vec<f64>, Error> {
        self.shape().map(|_| Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_the_command_line_are_finite() {
        assert_eq!(finite(" -2.5"), Ok(-2.5));
        assert_eq!(positive("1e-3"), Ok(1e-3));
        for wrong in ["nan", "inf", "", "1,0"] {
            assert!(finite(wrong).is_err(), "{wrong}");
        }
        assert!(positive("0").is_err() && positive("-1").is_err());
    }

    #[test]
    fn a_dataset_is_named_after_its_file() {
        let dataset = Dataset::parse("a:b/data.h5:/group/x".into()).unwrap();
        assert_eq!((dataset.file, dataset.name), ("a:b/data.h5".into(), "/group/x".into()));
        for wrong in ["", "data.h5", "data.h5:", ":/x"] {
            assert!(Dataset::parse(wrong.into()).is_err(), "{wrong}");
        }
        let name = std::os::unix::ffi::OsStringExt::from_vec(b"a\xff.h5:/x".into());
        assert!(Dataset::parse(name).unwrap_err().contains("is not UTF-8"));
    }

    #[cfg(feature = "hdf5")]
    #[test]
    fn other_numbers_are_converted_and_those_that_are_not_finite_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.h5");
        let file = hdf5::File::create(&path).unwrap();
        file.new_dataset_builder().with_data(&[0.5f32, 1.5, 2.5]).create("single").unwrap();
        file.new_dataset_builder().with_data(&[3u8, 250]).create("bytes").unwrap();
        file.new_dataset_builder().with_data(&[0.0, f64::NAN, 1.0]).create("nan").unwrap();
        file.new_dataset_builder().with_data(&[hdf5::types::FixedAscii::<1>::new()]).create("text").unwrap();
        file.new_dataset::<f32>().chunk(1).shape(2 * MOST_NUMBERS).create("long").unwrap();
        file.close().unwrap();
        let dataset = |name| Dataset::new(&path, name);
        assert_eq!(dataset("single").floats().unwrap(), (vec![0.5, 1.5, 2.5], vec![3]));
        assert_eq!(dataset("single").floats_in(1..2, 3).unwrap(), [1.5]);
        assert_eq!(dataset("single").floats_in(3..3, 3).unwrap(), [0.0; 0]);
        assert_eq!(dataset("bytes").integers().unwrap(), [3, 250]);
        assert_eq!(dataset("nan").floats_in(2..3, 3).unwrap(), [1.0]);
        let error = dataset("nan").floats().unwrap_err().to_string();
        assert!(error.ends_with("data.h5: dataset nan: number 1 is NaN"), "{error}");
        assert!(dataset("single").floats_in(2..4, 3).is_err(), "past the end");
        assert_eq!(
            dataset("long").floats_in(MOST_NUMBERS..MOST_NUMBERS + 2, 2 * MOST_NUMBERS).unwrap(),
            [0.0; 2]
        );
        let error = dataset("long").floats_in(0..MOST_NUMBERS + 1, 2 * MOST_NUMBERS).unwrap_err().to_string();
        assert!(error.contains("134217729 numbers of it are needed at once"), "{error}");
        assert_eq!(dataset("bytes").shape().unwrap(), [2]);
        assert!(dataset("text").shape().unwrap_err().to_string().contains("holds no numbers"));
        assert!(dataset("missing").shape().unwrap_err().to_string().contains("'missing' doesn't exist"));
    }

    #[cfg(feature = "hdf5")]
    #[test]
    fn whole_numbers_are_read_as_they_are_and_others_are_not_made_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.h5");
        let file = hdf5::File::create(&path).unwrap();
        file.new_dataset_builder().with_data(&[0, i64::MAX]).create("signed").unwrap();
        file.new_dataset_builder().with_data(&[0, u64::MAX]).create("unsigned").unwrap();
        file.new_dataset_builder().with_data(&[3i8, -1]).create("negative").unwrap();
        file.new_dataset_builder().with_data(&[1.0, 2.0]).create("float").unwrap();
        file.new_dataset_builder().with_data(&[true, false]).create("bool").unwrap();
        file.new_dataset::<u8>().create("scalar").unwrap();
        file.new_dataset::<u8>().shape((2, 2)).create("table").unwrap();
        file.new_dataset::<f32>().chunk((1, 1)).shape((1 << 20, 1 << 20)).create("sparse").unwrap();
        file.close().unwrap();
        let dataset = |name| Dataset::new(&path, name);
        assert_eq!(dataset("signed").integers().unwrap(), [0, i64::MAX as u64]);
        assert_eq!(dataset("unsigned").integers().unwrap(), [0, u64::MAX]);
        for (name, why) in [
            ("negative", "number 1 is -1, less than 0"),
            ("float", "must hold whole numbers"),
            ("bool", "holds no numbers"),
            ("scalar", "must have one dimension"),
            ("table", "must have one dimension"),
            ("sparse", "at most 134217728 numbers can be read"),
        ] {
            let error = dataset(name).integers().unwrap_err().to_string();
            assert!(error.contains(&format!("dataset {name}: ")) && error.contains(why), "{error}");
        }
        assert!(dataset("sparse").floats().unwrap_err().to_string().contains("at most"));
        assert!(dataset("bool").floats().unwrap_err().to_string().contains("holds no numbers"));
    }
}
