//! Cuts chunks short: for workers without work, or because they take longer than expected.

use super::{Action, Dispatch, Scheduler, WORTH_CUTTING_NANOS, WorkerId};

impl Scheduler {
    /// When nothing is left to hand out, cuts chunks short, so that workers without work get some of their tasks.
    pub(super) fn spread(&mut self) {
        let now = self.now;
        while !self.draining
            && self.busy + self.cut < self.living
            && let (Some(&first), Some(&last)) = (self.ends.first(), self.ends.last())
        {
            let mean = |(_, worker, epoch): (u64, WorkerId, u64)| {
                let worker = self.workers.get(worker)?;
                let dispatch = worker.outstanding().iter().find(|dispatch| dispatch.epoch == epoch)?;
                Some(2 * worker.task_nanos(dispatch))
            };
            let worth = |chunk| mean(chunk).unwrap_or(0).max(WORTH_CUTTING_NANOS);
            let (ends, worker, epoch) = match () {
                () if last.0 >= now.saturating_add(worth(last)) => last,
                // Its tasks take longer than was expected, and nobody knows how many are left.
                () if first.0.saturating_add(worth(first)) <= now => first,
                () => return,
            };
            self.cut(ends, worker, epoch);
        }
    }

    /// A chunk that was believed short was not: those that were sent behind it may go elsewhere.
    pub(super) fn call_back(&mut self, worker: WorkerId) {
        let Some(state) = self.workers.get(worker) else { return };
        let waiting = state.outstanding().iter().filter(|dispatch| dispatch.is_short() && !dispatch.cut);
        let waiting: Vec<(u64, u64)> = waiting.map(|dispatch| (dispatch.ends, dispatch.epoch)).collect();
        waiting.into_iter().for_each(|(ends, epoch)| self.cut(ends, worker, epoch));
    }

    /// Has a chunk cut short; its worker answers behind the task that it is at.
    pub(super) fn cut(&mut self, ends: u64, worker: WorkerId, epoch: u64) {
        self.ends.remove(&(ends, worker, epoch));
        if let Some(call) = self.workers.get_mut(worker).and_then(|state| state.cut(epoch)) {
            self.cut += 1;
            self.actions.push(Action::Revoke { worker, call, dispatch: epoch });
        }
    }

    /// A dispatch is no longer with its worker.
    pub(super) fn forget(&mut self, dispatch: &Dispatch) {
        self.cut -= usize::from(dispatch.cut);
        if dispatch.ends > 0 && !dispatch.cut {
            self.ends.remove(&(dispatch.ends, dispatch.worker, dispatch.epoch));
        }
    }
}
