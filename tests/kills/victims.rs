//! Which process is the one that a case kills.

use std::time::Duration;

use crate::{
    support::{self, Running, processes::Process, wait},
    table::{Case, Who},
};

/// The processes of a run that play the part of the one that is to die, the oldest first.
fn candidates(running: &Running, case: &Case) -> Vec<u32> {
    let program = support::program();
    let plays = |pid: &u32| Process::of(*pid, &program).is_some_and(|process| plays(process, running, case));
    let mut found: Vec<u32> = running.family().into_iter().filter(plays).collect();
    found.sort_unstable();
    found
}

fn plays(process: Process, running: &Running, case: &Case) -> bool {
    match case.who {
        Who::Child => process.child,
        Who::Worker | Who::Leader => process.is_worker(&case.way),
        Who::Rank0 => process.is_rank_0(&case.way, running),
    }
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
