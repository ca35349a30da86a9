//! How an executor is started.

use std::{
    fmt::Display,
    str::FromStr,
    sync::{Arc, Mutex, OnceLock, atomic::AtomicU64, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{
    Executor, Shared,
    engine::{Engine, Reason},
    options::EMPTY_CHUNK,
    progress::Progress,
};
#[cfg(feature = "mpi")]
use crate::fabric::{comm, pool};
use crate::{
    error::{Error, ErrorKind},
    fabric::{
        Fabric, WorkerInfo, files, processes,
        remote::{Remote, Settings},
        threads,
        timing::Timing,
    },
    launch::{self, Choice, Launcher, Mode, Siblings, choose, count_workers},
    scheduler::Chunk,
};

/// How much longer than the fabric the start is waited for.
const SLACK: Duration = Duration::from_secs(5);
/// How long the thread that starts has to say more of a rank that is gone.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Between two looks at who is gone meanwhile.
const LOOK: Duration = Duration::from_millis(100);
/// Task threads of one process. Each takes about four of the 65,530 mappings that Linux gives a process by default,
/// and one for which none is left ends the process.
const MOST_THREADS: usize = 1 << 12;

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
    chunk: Chunk,
    stall: Option<Duration>,
    seed: u64,
    #[cfg_attr(not(any(feature = "mpi", feature = "cli")), expect(dead_code, reason = "nothing is timed"))]
    timing: Option<Timing>,
    /// What was wrong with a variable; said at the start, by rank 0 alone.
    unreadable: Option<String>,
}

/// How long a worker may leave rank 0 without an answer, unless the user says otherwise. A process that computes
/// answers within milliseconds, and within a few seconds where its host swaps.
const STALL: Duration = Duration::from_secs(60);

/// No stall is shorter: on a busy host a thread may have to wait as long for its turn.
pub(crate) const SHORTEST_STALL: Duration = Duration::from_secs(1);

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            mode: Mode::Auto,
            workers: None,
            threads_per_worker: 1,
            oversubscribe: false,
            spawn_info: Vec::new(),
            start_timeout: Duration::from_secs(60),
            chunk: Chunk::Auto,
            stall: Some(STALL),
            seed: 0,
            timing: None,
            unreadable: None,
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
    /// The engine's, whose workers are up.
    Scheduler {
        workers: Vec<WorkerInfo>,
        mode: Mode,
    },
    /// The engine's, which begins to spawn so many workers.
    Spawner {
        workers: u32,
    },
    Worker,
}

/// A setting from the environment, where it is set; an empty variable is not.
fn variable<T: FromStr<Err: Display>>(name: &str, example: &str) -> Result<Option<T>, String> {
    let Some(text) = std::env::var_os(name) else {
        return Ok(None);
    };
    match text.to_str() {
        None => Err(format!("the variable {name} is no text: {}", text.display())),
        Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|error| format!("{name}={text}: {error}{example}")),
    }
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

    /// How long a worker's process may leave rank 0 without an answer before it is given up as frozen, 60 s by
    /// default and 1 s at least; `None` for ever. In `processes`, `comm` and `pool`.
    ///
    /// A worker that computes answers, however long its tasks take. One that is stopped (SIGSTOP, a debugger)
    /// or waits for a file system that hangs does not: its tasks are run elsewhere, and it is replaced where the
    /// mode can. Time in which rank 0 itself was stopped does not count. A worker whose tasks have a
    /// [`task_timeout`](crate::Call::task_timeout) is given up 5 s after that already, with `None` too.
    ///
    /// ```
    /// use std::time::Duration;
    /// let pool = rankpool::Executor::builder().stall(Duration::from_secs(10));
    /// let never = rankpool::Executor::builder().stall(None);
    /// ```
    pub fn stall(mut self, stall: impl Into<Option<Duration>>) -> Builder {
        self.stall = stall.into();
        self
    }

    /// The seed of the tasks' random streams; 0 by default. See [`Task::rng`](crate::Task::rng).
    pub fn seed(mut self, seed: u64) -> Builder {
        self.seed = seed;
        self
    }

    /// How many tasks go to a worker at a time, in calls that do not say it by [`Call::chunk`](crate::Call::chunk);
    /// [`Chunk::Auto`] by default.
    pub fn chunk(mut self, chunk: impl Into<Chunk>) -> Builder {
        self.chunk = chunk.into();
        self
    }

    /// Messages are timed before the workers serve.
    #[cfg(feature = "cli")]
    pub(crate) fn timing(mut self, timing: Timing) -> Builder {
        self.timing = Some(timing);
        self
    }

    /// Takes mode, workers, chunk and seed from the variables RANKPOOL_MODE, RANKPOOL_WORKERS, RANKPOOL_CHUNK and
    /// RANKPOOL_SEED, each where it is set, in the place of what was set before. So a program can be run in another
    /// way without a change to it. [`start`](Builder::start) refuses a variable that cannot be read; an empty one counts as not
    /// set.
    ///
    /// ```
    /// // RANKPOOL_MODE=processes RANKPOOL_WORKERS=4 cargo run
    /// let pool = rankpool::Executor::builder().from_env().start()?;
    /// assert_eq!(pool.map(|n: u32| n + 1, [1, 2])?, [2, 3]);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    pub fn from_env(mut self) -> Builder {
        if let Err(text) = self.read_variables() {
            self.unreadable = Some(text);
        }
        self
    }

    fn read_variables(&mut self) -> Result<(), String> {
        self.mode = variable("RANKPOOL_MODE", "")?.unwrap_or(self.mode);
        self.workers = variable("RANKPOOL_WORKERS", ", as in 4, or -1 for all CPUs")?.or(self.workers);
        self.chunk = variable("RANKPOOL_CHUNK", "")?.unwrap_or(self.chunk);
        self.seed = variable("RANKPOOL_SEED", ", as in 7")?.unwrap_or(self.seed);
        Ok(())
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
        // Its name is taken down while it is still the name of this build.
        let _ = launch::executable();
        if launch::inside_a_task() {
            return self.start_inside_a_task();
        }
        if launch::is_child() {
            processes::serve_as_child();
        }
        launch::forget_old_code();
        #[cfg(feature = "mpi")]
        launch::watch_exit_code();
        let started = launch::detect(launch::variable).and_then(|launcher| {
            let choice = self.choose(launcher)?;
            self.launch(choice)
        });
        if started.is_err() && !launch::is_first(launch::variable) {
            launch::leave_the_word_to_rank_0();
        }
        started
    }

    /// A task has an executor of its own: the launch of the program does not concern it.
    fn start_inside_a_task(self) -> Result<Executor, Error> {
        if matches!(self.mode, Mode::Comm | Mode::Pool) {
            return Err(Error::usage(format!(
                "mode {} is for the whole program, and this is a task inside one of its workers; inside a task use \
                 mode serial, threads or processes",
                self.mode
            )));
        }
        let choice = self.choose(Launcher::None)?;
        self.launch(choice)
    }

    /// What is to be started.
    ///
    /// # Errors
    /// When a setting cannot be honoured.
    fn choose(&self, launcher: Launcher) -> Result<Choice, Error> {
        if let Some(text) = &self.unreadable {
            return Err(Error::usage(text));
        }
        let choice = choose(self.mode, launcher, self.workers.is_some() || self.oversubscribe)?;
        self.check(choice)?;
        Ok(choice)
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
        if self.chunk == Chunk::Fixed(0) {
            return Err(Error::usage(EMPTY_CHUNK));
        }
        if self.threads_per_worker as usize > MOST_THREADS {
            return Err(Error::usage(format!(
                "{} threads in a worker are too many: give {MOST_THREADS} at most",
                self.threads_per_worker
            )));
        }
        if self.threads_per_worker > 1 && one_thread {
            return Err(Error::usage(format!(
                "mode {mode} has no threads within workers: use more workers in mode threads, or mode processes, \
                 comm or pool"
            )));
        }
        if let Some(stall) = self.stall.filter(|stall| *stall < SHORTEST_STALL) {
            return Err(Error::usage(format!(
                "a stall of {stall:?} would give up workers that are only busy: {SHORTEST_STALL:?} is the shortest"
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

    /// Sets what MPI and numerical libraries are told by the environment, before there is another thread.
    #[cfg(feature = "mpi")]
    fn set_variables(&self) {
        if self.oversubscribe {
            pool::allow_oversubscription();
        }
        if let Ok(Launcher::Mpi { rank: rank @ 1.., .. }) = launch::detect(launch::variable)
            && let Some(workers) = launch::workers_here(rank, launch::variable)
        {
            launch::limit_library_threads(workers * self.threads_per_worker);
        }
    }

    /// Starts the engine's thread, which starts the fabric; waits until the workers are ready.
    fn launch(self, choice: Choice) -> Result<Executor, Error> {
        #[cfg(feature = "mpi")]
        if let Choice::Mpi(_) = choice {
            self.set_variables();
        }
        let (commands, orders) = mpsc::channel();
        let (report, reported) = mpsc::channel();
        let progress = Arc::new(Mutex::new(Progress::default()));
        let reason = Reason::default();
        let (watched, told) = (progress.clone(), reason.clone());
        let mut siblings = Siblings::watch();
        let (chunk, seed) = (self.chunk, self.seed);
        let limit = self.start_timeout;
        let thread = thread::Builder::new()
            .name("rankpool".into())
            .stack_size(launch::STACK_BYTES)
            .spawn(move || match self.start_fabric(choice, &|role| drop(report.send(Ok(role)))) {
                Ok(Started { fabric, workers, spin, mode }) => {
                    let engine = Engine::new(orders, fabric, &workers, spin, watched, told);
                    // When the caller has given up waiting, the engine finds its commands closed.
                    let _ = report.send(Ok(Role::Scheduler { workers, mode }));
                    engine.run()
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                    Ok(())
                }
            })
            .map_err(|error| Error::new(ErrorKind::Launch, format!("no thread for the engine: {error}")))?;
        let (workers, mode) = match started_within(limit, &reported, &mut siblings) {
            Ok(Role::Scheduler { workers, mode }) => {
                if !launch::is_worker() {
                    launch::set_rank(0);
                }
                (workers, mode)
            }
            Ok(Role::Worker | Role::Spawner { .. }) => {
                // The other thread serves and ends the process, unless it panics.
                let _ = thread.join();
                launch::exit_now(launch::EXIT_INTERNAL)
            }
            Err(error) => return Err(error),
        };
        let shared = Shared {
            commands,
            engine: thread.thread().clone(),
            next_call: AtomicU64::new(0),
            next_task: AtomicU64::new(0),
            chunk,
            seed,
            progress,
            callbacks: OnceLock::new(),
            courier: OnceLock::new(),
            mode,
            broken: reason,
        };
        Ok(Executor { shared: Arc::new(shared), workers, thread: Some(thread) })
    }

    fn settings(&self) -> Settings {
        let deadline = Instant::now() + self.start_timeout;
        Settings {
            threads: self.threads_per_worker,
            surroundings: None,
            deadline,
            start_timeout: self.start_timeout,
            stall: self.stall,
        }
    }

    /// `turns_out` is told when this process turns out to be a worker, before it serves and ends here, and when it
    /// begins to spawn.
    fn start_fabric(self, choice: Choice, turns_out: &dyn Fn(Role)) -> Result<Started, Error> {
        match choice {
            Choice::Local(Mode::Serial) => self.start_threads(1, Mode::Serial),
            Choice::Local(Mode::Processes) => {
                let settings = self.settings();
                let count = count_workers(self.workers, launch::cpu_limit())?;
                // A socket pair's end and a lifeline for each.
                files::make_room(count, 2, true)?;
                let processes = processes::Processes::start(count, self.threads_per_worker)?;
                let ranks = processes.ranks();
                let (remote, workers) = Remote::start(processes, ranks, settings)?;
                Ok(Started { spin: remote.spin(), fabric: Box::new(remote), workers, mode: Mode::Processes })
            }
            Choice::Local(_) => {
                let count = count_workers(self.workers, launch::cpu_limit())?;
                if count > MOST_THREADS {
                    return Err(Error::usage(format!(
                        "{count} workers are too many for one process: give {MOST_THREADS} at most"
                    )));
                }
                self.start_threads(count, Mode::Threads)
            }
            Choice::Mpi(mode) => self.start_mpi(mode, turns_out),
        }
    }

    fn start_threads(self, count: usize, mode: Mode) -> Result<Started, Error> {
        let (fabric, workers) = threads::start(count, u32::from(mode == Mode::Threads))?;
        Ok(Started { fabric: Box::new(fabric), workers, spin: count < launch::cpu_limit(), mode })
    }

    #[cfg(not(feature = "mpi"))]
    fn start_mpi(self, mode: Mode, _: &dyn Fn(Role)) -> Result<Started, Error> {
        Err(Error::usage(format!(
            "this program was built without MPI, which mode {mode} needs, as does a launch by mpiexec: build with \
             the feature `mpi`"
        )))
    }

    #[cfg(feature = "mpi")]
    fn start_mpi(self, mode: Mode, turns_out: &dyn Fn(Role)) -> Result<Started, Error> {
        use crate::mpi::{Threads, World, library_version};

        let launcher = launch::detect(launch::variable)?;
        match launcher {
            Launcher::None => pool::preflight()?,
            // Some libraries abort in MPI_Init; with the others each rank would be alone.
            Launcher::Mpi { name, size, .. } if launch::is_foreign(launch::variable, &library_version()) => {
                return Err(strangers(name, size, "cannot join them"));
            }
            _ => {}
        }
        // A pool spawns replacements while it runs.
        let threads = if mode == Mode::Pool { Threads::Several } else { Threads::One };
        let mut world = World::initialise(threads)?;
        if let Some(timing) = &self.timing {
            world.before_use(timing.clone().before_use());
        }
        if let Some(parent) = world.parent()? {
            launch::becomes_worker();
            turns_out(Role::Worker);
            pool::serve(world, parent);
        }
        let size = world.size()?;
        if let Launcher::Mpi { name, size: told, .. } = launcher
            && told != size
        {
            // MPI is left as it is: this process is one world of several, and says so before it ends.
            return Err(strangers(name, told, &format!("knows of {size}")));
        }
        if size > 1 {
            if world.rank()? > 0 {
                launch::becomes_worker();
                turns_out(Role::Worker);
                comm::serve(world);
            }
            return self.start_comm(world, size);
        }
        let workers = pool::count(self.workers, pool::slots(&world)?, self.oversubscribe)?;
        let wdir = self.spawn_info.iter().any(|(key, _)| key == "wdir");
        let settings = Settings { surroundings: Some(launch::surroundings(!wdir)), ..self.settings() };
        files::make_room(workers as usize, 1, false)?;
        // The user may have named other hosts than the launcher has.
        if !self.spawn_info.iter().any(|(key, _)| key.contains("host")) {
            turns_out(Role::Spawner { workers });
        }
        let pool = pool::Pool::spawn(world, workers, self.spawn_info, self.oversubscribe)?;
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
        files::make_room(size as usize - 1, 1, false)?;
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

/// The launcher and the MPI library do not know each other.
#[cfg(feature = "mpi")]
fn strangers(launcher: &str, ranks: u32, but: &str) -> Error {
    let library = crate::mpi::library_version();
    Error::new(
        ErrorKind::Launch,
        format!(
            "{launcher} started {ranks} ranks, but MPI ({library}) {but}: the launcher and this program belong to \
             different MPI libraries; start the program with its own mpiexec (`rankpool doctor` shows both)"
        ),
    )
}

/// What this process turned out to be, or why it turned out to be nothing. The fabric watches its own time where it
/// can; a thread that hangs inside MPI cannot.
fn started_within(
    limit: Duration,
    reported: &mpsc::Receiver<Result<Role, Error>>,
    siblings: &mut Siblings,
) -> Result<Role, Error> {
    let failed = |why: String| Err(Error::new(ErrorKind::Launch, why));
    let mut deadline = Instant::now() + limit + SLACK;
    let mut gone = None;
    loop {
        match reported.recv_timeout(LOOK) {
            Ok(Ok(Role::Spawner { workers })) => siblings.are_spawned(workers as usize),
            Ok(report) => return report,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(Error::new(ErrorKind::Internal, "the engine's thread panicked at the start"));
            }
            Err(mpsc::RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
            Err(mpsc::RecvTimeoutError::Timeout) => match gone {
                None => {
                    return failed(format!(
                        "MPI did not start the workers within {:?}; `rankpool doctor` tries the parts one by one",
                        limit + SLACK
                    ));
                }
                Some(gone) => return failed(format!("{gone}: the run cannot start")),
            },
        }
        if gone.is_none()
            && let Some(lost) = siblings.gone()
        {
            if lost.is_rank_0() {
                launch::end_orphaned();
            }
            // Where MPI does not hang, the other thread says more.
            gone = Some(lost);
            deadline = deadline.min(Instant::now() + LAST_WORDS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_sets_no_chunk_has_that_of_its_executor() {
        let with = |chunk| Executor::builder().mode(Mode::Threads).workers(1).chunk(chunk).start();
        let pool = with(Chunk::Static).unwrap();
        let refused = pool.call(|n: u64| n).stream(0..).unwrap_err();
        assert!(refused.to_string().contains("static chunks need to know the number of tasks"), "{refused}");
        assert!(pool.call(|n: u64| n).chunk(1).stream(0..).is_ok());
        assert_eq!(pool.submit(|n: u64| n, 7).unwrap().wait(), Ok(7));
        assert_eq!(with(Chunk::Fixed(0)).unwrap_err().exit_code(), 2);
    }
}
