//! Parquet files, in a program that was built without them: it refuses to make one.

use std::io::{self, Write};

use crate::{error::Error, paths::Named, store::file::Reader};

pub(super) fn write(_: &Reader, _: impl Write + Send, _: &Named) -> Result<io::Result<()>, Error> {
    Err(Error::usage(
        "this program was built without Parquet: build it with the feature `parquet`, or make the file in Python, \
         by rankpool.read(..).to_pandas().to_parquet(..)",
    ))
}
