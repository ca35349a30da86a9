//! Tasks that nobody wants any more are ended, where that is possible.

use super::Engine;
use crate::{
    fabric::GIVEN_UP,
    scheduler::{Event, WorkerId},
    wire::ToWorker,
};

impl Engine {
    /// Kills the processes that run nothing but tasks and run one now: others take their places. Nothing ends a task that
    /// a rank or a thread runs.
    pub(super) fn end_tasks(&mut self) {
        let mut at_work: Vec<u32> = self.workers.keys().copied().collect();
        at_work.retain(|rank| self.scheduler.is_at_work(WorkerId(*rank)));
        for rank in at_work {
            if self.workers.get(&rank).is_some_and(|worker| !worker.children.is_empty()) {
                self.fabric.post(rank, ToWorker::GiveUp);
            } else if self.fabric.owns_workers()
                && let Some(worker) = self.workers.remove(&rank)
            {
                tracing::debug!("worker {rank} (pid {}) is {GIVEN_UP}", worker.pid);
                self.lost(&worker, GIVEN_UP);
                self.fabric.give_up(rank);
                self.tell(Event::Lost { worker: WorkerId(rank) });
            }
        }
    }
}
