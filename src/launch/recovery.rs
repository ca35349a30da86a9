//! What is done about a launcher whose [policy](super::Policy) asks for it: one that returns 0 whatever its ranks
//! return, and one that is stranded. Asked to end, it returns 1: not rank 0's code, but no false success. So rank 0
//! asks it when the run has failed, and when the launcher would not end by itself.

use std::{
    fs, io,
    iter::successors,
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::process::{Pid, Signal};

use super::policy::policy;
use crate::say;

/// Set when this mpiexec will not end by itself.
static STRANDED: AtomicBool = AtomicBool::new(false);

/// The processes of this run are about to [strand](super::Policy::is_stranded_by) its launcher.
pub(crate) fn strand_launcher() {
    STRANDED.store(true, Ordering::Release);
    tracing::warn!(
        "this mpiexec does not see the end of a run that has lost a worker on another host: it is ended, and returns \
         1; RANKPOOL_CODE_FILE=FILE has the code of the run"
    );
}

/// Has the end of this program told, if it is rank 0 and there is anybody to tell; see
/// [`tell_code`](super::tell_code).
pub(crate) fn watch_exit_code() {
    let wanted = super::code_file::is_wanted();
    if (policy().survives_losses() || wanted) && super::leave::ends_the_run() {
        at_exit(super::tell_code);
    }
}

/// How many processes may stand between a launcher and a rank: shells, wrappers.
const BETWEEN: usize = 16;

/// The launcher, where it runs on this host: the nearest process above this one that is Open MPI's mpiexec, whatever
/// the name it was called by.
fn launcher() -> Option<Pid> {
    let is_launcher = |pid: &Pid| {
        let program = program_of(*pid);
        let name = program.as_ref().and_then(|program| program.file_name()?.to_str());
        name.is_some_and(|name| ["orterun", "prterun", "prte"].contains(&name))
    };
    successors(rustix::process::getppid(), |pid| parent_of(*pid)).take(BETWEEN).find(is_launcher)
}

/// Whether this host is the launcher's only one. Open MPI 4's tells. Open MPI 5's has then started nothing but what
/// `is_rank` takes for a rank by its environment: it reaches other hosts through ssh or srun.
pub(super) fn launcher_is_on_one_host(is_rank: impl Fn(&[u8]) -> bool) -> bool {
    if let Some(hosts) = super::variable("OMPI_MCA_orte_num_nodes") {
        return hosts == "1";
    }
    let Some(launcher) = launcher() else { return false };
    let program = program_of(launcher);
    let mut children = children_of(launcher).peekable();
    children.peek().is_some()
        && children.all(|child| match fs::read(format!("/proc/{}/environ", child.as_raw_nonzero())) {
            // It has ended.
            Ok(environment) if environment.is_empty() => true,
            // A child that has the launcher's program is about to become a rank.
            Ok(environment) => is_rank(&environment) || program_of(child) == program,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        })
}

fn program_of(pid: Pid) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())).ok()
}

fn children_of(pid: Pid) -> impl Iterator<Item = Pid> {
    let threads =
        fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let numbers = lists.flat_map(|list| list.split(' ').flat_map(str::parse).collect::<Vec<_>>());
    numbers.filter_map(Pid::from_raw)
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Pid::from_raw(parent.trim().parse().ok()?)
}

/// Rank 0 was killed, and its workers leave without MPI_Finalize: a worker on the launcher's host ends the launcher.
pub(super) fn end_launcher_of_the_killed() {
    if let Some(launcher) = launcher().filter(|_| policy().returns_0()) {
        // If it has ended by itself, there is nothing to ask.
        let _ = rustix::process::kill_process(launcher, Signal::TERM);
    }
}

/// Asks the launcher to end with an error, where it would return 0 though the code is another; and where it would
/// not end by itself.
pub(super) fn fail_launcher(code: i32) {
    let must = policy().returns_0() && code != 0 || STRANDED.load(Ordering::Acquire);
    static ASKED: AtomicBool = AtomicBool::new(false);
    // A program that ends by an exit code comes here again in its exit handlers.
    if !must || ASKED.swap(true, Ordering::AcqRel) {
        return;
    }
    if let Some(launcher) = launcher() {
        // Once asked to end, it does not pass on what it has not read.
        say::wait_for_reader();
        // If it has ended by itself, there is nothing to ask.
        let _ = rustix::process::kill_process(launcher, Signal::TERM);
    } else {
        // Not through the log: the program may be in its exit handlers, where threads have no variables of their own.
        say::say(
            "rankpool: this mpiexec was started with --enable-recovery and will return 0, though the run failed",
        );
    }
}

/// Has `tell` called with the exit code when this process ends by `exit` or the end of main. Where the C library
/// cannot tell the code (glibc can), it is never called.
fn at_exit(tell: fn(i32)) {
    static TELL: OnceLock<fn(i32)> = OnceLock::new();
    let first = TELL.set(tell).is_ok();
    #[cfg(target_env = "gnu")]
    if first {
        unsafe extern "C" {
            fn on_exit(
                function: extern "C" fn(libc::c_int, *mut libc::c_void),
                argument: *mut libc::c_void,
            ) -> libc::c_int;
        }
        extern "C" fn ends(code: libc::c_int, _: *mut libc::c_void) {
            if let Some(tell) = TELL.get() {
                tell(code);
                say::flush();
            }
        }
        // SAFETY: glibc's signature; the function is static, and no argument is used.
        unsafe { on_exit(ends, std::ptr::null_mut()) };
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = first;
}
