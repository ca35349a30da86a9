//! The executor of the library, with what Python asks of it.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError, RwLock},
    time::Duration,
};

use pyo3::{
    exceptions::{PyOverflowError, PyRuntimeError, PyTypeError, PyValueError},
    prelude::*,
    types::{PyDict, PyList},
};
use rankpool::{Builder, Call, Executor, Function, Mode, WorkerInfo};

use crate::{
    errors::raised,
    future::{Submitted, tell},
    heap,
    map::{Map, Running, Source},
    parts::{Handle, Held, Parts},
    work::{Code, run_map, run_submitted},
};

/// How long running tasks are waited for after ctrl-C.
const PATIENCE: Duration = Duration::from_millis(200);

type Worker = (u32, String, u32, Vec<u32>, Vec<(u32, Vec<u32>)>, u32);

/// A running executor.
#[pyclass(frozen, module = "rankpool._rankpool")]
pub(crate) struct Engine(RwLock<Option<Executor>>);

#[pymethods]
impl Engine {
    /// Starts it with these settings. A worker does not return, but on a communicator of the program's, where it gets
    /// `None` when it has served.
    #[staticmethod]
    fn start(py: Python<'_>, settings: &Bound<'_, PyDict>) -> PyResult<Option<Engine>> {
        // What is lost, and a journal that is damaged, would be known to nobody.
        #[cfg(feature = "cli")]
        rankpool::cli::start_log().map_err(|error| raised(py, &error))?;
        let builder = builder(py, settings)?;
        heap::share();
        let started = match setting::<i32>(settings, "communicator")? {
            #[cfg(feature = "mpi")]
            Some(handle) => py.detach(|| builder.communicator_by_handle(handle).start_or_serve()),
            _ => py.detach(|| builder.start().map(Some)),
        };
        let engine = |pool| Engine(RwLock::new(Some(pool)));
        started.map(|started| started.map(engine)).map_err(|error| raised(py, &error))
    }

    /// The mode that runs.
    #[getter]
    fn mode(&self) -> PyResult<String> {
        self.with(|pool| Ok(pool.mode().to_string()))
    }

    #[getter]
    fn num_workers(&self) -> PyResult<usize> {
        self.with(|pool| Ok(pool.num_workers()))
    }

    /// Each worker: rank, host, process, CPUs, children as (process, CPUs), and how many tasks it runs at a time.
    fn workers(&self) -> PyResult<Vec<Worker>> {
        let worker = |worker: &WorkerInfo| {
            let children = worker.children.iter().map(|child| (child.pid, child.cpus.clone())).collect();
            (worker.rank, worker.host.clone(), worker.pid, worker.cpus.clone(), children, worker.threads)
        };
        self.with(|pool| Ok(pool.workers().iter().map(worker).collect()))
    }

    /// Workers that have a chunk now, workers and children that were lost.
    fn progress(&self) -> PyResult<(usize, usize, usize)> {
        self.with(|pool| {
            let progress = pool.progress();
            Ok((progress.busy, progress.lost, progress.children_lost))
        })
    }

    /// Begins a map of the function in `code` over the blocks that `source` gives.
    #[pyo3(signature = (code, source, options))]
    fn map(
        &self,
        py: Python<'_>,
        code: &Bound<'_, PyList>,
        source: Py<PyAny>,
        options: &Bound<'_, PyDict>,
    ) -> PyResult<Map> {
        let code = Code::new(Parts::from_python(code, 0)?);
        self.with(|pool| {
            let call = set(pool.call_chunks_with(&code, run_map), options)?;
            let source = Source { next: source, left: setting(options, "total")? };
            let running = match (flag(options, "costs")?, flag(options, "unordered")?) {
                (false, false) => call.stream(source).map(|stream| Running::InOrder(stream.detached())),
                (false, true) => call.unordered(source).map(|stream| Running::AsTheyEnd(stream.detached())),
                (true, unordered) => {
                    // All blocks are made and kept before the first task begins.
                    let call = call.window(u64::MAX).cost(|items| items.cost);
                    match unordered {
                        false => call.stream(source).map(|stream| Running::LongestFirst(stream.detached())),
                        true => call
                            .unordered(source)
                            .map(|stream| Running::LongestFirstAsTheyEnd(stream.detached())),
                    }
                }
            };
            Ok(Map(Mutex::new(Some(running.map_err(|error| raised(py, &error))?))))
        })
    }

    /// A value that is sent once to each worker.
    fn scatter(&self, py: Python<'_>, parts: &Bound<'_, PyList>) -> PyResult<Handle> {
        let held = Held::from_python(parts)?;
        self.with(|pool| pool.scatter(&held).map(Handle).map_err(|error| raised(py, &error)))
    }

    /// Submits one task; `callback` is called with its outcome, on a thread of its own.
    fn submit(
        &self,
        py: Python<'_>,
        parts: &Bound<'_, PyList>,
        callback: Py<PyAny>,
        options: &Bound<'_, PyDict>,
    ) -> PyResult<Submitted> {
        let parts = Parts::from_python(parts, 0)?;
        self.with(|pool| {
            let call = set(pool.call_chunks(run_submitted), options)?;
            let future = call.submit(parts).map_err(|error| raised(py, &error))?;
            future.on_done(move |outcome| tell(&callback, outcome));
            Ok(Submitted(future))
        })
    }

    /// Cancels everything, what runs too, and says whether the workers have come to its end within `seconds`.
    fn give_up(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO);
        self.with(|pool| Ok(py.detach(|| pool.give_up(wait))))
    }

    /// Ends the workers, whatever they do, after a moment.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        let ended = py.detach(|| {
            let pool = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
            pool.map_or(Ok(()), |pool| pool.shutdown_within(PATIENCE))
        });
        ended.map_err(|error| raised(py, &error))
    }

    /// Waits for what was submitted, or cancels it, and ends the workers. Does nothing the second time.
    fn shutdown(&self, py: Python<'_>, cancel: bool) -> PyResult<()> {
        let ended = py.detach(|| {
            let pool = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
            pool.map_or(Ok(()), |pool| if cancel { pool.shutdown_now() } else { pool.shutdown() })
        });
        ended.map_err(|error| raised(py, &error))
    }
}

impl Engine {
    fn with<T>(&self, f: impl FnOnce(&Executor) -> PyResult<T>) -> PyResult<T> {
        let pool = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let pool = pool.as_ref();
        f(pool.ok_or_else(|| PyRuntimeError::new_err("cannot schedule new futures after shutdown"))?)
    }
}

/// The value of a setting that is there and not `None`.
fn setting<'py, T: FromPyObjectOwned<'py>>(settings: &Bound<'py, PyDict>, name: &str) -> PyResult<Option<T>> {
    let Some(value) = settings.get_item(name)?.filter(|value| !value.is_none()) else { return Ok(None) };
    value.extract().map(Some).map_err(Into::into).map_err(|error: PyErr| {
        let py = settings.py();
        let shown = value.repr().map_or_else(|_| String::new(), |shown| shown.to_string());
        let what = format!("{name} must not be {shown}: {}", error.value(py));
        // A number that is out of range is no other type.
        let is_value =
            error.is_instance_of::<PyOverflowError>(py) || error.is_instance_of::<PyValueError>(py);
        if is_value { PyValueError::new_err(what) } else { PyTypeError::new_err(what) }
    })
}

fn flag(settings: &Bound<'_, PyDict>, name: &str) -> PyResult<bool> {
    Ok(setting(settings, name)?.unwrap_or(false))
}

fn seconds(settings: &Bound<'_, PyDict>, name: &str) -> PyResult<Option<Duration>> {
    // They are positive numbers, and what is too many is as good as for ever.
    Ok(setting::<f64>(settings, name)?
        .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
}

fn builder(py: Python<'_>, settings: &Bound<'_, PyDict>) -> PyResult<Builder> {
    let mode: Mode = match setting::<String>(settings, "mode")? {
        Some(mode) => mode.parse().map_err(|error: rankpool::ParseError| raised(py, &error.into()))?,
        None => Mode::Auto,
    };
    let mut builder = Executor::builder().mode(mode);
    if let Some(workers) = setting(settings, "max_workers")? {
        builder = builder.workers(workers);
    }
    if let Some(seed) = setting(settings, "seed")? {
        builder = builder.seed(seed);
    }
    if let Some(processes) = setting(settings, "processes_per_worker")? {
        builder = builder.processes_per_worker(processes);
    }
    if let Some(cpus) = setting(settings, "cpus_per_task")? {
        builder = builder.cpus_per_task(cpus);
    }
    if let Some(limit) = seconds(settings, "start_timeout")? {
        builder = builder.start_timeout(limit);
    }
    if settings.contains("stall")? {
        builder = builder.stall(seconds(settings, "stall")?);
    }
    if let Some((program, arguments)) = setting::<(String, Vec<String>)>(settings, "program")? {
        builder = builder.worker_program(program, arguments);
    }
    if flag(settings, "oversubscribe")? {
        builder = builder.oversubscribe(true);
    }
    Ok(builder.from_env())
}

fn set<'p, F: Function>(call: Call<'p, F>, options: &Bound<'_, PyDict>) -> PyResult<Call<'p, F>> {
    let mut call = call;
    if let Some(chunk) = setting::<u64>(options, "chunk")? {
        call = call.chunk(chunk);
    }
    if let Some(retries) = setting(options, "retries")? {
        call = call.retries(retries);
    }
    if let Some(delay) = seconds(options, "retry_delay")? {
        call = call.retry_delay(delay);
    }
    if let Some(limit) = seconds(options, "task_timeout")? {
        call = call.task_timeout(limit);
    }
    if let Some(limit) = seconds(options, "time_limit")? {
        call = call.time_limit(limit);
    }
    if let Some(seed) = setting(options, "seed")? {
        call = call.seed(seed);
    }
    if let Some(label) = setting::<String>(options, "label")? {
        call = call.label(label);
    }
    if let Some(path) = setting::<PathBuf>(options, "journal")? {
        call = call.journal(path).retry_failed(flag(options, "retry_failed")?);
        if let Some(name) = setting::<String>(options, "item_type")? {
            call = call.item_type(name);
        }
    }
    if flag(options, "keep_going")? {
        call = call.keep_going();
    }
    Ok(call)
}

/// How many ranks a launcher has started this program with; `None` without a launcher, and within a task.
#[pyfunction]
pub(crate) fn launched_ranks() -> Option<u32> {
    rankpool::launched_ranks()
}

/// Whether other processes wait for this one to start its first executor.
#[pyfunction]
pub(crate) fn is_awaited() -> bool {
    rankpool::is_awaited()
}
