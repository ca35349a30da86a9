//! What goes into the scheduler and what comes out.

use super::CallSpec;
#[cfg(doc)]
use super::Scheduler;
use crate::{
    error::Failure,
    wire::{Piece, Pieces},
};

/// A worker, by its rank. A replacement is a new worker with a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WorkerId(pub(crate) u32);

/// A call: one map, or one submitted task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallId(pub(crate) u64);

#[derive(Debug)]
pub(crate) enum Event {
    /// A worker is ready. It takes on so many chunks at a time, and runs so many tasks of each at a time: a leader takes
    /// on one, and its width is the number of its children.
    Joined { worker: WorkerId, slots: u32, width: u32, host: String },
    /// A worker will soon be out of work. So many children of a leader are already, and what was sent behind the dispatch
    /// `heard` is not yet with them.
    Requested { worker: WorkerId, free: u32, heard: u64 },
    /// A dispatch came back, whole or cut short.
    Returned { worker: WorkerId, dispatch: u64, pieces: Pieces, busy_nanos: u64, overhead_nanos: u64 },
    /// A part of a dispatch is done, at a leader that goes on with the rest of it.
    Partial { worker: WorkerId, dispatch: u64, pieces: Pieces, busy_nanos: u64, overhead_nanos: u64 },
    /// A worker is gone.
    Lost { worker: WorkerId },
    /// A task ran over its time; its worker is given up.
    TimedOut { worker: WorkerId, dispatch: u64, task: u64, failure: Failure },
    /// No worker is left and none will come.
    Deserted,
    /// A new call, with no tasks yet.
    Submitted { call: CallId, spec: CallSpec },
    /// A new call of these tasks, which are there: a submitted one, or a chunk of rank 0 at its leader. Those of a kind, of
    /// a function, are believed to take as long as each other.
    Assigned { call: CallId, spec: CallSpec, tasks: u64, kind: u64 },
    /// This many more tasks are there.
    Fed { call: CallId, tasks: u64 },
    /// The next tasks are not to be run: their outcomes are known, or not wanted.
    Skipped { call: CallId, tasks: u64 },
    /// No more tasks will come.
    Closed { call: CallId },
    /// The user has taken results out of the window.
    Consumed { call: CallId, tasks: u64, bytes: u64 },
    /// Nobody waits for the rest of this call.
    Cancelled { call: CallId },
    /// Nothing more of this call is handed out, and its chunks that run are cut short behind the task that they are at. It
    /// ends when all of them are back.
    Recalled { call: CallId },
    /// Time has passed: [`Scheduler::next_due`] is over.
    Tick,
    /// A chunk that is not expected to end by this time, as in [`Scheduler::set_now`], is not handed out.
    Limited { at: u64 },
    /// Nothing more is handed out. Chunks that run are cut short behind the task that they are at; a call
    /// ends when all of its chunks are back.
    Drained,
    /// A drain waits no longer for the chunks that still run.
    TimeOver,
}

#[derive(Debug)]
pub(crate) enum Action {
    Send(Dispatch),
    /// Stop a chunk between two tasks; its results are not needed.
    Revoke {
        worker: WorkerId,
        call: CallId,
        dispatch: u64,
    },
    Emit {
        call: CallId,
        piece: Piece,
    },
    /// What this piece says is known for good; it will be emitted in its turn.
    Announce {
        call: CallId,
        piece: Piece,
    },
    /// An attempt at a task failed; the task will be tried again.
    Retry {
        call: CallId,
        task: u64,
        failure: Failure,
    },
    Finished {
        call: CallId,
        end: End,
    },
    /// Nothing of this call is outstanding any more; its items and shared value can go.
    Forget {
        call: CallId,
    },
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Every task was emitted.
    Done,
    /// A failure was emitted and the call stops at the first.
    Stopped,
    Cancelled,
    /// No worker was left.
    Deserted,
    /// The time is over, or nearly: what is left was not handed out.
    Drained,
}

/// What a chunk of unknown length is expected to take: three days. Sums of it do not overflow.
pub(super) const UNKNOWN_NANOS: u64 = 1 << 48;

/// A chunk on its way to a worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dispatch {
    pub(crate) epoch: u64,
    pub(crate) worker: WorkerId,
    pub(crate) call: CallId,
    pub(crate) start: u64,
    pub(crate) count: u64,
    pub(crate) attempt: u16,
    /// Tasks of it that a leader hands to a child at a time; 0 where that is to be found out.
    pub(crate) share: u64,
    pub(super) losses: u8,
    /// Nanoseconds that it is expected to take: at most [`UNKNOWN_NANOS`], which also stands for an unknown time.
    pub(super) expected_nanos: u64,
    /// A chunk that is expected to take no longer is short.
    pub(super) short_nanos: u64,
    /// When it is expected to end, where it may be cut short for others; else 0.
    pub(super) ends: u64,
    /// The next chunk may be sent as soon as this one begins: it is a single task, which is unlikely to take far longer
    /// than others, and its worker has no moment in which to ask.
    pub(super) precedes: bool,
    /// It is to be cut short.
    pub(super) cut: bool,
}

impl Dispatch {
    /// Whether others may be sent right behind it: it is expected to be done soon, and killed nobody so far.
    pub(super) fn is_short(&self) -> bool {
        self.losses == 0 && self.expected_nanos <= self.short_nanos
    }
}
