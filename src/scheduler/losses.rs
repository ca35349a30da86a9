//! What becomes of the chunks of a worker that is lost.

use super::{CallId, Dispatch, QUARANTINE_AFTER, Scheduler, WorkerId, call::Range};
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
            let known = self.known.remove(&dispatch.epoch).unwrap_or_default();
            if let Some(call) = self.calls.get_mut(&dispatch.call) {
                call.comes_back(dispatch.count - known.len());
            }
            for (start, end) in known.gaps_in(dispatch.start, dispatch.start + dispatch.count) {
                let range = Range { start, count: end - start, ..Range::of(&dispatch) };
                match &culprit {
                    Some((epoch, task, failure)) if *epoch == dispatch.epoch && range.contains(*task) => {
                        self.requeue(dispatch.call, range.around(*task));
                        self.failed(&dispatch, &host, *task, failure.clone());
                    }
                    // What waited in the worker's queue behind the running chunks was not touched.
                    None if place < suspects => self.in_flight_on_lost(&dispatch, &host, range),
                    _ => self.requeue(dispatch.call, [range]),
                }
            }
            self.call_changed(dispatch.call);
        }
    }

    fn requeue(&mut self, call: CallId, ranges: impl IntoIterator<Item = Range>) {
        if let Some(call) = self.calls.get_mut(&call) {
            ranges.into_iter().for_each(|range| call.requeue(range));
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
        self.requeue(dispatch.call, Range { losses, ..range }.split(part));
    }
}
