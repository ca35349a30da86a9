//! From settings to an executor whose workers are ready.

use std::{
    sync::{Arc, Mutex, OnceLock, atomic::AtomicU64, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::Builder;
#[cfg(feature = "mpi")]
use super::communicator;
#[cfg(feature = "mpi")]
use crate::executor::finalise;
use crate::{
    error::{Error, ErrorKind},
    executor::{
        Executor, Shared,
        engine::{Engine, Reason},
        progress::Progress,
        session::{self, Session},
    },
    fabric::{self, Role, Started, Wanted, WorkerInfo},
    launch::{self, Choice, Launcher, Mode, Siblings},
    leader,
    sync::lock,
    worker::or_end,
};

/// How much longer than the fabric the start is waited for.
const SLACK: Duration = Duration::from_secs(5);
/// How long the thread that starts has to say more of a rank that is gone.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Between two looks at who is gone meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// What the engine's thread reports while it starts.
enum Report {
    Role(Role),
    /// The workers are up.
    Ready {
        workers: Vec<WorkerInfo>,
        mode: Mode,
    },
}

impl Builder {
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
        // The name of the executable is noted while it is still that of this build.
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
    pub(super) fn with_cpus_per_task(mut self) -> Builder {
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

    /// Takes an engine and its workers: under MPI those that an earlier executor of the program has left waiting, else
    /// new ones.
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

    /// A new executor. With `rest`, its workers wait for the next executor when it ends.
    pub(super) fn executor(&self, session: Session, rest: bool) -> Executor {
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
    pub(super) fn start_session(&self, choice: Choice) -> Result<Session, Error> {
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
            finalise::watch(commands.clone(), thread.thread().clone(), ended)?;
        }
        let wanted = self.wanted.clone();
        Ok(Session { mode, wanted, workers, commands, thread, next_call: 0, progress, broken: reason })
    }
}

/// Waits until the workers are up, or this process turns out to be one; the error says why there are none. The fabric
/// watches its own time where it can; a thread that hangs inside MPI cannot.
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
