//! Which process of a run is to be killed.

use std::{fs, time::Duration};

use rustix::process::Signal;

use super::PROGRAM;
use crate::support::{LIMIT, Running, processes::Process, signal_process, wait, ways::Way};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// What starts the programs of a slot, and waits for them
    Minder,
    /// What is behind it
    Guardian,
    Child,
    Worker,
    Rank0,
}

/// Whether a process plays the part; `None` when it is another program's, or has ended.
fn plays(pid: u32, who: Who, way: &Way, running: &Running) -> Option<bool> {
    let process = Process::of(pid, PROGRAM)?;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    if arguments.split(|byte| *byte == 0).nth(1) == Some(b"task-minder") {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        return Some(match who {
            Who::Minder => name.trim() == "task-minder",
            Who::Guardian => name.trim() == "task-guardian",
            _ => false,
        });
    }
    Some(match who {
        Who::Minder | Who::Guardian => false,
        Who::Child => process.child,
        Who::Worker => process.is_worker(way),
        Who::Rank0 => process.is_rank_0(way, running),
    })
}

/// Kills one who plays the part.
#[track_caller]
pub fn kill(running: &mut Running, way: &Way, who: Who) {
    let victim = wait(LIMIT, Duration::from_millis(5), "the one that is to die", || {
        let mut family = running.family().into_iter();
        let victim = family.find(|pid| plays(*pid, who, way, running).unwrap_or(false));
        victim.ok_or_else(|| format!("{who:?} is not there"))
    });
    signal_process(victim, Signal::KILL);
}
