//! Errors of the library as Python's exceptions; their classes are in `rankpool/_errors.py`.

use pyo3::{prelude::*, types::PyBytes};
use rankpool::{Error, TaskError};

/// What became of a task that failed: message, kind, index, rank, host, attempt, details.
pub(crate) type Failed<'py> =
    (String, String, u64, Option<u32>, Option<String>, u16, Option<Bound<'py, PyBytes>>);

pub(crate) fn failed<'py>(py: Python<'py>, error: &TaskError) -> Failed<'py> {
    (
        error.message().to_owned(),
        format!("{:?}", error.kind()),
        error.index(),
        error.rank(),
        error.host().map(str::to_owned),
        error.attempt(),
        error.details().map(|details| PyBytes::new(py, details)),
    )
}

/// The exception for an error that is of no task.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    let arguments = (format!("{:?}", error.kind()), error.to_string(), error.exit_code());
    let made = py
        .import("rankpool._errors")
        .and_then(|errors| errors.getattr("_of_the_run"))
        .and_then(|make| make.call1(arguments));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}
