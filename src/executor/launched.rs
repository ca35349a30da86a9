//! What a program may ask before it starts an executor.

use super::session;
use crate::launch::{self, Launcher, detect};

/// How many ranks a launcher has started this program with; `None` without a launcher, and within a task, which the
/// launch of the program does not concern.
///
/// ```
/// // `cargo test` launches nothing.
/// assert_eq!(rankpool::launched_ranks(), None);
/// ```
pub fn launched_ranks() -> Option<u32> {
    match detect(launch::variable) {
        Ok(Launcher::Mpi { size, .. }) if !launch::inside_a_task() => Some(size),
        _ => None,
    }
}

/// Whether other processes wait for this one to start its first executor: it is one of several ranks, or it is to be a
/// worker. Work that is meant for rank 0 alone is done after that start.
///
/// ```
/// assert!(!rankpool::is_awaited());
/// ```
pub fn is_awaited() -> bool {
    let started = || launch::is_child() || matches!(detect(launch::variable), Ok(Launcher::Spawned));
    !launch::inside_a_task()
        && (started() || launched_ranks().is_some_and(|ranks| ranks > 1) && session::is_to_begin())
}

/// Whether this process is to serve: it is another rank than 0, or was started as a worker. It is known before an executor
/// is started, so that work can be left out that rank 0 alone is to do.
///
/// ```
/// assert!(!rankpool::is_worker());
/// ```
pub fn is_worker() -> bool {
    !launch::inside_a_task() && (launch::is_child() || !launch::is_first(launch::variable))
}
