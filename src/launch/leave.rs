//! The ways out of the program. Before anything ends a run, it writes the exit code down and makes the launcher fail,
//! so that an unfinished run never looks like a finished one.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::Launcher;
use crate::say;

/// How long exit handlers may take.
const HANDLERS: Duration = Duration::from_secs(5);

/// How soon a launcher knows that rank 0 has ended: the kernel closes the connections of a process first.
const WORD_OF_RANK_0: Duration = Duration::from_millis(300);

/// MPI was started here and has been finalised.
static FINALISED: AtomicBool = AtomicBool::new(false);

/// The parent of this process is a leader other than rank 0: its end does not mean the end of the run.
static ENDS_ALONE: AtomicBool = AtomicBool::new(false);

/// From now on the end of this process's parent ends this process alone, and not the run.
pub(super) fn end_alone() {
    ENDS_ALONE.store(true, Ordering::Release);
}

/// MPI_Finalize has returned.
#[cfg(feature = "mpi")]
pub(crate) fn mpi_is_finalised() {
    FINALISED.store(true, Ordering::Release);
}

/// Leaves the exit code of a run in the file that was asked for. The code of a worker concerns nobody, and is not left.
pub(crate) fn leave_code(code: i32) {
    if ends_the_run() {
        super::code_file::leave_code(code);
    }
}

/// Removes the code that an earlier run has left, when a run begins: it may be killed before it has a code of its own.
pub(crate) fn forget_old_code() {
    if ends_the_run() {
        super::code_file::forget_old_code();
        super::mark::forget();
    }
}

/// Leaves the code, and the mark of a good end; makes a launcher fail that would return 0 all the same.
pub(crate) fn tell_code(code: i32) {
    leave_code(code);
    if ends_the_run() {
        if code == 0 {
            super::mark::leave();
        }
        super::recovery::fail_launcher(code);
    }
}

/// Whether this process is to be rank 0 of a run, or is it.
pub(crate) fn ends_the_run() -> bool {
    !super::is_worker() && !super::is_child() && super::is_first(super::variable)
}

/// Ends the run and this process.
pub(crate) fn end_run(code: i32) -> ! {
    tell_code(code);
    exit(code)
}

/// Ends this process. After MPI_Finalize its exit handlers run: in one of them MPICH signs off from its launcher, which
/// otherwise sees a crash. If MPI could not be finalised, they do not run: Open MPI's would wait for lost ranks.
pub(crate) fn exit(code: i32) -> ! {
    if !FINALISED.load(Ordering::Acquire) {
        exit_now(code);
    }
    let watch = move || {
        thread::sleep(HANDLERS);
        exit_now(code)
    };
    // Without the thread the handlers go unwatched.
    let _ = thread::Builder::new().name("rankpool-exit".into()).spawn(watch);
    say::finish();
    std::process::exit(code)
}

/// Ends the process: no destructors, no exit handlers. What was said and printed leaves before, as far as it can
/// within a moment.
pub(crate) fn exit_now(code: i32) -> ! {
    say::finish();
    // SAFETY: _exit has no preconditions; it does not return.
    unsafe { libc::_exit(code) }
}

/// Has `handler` called when the program ends in order: when its main returns, or by exit.
pub(crate) fn at_exit(handler: extern "C" fn()) {
    // SAFETY: the handler is a function, which stays as long as its image is loaded. Where there is no room for one
    // more, the workers find that rank 0 is gone.
    unsafe { libc::atexit(handler) };
}

/// Ends a worker whose rank 0 is gone, or a child whose leader is. A rank 0 that has left neither mark nor code was
/// killed; its code is left in its place.
pub(crate) fn end_orphaned() -> ! {
    if super::mark::is_left() {
        exit_now(super::EXIT_DONE);
    }
    if !ENDS_ALONE.load(Ordering::Acquire) {
        super::code_file::leave_code_of_the_killed();
        super::recovery::end_launcher_of_the_killed();
        if super::detect(super::variable).is_ok_and(|launcher| launcher != Launcher::None) {
            // It returns the first code that it sees, and rank 0's is on its way to it.
            thread::sleep(WORD_OF_RANK_0);
        }
    }
    exit_now(super::EXIT_ORPHANED)
}

/// Ends a rank other than 0 after an error that rank 0 tells: a moment later, since a launcher ends
/// the whole run when the first rank fails.
pub(crate) fn leave_the_word_to_rank_0() -> ! {
    thread::sleep(Duration::from_secs(1));
    exit_now(super::EXIT_USAGE)
}
