//! Signals: SIGUSR1 asks a run to stop in time, SIGINT, SIGTERM and SIGHUP end it. Launchers and schedulers send them to
//! every rank, and rank 0 is the one that acts on them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
    flag,
    iterator::Signals,
};

use super::program;
use crate::{
    error::{Error, ErrorKind},
    launch, progress,
    sync::lock,
};

/// How long a worker that is to end waits for rank 0 to end it: rank 0 has the signal as well, and would take the
/// worker for lost.
const PATIENCE: Duration = Duration::from_secs(3);

/// Signals that come within this time count as one: Slurm and mpirun may both send it.
const SAME: Duration = Duration::from_secs(1);

/// Set by the first signal at rank 0.
static STOPPING: AtomicBool = AtomicBool::new(false);

type Stop = Box<dyn Fn(i32) + Send>;
type Commit = Box<dyn Fn() + Send>;
type Words = Box<dyn Fn() -> String + Send>;

/// What ends the workers and the run; there at rank 0 only, once it is up.
static STOP: Mutex<Option<Stop>> = Mutex::new(None);

/// Writes what is known to disk, before a signal ends the run.
static COMMIT: Mutex<Option<Commit>> = Mutex::new(None);

/// What is said last of a run that a signal ends; there at rank 0 only, once it is up.
static LAST_WORDS: Mutex<Option<Words>> = Mutex::new(None);

/// A run that a signal ends says these words.
pub(super) fn last_words(words: impl Fn() -> String + Send + 'static) {
    *lock(&LAST_WORDS) = Some(Box::new(words));
}

/// Rank 0 is up and is ended by `stop`.
pub(super) fn stop_by(stop: impl Fn(i32) + Send + 'static) {
    *lock(&STOP) = Some(Box::new(stop));
}

/// Before the run is ended, `commit` is called.
pub(super) fn commit_by(commit: Commit) {
    *lock(&COMMIT) = Some(commit);
}

/// A signal is ending this run.
pub(super) fn stopping() -> bool {
    STOPPING.load(Ordering::Acquire)
}

/// Listens, on every rank, before it knows which it is.
///
/// # Errors
/// When the signals cannot be caught.
pub(super) fn listen() -> Result<(), Error> {
    // A worker passes it on to rank 0, over its lifeline.
    flag::register(SIGUSR1, Arc::clone(launch::drain_flag())).map_err(broken)?;
    let mut signals = Signals::new(ending()).map_err(broken)?;
    let watch = move || {
        let mut caught = signals.forever();
        if let Some(signal) = caught.next() {
            on_signal(signal);
        }
        let first = Instant::now();
        if caught.any(|_| stopping() && first.elapsed() > SAME) {
            launch::end_run(launch::EXIT_STOPPED);
        }
    };
    thread::Builder::new().name("rankpool-signals".into()).spawn(watch).map(drop).map_err(broken)
}

/// From here on a signal that ends this process removes the file before, which is half made.
///
/// # Errors
/// When the signals cannot be caught.
#[cfg(feature = "hdf5")]
pub(super) fn remove_at_the_end(half_made: std::path::PathBuf) -> Result<(), Error> {
    let mut signals = Signals::new(ending()).map_err(broken)?;
    let watch = move || {
        if let Some(signal) = signals.forever().next() {
            // It may be whole, and have its name, already.
            let _ = std::fs::remove_file(&half_made);
            // It ends the process as if nobody had caught it.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    };
    thread::Builder::new().name("rankpool-signals".into()).spawn(watch).map(drop).map_err(broken)
}

/// The signals that end a process.
fn ending() -> impl Iterator<Item = i32> {
    let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    [SIGINT, SIGTERM].into_iter().chain(hangup)
}

fn broken(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("signals cannot be caught: {error}"))
}

/// Whether a signal was ignored from the start, as SIGHUP is below `nohup`: then it stays so.
fn is_ignored(signal: i32) -> bool {
    // SAFETY: an all-zero sigaction is a valid one to be written over.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is set; the second pointer may be null, the third is of a value that lives.
    let told = unsafe { libc::sigaction(signal, std::ptr::null(), &mut now) } == 0;
    told && now.sa_sigaction == libc::SIG_IGN
}

/// From now on a write beyond `ulimit -f` is an error for the writer, and no longer ends the process. The signal is
/// caught and not ignored: programs that tasks start find it as it was.
pub(super) fn outlive_file_limit() {
    // Without it the process ends as it would have before.
    let _ = flag::register(libc::SIGXFSZ, Arc::default());
}

fn on_signal(signal: i32) {
    let stop = lock(&STOP).take();
    // The listener goes on listening, for a second signal.
    thread::spawn(move || {
        let Some(stop) = stop else {
            // Children of rank 0's leader go by its rank.
            if launch::rank().is_some_and(|rank| rank > 0 || launch::is_worker()) {
                thread::sleep(PATIENCE);
            }
            launch::end_run(128 + signal);
        };
        STOPPING.store(true, Ordering::Release);
        let name = match signal {
            SIGINT => "SIGINT",
            SIGHUP => "SIGHUP",
            _ => "SIGTERM",
        };
        progress::print(&format!("{}: {name}: ending the workers", program()));
        if let Some(commit) = lock(&COMMIT).take() {
            commit();
        }
        if let Some(words) = lock(&LAST_WORDS).take() {
            progress::print(&format!("{}: {}", program(), words()));
        }
        launch::leave_code(launch::EXIT_STOPPED);
        stop(launch::EXIT_STOPPED);
    });
}
