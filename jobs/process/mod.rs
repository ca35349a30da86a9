//! Programs as tasks: run to their ends, or kept, and none of their processes is ever left behind.
//!
//! Each thread that runs programs has a [`Minder`]: two small processes beside the worker, the minder and its guardian
//! (`inside.rs`). The minder starts a program and waits for it. It is a subreaper and runs one program at a time, so all
//! that descends from it belongs to that program, daemons too. When the program ends, what it has left is killed before the
//! worker is told. When its time is over, when the worker asks, or when the worker dies, all of it is asked to end, and
//! killed if it does not. When the minder itself is killed, the guardian kills all of it.
//!
//! | file | subject |
//! |---|---|
//! | `minder.rs` | the worker's side: a program run to its end |
//! | `kept.rs` | the worker's side: a program that stays, and answers lines |
//! | `output.rs` | what is kept of an output |
//! | `seek.rs` | which file a program's name means |
//! | `message.rs` | what worker and minder tell each other |
//! | `inside.rs` | the processes of minder and guardian |
//! | `spawn.rs` | how a program is started |
//! | `descendants.rs` | all processes of a program, and their ends |

mod descendants;
mod inside;
mod kept;
mod message;
mod minder;
mod output;
mod seek;
mod spawn;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    os::fd::AsFd,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use rustix::fs::{FileType, fstat};

pub use kept::{Gone, Program};
pub use minder::{Minder, with_minder};
pub use output::Kept;

/// The first argument of a minder.
const ASKED: &str = "task-minder";

/// Becomes a minder, if this process was started as one. To be called before anything else, by the only thread.
pub fn minder_if_asked() -> Option<ExitCode> {
    let asked = rankpool::cli::arguments().next().is_some_and(|first| first == ASKED);
    // Who types this has no socket on standard input.
    let connected = || {
        fstat(std::io::stdin().as_fd())
            .is_ok_and(|about| FileType::from_raw_mode(about.st_mode) == FileType::Socket)
    };
    (asked && connected()).then(inside::guard)
}

/// A program, and what it is run with.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name, and what it is told. A name without a slash is sought in PATH, another one from where the worker is.
    pub words: Vec<OsString>,
    /// Added to the environment that the minder was started with.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it runs; made if it is not there. `None` for where the worker was when the minder was started.
    pub directory: Option<PathBuf>,
    pub stdin: Stdin,
    pub stdout: Out,
    pub stderr: Out,
    /// After so long it is asked to end.
    pub limit: Option<Duration>,
    /// So long after it was asked to end it is killed.
    pub kill_after: Duration,
    /// So many bytes of data (RLIMIT_DATA) each of its processes may have.
    pub memory: Option<u64>,
}

impl Spec {
    /// A program that reads nothing, of which no output is kept, and that may run for ever.
    pub fn new(words: impl IntoIterator<Item = impl Into<OsString>>) -> Spec {
        Spec {
            words: words.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            directory: None,
            stdin: Stdin::Nothing,
            stdout: Out::Nothing,
            stderr: Out::Nothing,
            limit: None,
            kill_after: Duration::from_secs(10),
            memory: None,
        }
    }
}

/// What a program reads.
#[derive(Clone, Debug)]
pub enum Stdin {
    Nothing,
    File(PathBuf),
    /// It lies in memory, so the program may read it or not, as fast as it likes.
    Text(Vec<u8>),
}

/// Where an output goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Nothing,
    /// To the same place as the worker's.
    Inherit,
    /// To the worker, which keeps so many bytes of it, and the last line.
    Keep {
        most: usize,
    },
    /// To a file, made with its folders, or emptied. Both outputs may go to one file.
    File(PathBuf),
}

/// A program that has ended, with all that it has started.
#[derive(Clone, Debug)]
pub struct Ended {
    pub how: How,
    pub started: SystemTime,
    /// From the start to the program's own end.
    pub seconds: f64,
    /// User and system time of all of its processes that were waited for.
    pub cpu_seconds: f64,
    /// The largest resident size that a process of it had; at least the minder's own, some MB.
    pub peak_bytes: u64,
    pub stdout: Kept,
    pub stderr: Kept,
    /// So many processes of it were killed, and have not ended within ten seconds: they hang in the kernel, or are another
    /// user's. They go on being killed until they end.
    pub left: u64,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq)]
pub enum How {
    /// With an exit code.
    Exited(i32),
    /// By a signal.
    Signalled(i32),
    /// Its time was over, so it was asked to end, and did like this.
    TimedOut(Status),
    /// The worker has asked it to end, as it does with a program that stays.
    Stopped(Status),
    /// It never ran, and this is why.
    NotStarted(String),
}

/// An exit code or a signal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Status {
    Exited(i32),
    Signalled(i32),
}
