//! The exit code in a file. Launchers return other codes than rank 0's once a worker was lost: Open MPI 4's
//! mpiexec 0 or 1, srun 137. A script that is to know reads it here.

use crate::launch;

/// Names the file. No flag does: a command line that is refused has a code, too.
const VARIABLE: &str = "RANKPOOL_CODE_FILE";

/// Leaves the code of this program, if it is rank 0 and was asked to.
pub(super) fn leave(code: i32) {
    if let Some(path) = std::env::var_os(VARIABLE)
        && launch::rank().is_none_or(|rank| rank == 0)
        && launch::is_first(launch::variable)
        && let Err(error) = std::fs::write(&path, format!("{code}\n"))
    {
        tracing::error!("the exit code {code} could not be left in {}: {error}", path.display());
    }
}
