//! Another part of the program finalises MPI, and executors may be alive: they end before.

use std::{
    convert::Infallible,
    mem,
    sync::{Mutex, mpsc},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use super::command::{Command, Farewell};
use crate::{error::Error, mpi, sync::lock};

/// Longer than any task.
const ANY_TIME: Duration = Duration::from_secs(1 << 32);

/// An engine whose workers are processes of that MPI.
struct Alive {
    commands: mpsc::Sender<Command>,
    thread: Thread,
    /// Closed when the engine has ended.
    ended: mpsc::Receiver<Infallible>,
}

static ALIVE: Mutex<Vec<Alive>> = Mutex::new(Vec::new());

/// Has this engine end before another part of the program finalises MPI, if another one has initialised it. `ended` is
/// closed when the engine has ended.
///
/// # Errors
/// When MPI cannot be asked to tell when it is finalised.
pub(super) fn watch(
    commands: mpsc::Sender<Command>,
    thread: Thread,
    ended: mpsc::Receiver<Infallible>,
) -> Result<(), Error> {
    if mpi::before_finalise(end_all)? {
        let mut alive = lock(&ALIVE);
        alive.retain(|engine| engine.ended.try_recv() == Err(mpsc::TryRecvError::Empty));
        alive.push(Alive { commands, thread, ended });
    }
    Ok(())
}

/// MPI_Finalize has begun: the workers are to be in it, too.
fn end_all() {
    let mut engines = mem::take(&mut *lock(&ALIVE));
    // An engine that ends the program finalises MPI itself.
    engines.retain(|engine| engine.thread.id() != thread::current().id());
    for engine in &engines {
        // What runs is waited for. The rest of a map is not: it may be endless, or nobody may take its results.
        let farewell = Farewell { cancel: true, patience: None, code: None };
        for command in [Command::End(farewell), Command::Drain(Instant::now() + ANY_TIME)] {
            // One that has ended is told in vain.
            let _ = engine.commands.send(command);
        }
        engine.thread.unpark();
    }
    for engine in engines {
        // Nothing is ever sent: this returns when the engine has ended.
        let _ = engine.ended.recv();
    }
}
