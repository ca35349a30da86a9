//! What runs on workers: the blocks of items of a chunk, under one hold of the interpreter's lock.

use std::sync::OnceLock;

use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyBytes, PyList},
};
use rankpool::{Task, Tasks};
use serde::{Deserialize, Serialize};

use crate::parts::Parts;

/// Items that are pickled and run together: one task of the library.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Items {
    /// The index of the first one in its map.
    pub(crate) first: u64,
    /// What it costs beside others, where maps begin with what costs most.
    #[serde(skip)]
    pub(crate) cost: f64,
    pub(crate) parts: Parts,
}

/// The results of a block.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    /// How long the items took, without the pickling.
    pub(crate) nanos: u64,
    pub(crate) parts: Parts,
}

/// The function of a map.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Code {
    parts: Parts,
    /// The function once it has been unpickled here.
    #[serde(skip)]
    run: OnceLock<Py<PyAny>>,
}

impl Code {
    pub(crate) fn new(parts: Parts) -> Code {
        Code { parts, run: OnceLock::new() }
    }

    /// What runs a block with the function.
    fn run<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(run) = self.run.get() {
            return Ok(run.bind(py).clone());
        }
        let run = worker(py)?.getattr("load")?.call1((self.parts.to_python(py)?,))?;
        Ok(self.run.get_or_init(|| run.unbind()).bind(py).clone())
    }
}

/// The module with the worker's side in Python.
fn worker(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static WORKER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let worker =
        WORKER.get_or_try_init(py, || Ok::<_, PyErr>(py.import("rankpool._worker")?.into_any().unbind()));
    Ok(worker?.bind(py).clone())
}

/// The blocks of a map.
pub(crate) fn run_map(code: &Code, tasks: &mut Tasks<'_, Items, Results>) {
    Python::attach(|py| {
        let run = code.run(py);
        while let Some(items) = tasks.take() {
            match &run {
                Ok(run) => run_block(py, run, items.first, items.parts, tasks),
                Err(error) => tasks.fail(error.to_string()),
            }
        }
    });
}

/// Tasks that were submitted one by one, each with its function.
pub(crate) fn run_submitted(tasks: &mut Tasks<'_, Parts, Results>) {
    Python::attach(|py| {
        let run = worker(py).and_then(|worker| worker.getattr("run_submitted"));
        while let Some(parts) = tasks.take() {
            match &run {
                Ok(run) => run_block(py, run, Task::current().index(), parts, tasks),
                Err(error) => tasks.fail(error.to_string()),
            }
        }
    });
}

/// Calls `run(first, parts, attempt, rank, slot, seed)`, which gives `(True, nanoseconds, parts)` or
/// `(False, message, details)`.
fn run_block<A: serde::de::DeserializeOwned>(
    py: Python<'_>,
    run: &Bound<'_, PyAny>,
    first: u64,
    parts: Parts,
    tasks: &mut Tasks<'_, A, Results>,
) {
    let task = Task::current();
    let outcome = parts
        .into_python(py)
        .and_then(|parts| run.call1((first, parts, task.attempt(), task.rank(), task.slot(), task.seed())))
        .and_then(|outcome| end(&outcome, tasks));
    if let Err(error) = outcome {
        tasks.fail(error.to_string());
    }
}

fn end<A>(outcome: &Bound<'_, PyAny>, tasks: &mut Tasks<'_, A, Results>) -> PyResult<()> {
    if outcome.get_item(0)?.extract()? {
        let nanos = outcome.get_item(1)?.extract()?;
        let parts = Parts::from_python(outcome.get_item(2)?.cast::<PyList>()?, size_of::<u64>())?;
        tasks.give(Results { nanos, parts });
    } else {
        let message: String = outcome.get_item(1)?.extract()?;
        let details = outcome.get_item(2)?;
        tasks.fail_with(message, details.cast::<PyBytes>()?.as_bytes().to_vec());
    }
    Ok(())
}
