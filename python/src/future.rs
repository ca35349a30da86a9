//! A task that was submitted.

use std::time::{Duration, Instant};

use pyo3::{IntoPyObjectExt, prelude::*};
use rankpool::{Future, Status, TaskError};

use crate::{errors::failed, map::LOOK, work::Results};

/// The core's side of a `rankpool.Future`.
#[pyclass(frozen, module = "rankpool._rankpool")]
pub(crate) struct Submitted(pub(crate) Future<Results>);

#[pymethods]
impl Submitted {
    /// Cancels the task if no worker has it yet, and says whether it is cancelled.
    fn cancel(&self, py: Python<'_>) -> bool {
        py.detach(|| self.0.cancel())
    }

    /// Waits for the outcome, as [`tell`] gives it; `None` when it has not come within `seconds`, for ever if negative.
    fn wait<'py>(&self, py: Python<'py>, seconds: f64) -> PyResult<Option<Bound<'py, PyAny>>> {
        let deadline =
            Duration::try_from_secs_f64(seconds).ok().and_then(|wait| Instant::now().checked_add(wait));
        loop {
            let left = deadline.map_or(LOOK, |at| at.saturating_duration_since(Instant::now()).min(LOOK));
            if let Some(outcome) = py.detach(|| self.0.wait_timeout(left)) {
                return told(py, outcome).map(Some);
            }
            py.check_signals()?;
            if deadline.is_some_and(|at| Instant::now() >= at) {
                return Ok(None);
            }
        }
    }

    /// Whether a worker has it, or has had it.
    fn has_begun(&self) -> bool {
        matches!(self.0.status(), Status::Running | Status::Done)
    }

    /// The number of the task in the order of submission.
    #[getter]
    fn index(&self) -> u64 {
        self.0.index()
    }
}

/// Calls `callback` with the outcome.
pub(crate) fn tell(callback: &Py<PyAny>, outcome: Result<Results, TaskError>) {
    Python::attach(|py| {
        if let Err(error) = told(py, outcome).and_then(|told| callback.bind(py).call1((told,))) {
            error.write_unraisable(py, Some(callback.bind(py)));
        }
    });
}

/// `(nanoseconds, parts)`, or what is known of the failure.
fn told(py: Python<'_>, outcome: Result<Results, TaskError>) -> PyResult<Bound<'_, PyAny>> {
    match outcome {
        Ok(Results { nanos, parts }) => (nanos, parts.into_python(py)?).into_bound_py_any(py),
        Err(error) => failed(py, &error).into_bound_py_any(py),
    }
}
