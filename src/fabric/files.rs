//! How many files this process may have open: each worker takes some at rank 0, and 1024 is a usual limit.

use rustix::{
    io::Errno,
    process::{Resource, getrlimit, setrlimit},
};

use crate::error::Error;
#[cfg(feature = "mpi")]
use crate::error::ErrorKind;

/// What rank 0 opens beside its workers: the listening socket, the journal, the result file, what a job reads.
const BESIDE: usize = 16;
/// What must be free to start a process: the pipes and sockets to it, and what a launcher's library opens.
const FOR_A_START: usize = 6;

/// Raises the limit as far as it goes.
fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If the limit stays, there is room for fewer workers, and `make_room` says so.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Files that may still be opened, as far as the system tells.
pub(super) fn free() -> usize {
    let most = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| most as usize);
    match std::fs::read_dir("/proc/self/fd") {
        // The folder itself is open while it is read.
        Ok(files) => most.saturating_sub(files.count().saturating_sub(1)),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::MFILE) => 0,
        Err(_) => most,
    }
}

/// Makes room for `workers` more, each of which takes `each` descriptors; `needed`: without them none can work.
///
/// # Errors
/// When there is no room, and it is needed.
pub(crate) fn make_room(workers: usize, each: usize, needed: bool) -> Result<(), Error> {
    raise();
    let (free, wanted) = (free(), workers.saturating_mul(each));
    let advice = || {
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        format!(
            "the limit on open files ({most}) leaves room for {} workers, and there are {workers}: raise it \
             (ulimit -n {}) or start fewer",
            free.saturating_sub(BESIDE) / each,
            most as usize - free.min(most as usize) + wanted + BESIDE
        )
    };
    if needed && free < wanted.saturating_add(FOR_A_START) {
        return Err(Error::usage(advice()));
    }
    if free < wanted.saturating_add(BESIDE) {
        tracing::warn!("{}", advice());
    }
    Ok(())
}

/// Looks whether a process can be started: some libraries end this one when they find no descriptor.
///
/// # Errors
/// When too few are free.
#[cfg(feature = "mpi")]
pub(super) fn room_for_a_start() -> Result<(), Error> {
    match free() {
        0..FOR_A_START => Err(Error::new(
            ErrorKind::Spawn,
            "nearly as many files are open as the limit allows: raise it (ulimit -n)",
        )),
        _ => Ok(()),
    }
}
