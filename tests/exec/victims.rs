//! Who is who among the processes of a run: from outside, by what they are called and what their environments say.

use std::{fs, time::Duration};

use rustix::process::Signal;

use super::PROGRAM;
use crate::support::{LIMIT, Running, signal_process, wait, ways::Way};

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
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    (program.to_str()? == PROGRAM).then_some(())?;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    if arguments.split(|byte| *byte == 0).nth(1) == Some(b"task-minder") {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        return Some(match who {
            Who::Minder => name.trim() == "task-minder",
            Who::Guardian => name.trim() == "task-guardian",
            _ => false,
        });
    }
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let variable =
        |name: &str| environment.split('\0').find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
    let child = variable("RANKPOOL_CHILD_OF").is_some();
    let rank = variable("OMPI_COMM_WORLD_RANK").or(variable("PMI_RANK"));
    let spawned = ["OMPI_PARENT_PORT", "PMI_SPAWNED"].iter().any(|name| variable(name).is_some());
    Some(match who {
        Who::Minder | Who::Guardian => false,
        Who::Child => child,
        Who::Worker if way.1 == 0 => child,
        Who::Rank0 if way.1 == 0 => pid == running.pid(),
        Who::Worker if way.1 == 1 => spawned && !child,
        Who::Worker => !child && rank.is_some_and(|rank| rank != "0"),
        Who::Rank0 => !child && rank == Some("0") && !spawned,
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
