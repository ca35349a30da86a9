//! What users call.

mod builder;
mod call;
mod chunks;
mod command;
mod courier;
mod ending;
mod engine;
#[cfg(feature = "mpi")]
mod finalise;
mod flow;
mod functions;
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
    time::Instant,
};

pub use builder::Builder;
#[cfg(feature = "cli")]
pub(crate) use builder::SHORTEST_STALL;
pub use call::Call;
use command::Command;
use courier::{Courier, Tray};
pub(crate) use ending::Drain;
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
    watch::{Happening, Held, Span, Watch},
};

use crate::{
    error::{Error, ErrorKind},
    fabric::{Wanted, WorkerInfo},
    launch::{self, Mode},
    scheduler::{CallId, Chunk},
    sync::lock,
};

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
    /// Why nobody works any more, unless all workers were lost.
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
/// MPI that another part of the program has initialised is used if it gives MPI_THREAD_MULTIPLE, and that part finalises it.
/// An executor that is alive then ends: tasks that run are waited for, and no others begin. With MPICH end it before: its
/// MPI_Finalize may abort beside a thread that looks for messages. `Builder::communicator` has an executor on a part of the
/// world.
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
}
