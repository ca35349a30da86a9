//! A child process and all that it has started: its process group.

use std::{
    process::Child,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid,
};

/// Between two looks at a group that is ending.
const LOOK: Duration = Duration::from_micros(200);

/// A child that was started in a process group of its own.
pub(super) struct Group {
    child: Child,
    /// The child has ended, and its number may be another process's.
    reaped: bool,
}

impl Group {
    pub(super) fn of(child: Child) -> Group {
        Group { child, reaped: false }
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Kills all of it. Call it before the end of the child is collected: the group goes by the child's process id.
    pub(super) fn kill(&mut self) {
        if let Some(pid) = self.pid().filter(|_| !self.reaped) {
            // It may have ended by itself.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// Whether the child itself has not ended.
    pub(super) fn child_lives(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let ended = self.pid().map(|pid| waitid(WaitId::Pid(pid), look));
        matches!(ended, Some(Ok(None)))
    }

    /// Whether all of it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.reaped |= !matches!(self.child.try_wait(), Ok(None));
        // Processes that the child has started are init's now, which sees to their ends.
        self.reaped && self.pid().is_none_or(|pid| test_kill_process_group(pid).is_err())
    }

    /// Waits for its end, for so long at most.
    pub(super) fn end_within(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.has_ended() && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
    }
}
