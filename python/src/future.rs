//! A task that was submitted.

use pyo3::{IntoPyObjectExt, prelude::*};
use rankpool::{Future, Status, TaskError};

use crate::{errors::failed, work::Results};

/// The core's side of a `rankpool.Future`.
#[pyclass(frozen, module = "rankpool._rankpool")]
pub(crate) struct Submitted(pub(crate) Future<Results>);

#[pymethods]
impl Submitted {
    /// Cancels the task if no worker has it yet, and says whether it is cancelled.
    fn cancel(&self, py: Python<'_>) -> bool {
        py.detach(|| self.0.cancel())
    }

    /// Whether a worker has it.
    fn running(&self) -> bool {
        self.0.status() == Status::Running
    }

    /// The number of the task in the order of submission.
    #[getter]
    fn index(&self) -> u64 {
        self.0.index()
    }
}

/// Calls `callback` with `(nanoseconds, parts)` or with what is known of the failure.
pub(crate) fn tell(callback: &Py<PyAny>, outcome: Result<Results, TaskError>) {
    Python::attach(|py| {
        let told = match outcome {
            Ok(Results { nanos, parts }) => {
                parts.to_python(py).and_then(|parts| (nanos, parts).into_bound_py_any(py))
            }
            Err(error) => failed(py, &error).into_bound_py_any(py),
        };
        if let Err(error) = told.and_then(|told| callback.bind(py).call1((told,))) {
            error.write_unraisable(py, Some(callback.bind(py)));
        }
    });
}
