//! The exit code in a file. Launchers return other codes than rank 0's once a worker was lost: Open MPI 4's mpiexec 0
//! or 1, srun 137. A script that needs rank 0's code reads this file.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    path::Path,
    sync::{
        Once, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use crate::{
    error::Error,
    paths::{Named, explain},
    say::say,
};

/// Names the file. No flag does: a command line that is refused has a code, too.
pub(crate) const VARIABLE: &str = "RANKPOOL_CODE_FILE";

/// The code was left.
static LEFT: AtomicBool = AtomicBool::new(false);

/// The file. A relative path starts at the folder that is current at the first call; an empty one names no file.
pub(crate) fn named() -> Option<&'static Named> {
    static NAMED: OnceLock<Option<Named>> = OnceLock::new();
    began();
    let named =
        NAMED.get_or_init(|| std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(Named::from));
    named.as_ref()
}

/// Whether the code is asked for. From here on the file is kept in mind, whatever folder a task goes to.
pub(super) fn is_wanted() -> bool {
    named().is_some()
}

/// Removes the code that another run has left: this one may be killed before it has a code.
pub(super) fn forget_old_code() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Some(Ok(site)) = named().map(Named::site) {
            // What cannot be removed cannot be written either, which is told of then.
            if holds_a_code(&site.path) {
                let _ = fs::remove_file(site.path);
            }
        }
    });
}

/// Warns if something else stands where the file is to be; for rank 0.
#[cfg(feature = "cli")]
pub(crate) fn look_at_code_file() {
    if let Some(Err(error)) = named().map(Named::site) {
        say(&format!("rankpool: the exit code will not be left in {VARIABLE}={error}"));
    }
}

/// Leaves the code of this program, if it is asked for; the first one counts.
pub(super) fn leave_code(code: i32) {
    let Some(path) = named().filter(|_| !LEFT.swap(true, Ordering::AcqRel)) else { return };
    let write = |path: &Named| {
        let site = path.site()?;
        if site.exists && !holds_a_code(&site.path) {
            return Err(Error::usage(format!(
                "{path}: holds something else than an exit code, and is left alone"
            )));
        }
        fs::write(&site.path, format!("{code}\n")).map_err(|error| {
            // An empty file would look as if the code had been left.
            let _ = fs::remove_file(&site.path);
            Error::usage(format!("{path}: {}", explain(&error)))
        })
    };
    if let Err(error) = write(path) {
        say(&format!("rankpool: the exit code {code} could not be left in {VARIABLE}={error}"));
    }
}

/// Whether a file is what an earlier run has left, or is empty: a user's own file is never written over.
fn holds_a_code(path: &Path) -> bool {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(8).read_to_string(&mut text));
    let code = text.strip_suffix('\n').unwrap_or(&text);
    read.is_ok() && code.len() <= 3 && code.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a shell says of a process that was killed.
const KILLED: i32 = 137;

/// Leaves the code of a rank 0 that was killed, in its place; one that it has left itself stays.
pub(super) fn leave_code_of_the_killed() {
    let Some(Ok(site)) = named().map(Named::site) else { return };
    let left = fs::metadata(&site.path).and_then(|about| about.modified());
    // A rank 0 that was killed at its very beginning has not taken the code of an earlier run away.
    let is_old = left.is_ok_and(|left| left < began()) && holds_a_code(&site.path);
    let mut options = OpenOptions::new();
    options.write(true).truncate(is_old).create_new(!is_old);
    if let Ok(mut file) = options.open(site.path) {
        // Without it the launcher's code counts.
        let _ = writeln!(file, "{KILLED}");
    }
}

/// When this process first asked.
fn began() -> SystemTime {
    static BEGAN: OnceLock<SystemTime> = OnceLock::new();
    *BEGAN.get_or_init(SystemTime::now)
}
