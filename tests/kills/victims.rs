//! Who is who among the processes of a run: from outside, by what their environments say.

use std::{fs, time::Duration};

use crate::{
    support::{self, Running, wait},
    table::{Case, Who},
};

/// The processes of a run that play the part of the one that is to die, the oldest first.
fn candidates(running: &Running, case: &Case) -> Vec<u32> {
    let mut found: Vec<u32> =
        running.family().into_iter().filter(|pid| plays(*pid, running, case).unwrap_or(false)).collect();
    found.sort_unstable();
    found
}

/// `None` when it is another program's process, or has ended.
fn plays(pid: u32, running: &Running, case: &Case) -> Option<bool> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    (program.to_str()? == support::program()).then_some(())?;
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let variable =
        |name: &str| environment.split('\0').find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
    let child = variable("RANKPOOL_CHILD_OF").is_some();
    let rank = variable("OMPI_COMM_WORLD_RANK").or(variable("PMI_RANK"));
    let spawned = ["OMPI_PARENT_PORT", "PMI_SPAWNED"].iter().any(|name| variable(name).is_some());
    let (_, ranks, _) = case.way;
    Some(match case.who {
        Who::Child => child,
        Who::Worker if ranks == 0 => child,
        Who::Rank0 if ranks == 0 => pid == running.pid(),
        Who::Worker | Who::Leader if ranks == 1 => spawned && !child,
        Who::Worker | Who::Leader => rank.is_some_and(|rank| rank != "0"),
        Who::Rank0 => rank == Some("0") && !spawned,
    })
}

/// The one that is to die, once it is there.
#[track_caller]
pub fn victim(running: &mut Running, case: &Case) -> u32 {
    wait(support::LIMIT, Duration::from_millis(1), "the one that is to die", || {
        let found = candidates(running, case);
        // A rank that starts children is twice there for a moment; of children any will do.
        let victim = if case.who == Who::Child { found.last() } else { found.first() };
        if let Some(victim) = victim {
            return Ok(*victim);
        }
        assert!(running.lives(), "the run has ended: {}", running.stderr_so_far());
        Err(running.stderr_so_far())
    })
}
