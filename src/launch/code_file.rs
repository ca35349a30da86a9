//! The exit code in a file. Launchers return other codes than rank 0's once a worker was lost: Open MPI 4's
//! mpiexec 0 or 1, srun 137. A script that is to know reads it here.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
};

/// Names the file. No flag does: a command line that is refused has a code, too.
const VARIABLE: &str = "RANKPOOL_CODE_FILE";

/// The code was left.
static LEFT: AtomicBool = AtomicBool::new(false);

fn path() -> Option<OsString> {
    std::env::var_os(VARIABLE)
}

/// Whether the code is asked for.
#[cfg(feature = "mpi")]
pub(super) fn is_wanted() -> bool {
    path().is_some()
}

/// Leaves the code of this program, if it is asked for; the first one counts.
pub(super) fn leave_code(code: i32) {
    if let Some(path) = path()
        && !LEFT.swap(true, Ordering::AcqRel)
        && let Err(error) = std::fs::write(&path, format!("{code}\n"))
    {
        tracing::error!("the exit code {code} could not be left in {}: {error}", path.display());
    }
}

/// Leaves the code of a rank 0 that was killed, in its place; one that it has left itself stays.
#[cfg(feature = "mpi")]
pub(super) fn leave_code_of_the_killed(code: i32) {
    let file = path().and_then(|path| OpenOptions::new().write(true).create_new(true).open(path).ok());
    if let Some(mut file) = file {
        // Without it the launcher's code counts.
        let _ = writeln!(file, "{code}");
    }
}
