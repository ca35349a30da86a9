//! What users call.

mod builder;
mod call;
mod chunks;
mod command;
mod courier;
mod engine;
mod flow;
mod future;
mod items;
mod lasting;
mod launched;
mod longest_first;
mod mailbox;
mod options;
mod outbox;
mod outcome;
mod progress;
mod scatter;
mod session;
mod stream;
mod turns;
mod wait;
mod watch;

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};

pub use builder::Builder;
#[cfg(feature = "cli")]
pub(crate) use builder::SHORTEST_STALL;
pub use call::Call;
use command::{Command, Farewell};
use courier::{Courier, Tray};
use engine::Reason;
pub use future::{Future, Status};
pub use launched::{is_awaited, is_worker, launched_ranks};
pub use longest_first::LongestFirst;
pub use progress::{Progress, Share};
pub use stream::{Stream, Unordered};
pub use wait::{WaitFor, Waited, as_completed, wait};
use watch::Watching;
pub(crate) use {
    flow::{Barriers, Pieces},
    options::CallOptions,
    outcome::value,
    watch::{Happening, Span, Watch},
};

use crate::{
    error::{Error, ErrorKind},
    fabric::{Wanted, WorkerInfo},
    launch::{self, Mode},
    scheduler::{CallId, Chunk},
    sync::lock,
    worker::{AsItIs, Each, Fallible, Function, Init, Returned, Verdict, With},
};

/// How long running tasks are waited for when there is no time: at a panic, a signal, an exit.
const PATIENCE: Duration = Duration::from_millis(500);

/// The name of the thread that runs callbacks.
const CALLBACKS: &str = "rankpool-callbacks";

type Callback = Box<dyn FnOnce() + Send>;

/// What the executor, its futures and its streams share.
pub(crate) struct Shared {
    commands: mpsc::Sender<Command>,
    engine: thread::Thread,
    next_call: AtomicU64,
    /// The number of the next task that is submitted.
    next_task: AtomicU64,
    /// Of calls that set none.
    chunk: Chunk,
    seed: u64,
    progress: Arc<Mutex<Progress>>,
    callbacks: OnceLock<mpsc::Sender<Callback>>,
    courier: OnceLock<Courier>,
    mode: Mode,
    /// Why nobody works any more, where that is not that all workers were lost.
    broken: Reason,
}

impl Shared {
    fn new_call(&self) -> CallId {
        CallId(self.next_call.fetch_add(1, Ordering::Relaxed))
    }

    fn new_task(&self) -> u64 {
        self.next_task.fetch_add(1, Ordering::Relaxed)
    }

    fn command(&self, command: Command) -> Result<(), Error> {
        let sent = self.commands.send(command);
        self.engine.unpark();
        sent.map_err(|_| has_ended())
    }

    fn courier(&self) -> &Courier {
        self.courier.get_or_init(Courier::start)
    }

    /// A tray for the items of this call, which the courier looks after.
    fn tray(&self, call: CallId) -> Arc<Tray> {
        let tray = Tray::new(call, self.commands.clone(), self.engine.clone());
        self.courier().look_after(&tray);
        tray
    }

    fn deserted(&self) -> Error {
        if let Some(reason) = self.broken.get() {
            return Error::new(
                ErrorKind::Internal,
                format!("the workers cannot be reached any more: {reason}"),
            );
        }
        let mut text = "no worker is left to run the remaining tasks".to_string();
        if self.mode == Mode::Comm {
            if let Some(advice) = launch::policy().advice() {
                text += &format!("; {advice}");
            }
            text += "; mode pool replaces workers that are lost";
        }
        Error::new(ErrorKind::NoWorkers, text)
    }

    /// Runs `job` on the callback thread, after those that came before.
    fn call_back(&self, job: Callback) {
        let callbacks = self.callbacks.get_or_init(|| {
            let (jobs, queue) = mpsc::channel::<Callback>();
            let run = move || {
                for job in queue {
                    // The panic hook has reported it; the next callback is not to suffer.
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                }
            };
            // Without the thread the queue is closed, and callbacks are dropped with it.
            let _ = thread::Builder::new().name(CALLBACKS.into()).spawn(run);
            jobs
        });
        let _ = callbacks.send(job);
    }

    /// Waits until the callbacks queued so far have run.
    fn flush_callbacks(&self) {
        let is_callback = thread::current().name() == Some(CALLBACKS);
        if let Some(callbacks) = self.callbacks.get().filter(|_| !is_callback) {
            let (done, flushed) = mpsc::channel::<()>();
            if callbacks.send(Box::new(move || drop(done))).is_ok() {
                let _ = flushed.recv();
            }
        }
    }
}

fn has_ended() -> Error {
    Error::new(ErrorKind::Cancelled, "the executor has ended")
}

/// Runs functions over many inputs on the workers of its [`Mode`]; see the [crate's tour](crate).
///
/// Functions are function items and closures that capture nothing: workers are other processes
/// that run the same executable, so code is named by its place in it. What a function needs besides
/// its item is sent once to each worker ([`map_with`](Executor::map_with)) or built there
/// ([`map_init`](Executor::map_init)). A closure that captures does not compile:
///
/// ```compile_fail
/// let pool = rankpool::Executor::start()?;
/// let factor = 3;
/// pool.map(move |n: u64| factor * n, 0..10)?; // use map_with(&factor, |factor, n| factor * n, 0..10)
/// # Ok::<(), rankpool::Error>(())
/// ```
///
/// What counts is memory: a closure may capture values of types without any, such as `struct Metric;`, if they are
/// `Copy`. Workers then have such a value without anybody having made it there. So do not capture a value whose
/// existence proves something about this process, such as a token that a library gives to who has set it up: the proof
/// does not hold on the workers. Set up there what tasks need, with [`map_init`](Executor::map_init).
///
/// All methods can be called from several threads at a time; maps in flight share the workers.
///
/// Dropping an executor waits for what was submitted and then ends the workers, like
/// [`shutdown`](Executor::shutdown). A program may start one executor after another. MPI starts once in a program, so
/// in `comm` and `pool` the workers wait in between: all executors have the same ones, and the settings of the first.
/// MPI that another part of the program has initialised is used if it gives MPI_THREAD_MULTIPLE; that part finalises it, after
/// the executor was dropped. `Builder::communicator` has one on a part of the world.
/// When a panic drops it, the program goes on unwinding, and workers are ended within a second; under a launcher that
/// would end the program for it, with the program.
#[derive(Debug)]
pub struct Executor {
    shared: Arc<Shared>,
    workers: Vec<WorkerInfo>,
    thread: Option<thread::JoinHandle<Result<(), Error>>>,
    /// The workers are MPI's, which were started so: they wait for the next executor.
    session: Option<Wanted>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Executor {
    /// Starts with the mode that fits how the program was launched; see [`Mode::Auto`].
    ///
    /// On rank 0 this returns when all workers are ready. On a worker it never returns: the
    /// process serves inside this call and exits there, so what follows it in `main` runs once.
    /// What comes before it runs on every rank. Tasks run on the thread that has called it: called in `main`, the first
    /// of their process, as signal handlers and many libraries want it.
    ///
    /// # Errors
    /// When the workers cannot be started; the text says what to do.
    pub fn start() -> Result<Executor, Error> {
        Executor::builder().start()
    }

    /// Settings other than the defaults.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The mode that runs; never [`Mode::Auto`].
    pub fn mode(&self) -> Mode {
        self.shared.mode
    }

    /// The number of workers at the start.
    pub fn num_workers(&self) -> usize {
        self.workers.len()
    }

    /// The workers at the start: rank, host, process, CPUs.
    pub fn workers(&self) -> &[WorkerInfo] {
        &self.workers
    }

    /// Tells `watch` what happens from now on, with times since `since`; `None` ends the watch.
    ///
    /// # Errors
    /// When the executor has ended.
    pub(crate) fn watch(&self, watch: Option<Box<dyn Watch>>, since: Instant) -> Result<(), Error> {
        self.shared.command(Command::Watch(watch.map(|watch| Watching { watch, since })))
    }

    /// What has been done so far, over all calls.
    pub fn progress(&self) -> Progress {
        lock(&self.shared.progress).clone()
    }

    /// Where that is kept.
    #[cfg(feature = "cli")]
    pub(crate) fn told_progress(&self) -> Arc<Mutex<Progress>> {
        self.shared.progress.clone()
    }

    /// `f` as a call whose options can be set: `pool.call(f).retries(2).map(items)`.
    #[expect(opaque_hidden_inferred_bound, reason = "AsItIs asks that R can be sent")]
    pub fn call<F, A, R, UseTryCall>(
        &self,
        _: F,
    ) -> Call<'_, impl Function<Item = A, Value = R> + use<F, A, R, UseTryCall>>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Returned<UseTryCall> + 'static, // A `Result` belongs to `try_call`.
        UseTryCall: AsItIs<R>,
    {
        Call::<Each<UseTryCall, F, A, R>>::new(self, Ok(None))
    }

    /// As [`call`](Executor::call), for a function that returns a `Result`: an `Err` is its task's failure.
    pub fn try_call<F, A, R, E>(&self, _: F) -> Call<'_, impl Function<Item = A, Value = R> + use<F, A, R, E>>
    where
        F: Fn(A) -> Result<R, E> + Copy + Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        E: std::fmt::Display + 'static,
    {
        Call::<Each<Fallible, F, A, Result<R, E>>>::new(self, Ok(None))
    }

    /// `f(&shared, item)` as a call: `shared` is sent once to each worker, before its first chunk.
    #[expect(opaque_hidden_inferred_bound, reason = "AsItIs asks that R can be sent")]
    pub fn call_with<F, S, A, R, UseTryCall>(
        &self,
        shared: &S,
        f: F,
    ) -> Call<'_, impl Function<Item = A, Value = R> + use<F, S, A, R, UseTryCall>>
    where
        F: Fn(&S, A) -> R + Copy + Send + 'static,
        S: Serialize + DeserializeOwned + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Returned<UseTryCall> + 'static, // A `Result` belongs to `try_call_with`.
        UseTryCall: AsItIs<R>,
    {
        self.with::<UseTryCall, F, S, A, R>(shared, f)
    }

    /// As [`call_with`](Executor::call_with), for a function that returns a `Result`.
    pub fn try_call_with<F, S, A, R, E>(
        &self,
        shared: &S,
        f: F,
    ) -> Call<'_, impl Function<Item = A, Value = R> + use<F, S, A, R, E>>
    where
        F: Fn(&S, A) -> Result<R, E> + Copy + Send + 'static,
        S: Serialize + DeserializeOwned + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        E: std::fmt::Display + 'static,
    {
        self.with::<Fallible, F, S, A, Result<R, E>>(shared, f)
    }

    fn with<V, F, S, A, R>(&self, shared: &S, _: F) -> Call<'_, With<V, F, S, A, R>>
    where
        V: Verdict<R>,
        F: Fn(&S, A) -> R + Copy + Send + 'static,
        S: Serialize + DeserializeOwned + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: 'static,
    {
        Call::new(self, self.original("the shared value", shared).map(Some))
    }

    /// `f(&mut state, item)` as a call, with a state that `init()` builds once on each worker (once
    /// on each of its threads, in a hybrid run). After a panic the state is built anew.
    #[expect(opaque_hidden_inferred_bound, reason = "AsItIs asks that R can be sent")]
    pub fn call_init<I, F, S, A, R, UseTryCall>(
        &self,
        _: I,
        _: F,
    ) -> Call<'_, impl Function<Item = A, Value = R> + use<I, F, S, A, R, UseTryCall>>
    where
        I: Fn() -> S + Copy + Send + 'static,
        F: Fn(&mut S, A) -> R + Copy + Send + 'static,
        S: Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Returned<UseTryCall> + 'static, // A `Result` belongs to `try_call_init`.
        UseTryCall: AsItIs<R>,
    {
        Call::<Init<UseTryCall, I, F, S, A, R>>::new(self, Ok(None))
    }

    /// As [`call_init`](Executor::call_init), for a function that returns a `Result`.
    pub fn try_call_init<I, F, S, A, R, E>(
        &self,
        _: I,
        _: F,
    ) -> Call<'_, impl Function<Item = A, Value = R> + use<I, F, S, A, R, E>>
    where
        I: Fn() -> S + Copy + Send + 'static,
        F: Fn(&mut S, A) -> Result<R, E> + Copy + Send + 'static,
        S: Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        E: std::fmt::Display + 'static,
    {
        Call::<Init<Fallible, I, F, S, A, Result<R, E>>>::new(self, Ok(None))
    }

    /// Runs `f` over all items; results in the order of the items.
    ///
    /// ```
    /// let pool = rankpool::Executor::start()?;
    /// assert_eq!(pool.map(|n: u64| n * n, 1..=4)?, [1, 4, 9, 16]);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// The first task that failed, in the order of the items. The executor stays usable.
    pub fn map<F, A, R, UseTryCall>(&self, f: F, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, Error>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Returned<UseTryCall> + 'static, // A `Result` belongs to `try_map`.
        UseTryCall: AsItIs<R>,
    {
        self.call(f).map(items)
    }

    /// As [`map`](Executor::map), for a function that returns a `Result`: an `Err` is its task's failure.
    ///
    /// ```
    /// let pool = rankpool::Executor::start()?;
    /// let error = pool.try_map(|text: String| text.parse::<u32>(), ["7".into(), "x".into()]).unwrap_err();
    /// assert_eq!(error.task().unwrap().index(), 1);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`map`](Executor::map).
    pub fn try_map<F, A, R, E>(&self, f: F, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, Error>
    where
        F: Fn(A) -> Result<R, E> + Copy + Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        E: std::fmt::Display + 'static,
    {
        self.try_call(f).map(items)
    }

    /// Runs `f(&shared, item)` over all items; `shared` is sent once to each worker.
    ///
    /// ```
    /// let pool = rankpool::Executor::start()?;
    /// let words = vec!["one".to_string(), "three".to_string()];
    /// assert_eq!(pool.map_with(&words, |words, k: usize| words[k].len(), [1, 0])?, [5, 3]);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`map`](Executor::map); also when `shared` cannot be encoded.
    pub fn map_with<F, S, A, R, UseTryCall>(
        &self,
        shared: &S,
        f: F,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>, Error>
    where
        F: Fn(&S, A) -> R + Copy + Send + 'static,
        S: Serialize + DeserializeOwned + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Returned<UseTryCall> + 'static, // A `Result` belongs to `try_call_with`.
        UseTryCall: AsItIs<R>,
    {
        self.call_with(shared, f).map(items)
    }

    /// Runs `f(&mut state, item)` over all items, with a state that `init()` builds once on each worker.
    ///
    /// ```
    /// let pool = rankpool::Executor::start()?;
    /// let lengths = pool.map_init(String::new, |buffer, n: usize| {
    ///     buffer.clear();
    ///     (0..n).for_each(|_| buffer.push('x'));
    ///     buffer.len()
    /// }, [3, 1])?;
    /// assert_eq!(lengths, [3, 1]);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`map`](Executor::map); a panic in `init` is a failure of the kind
    /// [`Init`](crate::FailureKind::Init).
    pub fn map_init<I, F, S, A, R, UseTryCall>(
        &self,
        init: I,
        f: F,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>, Error>
    where
        I: Fn() -> S + Copy + Send + 'static,
        F: Fn(&mut S, A) -> R + Copy + Send + 'static,
        S: Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Returned<UseTryCall> + 'static, // A `Result` belongs to `try_call_init`.
        UseTryCall: AsItIs<R>,
    {
        self.call_init(init, f).map(items)
    }

    /// Runs `f` over all items and folds the results with `combine`; `None` without items. The same
    /// bits at any mode, worker count and chunk size: see [`Call::reduce`].
    ///
    /// ```
    /// let pool = rankpool::Executor::start()?;
    /// let sum = pool.map_reduce(|n: u32| 1.0 / f64::from(n), |a, b| a + b, 1..=1000)?;
    /// assert!((sum.unwrap() - 7.485470860550345).abs() < 1e-12);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`map`](Executor::map).
    pub fn map_reduce<F, C, A, R, UseTryCall>(
        &self,
        f: F,
        combine: C,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Option<R>, Error>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        C: Fn(R, R) -> R + Copy + Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Returned<UseTryCall> + 'static, // A `Result` belongs to `try_call`.
        UseTryCall: AsItIs<R>,
    {
        self.call(f).reduce(combine, items)
    }

    /// Runs `f(item)` in its own time.
    ///
    /// ```
    /// let pool = rankpool::Executor::start()?;
    /// let future = pool.submit(|n: u32| n + 1, 1)?;
    /// assert_eq!(future.wait()?, 2);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the executor has ended.
    pub fn submit<F, A, R, UseTryCall>(&self, f: F, item: A) -> Result<Future<R>, Error>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Returned<UseTryCall> + 'static, // A `Result` belongs to `try_submit`.
        UseTryCall: AsItIs<R>,
    {
        self.call(f).submit(item)
    }

    /// As [`submit`](Executor::submit), for a function that returns a `Result`.
    ///
    /// # Errors
    /// When the executor has ended.
    pub fn try_submit<F, A, R, E>(&self, f: F, item: A) -> Result<Future<R>, Error>
    where
        F: Fn(A) -> Result<R, E> + Copy + Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        E: std::fmt::Display + 'static,
    {
        self.try_call(f).submit(item)
    }

    /// Waits for everything submitted, then ends the workers. Dropping does the same, but cannot
    /// return an error. In `comm` and `pool` the workers wait for the next executor of this program, and end with it.
    ///
    /// # Errors
    /// When the workers could not be ended in order; they have ended all the same.
    pub fn shutdown(mut self) -> Result<(), Error> {
        self.end(Farewell { cancel: false, patience: None, code: None })
    }

    /// As [`shutdown`](Executor::shutdown), but tasks that no worker has yet are cancelled.
    ///
    /// # Errors
    /// As [`shutdown`](Executor::shutdown).
    pub fn shutdown_now(mut self) -> Result<(), Error> {
        self.end(Farewell { cancel: true, patience: None, code: None })
    }

    /// Ends the workers, after at most a second for what still runs, and the program with `code`.
    ///
    /// Under an mpiexec that ends a run in which a worker was given up, this is what makes `code`
    /// its exit code all the same. Destructors do not run.
    pub fn exit(mut self, code: i32) -> ! {
        let farewell = Farewell { cancel: true, patience: Some(PATIENCE), code: Some(code) };
        if let Err(error) = self.end(farewell) {
            tracing::error!("{error}");
        }
        // Usually the engine's thread has ended the program.
        launch::end_run(code)
    }

    /// Ends the workers and the program, as [`exit`](Executor::exit), from another thread.
    pub(crate) fn stopper(&self) -> impl Fn(i32) + Send + use<> {
        let shared = self.shared.clone();
        move |code| {
            let farewell = Farewell { cancel: true, patience: Some(PATIENCE), code: Some(code) };
            // An executor that has ended is ending the program already.
            let _ = shared.command(Command::End(farewell));
        }
    }

    /// For another thread: to stop in time.
    pub(crate) fn drain(&self) -> Drain {
        Drain(self.shared.clone())
    }

    fn end(&mut self, farewell: Farewell) -> Result<(), Error> {
        if let Some(wanted) = self.session.take() {
            let in_order = farewell.patience.is_none() && farewell.code.is_none();
            if in_order && self.rest(wanted, farewell.cancel) {
                return Ok(());
            }
            session::is_over();
        }
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        // If the thread has ended already, joining it tells why.
        let _ = self.shared.command(Command::End(farewell));
        let ended = thread.join();
        self.shared.flush_callbacks();
        ended.unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "the engine's thread panicked")))
    }
}

/// Lets an executor come to an end before the time of its workers is over. Calls that are not done then fail
/// with [`ErrorKind::Stopped`].
#[derive(Clone)]
pub(crate) struct Drain(Arc<Shared>);

impl Drain {
    /// From now on no chunk is handed out that is not expected to end by `at`, judged from measured times.
    pub(crate) fn limit(&self, at: Instant) {
        // An executor that has ended begins nothing.
        let _ = self.0.command(Command::Limit(at));
    }

    /// No further chunk is handed out. Those that run are cut short behind the task that they are at, and
    /// are waited for until `until`.
    pub(crate) fn begin(&self, until: Instant) {
        let _ = self.0.command(Command::Drain(until));
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        let farewell = if thread::panicking() {
            Farewell { cancel: true, patience: Some(PATIENCE), code: None }
        } else {
            Farewell { cancel: false, patience: None, code: None }
        };
        if let Err(error) = self.end(farewell) {
            tracing::error!("{error}");
        }
    }
}
