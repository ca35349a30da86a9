//! Open MPI 4's `mpiexec --enable-recovery`: the run lives on when one of its processes dies, but
//! mpiexec returns 0 whatever its ranks return. Asked to end, it returns 1: not rank 0's code, but
//! no false success. So rank 0 asks it when the run has failed.
//!
//! It also asks when mpiexec would not end by itself: of several processes on one other host that leave without
//! MPI_Finalize, as all must after a loss, this mpiexec hears of the first only, and waits for the others for ever.

use std::{
    collections::HashSet,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::process::{Pid, Signal};

/// Whether this mpiexec lets a run live on when one of its processes dies. It hands the flag down
/// in the environment.
pub(crate) fn launcher_survives_losses() -> bool {
    std::env::var("OMPI_MCA_orte_enable_recovery").is_ok_and(|value| matches!(value.as_str(), "1" | "true"))
}

/// What a shell says of a process that was killed.
const KILLED: i32 = 137;

/// Set when this mpiexec will not end by itself.
static STRANDED: AtomicBool = AtomicBool::new(false);

/// Processes will leave without MPI_Finalize; `others` are the hosts of those on other hosts than this.
pub(crate) fn strand_launcher<'h>(others: impl Iterator<Item = &'h str>) {
    let mut seen = HashSet::new();
    let mut others = others;
    if launcher_survives_losses() && !others.all(|host| seen.insert(host)) {
        STRANDED.store(true, Ordering::Release);
        tracing::warn!(
            "this mpiexec does not see the end of a run that has lost a worker on another host: it is ended, and \
             returns 1; RANKPOOL_CODE_FILE=FILE has the code of the run"
        );
    }
}

/// Whether this mpiexec must be asked to end though the run has not failed.
pub(crate) fn launcher_is_stranded() -> bool {
    STRANDED.load(Ordering::Acquire)
}

/// Set in a process that turns out to be a worker. A spawned one cannot be told from a rank 0 before
/// MPI is up.
static WORKER: AtomicBool = AtomicBool::new(false);

/// This process is a worker, whose exit code concerns nobody.
pub(crate) fn is_worker() {
    WORKER.store(true, Ordering::Release);
}

/// Makes a failure of this rank 0 known to a launcher that would return 0.
pub(crate) fn watch_exit_code() {
    let first = std::env::var("OMPI_COMM_WORLD_RANK").is_ok_and(|rank| rank == "0");
    if first && launcher_survives_losses() {
        on_failure(fail_launcher);
    }
}

/// The launcher, where it is this process's parent.
fn launcher() -> Option<Pid> {
    let parent = rustix::process::getppid()?;
    let name = std::fs::read_to_string(format!("/proc/{}/comm", parent.as_raw_nonzero())).unwrap_or_default();
    ["mpiexec", "mpirun", "orterun"].contains(&name.trim()).then_some(parent)
}

/// Rank 0 was killed, and its workers leave without MPI_Finalize: one beside the launcher ends it.
pub(crate) fn end_launcher_of_the_killed() {
    if let Some(launcher) = launcher().filter(|_| launcher_survives_losses()) {
        super::code_file::leave_code_of_the_killed(KILLED);
        let _ = rustix::process::kill_process(launcher, Signal::TERM);
    }
}

/// Asks the launcher to end with an error, where it is this process's parent.
pub(crate) fn fail_launcher() {
    if let Some(launcher) = launcher() {
        // If it has ended by itself, there is nothing to ask.
        let _ = rustix::process::kill_process(launcher, Signal::TERM);
    } else {
        tracing::warn!(
            "this mpiexec was started with --enable-recovery and will return 0, though the run failed"
        );
    }
}

/// Has `then` called when this process ends with a code other than 0, by `exit` or the end of main, or with
/// any code when the launcher is stranded. Where the C library cannot tell the code (glibc can), it is never called.
fn on_failure(then: fn()) {
    static THEN: OnceLock<fn()> = OnceLock::new();
    let first = THEN.set(then).is_ok();
    #[cfg(target_env = "gnu")]
    if first {
        unsafe extern "C" {
            fn on_exit(
                function: extern "C" fn(libc::c_int, *mut libc::c_void),
                argument: *mut libc::c_void,
            ) -> libc::c_int;
        }
        extern "C" fn at_exit(code: libc::c_int, _: *mut libc::c_void) {
            let ask = code != 0 || launcher_is_stranded();
            if let (true, Some(then), false) = (ask, THEN.get(), WORKER.load(Ordering::Acquire)) {
                then();
            }
        }
        // SAFETY: glibc's signature; the function is static, and no argument is used.
        unsafe { on_exit(at_exit, std::ptr::null_mut()) };
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = first;
}
