//! What tasks print on standard output. A worker process writes it out before their results count, so a later loss of
//! the worker does not lose it, and it stands before the summary.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use crate::say::flush_prints;

/// How long the lock of standard output is waited for at the start.
const TRIED: Duration = Duration::from_millis(100);

static LETS_OUT: AtomicBool = AtomicBool::new(false);

/// From now on each chunk flushes what its tasks have printed, unless the program holds the lock of standard output
/// while it waits in `Executor::start`: a chunk would wait for the lock for ever.
pub(crate) fn let_out_from_now() {
    let (free, is_free) = mpsc::channel();
    let try_lock = move || {
        drop(std::io::stdout().lock());
        // Nobody listens when it took too long.
        let _ = free.send(());
    };
    let tried = thread::Builder::new().name("rankpool-prints".into()).spawn(try_lock);
    LETS_OUT.store(tried.is_ok() && is_free.recv_timeout(TRIED).is_ok(), Ordering::Release);
}

/// Flushes what was printed, in a worker process.
pub(super) fn let_out() {
    if LETS_OUT.load(Ordering::Acquire) {
        flush_prints();
    }
}
