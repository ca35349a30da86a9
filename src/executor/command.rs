//! What the user's threads tell the engine's thread, and what it keeps of each call.

use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use super::{items::Items, lasting::Kept, progress::Passed, turns::Order, watch::Watching};
use crate::{
    fabric::WorkerInfo,
    scheduler::{CallId, CallSpec, End},
    wire::{Batch, Piece},
    worker::{Original, Originals},
};

/// Who waits for the outcomes of a call.
pub(super) trait Recipient: Send + Sync {
    /// A first chunk is about to leave; false when it must not.
    fn try_start(&self) -> bool {
        true
    }
    /// Takes the pieces out of the list.
    fn deliver(&self, pieces: &mut Vec<Piece>);
    fn finish(&self, end: End);
}

/// A recipient that is never left without an end: dropped, it says that nobody will work any more, unless
/// the end was told before.
pub(super) struct Answer(pub(super) Arc<dyn Recipient>);

impl Drop for Answer {
    fn drop(&mut self) {
        self.0.finish(End::Deserted);
    }
}

/// What workers need to know of a call.
pub(super) struct Work {
    pub(super) program: u64,
    pub(super) shared: Option<Arc<Original>>,
    /// Workers build a state for this call.
    pub(super) stateful: bool,
    pub(super) seed: u64,
    /// Nanoseconds a task may take, 0 for any time.
    pub(super) limit_nanos: u64,
    /// Tasks are handed out in this order, where it is not that of their indices.
    pub(super) order: Option<Arc<Order>>,
}

pub(super) enum Command {
    /// A map, whose items follow.
    Map {
        call: CallId,
        spec: CallSpec,
        open: Box<OpenCall>,
    },
    /// A single task, which has its item.
    Task {
        call: CallId,
        spec: CallSpec,
        open: Box<OpenCall>,
    },
    Feed {
        call: CallId,
        items: Batch,
        /// The scattered values in them.
        scattered: Originals,
    },
    Skip {
        call: CallId,
        tasks: u64,
    },
    Close {
        call: CallId,
    },
    Consumed {
        call: CallId,
        tasks: u64,
        bytes: u64,
    },
    Cancel {
        call: CallId,
    },
    /// Nobody uses this shared value any more.
    Dropped {
        number: u64,
    },
    /// Tell what happens from now on; `None` ends the watch.
    Watch(Option<Watching>),
    /// Begin nothing that is not expected to end by then.
    Limit(Instant),
    /// Begin nothing more; what runs is waited for until then.
    Drain(Instant),
    /// Drop all calls, those that have started too.
    GiveUp,
    /// When all is done, tell who works then, and go on. Nothing is told when the fabric is broken.
    Rest {
        /// Drop what has not started.
        cancel: bool,
        rested: mpsc::Sender<Vec<WorkerInfo>>,
    },
    End(Farewell),
}

/// How the executor is to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Farewell {
    /// Drop what has not started.
    pub(super) cancel: bool,
    /// How long running tasks are waited for; then the workers are ended by force.
    pub(super) patience: Option<Duration>,
    /// The program is to end with this exit code.
    pub(super) code: Option<i32>,
}

/// What rank 0 keeps of a call. One that is pending is kept in a box: there may be very many.
pub(super) struct OpenCall {
    pub(super) work: Work,
    pub(super) answer: Answer,
    pub(super) items: Items,
    /// The scattered values that its tasks may use.
    pub(super) scattered: Originals,
    /// A chunk of it has left.
    pub(super) started: bool,
    /// Workers that keep a state for this call.
    pub(super) known_to: BTreeSet<u32>,
    /// Where its outcomes are kept, as soon as they are known.
    pub(super) kept: Option<Kept>,
    /// Where its outcomes are counted, if its progress is shown.
    pub(super) passed: Option<Arc<Passed>>,
}

impl OpenCall {
    pub(super) fn new(work: Work, answer: Answer, items: Items, scattered: Originals) -> Box<OpenCall> {
        let known_to = BTreeSet::new();
        let (started, kept, passed) = (false, None, None);
        let mut open = Box::new(OpenCall { work, answer, items, scattered, started, known_to, kept, passed });
        if let Some(shared) = &open.work.shared {
            let within = shared.within().iter().map(|(number, value)| (*number, value.clone()));
            open.scattered.extend(within);
        }
        open
    }

    /// Its tasks share values.
    pub(super) fn shares(&self) -> bool {
        self.work.shared.is_some() || !self.scattered.is_empty()
    }

    /// The values that its tasks share: that of the call first.
    pub(super) fn shared(&self) -> impl Iterator<Item = &Arc<Original>> {
        self.work.shared.iter().chain(self.scattered.values())
    }
}
