//! Tells those who record it what happens on rank 0.

use std::time::{Duration, Instant};

use crate::{
    error::Failure,
    fabric::WorkerInfo,
    wire::{Child, Piece},
};

/// Is told what happens, on the engine's thread: it must be quick and must not wait for the user.
pub(crate) trait Watch: Send {
    /// `at` is the time since the watch began.
    fn happened(&mut self, at: Duration, happening: Happening<'_>);
}

pub(crate) enum Happening<'a> {
    Joined(&'a WorkerInfo),
    Lost {
        worker: &'a WorkerInfo,
        reason: &'a str,
        /// The chunk that it was at, if any.
        chunk: Option<Held>,
    },
    /// A leader has a child in the place of one that was lost.
    ChildJoined {
        leader: &'a WorkerInfo,
        child: &'a Child,
    },
    ChildLost {
        leader: &'a WorkerInfo,
        slot: u32,
        pid: u32,
        reason: &'a str,
    },
    Dispatched {
        rank: u32,
        start: u64,
        count: u64,
        attempt: u16,
    },
    Returned(Span),
    /// The outcome of tasks is known for good, though it may not be their turn yet; of calls that announce it.
    Known(Piece),
    /// An attempt at a task failed; it was the last one, or the task will be tried again.
    Failed {
        task: u64,
        failure: &'a Failure,
        last: bool,
    },
    /// Nothing more is begun, and what runs is cut short.
    Draining,
}

/// A chunk that a worker had, and when it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) start: u64,
    pub(crate) count: u64,
    pub(crate) dispatched: Duration,
}

/// When and where a chunk was run; of a leader's chunk, what each child has run.
///
/// All times are rank 0's: `ended` is when the result arrived, and `started` is as long before it as
/// the worker measured, so both are late by the time that the result travelled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    /// Tasks that were attempted.
    pub(crate) count: u64,
    pub(crate) rank: u32,
    /// The child of a leader; 0 for others.
    pub(crate) slot: u32,
    /// The process that ran it.
    pub(crate) pid: u32,
    pub(crate) dispatched: Duration,
    pub(crate) started: Duration,
    pub(crate) ended: Duration,
    /// The task that took longest, and its time; of short tasks the mean of some neighbours.
    pub(crate) slowest: u64,
    pub(crate) slowest_time: Duration,
}

/// Who watches, and since when.
pub(super) struct Watching {
    pub(super) watch: Box<dyn Watch>,
    pub(super) since: Instant,
}

impl Watching {
    pub(super) fn tell(&mut self, happening: Happening<'_>) {
        self.watch.happened(self.since.elapsed(), happening);
    }
}
