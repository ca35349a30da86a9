//! The program that a worker is.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use serde::{Deserialize, Serialize};

/// A program and its arguments, as the user has named them in the place of this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    file: OsString,
    arguments: Vec<OsString>,
}

impl Program {
    pub(crate) fn new(file: &Path, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Program {
        Program { file: file.into(), arguments: arguments.into_iter().map(Into::into).collect() }
    }

    /// Its file, or the name by which PATH has it.
    pub(crate) fn file(&self) -> &OsStr {
        &self.file
    }

    pub(crate) fn arguments(&self) -> &[OsString] {
        &self.arguments
    }
}
