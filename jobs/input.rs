//! What several jobs read: numbers on the command line, and datasets of HDF5 files. Only here does
//! it matter whether the program was built with HDF5.

use std::{ops::Range, path::PathBuf, str::FromStr};

use rankpool::Error;
use serde::{Deserialize, Serialize};

/// The most numbers that one task may make, 1 GiB of them; more is a slip in a flag.
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

/// A dataset of an HDF5 file, written as FILE:DATASET.
#[derive(Clone, Serialize, Deserialize)]
pub struct Dataset {
    file: PathBuf,
    name: String,
}

impl FromStr for Dataset {
    type Err = String;

    fn from_str(text: &str) -> Result<Dataset, String> {
        match text.rsplit_once(':') {
            Some((file, name)) if !file.is_empty() && !name.is_empty() => Ok(Dataset::new(file, name)),
            _ => Err("expected FILE:DATASET, as in data.h5:/x".into()),
        }
    }
}

impl Dataset {
    pub fn new(file: impl Into<PathBuf>, name: &str) -> Dataset {
        Dataset { file: file.into(), name: name.into() }
    }

    /// An error that names the file and the dataset.
    pub fn refused(&self, why: impl std::fmt::Display) -> Error {
        Error::usage(format!("{}: dataset {}: {why}", self.file.display(), self.name))
    }
}

/// Each call opens the file anew; nothing is kept open between tasks. HDF5 converts the numbers of
/// other types that the file may hold. Errors are those of [`Dataset::refused`].
#[cfg(feature = "hdf5")]
impl Dataset {
    /// The length of each dimension. The dataset holds numbers.
    pub fn shape(&self) -> Result<Vec<usize>, Error> {
        let dataset = self.open()?;
        match dataset.dtype().map_err(|error| self.refused(error))?.conv_to::<f64>() {
            Some(_) => dataset.space().map(|space| space.shape()).map_err(|error| self.refused(error)),
            None => Err(self.refused("holds no numbers; choose one that does")),
        }
    }

    /// All numbers, the last dimension running fastest.
    pub fn integers(&self) -> Result<Vec<u64>, Error> {
        self.open()?.read_raw().map_err(|error| self.refused(error))
    }

    /// All numbers, the last dimension running fastest; each is finite.
    pub fn floats(&self) -> Result<Vec<f64>, Error> {
        self.all_finite(self.open()?.read_raw().map_err(|error| self.refused(error))?, 0)
    }

    /// Some numbers of a dataset of one dimension; each is finite.
    pub fn floats_in(&self, part: Range<usize>) -> Result<Vec<f64>, Error> {
        let first = part.start;
        let numbers = self.open()?.read_slice_1d(part).map_err(|error| self.refused(error))?;
        self.all_finite(numbers.to_vec(), first)
    }

    fn all_finite(&self, numbers: Vec<f64>, first: usize) -> Result<Vec<f64>, Error> {
        match numbers.iter().position(|number| !number.is_finite()) {
            None => Ok(numbers),
            Some(k) => Err(self.refused(format!("number {} is {}", first + k, numbers[k]))),
        }
    }

    fn open(&self) -> Result<hdf5::Dataset, Error> {
        let refused = |why: String| Error::usage(format!("{}: {why}", self.file.display()));
        // The system says in fewer words than HDF5 that there is no such file.
        let about = std::fs::metadata(&self.file).map_err(|error| refused(error.to_string()))?;
        if !about.is_file() {
            return Err(refused("is no regular file; choose an HDF5 file".into()));
        }
        let file = hdf5::File::open(&self.file)
            .map_err(|error| refused(format!("cannot be opened as an HDF5 file: {error}")))?;
        file.dataset(&self.name)
            .map_err(|error| self.refused(format!("{error}; choose a file and a dataset that is in it")))
    }
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

    pub fn floats(&self) -> Result<Vec<f64>, Error> {
        self.shape().map(|_| Vec::new())
    }

    pub fn floats_in(&self, _: Range<usize>) -> Result<Vec<f64>, Error> {
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
        let dataset: Dataset = "a:b/data.h5:/group/x".parse().unwrap();
        assert_eq!((dataset.file, dataset.name), ("a:b/data.h5".into(), "/group/x".into()));
        for wrong in ["data.h5", "data.h5:", ":/x"] {
            assert!(wrong.parse::<Dataset>().is_err(), "{wrong}");
        }
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
        file.close().unwrap();
        let dataset = |name| Dataset::new(&path, name);
        assert_eq!(dataset("single").floats().unwrap(), [0.5, 1.5, 2.5]);
        assert_eq!(dataset("single").floats_in(1..2).unwrap(), [1.5]);
        assert_eq!(dataset("single").floats_in(3..3).unwrap(), [0.0; 0]);
        assert_eq!(dataset("bytes").integers().unwrap(), [3, 250]);
        assert_eq!(dataset("nan").floats_in(2..3).unwrap(), [1.0]);
        let error = dataset("nan").floats().unwrap_err().to_string();
        assert!(error.ends_with("data.h5: dataset nan: number 1 is NaN"), "{error}");
        assert!(dataset("single").floats_in(2..4).is_err(), "past the end");
        assert_eq!(dataset("bytes").shape().unwrap(), [2]);
        assert!(dataset("text").shape().unwrap_err().to_string().contains("holds no numbers"));
        assert!(dataset("missing").shape().unwrap_err().to_string().contains("'missing' doesn't exist"));
    }
}
