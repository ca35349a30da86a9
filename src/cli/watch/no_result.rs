//! Result files, in a program that was built without HDF5: it cannot read them.

use super::state::{Ended, News};
use crate::{error::Error, paths::Named};

pub(super) fn ended(path: &Named, _: &str) -> Option<Ended> {
    path.place().exists().then(Ended::default)
}

pub(super) fn read(path: &Named, _: &mut dyn FnMut(News)) -> Result<(), Error> {
    Err(Error::usage(format!(
        "{path}: this program was built without HDF5: build it with the feature `hdf5`"
    )))
}
