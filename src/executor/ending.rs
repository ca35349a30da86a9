//! How an executor ends, and how it is ended.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    Executor, Shared,
    command::{Command, Farewell},
    session,
};
use crate::{
    error::{Error, ErrorKind},
    launch,
};

/// How long running tasks are waited for when there is no time: at a panic, a signal, an exit.
const PATIENCE: Duration = Duration::from_millis(500);

impl Executor {
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

    pub(super) fn end(&mut self, farewell: Farewell) -> Result<(), Error> {
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
