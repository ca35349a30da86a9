//! How an executor is started.

use std::{
    sync::{Arc, Mutex, OnceLock, atomic::AtomicU64, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{
    Executor, Shared,
    engine::{Engine, Progress},
};
#[cfg(feature = "mpi")]
use crate::fabric::{comm, pool};
use crate::{
    error::{Error, ErrorKind},
    fabric::{
        Fabric, WorkerInfo, processes,
        remote::{Remote, Settings},
        threads,
    },
    launch::{self, Choice, Launcher, Mode, choose, count_workers},
};

/// Settings of an [`Executor`]. A setting that the mode cannot honour is refused at the start.
///
/// ```
/// use rankpool::{Executor, Mode};
/// let pool = Executor::builder().mode(Mode::Threads).workers(-1).seed(7).start()?;
/// assert_eq!(pool.mode(), Mode::Threads);
/// # Ok::<(), rankpool::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is started until start is called"]
pub struct Builder {
    mode: Mode,
    workers: Option<i64>,
    threads_per_worker: u32,
    oversubscribe: bool,
    spawn_info: Vec<(String, String)>,
    start_timeout: Duration,
    seed: u64,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            mode: Mode::Auto,
            workers: None,
            threads_per_worker: 1,
            oversubscribe: false,
            spawn_info: Vec::new(),
            start_timeout: Duration::from_secs(60),
            seed: 0,
        }
    }
}

/// A started fabric: its end of the workers, the workers, and whether waiting may spin.
pub(super) struct Started {
    fabric: Box<dyn Fabric>,
    workers: Vec<WorkerInfo>,
    spin: bool,
    mode: Mode,
}

/// What this process turned out to be.
enum Role {
    Scheduler { workers: Vec<WorkerInfo>, mode: Mode },
    Worker,
}

impl Builder {
    /// Where the workers come from; [`Mode::Auto`] by default.
    pub fn mode(mut self, mode: Mode) -> Builder {
        self.mode = mode;
        self
    }

    /// How many workers: a positive number, or from the end as in joblib: -1 as many as there are
    /// CPUs, -2 one less. In `pool` the count is of slots, and by default all but rank 0's. In
    /// `comm` the launcher decides, in `serial` it is 1.
    pub fn workers(mut self, workers: i64) -> Builder {
        self.workers = Some(workers);
        self
    }

    /// Task threads in each worker, 1 by default; for `processes`, `comm` and `pool`. MPI stays on
    /// one thread of its own, and per-worker state is per thread.
    pub fn threads_per_worker(mut self, threads: u32) -> Builder {
        self.threads_per_worker = threads;
        self
    }

    /// Mode `pool`: spawn more workers than there are slots.
    pub fn oversubscribe(mut self, oversubscribe: bool) -> Builder {
        self.oversubscribe = oversubscribe;
        self
    }

    /// Mode `pool`: an info key for MPI_Comm_spawn, such as `host`, `wdir` or `map_by`
    /// (MPI 4.1, section 11.8.4).
    pub fn spawn_info(mut self, key: impl Into<String>, value: impl Into<String>) -> Builder {
        self.spawn_info.push((key.into(), value.into()));
        self
    }

    /// How long the workers may take to come up; 60 s by default.
    pub fn start_timeout(mut self, limit: Duration) -> Builder {
        self.start_timeout = limit.min(Duration::from_secs(365 * 24 * 3600));
        self
    }

    /// The seed of the tasks' random streams; 0 by default. See [`Task::rng`](crate::Task::rng).
    pub fn seed(mut self, seed: u64) -> Builder {
        self.seed = seed;
        self
    }

    /// Starts the executor. On a worker this never returns; see [`Executor::start`].
    ///
    /// Call it before the program starts threads of its own: in workers, and with
    /// [`oversubscribe`](Builder::oversubscribe), it sets environment variables for libraries.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for settings that cannot be honoured, [`ErrorKind::Spawn`] when workers
    /// cannot be spawned, [`ErrorKind::Launch`] when they do not come up, [`ErrorKind::Handshake`]
    /// when one runs another build. On ranks other than 0 the process ends instead.
    pub fn start(self) -> Result<Executor, Error> {
        if processes::is_child() {
            processes::serve_as_child();
        }
        #[cfg(feature = "mpi")]
        launch::watch_exit_code();
        let started = launch::detect(launch::variable).and_then(|launcher| {
            let choice = choose(self.mode, launcher)?;
            self.check(choice)?;
            self.launch(choice)
        });
        if started.is_err() && !launch::is_first(launch::variable) {
            launch::leave_the_word_to_rank_0();
        }
        started
    }

    fn check(&self, choice: Choice) -> Result<(), Error> {
        let (mode, local) = match choice {
            Choice::Local(mode) => (mode, true),
            Choice::Mpi(mode) => (mode, false),
        };
        let one_thread = matches!(mode, Mode::Serial | Mode::Threads);
        if self.threads_per_worker == 0 {
            return Err(Error::usage("0 threads in a worker cannot run anything: give 1 or more"));
        }
        if self.threads_per_worker > 1 && one_thread {
            return Err(Error::usage(format!(
                "mode {mode} has no threads within workers: use more workers in mode threads, or mode processes, \
                 comm or pool"
            )));
        }
        if mode == Mode::Serial && !matches!(self.workers, None | Some(1)) {
            return Err(Error::usage(
                "without a launcher or a mode, the one serial rank runs all tasks: for several workers use mode \
                 threads or processes, or start the program with mpiexec",
            ));
        }
        if local && (self.oversubscribe || !self.spawn_info.is_empty()) {
            return Err(Error::usage(format!(
                "mode {mode} spawns nothing: oversubscribe and spawn hints are for mode pool"
            )));
        }
        Ok(())
    }

    /// Starts the scheduler's thread, which starts the fabric; waits until the workers are ready.
    fn launch(self, choice: Choice) -> Result<Executor, Error> {
        let (commands, orders) = mpsc::channel();
        let (report, reported) = mpsc::channel();
        let progress = Arc::new(Mutex::new(Progress::default()));
        let watched = progress.clone();
        let seed = self.seed;
        let limit = self.start_timeout;
        let thread = thread::Builder::new()
            .name("rankpool".into())
            .stack_size(launch::STACK_BYTES)
            .spawn(move || match self.start_fabric(choice, &|| drop(report.send(Ok(Role::Worker)))) {
                Ok(Started { fabric, workers, spin, mode }) => {
                    let engine = Engine::new(orders, fabric, &workers, spin, watched);
                    // When the caller has given up waiting, the engine finds its commands closed.
                    let _ = report.send(Ok(Role::Scheduler { workers, mode }));
                    engine.run()
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                    Ok(())
                }
            })
            .map_err(|error| {
                Error::new(ErrorKind::Launch, format!("no thread for the scheduler: {error}"))
            })?;
        // The fabric watches its own time where it can; a spawn that hangs inside MPI it cannot.
        let patience = limit + Duration::from_secs(5);
        let (workers, mode) = match reported.recv_timeout(patience) {
            Ok(Ok(Role::Scheduler { workers, mode })) => {
                launch::set_rank(0);
                (workers, mode)
            }
            Ok(Ok(Role::Worker)) => {
                // The other thread serves and ends the process, unless it panics.
                let _ = thread.join();
                launch::exit_now(launch::EXIT_INTERNAL)
            }
            Ok(Err(error)) => return Err(error),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(Error::new(ErrorKind::Internal, "the scheduler's thread panicked at the start"));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                return Err(Error::new(
                    ErrorKind::Launch,
                    format!(
                        "MPI did not start the workers within {patience:?}; `rankpool doctor` tries the parts one by one"
                    ),
                ));
            }
        };
        let shared = Shared {
            commands,
            scheduler: thread.thread().clone(),
            next_call: AtomicU64::new(0),
            seed,
            progress,
            callbacks: OnceLock::new(),
            mode,
        };
        Ok(Executor { shared: Arc::new(shared), workers, thread: Some(thread) })
    }

    fn settings(&self) -> Settings {
        let deadline = Instant::now() + self.start_timeout;
        Settings { threads: self.threads_per_worker, deadline, start_timeout: self.start_timeout }
    }

    /// `worker` is called when this process turns out to be one, before it serves and ends here.
    fn start_fabric(self, choice: Choice, worker: &dyn Fn()) -> Result<Started, Error> {
        match choice {
            Choice::Local(Mode::Serial) => self.start_threads(1, Mode::Serial),
            Choice::Local(Mode::Processes) => {
                let settings = self.settings();
                let count = count_workers(self.workers, launch::cpu_limit())?;
                let processes = processes::Processes::start(count)?;
                let ranks = processes.ranks();
                let (remote, workers) = Remote::start(processes, ranks, settings)?;
                Ok(Started { spin: remote.spin(), fabric: Box::new(remote), workers, mode: Mode::Processes })
            }
            Choice::Local(_) => {
                let count = count_workers(self.workers, launch::cpu_limit())?;
                self.start_threads(count, Mode::Threads)
            }
            Choice::Mpi(mode) => self.start_mpi(mode, worker),
        }
    }

    fn start_threads(self, count: usize, mode: Mode) -> Result<Started, Error> {
        let (fabric, workers) = threads::start(count, u32::from(mode == Mode::Threads))?;
        Ok(Started { fabric: Box::new(fabric), workers, spin: count < launch::cpu_limit(), mode })
    }

    #[cfg(not(feature = "mpi"))]
    fn start_mpi(self, mode: Mode, _: &dyn Fn()) -> Result<Started, Error> {
        let name = if mode == Mode::Auto { "a launch by mpiexec".into() } else { format!("mode {mode}") };
        Err(Error::usage(format!(
            "this program was built without MPI, which {name} needs: build with the feature `mpi`"
        )))
    }

    #[cfg(feature = "mpi")]
    fn start_mpi(self, mode: Mode, worker: &dyn Fn()) -> Result<Started, Error> {
        use crate::mpi::World;

        if launch::detect(launch::variable)? == Launcher::None {
            pool::preflight()?;
        }
        if self.oversubscribe {
            pool::allow_oversubscription();
        }
        let world = World::initialise()?;
        if let Some(parent) = world.parent()? {
            worker();
            launch::is_worker();
            pool::serve(world, parent);
        }
        let launched = launch::detect(launch::variable)?;
        let size = world.size()?;
        if let Launcher::Mpi { name, size: told, .. } = launched
            && told != size
        {
            let text = format!(
                "{name} started {told} ranks, but MPI knows of {size}: the program and the launcher belong to \
                 different MPI libraries; `rankpool doctor` shows both"
            );
            world.abort(launch::EXIT_INTERNAL);
            return Err(Error::new(ErrorKind::Launch, text));
        }
        if mode == Mode::Pool && size > 1 {
            world.finalise()?;
            return Err(launch::too_many_ranks(mode, size));
        }
        if size > 1 {
            if world.rank()? > 0 {
                worker();
                launch::is_worker();
                comm::serve(world);
            }
            return self.start_comm(world, size);
        }
        let slots = pool::slots(&world)?;
        if mode == Mode::Auto
            && slots.is_none_or(|slots| slots < 3)
            && !self.oversubscribe
            && self.workers.is_none()
        {
            world.finalise()?;
            self.check(Choice::Local(Mode::Serial))?;
            return self.start_threads(1, Mode::Serial);
        }
        let workers = pool::count(self.workers, slots, self.oversubscribe)?;
        let (settings, limit) = (self.settings(), self.start_timeout);
        let pool = pool::Pool::spawn(world, workers, self.spawn_info, self.oversubscribe, limit)?;
        let ranks = pool.ranks();
        let (remote, workers) = Remote::start(pool, ranks, settings)?;
        Ok(Started { spin: remote.spin(), fabric: Box::new(remote), workers, mode: Mode::Pool })
    }

    #[cfg(feature = "mpi")]
    fn start_comm(self, world: crate::mpi::World, size: u32) -> Result<Started, Error> {
        let wrong = if self.workers.is_some_and(|workers| workers != i64::from(size) - 1) {
            Some(format!("the launcher started {} workers: ask it for another number (-n)", size - 1))
        } else if self.oversubscribe || !self.spawn_info.is_empty() {
            Some("mode comm spawns nothing: oversubscribe and spawn hints are for mode pool".to_string())
        } else {
            None
        };
        let settings = self.settings();
        let comm = comm::Comm::start(world)?;
        let started = Remote::start(comm, 1..size, settings);
        let (mut remote, workers) = started?;
        if let Some(text) = wrong {
            remote.end(crate::fabric::Ending::Orderly { code: None })?;
            return Err(Error::usage(text));
        }
        Ok(Started { spin: remote.spin(), fabric: Box::new(remote), workers, mode: Mode::Comm })
    }
}
