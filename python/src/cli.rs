//! `python -m rankpool`: the command line of the program `rankpool`, and which processes are to run a script.

use std::{ffi::OsString, path::PathBuf};

use pyo3::{exceptions::PyRuntimeError, prelude::*};

/// Whether this process is to serve: another rank than 0, or one that was started as a worker.
#[pyfunction]
pub fn is_worker() -> bool {
    rankpool::is_worker()
}

/// Runs the command line and gives its exit code. `interpreter` with `leading` is what starts this program again; a
/// worker serves in here, and ends.
#[cfg(feature = "cli")]
#[pyfunction]
pub fn command_line(
    py: Python<'_>,
    name: String,
    interpreter: PathBuf,
    leading: Vec<OsString>,
    arguments: Vec<OsString>,
) -> PyResult<u8> {
    rankpool::cli::loaded(name, interpreter, leading, arguments);
    let code = py.detach(rankpool_jobs::main);
    let number = (0..=u8::MAX).find(|number| std::process::ExitCode::from(*number) == code);
    number.ok_or_else(|| PyRuntimeError::new_err("the run has ended with no exit code"))
}

/// The names of the commands.
#[cfg(feature = "cli")]
#[pyfunction]
pub fn commands() -> Vec<String> {
    rankpool_jobs::jobs().command_names()
}

#[cfg(not(feature = "cli"))]
#[pyfunction]
#[expect(unused_variables, reason = "the names are Python's")]
pub fn command_line(
    name: String,
    interpreter: PathBuf,
    leading: Vec<OsString>,
    arguments: Vec<OsString>,
) -> PyResult<u8> {
    Err(PyRuntimeError::new_err("this build of rankpool has no command line: build it with the feature cli"))
}

#[cfg(not(feature = "cli"))]
#[pyfunction]
pub fn commands() -> Vec<String> {
    Vec::new()
}
