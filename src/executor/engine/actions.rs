//! What the scheduler says is to be done.

use std::time::Instant;

use super::Engine;
use crate::{
    executor::{items::Items, watch::Happening},
    scheduler::{Action, CallId, Dispatch, Event},
    wire::{ChunkMessage, Pieces, ToWorker},
};

impl Engine {
    /// Tells the scheduler, and does what it says.
    pub(super) fn tell(&mut self, event: Event) {
        let mut actions = std::mem::take(&mut self.actions);
        self.scheduler.handle(event, &mut actions);
        let mut declined = Vec::new();
        for action in actions.drain(..) {
            self.act(action, &mut declined);
        }
        self.actions = actions;
        // A submitted task that was cancelled in the very moment of its dispatch.
        for dispatch in declined {
            self.tell(Event::Cancelled { call: dispatch.call });
            self.tell(Event::Returned {
                worker: dispatch.worker,
                dispatch: dispatch.epoch,
                pieces: Pieces::new(),
                busy_nanos: 0,
                overhead_nanos: 0,
            });
        }
    }

    fn act(&mut self, action: Action, declined: &mut Vec<Dispatch>) {
        match action {
            Action::Send(dispatch) => self.send(dispatch, declined),
            Action::Revoke { worker, call, dispatch } => {
                self.fabric.post(worker.0, ToWorker::Revoke { call: call.0, dispatch });
            }
            Action::Emit { call, piece } => {
                let ended_well = piece.outcome.is_ok();
                let count = piece.count;
                if let (Some(watching), Err(failure)) = (&mut self.watching, &piece.outcome) {
                    watching.tell(Happening::Failed { task: piece.start, failure, last: true });
                }
                self.tally.ended(count, ended_well);
                if self.outbox.is_of_another(call) {
                    self.deliver();
                }
                self.outbox.put(call, piece);
            }
            Action::Announce { call, piece } => {
                if let Some(kept) = self.calls.get(&call).and_then(|open| open.kept.as_ref()) {
                    kept.take(piece);
                } else if let Some(watching) = &mut self.watching {
                    watching.tell(Happening::Known(piece));
                }
            }
            Action::Retry { call, task, failure } => {
                let task = self.index(call, task);
                tracing::debug!("{}; it will be tried again", failure.clone().at_task(task));
                if let Some(watching) = &mut self.watching {
                    watching.tell(Happening::Failed { task, failure: &failure, last: false });
                }
            }
            Action::Finished { call, end } => {
                self.deliver();
                if let Some(open) = self.calls.get_mut(&call) {
                    open.answer.0.finish(end);
                    open.items = Items::default();
                }
            }
            Action::Forget { call } => {
                if let Some(open) = self.calls.remove(&call) {
                    let forget = |rank: &u32| self.fabric.post(*rank, ToWorker::Forget { number: call.0 });
                    open.known_to.iter().for_each(forget);
                }
            }
        }
    }

    /// Sends a chunk, with what its worker lacks of what the call shares; one whose task was cancelled is declined.
    fn send(&mut self, dispatch: Dispatch, declined: &mut Vec<Dispatch>) {
        let Some(open) = self.calls.get_mut(&dispatch.call) else {
            return;
        };
        if !open.answer.0.try_start() {
            declined.push(dispatch);
            return;
        }
        let rank = dispatch.worker.0;
        if let Some(watching) = &mut self.watching {
            self.sent.insert(dispatch.epoch, Instant::now());
            let Dispatch { start, count, attempt, .. } = dispatch;
            watching.tell(Happening::Dispatched { rank, start, count, attempt });
        }
        open.started = true;
        let mut shared = Vec::new();
        if open.shares() {
            for value in open.shared() {
                shared.push(value.number());
                if self.shared.entry(value.number()).or_default().insert(rank) {
                    self.fabric.share(rank, value.number(), value.bytes());
                }
            }
        }
        let keeps = open.work.stateful;
        if keeps {
            open.known_to.insert(rank);
        }
        let chunk = ChunkMessage {
            call: dispatch.call.0,
            dispatch: dispatch.epoch,
            start: dispatch.start,
            count: dispatch.count,
            attempt: dispatch.attempt,
            program: open.work.program,
            seed: open.work.seed,
            limit_nanos: open.work.limit_nanos,
            share: dispatch.share,
            keeps,
            traced: self.watching.is_some(),
            shared,
            items: Some(open.items.slice(dispatch.start, dispatch.count)),
        };
        self.fabric.post(rank, ToWorker::Chunk(chunk));
    }

    /// Hands out the outcomes that have gathered in this round; the progress is to have them by then.
    pub(super) fn deliver(&mut self) {
        self.tally.publish(&self.progress);
        self.outbox.empty(|call, pieces| {
            if let Some(open) = self.calls.get_mut(&call) {
                pieces.iter().for_each(|piece| open.items.settled(piece.start, piece.count));
                if let Some(passed) = &open.passed {
                    pieces.iter().for_each(|piece| passed.count(piece));
                }
                open.answer.0.deliver(pieces);
            }
        });
    }

    /// The index of the task at this position of a call.
    pub(super) fn index(&self, call: CallId, position: u64) -> u64 {
        let order = self.calls.get(&call).and_then(|open| open.work.order.as_ref());
        order.map_or(position, |order| order.index(position))
    }
}
