//! How an executor is started.

#[cfg(feature = "mpi")]
mod communicator;

use std::{
    ffi::OsString,
    fmt::Display,
    path::Path,
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
    session::{self, Session},
};
#[cfg(feature = "cli")]
use crate::fabric::timing::Timing;
use crate::{
    error::{Error, ErrorKind},
    fabric::{self, MOST_THREADS, Role, Started, Wanted, WorkerInfo},
    launch::{self, Bind, Choice, GpusPerTask, Launcher, Mode, Siblings, choose},
    leader,
    scheduler::Chunk,
    sync::lock,
    wire::Program,
    worker::or_end,
};

/// How much longer than the fabric the start is waited for.
const SLACK: Duration = Duration::from_secs(5);
/// How long the thread that starts has to say more of a rank that is gone.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Between two looks at who is gone meanwhile.
const LOOK: Duration = Duration::from_millis(100);

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
    wanted: Wanted,
    chunk: Chunk,
    seed: u64,
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
            wanted: Wanted {
                workers: None,
                threads_per_worker: 1,
                processes_per_worker: None,
                program: None,
                cpus_per_task: 1,
                bind: Bind::None,
                gpus_per_task: GpusPerTask::default(),
                oversubscribe: false,
                #[cfg(feature = "mpi")]
                communicator: None,
                spawn_info: Vec::new(),
                start_timeout: Duration::from_secs(60),
                stall: Some(STALL),
                timing: None,
            },
            chunk: Chunk::Auto,
            seed: 0,
            unreadable: None,
        }
    }
}

/// What the engine's thread reports while it starts.
enum Report {
    Role(Role),
    /// The workers are up.
    Ready {
        workers: Vec<WorkerInfo>,
        mode: Mode,
    },
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
        self.wanted.workers = Some(workers);
        self
    }

    /// Task threads in each worker, 1 by default; for `processes`, `comm` and `pool`. With 1, tasks run on the thread
    /// of the worker's process that has called [`start`](Builder::start); with more, that one talks to rank 0. Per-worker
    /// state is per thread.
    pub fn threads_per_worker(mut self, threads: u32) -> Builder {
        self.wanted.threads_per_worker = threads;
        self
    }

    /// Makes each rank a leader, rank 0 included: it runs no task itself, and starts so many child processes of this
    /// program on its node, which run them. A positive number, or from the end as in [`workers`](Builder::workers): -1
    /// as many as there are CPUs that the rank may use. For `comm` and `pool`; also without a launcher, for one node.
    ///
    /// A child that dies, however it does, costs its chunk and is replaced, whatever the MPI library: no rank died. A
    /// task over its [`task_timeout`](crate::Call::task_timeout) is ended with all that it has started. A
    /// [shared value](Executor::map_with) lies once in the memory of a node. One rank a node is enough, as by
    /// `mpiexec --map-by ppr:1:node --bind-to none` or `srun --ntasks-per-node=1`.
    ///
    /// ```
    /// let pool = rankpool::Executor::builder().processes_per_worker(2).start()?;
    /// assert_eq!(pool.workers()[0].children.len(), 2);
    /// assert_eq!(pool.map(|n: u64| n * n, 0..4)?, [0, 1, 4, 9]);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    pub fn processes_per_worker(mut self, processes: i64) -> Builder {
        self.wanted.processes_per_worker = Some(processes);
        self
    }

    /// How many CPUs a task has, 1 by default, for tasks that start threads or programs of their own: where a number of
    /// workers counts CPUs (-1), it counts so many together, and a worker of T task threads runs so many times fewer tasks
    /// at a time.
    pub fn cpus_per_task(mut self, cpus: u32) -> Builder {
        self.wanted.cpus_per_task = cpus;
        self
    }

    /// Binds each child of a leader to a share of the leader's CPUs that no other child has; [`Bind::None`] by default.
    /// Numerical libraries are told to start a thread for each of these CPUs.
    pub fn bind(mut self, bind: Bind) -> Builder {
        self.wanted.bind = bind;
        self
    }

    /// Shows each child of a leader GPUs of its own, out of those that its rank may see: by the variables
    /// `CUDA_VISIBLE_DEVICES`, `ROCR_VISIBLE_DEVICES` and `ZE_AFFINITY_MASK`. More children than the GPUs allow are refused
    /// at the start.
    pub fn gpus_per_task(mut self, gpus: GpusPerTask) -> Builder {
        self.wanted.gpus_per_task = gpus;
        self
    }

    /// What a worker is that is started in `processes` and `pool`, and a child of a leader: this program, with these
    /// arguments, in the place of the running program with its own. A program without a slash in its name is looked
    /// for on PATH, for `pool` on the host of the worker.
    ///
    /// It is to start an executor as the running program does, from the same build of the code: it may be that program
    /// itself with other arguments, a wrapper that executes it (`nice`, a profiler, a container), or an interpreter
    /// that loads the same shared library. Where nothing is started it is not used; a mode that is named, and starts
    /// nothing, refuses it.
    ///
    /// ```no_run
    /// use rankpool::{Executor, Mode};
    /// let itself = std::env::current_exe().unwrap();
    /// let profiled = ["record".into(), "--output".into(), "worker.perf".into(), itself.into_os_string()];
    /// let pool = Executor::builder().mode(Mode::Processes).worker_program("perf", profiled).start()?;
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    pub fn worker_program(
        mut self,
        program: impl AsRef<Path>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Builder {
        self.wanted.program = Some(Program::new(program.as_ref(), arguments));
        self
    }

    /// Mode `pool`: spawn more workers than there are slots.
    pub fn oversubscribe(mut self, oversubscribe: bool) -> Builder {
        self.wanted.oversubscribe = oversubscribe;
        self
    }

    /// Mode `pool`: an info key for MPI_Comm_spawn, such as `host`, `wdir` or `map_by`
    /// (MPI 4.1, section 11.8.4).
    pub fn spawn_info(mut self, key: impl Into<String>, value: impl Into<String>) -> Builder {
        self.wanted.spawn_info.push((key.into(), value.into()));
        self
    }

    /// How long the workers may take to come up; 60 s by default.
    pub fn start_timeout(mut self, limit: Duration) -> Builder {
        self.wanted.start_timeout = limit.min(Duration::from_secs(365 * 24 * 3600));
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
        self.wanted.stall = stall.into();
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
        self.wanted.timing = Some(timing);
        self
    }

    /// Takes mode, workers, threads and processes of a worker, chunk and seed from the variables RANKPOOL_MODE,
    /// RANKPOOL_WORKERS, RANKPOOL_THREADS_PER_WORKER, RANKPOOL_PROCESSES_PER_WORKER, RANKPOOL_CHUNK and RANKPOOL_SEED, each
    /// where it is set, in the place of what was set before. So a program can be run in another
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
        self.wanted.workers =
            variable("RANKPOOL_WORKERS", ", as in 4, or -1 for all CPUs")?.or(self.wanted.workers);
        self.wanted.threads_per_worker =
            variable("RANKPOOL_THREADS_PER_WORKER", ", as in 4")?.unwrap_or(self.wanted.threads_per_worker);
        self.wanted.processes_per_worker =
            variable("RANKPOOL_PROCESSES_PER_WORKER", ", as in 4, or -1 for all CPUs")?
                .or(self.wanted.processes_per_worker);
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
            fabric::serve_as_child();
        }
        launch::forget_old_code();
        launch::watch_exit_code();
        let builder = self.with_cpus_per_task();
        #[cfg(feature = "mpi")]
        if let Some(group) = builder.wanted.communicator {
            return builder.start_among(group);
        }
        let started = launch::detect(launch::variable).and_then(|launcher| {
            let choice = builder.choose(launcher)?;
            builder.with_worker().launch(choice)
        });
        if started.is_err() && !launch::is_first(launch::variable) {
            #[cfg(feature = "mpi")]
            crate::mpi::finalise_at_the_end();
            launch::leave_the_word_to_rank_0();
        }
        started
    }

    /// Threads share the CPUs of their worker.
    fn with_cpus_per_task(mut self) -> Builder {
        let cpus = self.wanted.cpus_per_task.max(1);
        let threads = self.wanted.threads_per_worker;
        self.wanted.threads_per_worker = (threads / cpus).max(threads.min(1));
        Builder { wanted: Wanted { cpus_per_task: cpus, ..self.wanted }, ..self }
    }

    /// Workers are started as the program was, if an interpreter has loaded it.
    fn with_worker(mut self) -> Builder {
        self.wanted.program = self.wanted.program.or_else(launch::loaded_worker);
        self
    }

    /// A task has an executor of its own: the launch of the program does not concern it.
    fn start_inside_a_task(self) -> Result<Executor, Error> {
        #[cfg(feature = "mpi")]
        if self.wanted.communicator.is_some() {
            return Err(Error::usage(communicator::IN_A_TASK));
        }
        if matches!(self.mode, Mode::Comm | Mode::Pool) {
            return Err(Error::usage(format!(
                "mode {} is for the whole program, and this is a task inside one of its workers; inside a task use \
                 mode serial, threads or processes",
                self.mode
            )));
        }
        let choice = self.choose(Launcher::None)?;
        self.with_worker().launch(choice)
    }

    /// What is to be started.
    ///
    /// # Errors
    /// When a setting cannot be honoured.
    fn choose(&self, launcher: Launcher) -> Result<Choice, Error> {
        if let Some(text) = &self.unreadable {
            return Err(Error::usage(text));
        }
        let spawns = self.wanted.workers.is_some() || self.wanted.oversubscribe;
        let choice = choose(self.mode, launcher, spawns, self.wanted.processes_per_worker.is_some())?;
        self.check(choice)?;
        Ok(choice)
    }

    fn check(&self, choice: Choice) -> Result<(), Error> {
        let (mode, local) = match choice {
            Choice::Local(mode) => (mode, true),
            Choice::Mpi(mode) => (mode, false),
        };
        let one_thread = matches!(mode, Mode::Serial | Mode::Threads);
        if self.wanted.threads_per_worker == 0 {
            return Err(Error::usage("0 threads in a worker cannot run anything: give 1 or more"));
        }
        if self.chunk == Chunk::Fixed(0) {
            return Err(Error::usage(EMPTY_CHUNK));
        }
        if self.wanted.threads_per_worker as usize > MOST_THREADS {
            return Err(Error::usage(format!(
                "{} threads in a worker are too many: give {MOST_THREADS} at most",
                self.wanted.threads_per_worker
            )));
        }
        if self.wanted.threads_per_worker > 1 && one_thread {
            return Err(Error::usage(format!(
                "mode {mode} has no threads within workers: use more workers in mode threads, or mode processes, \
                 comm or pool"
            )));
        }
        self.check_leaders(mode)?;
        self.check_program()?;
        if let Some(stall) = self.wanted.stall.filter(|stall| *stall < SHORTEST_STALL) {
            return Err(Error::usage(format!(
                "a stall of {stall:?} would give up workers that are only busy: {SHORTEST_STALL:?} is the shortest"
            )));
        }
        if mode == Mode::Serial && !matches!(self.wanted.workers, None | Some(1)) {
            return Err(Error::usage(
                "without a launcher or a mode, the one serial rank runs all tasks: for several workers use mode \
                 threads or processes, or start the program with mpiexec",
            ));
        }
        if local && (self.wanted.oversubscribe || !self.wanted.spawn_info.is_empty()) {
            return Err(Error::usage(format!(
                "mode {mode} spawns nothing: oversubscribe and spawn hints are for mode pool"
            )));
        }
        Ok(())
    }

    fn check_program(&self) -> Result<(), Error> {
        let Some(program) = &self.wanted.program else { return Ok(()) };
        let children = self.wanted.processes_per_worker.is_some();
        if !children && matches!(self.mode, Mode::Serial | Mode::Threads | Mode::Comm) {
            return Err(Error::usage(format!(
                "mode {} starts no worker: a worker's program is for modes processes and pool, and for the children \
                 of leaders",
                self.mode
            )));
        }
        // A launcher that cannot start it may wait for it for ever.
        let file = program.file();
        let there = match launch::on_path(file) {
            Some(file) => {
                rustix::fs::access(&file, rustix::fs::Access::EXEC_OK).map_err(|error| error.to_string())
            }
            None => Err("there is no such file".into()),
        };
        there.map_err(|why| Error::usage(format!("{}, the workers' program: {why}", file.display())))
    }

    fn check_leaders(&self, mode: Mode) -> Result<(), Error> {
        let leads = self.wanted.processes_per_worker.is_some();
        if !leads && self.wanted.bind != Bind::None {
            return Err(Error::usage(
                "the children of leaders are bound, and there are none: give --processes-per-worker \
                 (Builder::processes_per_worker), or leave the binding to the launcher",
            ));
        }
        if !leads && self.wanted.gpus_per_task != GpusPerTask::default() {
            return Err(Error::usage(
                "the children of leaders are given GPUs, and there are none: give --processes-per-worker \
                 (Builder::processes_per_worker)",
            ));
        }
        if self.wanted.processes_per_worker == Some(0) {
            return Err(Error::usage(
                "0 processes in a worker cannot run anything: give a positive number, or -1 for all CPUs",
            ));
        }
        if leads && self.wanted.threads_per_worker > 1 {
            return Err(Error::usage(
                "a leader's children run one task each, so that one that dies takes no other task along: give \
                 threads or processes within each worker, not both",
            ));
        }
        if leads && self.mode == Mode::Auto && mode == Mode::Serial {
            return Err(Error::usage(
                "one rank leads its children here and spawns no workers: leave --workers and --oversubscribe \
                 (Builder::workers, oversubscribe) out, or use mode pool",
            ));
        }
        if leads && !matches!(mode, Mode::Comm | Mode::Pool) {
            return Err(Error::usage(format!(
                "mode {mode} has no leaders: processes within workers are for modes comm and pool (or auto); in mode \
                 processes each worker is a process already"
            )));
        }
        Ok(())
    }

    /// Has an engine and its workers: those that wait, under MPI, for the second executor of the program, or new ones.
    fn launch(self, choice: Choice) -> Result<Executor, Error> {
        let Choice::Mpi(_) = choice else { return Ok(self.executor(self.start_session(choice)?, false)) };
        #[cfg(feature = "mpi")]
        fabric::guest::serve_in_world(leader::lead)?;
        let session = match session::take(self.mode, &self.wanted)? {
            Some(session) => {
                *lock(&session.progress) = Progress::of(&session.workers);
                session
            }
            None => self.start_session(choice).inspect_err(|_| session::is_over())?,
        };
        Ok(self.executor(session, true))
    }

    /// An executor that nothing has been asked of; its workers wait for the next one in the end if they are to `rest`.
    fn executor(&self, session: Session, rest: bool) -> Executor {
        let Session { mode, wanted, workers, commands, thread, next_call, progress, broken } = session;
        let shared = Shared {
            commands,
            engine: thread.thread().clone(),
            next_call: AtomicU64::new(next_call),
            next_task: AtomicU64::new(0),
            chunk: self.chunk,
            seed: self.seed,
            progress,
            callbacks: OnceLock::new(),
            courier: OnceLock::new(),
            mode,
            broken,
        };
        Executor { shared: Arc::new(shared), workers, thread: Some(thread), session: rest.then_some(wanted) }
    }

    /// Starts the engine's thread, which starts the fabric; waits until the workers are ready.
    fn start_session(&self, choice: Choice) -> Result<Session, Error> {
        fabric::set_variables(choice, &self.wanted);
        let (commands, orders) = mpsc::channel();
        let (report, reported) = mpsc::channel();
        let progress = Arc::new(Mutex::new(Progress::default()));
        let reason = Reason::default();
        let (watched, told) = (progress.clone(), reason.clone());
        let mut siblings = Siblings::watch();
        let wanted = self.wanted.clone();
        // Closed when the thread ends.
        #[cfg(feature = "mpi")]
        let (alive, ended) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("rankpool".into())
            .stack_size(launch::STACK_BYTES)
            .spawn(move || {
                #[cfg(feature = "mpi")]
                let _alive = alive;
                let turns_out = |role| drop(report.send(Ok(Report::Role(role))));
                match fabric::start(choice, wanted, leader::lead, &turns_out) {
                    Ok(Started { fabric, workers, spin, mode }) => {
                        let engine = Engine::new(orders, fabric, &workers, spin, watched, told);
                        // When the caller has given up waiting, the engine finds its commands closed.
                        let _ = report.send(Ok(Report::Ready { workers, mode }));
                        engine.run()
                    }
                    Err(error) => {
                        let _ = report.send(Err(error));
                        Ok(())
                    }
                }
            })
            .map_err(|error| Error::new(ErrorKind::Launch, format!("no thread for the engine: {error}")))?;
        let (workers, mode) = match started_within(self.wanted.start_timeout, &reported, &mut siblings) {
            Ok(Report::Ready { workers, mode }) => {
                if !launch::is_worker() {
                    launch::set_rank(0);
                }
                (workers, mode)
            }
            Ok(Report::Role(role)) => {
                // Tasks run here: signals, and many libraries, count on a program's first thread.
                if let Role::Worker(awaited) = role
                    && let Ok(service) = awaited.recv()
                {
                    or_end(service);
                }
                // The other thread ends the process, unless it panics.
                let _ = thread.join();
                launch::exit_now(launch::EXIT_INTERNAL)
            }
            Err(error) => return Err(error),
        };
        #[cfg(feature = "mpi")]
        if matches!(choice, Choice::Mpi(_)) {
            super::finalise::watch(commands.clone(), thread.thread().clone(), ended)?;
        }
        let wanted = self.wanted.clone();
        Ok(Session { mode, wanted, workers, commands, thread, next_call: 0, progress, broken: reason })
    }
}

/// That the workers are up, or that this is one, or why there are none. The fabric watches its own time where it
/// can; a thread that hangs inside MPI cannot.
fn started_within(
    limit: Duration,
    reported: &mpsc::Receiver<Result<Report, Error>>,
    siblings: &mut Siblings,
) -> Result<Report, Error> {
    let failed = |why: String| Err(Error::new(ErrorKind::Launch, why));
    let mut deadline = Instant::now() + limit + SLACK;
    let mut gone = None;
    loop {
        match reported.recv_timeout(LOOK) {
            Ok(Ok(Report::Role(Role::Spawner { workers }))) => siblings.are_spawned(workers as usize),
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
