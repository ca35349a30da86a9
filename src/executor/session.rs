//! Workers that outlive an executor: MPI can be started once in a program, so the ranks wait for the next executor, and
//! end with rank 0.

use std::{
    process,
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use super::{
    Executor,
    command::{Command, Farewell},
    engine::Reason,
    progress::Progress,
};
use crate::{
    error::{Error, ErrorKind},
    fabric::{Wanted, WorkerInfo},
    launch::{self, Mode},
    sync::lock,
};

/// An engine whose workers are MPI's.
pub(super) struct Session {
    pub(super) mode: Mode,
    pub(super) wanted: Wanted,
    pub(super) workers: Vec<WorkerInfo>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) thread: JoinHandle<Result<(), Error>>,
    /// Workers know calls by their numbers.
    pub(super) next_call: u64,
    pub(super) progress: Arc<Mutex<Progress>>,
    pub(super) broken: Reason,
}

impl Session {
    /// Workers on other ranks than this one, which may lead children of its own.
    fn ranks(&self) -> usize {
        self.workers.iter().filter(|worker| worker.rank > 0).count()
    }
}

/// Where the one session of this program is.
enum Place {
    Nowhere,
    /// An executor has it, or starts it.
    Taken,
    Resting(Box<Session>),
    Over,
}

static PLACE: Mutex<Place> = Mutex::new(Place::Nowhere);

/// The session that rests, if there was one before; the caller has MPI now.
///
/// # Errors
/// When another executor has it, when it has ended, and when its workers are other ones than are wanted.
pub(super) fn take(mode: Mode, wanted: &Wanted) -> Result<Option<Session>, Error> {
    let mut place = lock(&PLACE);
    match &*place {
        Place::Nowhere => {}
        Place::Taken => {
            return Err(Error::usage(
                "another executor of this program has the MPI ranks: share it, since its methods can be called from several \
                 threads, or end it first; one that was dropped has them until its tasks have ended, and the results of \
                 its maps are taken or dropped",
            ));
        }
        Place::Over => {
            return Err(Error::usage(
                "MPI has ended in this program, with an executor that could not leave its workers in order, and can be \
                 started once only",
            ));
        }
        Place::Resting(session) => {
            if let Some(reason) = session.broken.get() {
                return Err(Error::new(
                    ErrorKind::Launch,
                    format!("the workers cannot be reached any more: {reason}"),
                ));
            }
            let other = (!matches!(mode, Mode::Auto) && mode != session.mode).then_some("mode");
            if let Some(setting) =
                other.or_else(|| wanted.differs_from(&session.wanted, session.mode, session.ranks()))
            {
                return Err(Error::usage(format!(
                    "the ranks of this program wait with the settings of its first executor, and {setting} is another \
                     one now: start all executors with the same"
                )));
            }
        }
    }
    match std::mem::replace(&mut *place, Place::Taken) {
        Place::Resting(session) => Ok(Some(*session)),
        _ => Ok(None),
    }
}

/// Whether no executor has started MPI yet.
pub(super) fn is_to_begin() -> bool {
    matches!(*lock(&PLACE), Place::Nowhere)
}

/// The caller has no workers any more, and nobody will.
pub(super) fn is_over() {
    *lock(&PLACE) = Place::Over;
}

impl Executor {
    /// Has the workers wait for the next executor, when all is done; false when nobody works any more.
    pub(super) fn rest(&mut self, wanted: Wanted, cancel: bool) -> bool {
        let (rested, resting) = mpsc::channel();
        let asked = self.shared.command(Command::Rest { cancel, rested });
        let Some(workers) = asked.ok().and_then(|()| resting.recv().ok()) else { return false };
        let Some(thread) = self.thread.take() else { return false };
        self.shared.flush_callbacks();
        rest(Session {
            mode: self.shared.mode,
            wanted,
            workers,
            commands: self.shared.commands.clone(),
            thread,
            next_call: self.shared.next_call.load(Ordering::Relaxed),
            progress: self.shared.progress.clone(),
            broken: self.shared.broken.clone(),
        });
        true
    }
}

impl Executor {
    /// As [`shutdown_now`](Executor::shutdown_now), but tasks that run are waited for no longer than `patience`: then
    /// their workers are ended by force. In `comm` and `pool` no executor can be started after that. In `serial` and
    /// `threads` nothing can end a task, and it is waited for.
    ///
    /// # Errors
    /// As [`shutdown`](Executor::shutdown).
    pub fn shutdown_within(mut self, patience: Duration) -> Result<(), Error> {
        self.end(Farewell { cancel: true, patience: Some(patience), code: None })
    }
}

impl Executor {
    /// Cancels all calls, those with running tasks included, and tells at once whoever waits for them. A process that
    /// runs nothing but tasks, in `processes` or below a rank, is killed if it runs one, and replaced. Nothing can end a
    /// task that a rank or a thread runs, so it goes on to its end, and its outcome is dropped. Says whether all workers
    /// have come to the end of what they ran within `wait`.
    ///
    /// ```
    /// use std::{thread, time::Duration};
    ///
    /// let pool = rankpool::Executor::builder().mode(rankpool::Mode::Serial).start()?;
    /// let future = pool.submit(|_: ()| thread::sleep(Duration::from_millis(300)), ())?;
    /// pool.give_up(Duration::ZERO);
    /// assert!(future.wait().is_err());
    /// assert!(pool.give_up(Duration::from_secs(60)));
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    pub fn give_up(&self, wait: Duration) -> bool {
        let (rested, resting) = mpsc::channel();
        let asked = self.shared.command(Command::GiveUp);
        let asked = asked.and_then(|()| self.shared.command(Command::Rest { cancel: false, rested }));
        // Where nobody answers, nobody works any more.
        asked.is_err() || !matches!(resting.recv_timeout(wait), Err(mpsc::RecvTimeoutError::Timeout))
    }
}

/// The workers wait for the next executor, or for the end of the program.
fn rest(session: Session) {
    static AT_EXIT: Once = Once::new();
    AT_EXIT.call_once(|| {
        OWNER.store(process::id(), Ordering::Relaxed);
        launch::at_exit(end);
    });
    *lock(&PLACE) = Place::Resting(Box::new(session));
}

/// The process that has the engine: a process that it forks has only the handler.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// The program ends: so does the session that rests.
extern "C" fn end() {
    if process::id() != OWNER.load(Ordering::Relaxed) {
        return;
    }
    let Place::Resting(session) = std::mem::replace(&mut *lock(&PLACE), Place::Over) else { return };
    let farewell = Farewell { cancel: false, patience: None, code: None };
    // If the engine has ended, joining it tells why.
    let _ = session.commands.send(Command::End(farewell));
    session.thread.thread().unpark();
    match session.thread.join() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!("{error}"),
        Err(_) => tracing::error!("the engine's thread panicked"),
    }
}
