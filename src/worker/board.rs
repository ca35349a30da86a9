//! Which task each thread of this worker runs, and since when: read by the thread that watches
//! the time limits, which works when the task's own thread is stuck.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Nanoseconds since this process first asked; never 0.
pub(crate) fn now_nanos() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64 + 1
}

#[derive(Default)]
struct Line {
    /// When the task started; 0 while none with a limit runs.
    started: AtomicU64,
    limit: AtomicU64,
    dispatch: AtomicU64,
    task: AtomicU64,
}

/// A line for each task thread.
pub(crate) struct Board(Vec<Line>);

/// A task with a limit on its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limited {
    pub(crate) dispatch: u64,
    pub(crate) task: u64,
    pub(crate) limit: Duration,
}

impl Board {
    pub(crate) fn new(threads: u32) -> Board {
        Board((0..threads).map(|_| Line::default()).collect())
    }

    pub(super) fn start(&self, thread: usize, task: Limited) {
        let line = &self.0[thread];
        line.started.store(0, Ordering::Release);
        line.limit.store(task.limit.as_nanos() as u64, Ordering::Relaxed);
        line.dispatch.store(task.dispatch, Ordering::Relaxed);
        line.task.store(task.task, Ordering::Relaxed);
        line.started.store(now_nanos(), Ordering::Release);
    }

    pub(super) fn stop(&self, thread: usize) {
        self.0[thread].started.store(0, Ordering::Release);
    }

    /// The first task that is over its limit.
    pub(crate) fn overdue(&self) -> Option<Limited> {
        let now = now_nanos();
        self.0.iter().find_map(|line| {
            let started = line.started.load(Ordering::Acquire);
            let found = Limited {
                dispatch: line.dispatch.load(Ordering::Relaxed),
                task: line.task.load(Ordering::Relaxed),
                limit: Duration::from_nanos(line.limit.load(Ordering::Relaxed)),
            };
            let same = line.started.load(Ordering::Acquire) == started;
            (started != 0 && same && u128::from(now.saturating_sub(started)) > found.limit.as_nanos())
                .then_some(found)
        })
    }

    /// This process stood still for `nanos` at some time after `since`: that is not the tasks' time.
    pub(crate) fn forgive(&self, since: u64, nanos: u64) {
        for line in &self.0 {
            let started = line.started.load(Ordering::Acquire);
            if started != 0 && started <= since {
                // A task that has ended meanwhile needs nothing.
                let _ = line.started.compare_exchange(
                    started,
                    started + nanos,
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(dispatch: u64, task: u64, nanos: u64) -> Limited {
        Limited { dispatch, task, limit: Duration::from_nanos(nanos) }
    }

    #[test]
    fn only_a_running_task_over_its_limit_is_overdue() {
        let board = Board::new(2);
        assert_eq!(board.overdue(), None);
        board.start(1, task(5, 42, 1));
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(board.overdue(), Some(task(5, 42, 1)));
        board.stop(1);
        assert_eq!(board.overdue(), None);
        board.start(0, task(6, 43, u64::MAX));
        assert_eq!(board.overdue(), None);
    }

    #[test]
    fn the_time_in_which_a_process_stood_still_is_not_the_tasks_time() {
        let board = Board::new(2);
        board.start(0, task(5, 42, 1_000_000));
        let since = now_nanos();
        board.start(1, task(5, 43, 1_000_000));
        std::thread::sleep(Duration::from_millis(5));
        board.forgive(since, 3_600_000_000_000);
        assert_eq!(board.overdue(), Some(task(5, 43, 1_000_000)), "this one began afterwards");
    }
}
