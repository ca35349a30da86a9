//! What comes back of the chunks that are with workers.

use super::{Action, CallId, Dispatch, End, Scheduler, WORTH_CUTTING_NANOS, WorkerId, call::Range};
use crate::{
    error::{Failure, FailureKind, Place},
    task_set::TaskSet,
    wire::{Piece, Pieces},
};

impl Scheduler {
    pub(super) fn returned(
        &mut self,
        worker: WorkerId,
        epoch: u64,
        pieces: Pieces,
        busy: u64,
        overhead: u64,
    ) {
        let Some(state) = self.workers.get_mut(worker) else {
            return;
        };
        let dry = state.runs_dry();
        let Some(dispatch) = state.take(epoch) else {
            return;
        };
        self.dry = self.dry + usize::from(state.runs_dry()) - usize::from(dry);
        self.in_flight -= 1;
        self.busy -= usize::from(state.outstanding().is_empty());
        self.forget(&dispatch);
        let mut known = self.known.remove(&epoch).unwrap_or_default();
        if let Some(call) = self.calls.get_mut(&dispatch.call) {
            call.comes_back(dispatch.count - known.len());
            self.measured(&dispatch, &pieces, busy, overhead);
            self.settle(&dispatch, pieces, &mut known, true);
        }
        if dispatch.is_short() && busy >= WORTH_CUTTING_NANOS {
            self.call_back(worker);
        }
        self.offer(worker);
        self.call_changed(dispatch.call);
    }

    /// A leader has done these tasks of a chunk, and goes on with the rest.
    pub(super) fn partly_returned(
        &mut self,
        worker: WorkerId,
        epoch: u64,
        pieces: Pieces,
        busy: u64,
        overhead: u64,
    ) {
        let with_it = |worker: &super::Worker| {
            worker.outstanding().iter().find(|dispatch| dispatch.epoch == epoch).copied()
        };
        let Some(dispatch) = self.workers.get(worker).and_then(with_it) else {
            return;
        };
        self.measured(&dispatch, &pieces, busy, overhead);
        let mut known = self.known.remove(&epoch).unwrap_or_default();
        let before = known.len();
        self.settle(&dispatch, pieces, &mut known, false);
        if let Some(call) = self.calls.get_mut(&dispatch.call) {
            call.flying -= known.len() - before;
        }
        self.known.insert(epoch, known);
        self.call_changed(dispatch.call);
    }

    fn measured(&mut self, dispatch: &Dispatch, pieces: &Pieces, busy: u64, overhead: u64) {
        let Some(call) = self.calls.get_mut(&dispatch.call) else {
            return;
        };
        let ran = pieces.iter().map(|piece| piece.count).sum();
        let cost = call.cost(dispatch.start, ran);
        call.measured(cost, busy, overhead);
        if let Some(kind) = call.kind {
            self.kinds.entry(kind).or_default().measured(cost, busy, overhead);
        }
    }

    /// Takes the pieces of a dispatch, of which these tasks are `known` already. When it is back as a `whole`, what they do
    /// not cover is queued again.
    fn settle(&mut self, dispatch: &Dispatch, pieces: Pieces, known: &mut TaskSet, whole: bool) {
        let end = dispatch.start + dispatch.count;
        let mut next = dispatch.start;
        for piece in pieces {
            let (start, count) = (piece.start, piece.count);
            // A reply that is not about this dispatch's open tasks, in order, is not believed.
            if start < next
                || start >= end
                || count == 0
                || count > end - start
                || known.ranges_in(start, start + count).next().is_some()
            {
                break;
            }
            if whole {
                // A leader that is cut short has not begun what lies between the tasks of its children.
                self.left_out(dispatch, known, next, start);
            } else {
                known.insert(start, start + count);
            }
            next = start + count;
            match piece.outcome {
                Ok(_) => self.commit(dispatch.call, piece),
                Err(failure) => {
                    let host = self.workers.get(dispatch.worker).map(|worker| worker.host.clone());
                    self.failed(dispatch, &host.unwrap_or_default(), start, failure);
                }
            }
        }
        if whole {
            self.left_out(dispatch, known, next, end);
        }
    }

    /// Queues those of the tasks `from .. to` of a dispatch that are not known: its worker has not run them.
    fn left_out(&mut self, dispatch: &Dispatch, known: &TaskSet, from: u64, to: u64) {
        if from == to {
            return; // As nearly always.
        }
        let Some(call) = self.calls.get_mut(&dispatch.call) else {
            return;
        };
        for (start, end) in known.gaps_in(from, to) {
            let rest = Range { start, count: end - start, ..Range::of(dispatch) };
            // What was cut off is for all that are without work.
            let shares = if dispatch.cut { (self.living - self.busy).max(1) } else { 1 };
            rest.split(rest.count.div_ceil(shares as u64)).for_each(|part| call.requeue(part));
        }
    }

    /// One attempt at a task failed: tries again, or makes it the task's outcome.
    pub(super) fn failed(&mut self, dispatch: &Dispatch, host: &str, task: u64, mut failure: Failure) {
        let Some(call) = self.calls.get_mut(&dispatch.call) else {
            return;
        };
        let again =
            matches!(failure.kind, FailureKind::Failed | FailureKind::Panicked | FailureKind::TimedOut);
        failure.place =
            Some(Place { rank: dispatch.worker.0, host: host.to_string(), attempt: dispatch.attempt });
        if again && dispatch.attempt <= call.spec.retries && !call.ended {
            let attempt = dispatch.attempt.saturating_add(1);
            call.retry(Range { start: task, count: 1, attempt, losses: dispatch.losses }, self.now);
            self.actions.push(Action::Retry { call: dispatch.call, task, failure });
            return;
        }
        if call.spec.stop_at_error && task < call.stop_before {
            call.stop_before = task;
            self.revoke_above(dispatch.call, task);
        }
        self.commit(dispatch.call, Piece { start: task, count: 1, outcome: Err(failure) });
    }

    fn commit(&mut self, id: CallId, piece: Piece) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| !call.ended) else {
            return;
        };
        let stop_at_error = call.spec.stop_at_error;
        if call.spec.announce {
            self.actions.push(Action::Announce { call: id, piece: piece.clone() });
        }
        let mut stopped = false;
        call.commit(piece, |piece| {
            if stopped {
                return;
            }
            stopped = stop_at_error && piece.outcome.is_err();
            self.actions.push(Action::Emit { call: id, piece });
        });
        if stopped {
            self.end(id, End::Stopped);
        }
    }
}
