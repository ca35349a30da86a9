//! A map that runs: blocks of items go in, blocks of results come out.

use std::{
    sync::{Mutex, PoisonError},
    task::Poll,
    time::{Duration, Instant},
    vec,
};

use pyo3::{IntoPyObjectExt, prelude::*, types::PyList};
use rankpool::{Error, Stream, Unordered};

use crate::{
    errors::{failed, raised},
    parts::Parts,
    work::{Items, Results},
};

/// Python's signals are looked at so often while a thread waits.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// Blocks from a Python callable, which gives `(first index, cost, parts)`, or `None` after the last one.
pub(crate) struct Source {
    pub(crate) next: Py<PyAny>,
    /// How many are left, where that is known.
    pub(crate) left: Option<usize>,
}

impl Iterator for Source {
    type Item = Items;

    fn next(&mut self) -> Option<Items> {
        self.left = self.left.map(|left| left.saturating_sub(1));
        Python::attach(|py| {
            let block = self.next.call0(py).and_then(|block| {
                let Some((first, cost, parts)) =
                    block.extract::<Option<(u64, f64, Bound<'_, PyList>)>>(py)?
                else {
                    return Ok(None);
                };
                Ok(Some(Items { first, cost, parts: Parts::from_python(&parts, size_of::<u64>())? }))
            });
            // The callable keeps its errors to itself; one of the conversion is told by Python's last resort.
            block.unwrap_or_else(|error: PyErr| {
                error.write_unraisable(py, Some(self.next.bind(py)));
                None
            })
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.unwrap_or(0), self.left)
    }
}

/// Blocks in the order in which they begin.
type Sorted = vec::IntoIter<(u64, Items)>;

/// What the results come out of.
pub(crate) enum Running {
    InOrder(Stream<'static, Source, Results>),
    AsTheyEnd(Unordered<'static, Source, Results>),
    LongestFirst(Stream<'static, Sorted, Results>),
    LongestFirstAsTheyEnd(Unordered<'static, Sorted, Results>),
}

type Next<T> = Poll<Option<Result<T, Error>>>;

/// Blocks that come in order need no number.
fn unnumbered(next: Next<Results>) -> Next<(u64, Results)> {
    next.map(|next| next.map(|next| next.map(|results| (0, results))))
}

impl Running {
    fn poll(&mut self, ahead: u64, limit: Duration) -> Next<(u64, Results)> {
        match self {
            Running::InOrder(stream) => unnumbered(stream.poll(ahead, limit)),
            Running::AsTheyEnd(stream) => stream.poll(ahead, limit),
            Running::LongestFirst(stream) => unnumbered(stream.poll(ahead, limit)),
            Running::LongestFirstAsTheyEnd(stream) => stream.poll(ahead, limit),
        }
    }
}

/// A map under way; dropped, it is ended.
#[pyclass(frozen, module = "rankpool._rankpool")]
pub(crate) struct Map(pub(crate) Mutex<Option<Running>>);

#[pymethods]
impl Map {
    /// The next block of results: `None` when it has not come within `seconds`, `()` when the map is over,
    /// `(number, nanoseconds, parts)`, or what is known of a block that failed. The number of a block is told where
    /// blocks come out of order.
    fn poll<'py>(&self, py: Python<'py>, ahead: u64, seconds: f64) -> PyResult<Option<Bound<'py, PyAny>>> {
        let deadline =
            Duration::try_from_secs_f64(seconds).ok().and_then(|wait| Instant::now().checked_add(wait));
        loop {
            let left = deadline.map_or(LOOK, |at| at.saturating_duration_since(Instant::now()).min(LOOK));
            let next = py.detach(|| {
                let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                map.as_mut().map_or(Poll::Ready(None), |running| running.poll(ahead, left))
            });
            match next {
                Poll::Ready(None) => return ().into_bound_py_any(py).map(Some),
                Poll::Ready(Some(Ok((number, results)))) => {
                    let parts = results.parts.into_python(py)?;
                    return (number, results.nanos, parts).into_bound_py_any(py).map(Some);
                }
                Poll::Ready(Some(Err(error))) => {
                    let Some(task) = error.task() else { return Err(raised(py, &error)) };
                    return failed(py, task).into_bound_py_any(py).map(Some);
                }
                Poll::Pending => py.check_signals()?,
            }
            if deadline.is_some_and(|at| Instant::now() >= at) {
                return Ok(None);
            }
        }
    }

    /// Ends the map: what has not run does not run.
    fn close(&self, py: Python<'_>) {
        py.detach(|| drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take()));
    }
}
