//! What becomes of the chunks of a worker that is lost.

use super::{Dispatch, QUARANTINE_AFTER, Scheduler, WorkerId, call::Range};
use crate::error::{Failure, FailureKind};

impl Scheduler {
    pub(super) fn lost(&mut self, worker: WorkerId, culprit: Option<(u64, u64, Failure)>) {
        let Some(state) = self.workers.remove(worker) else {
            return;
        };
        self.dry -= usize::from(state.runs_dry());
        self.slots -= state.places();
        let (suspects, host, outstanding) = (state.suspects(), state.host.clone(), state.into_outstanding());
        self.living -= 1;
        self.in_flight -= outstanding.len();
        self.busy -= usize::from(!outstanding.is_empty());
        for (place, dispatch) in outstanding.into_iter().enumerate() {
            self.forget(&dispatch);
            let Some(call) = self.calls.get_mut(&dispatch.call) else {
                continue;
            };
            call.comes_back(&dispatch);
            let range = Range::of(&dispatch);
            match &culprit {
                Some((epoch, task, failure)) if *epoch == dispatch.epoch && range.contains(*task) => {
                    range.around(*task).into_iter().for_each(|rest| call.requeue(rest));
                    self.failed(&dispatch, &host, *task, failure.clone());
                }
                // What waited in the worker's queue behind the running chunks was not touched.
                None if place < suspects => self.in_flight_on_lost(&dispatch, &host, range),
                _ => call.requeue(range),
            }
            self.call_changed(dispatch.call);
        }
    }

    /// Queues the tasks of a chunk whose worker died running it, in ever smaller pieces, so that
    /// a task that kills workers is found without the others sharing its fate.
    fn in_flight_on_lost(&mut self, dispatch: &Dispatch, host: &str, range: Range) {
        let losses = range.losses + 1;
        if losses >= QUARANTINE_AFTER && range.count == 1 {
            let message =
                format!("it was in flight on {losses} workers that were lost; it is not tried again");
            self.failed(dispatch, host, range.start, Failure::new(FailureKind::Quarantined, message));
            return;
        }
        let part = if losses == 1 { range.count.div_ceil(8) } else { 1 };
        if let Some(call) = self.calls.get_mut(&dispatch.call) {
            Range { losses, ..range }.split(part).for_each(|part| call.requeue(part));
        }
    }
}
