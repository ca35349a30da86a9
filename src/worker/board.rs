//! Which task each thread of this worker runs, and since when: read by the thread that watches
//! the time limits, which works when the task's own thread is stuck.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use super::slot::Slot;
use crate::wire::nanos;

/// Nanoseconds since this process first asked; never 0.
pub(crate) fn now_nanos() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64 + 1
}

/// A slot for each task thread. Its mark is the time when the task started.
pub(crate) struct Board(Vec<Slot>);

/// A task with a limit on its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limited {
    pub(crate) dispatch: u64,
    pub(crate) task: u64,
    pub(crate) limit: Duration,
}

impl Board {
    pub(crate) fn new(threads: u32) -> Board {
        Board((0..threads).map(|_| Slot::new()).collect())
    }

    pub(super) fn start(&self, thread: usize, task: Limited) {
        self.0[thread].set(now_nanos(), [nanos(task.limit), task.dispatch, task.task]);
    }

    pub(super) fn stop(&self, thread: usize) {
        self.0[thread].clear();
    }

    /// The first task that is over its limit. `now` is the reader's time, by a clock that stops while this process is
    /// stopped. The reader looks every `beat`, and keeps `seen` for the next look.
    pub(crate) fn overdue(&self, seen: &mut Seen, now: Duration, beat: Duration) -> Option<Limited> {
        seen.0.resize_with(self.0.len(), Default::default);
        let mut first = None;
        for (slot, (known, began)) in self.0.iter().zip(&mut seen.0) {
            let Some((started, [limit, dispatch, task])) = slot.read() else { continue };
            let found = Limited { dispatch, task, limit: Duration::from_nanos(limit) };
            if *known != started {
                // It has begun since the last look, and has run for no more than a beat.
                let age = Duration::from_nanos(now_nanos().saturating_sub(started)).min(beat);
                (*known, *began) = (started, now.saturating_sub(age));
            }
            if now - *began > found.limit {
                first = first.or(Some(found));
            }
        }
        first
    }
}

/// What a reader of a board has seen: for each thread, when its task started, by the board and by the reader's clock.
#[derive(Default)]
pub(crate) struct Seen(Vec<(u64, Duration)>);

#[cfg(test)]
mod tests {
    use super::*;

    fn task(dispatch: u64, task: u64, nanos: u64) -> Limited {
        Limited { dispatch, task, limit: Duration::from_nanos(nanos) }
    }

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn only_a_running_task_over_its_limit_is_overdue() {
        let board = Board::new(2);
        let mut seen = Seen::default();
        let mut overdue = |millis: u32| board.overdue(&mut seen, millis * MILLISECOND, MILLISECOND);
        assert_eq!(overdue(1), None);
        board.start(1, task(5, 42, 1));
        std::thread::sleep(2 * MILLISECOND);
        assert_eq!(overdue(2), Some(task(5, 42, 1)));
        board.stop(1);
        assert_eq!(overdue(3), None);
        board.start(0, task(6, 43, u64::MAX));
        assert_eq!(overdue(4), None);
    }

    #[test]
    fn the_time_in_which_a_process_stood_still_is_not_the_tasks_time() {
        let board = Board::new(2);
        let mut seen = Seen::default();
        let mut overdue = |millis: u32| board.overdue(&mut seen, millis * MILLISECOND, MILLISECOND);
        board.start(0, task(5, 42, 3_000_000));
        assert_eq!(overdue(1), None);
        board.start(1, task(5, 43, 3_000_000));
        // The clock of the reader has gone on by two beats only.
        std::thread::sleep(20 * MILLISECOND);
        assert_eq!(overdue(3), None, "one began before it, and one meanwhile");
        assert_eq!(overdue(5), Some(task(5, 42, 3_000_000)));
        board.stop(0);
        assert_eq!(overdue(5), None);
        assert_eq!(overdue(6), Some(task(5, 43, 3_000_000)), "it counts from a beat before it was seen");
    }
}
