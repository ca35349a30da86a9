//! One chunk as it runs: its items, its place for results, and its looks at the clock and at messages.

use std::{any::Any, cell::Cell, collections::HashMap, ops::Range, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

use super::{
    board::{Board, Limited, now_nanos},
    entry::from_program,
    prints,
    scattered::{AtHand, SharedValue, offering},
    task::Task,
    unwind::catch,
};
use crate::{
    error::{Failure, FailureKind},
    wire::{Batch, ChunkMessage, ReplyBuilder, ResultMessage},
};

/// A chunk asks for its successor when it expects to end within this time.
const ASK_NANOS: u64 = 50_000;
/// Between tasks, rank 0 is listened to no more often than this.
pub(super) const LISTEN_NANOS: u64 = 1_000_000;
/// The clock is read no more often than this, as far as the tasks' times foretell.
const LOOK_NANOS: u64 = 100_000;

/// The clock is read at least after this many tasks: the next ones may take longer than the last.
const LONGEST_STRIDE: u64 = 16;

/// What a task thread keeps between chunks: the state of each call, by call.
pub(super) type States = HashMap<u64, Box<dyn Any + Send>>;

/// What a running chunk tells and asks the loop that runs it.
pub(super) trait Surroundings {
    /// The chunk is nearly done.
    fn ask_for_more(&mut self);
    /// Listens to rank 0; false when this chunk has been revoked.
    fn listen(&mut self) -> bool;
}

/// A chunk that runs. Programs see it while they run it.
pub struct ChunkRun<'a> {
    chunk: &'a ChunkMessage,
    pub(super) items: &'a mut Batch,
    pub(super) reply: ReplyBuilder,
    states: &'a mut States,
    shared: Option<Arc<SharedValue>>,
    around: &'a mut dyn Surroundings,
    board: &'a Board,
    thread: usize,
    task: Task,
    asked: bool,
    started: u64,
    listened: u64,
    looked: u64,
    /// The time that went into states since the clock was last read, and in all.
    built: Cell<(u64, u64)>,
    /// Tasks done when the clock was last read.
    timed: u64,
    /// The task that took longest, and its nanoseconds; of tasks between two looks the mean.
    slowest: (u64, u64),
    next_look: u64,
    stride: u64,
}

/// Where a chunk runs: the task thread, and what it has at hand.
pub(super) struct Seat<'a> {
    pub(super) rank: u32,
    pub(super) slot: u32,
    pub(super) thread: usize,
    pub(super) board: &'a Board,
    pub(super) states: &'a mut States,
    pub(super) around: &'a mut dyn Surroundings,
}

/// Takes the items out of a chunk and runs it; also tells when it began and when it ended.
pub(super) fn run_message(
    chunk: &mut ChunkMessage,
    shared: AtHand,
    place: Seat<'_>,
) -> (ResultMessage, Range<u64>) {
    let started = now_nanos();
    let mut reply = ReplyBuilder::new(chunk.start);
    let result = |reply: ReplyBuilder, busy_nanos, (slowest, slowest_nanos)| ResultMessage {
        call: chunk.call,
        dispatch: chunk.dispatch,
        start: chunk.start,
        count: reply.len(),
        pieces: Some(reply.finish()),
        busy_nanos,
        overhead_nanos: 0,
        slowest,
        slowest_nanos,
        runs: Vec::new(),
    };
    let mut items = chunk.items.take();
    let chunk = &*chunk;
    let (Some(items), Some(entry)) = (&mut items, from_program(chunk.program)) else {
        let failure = Failure::new(FailureKind::Codec, "the chunk arrived damaged");
        (0..chunk.count).for_each(|_| reply.failed(failure.clone()));
        return (result(reply, 0, (chunk.start, 0)), started..started);
    };
    items.gather();
    let mut run = ChunkRun {
        chunk,
        items,
        reply,
        states: place.states,
        shared: shared.first().map(|(_, value)| value.clone()),
        around: place.around,
        board: place.board,
        thread: place.thread,
        task: Task::new(place.rank, place.slot, chunk.seed, chunk.attempt, limit_of(chunk)),
        asked: false,
        started,
        listened: started,
        looked: started,
        built: Cell::default(),
        timed: 0,
        slowest: (chunk.start, 0),
        next_look: 1,
        stride: 1,
    };
    if shared.is_empty() {
        entry(&mut run);
    } else {
        offering(shared, || entry(&mut run));
    }
    prints::let_out();
    let ended = now_nanos();
    run.time_tasks(run.reply.len(), ended);
    (result(run.reply, ended - started - run.built.get().1, run.slowest), started..ended)
}

/// How long each task of the chunk may run.
fn limit_of(chunk: &ChunkMessage) -> Option<Duration> {
    (chunk.limit_nanos > 0).then(|| Duration::from_nanos(chunk.limit_nanos))
}

impl ChunkRun<'_> {
    /// The position of the chunk's first task among those of its call.
    pub(super) fn first(&self) -> u64 {
        self.chunk.start
    }

    /// How many tasks the chunk has.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Task `k` has taken its item: behind the last one nobody needs the message that it came in.
    pub(super) fn item_is_taken(&mut self, k: usize) {
        if k + 1 == self.items.len() {
            self.items.let_go();
        }
    }

    pub(super) fn enter(&self, index: u64) {
        self.task.enter(index);
    }

    /// The time of task `k` begins.
    pub(super) fn begin(&self, k: usize) {
        if let Some(limit) = limit_of(self.chunk) {
            let task = self.chunk.start + k as u64;
            self.board.start(self.thread, Limited { dispatch: self.chunk.dispatch, task, limit });
        }
    }

    /// Runs code that builds a state. Its time belongs to no task: it has no limit, and does not count in the mean
    /// times of tasks.
    pub(crate) fn build<S>(&self, code: impl FnOnce() -> S) -> Result<S, Failure> {
        self.board.stop(self.thread);
        let began = now_nanos();
        let state = catch(code);
        let took = now_nanos() - began;
        let (since_look, all) = self.built.get();
        self.built.set((since_look + took, all + took));
        state
    }

    pub(super) fn leave(&self) {
        Task::leave();
        self.board.stop(self.thread);
    }

    pub(super) fn take_state<S: Send + 'static>(&mut self) -> Option<S> {
        if size_of::<S>() == 0 {
            return None; // It is not kept, see below.
        }
        let state = self.states.remove(&self.chunk.call)?;
        state.downcast().ok().map(|state| *state)
    }

    pub(super) fn keep_state<S: Send + 'static>(&mut self, state: S) {
        if size_of::<S>() > 0 {
            self.states.insert(self.chunk.call, Box::new(state));
        }
    }

    pub(crate) fn shared<S: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<S>, Failure> {
        let missing = || Failure::new(FailureKind::Codec, "the shared value did not arrive");
        self.shared.as_ref().ok_or_else(missing)?.share()
    }

    /// Called with the number of tasks done; false when the chunk is to stop here.
    ///
    /// The clock is read about every [`LOOK_NANOS`]: the stride between two looks doubles while
    /// they come too soon. It never passes the point where the next chunk should be asked for.
    #[inline]
    pub(super) fn goes_on(&mut self, done: u64) -> bool {
        done < self.next_look || done == self.chunk.count || self.look(done)
    }

    /// Takes note of the time that the tasks took since the clock was last read.
    fn time_tasks(&mut self, done: u64, now: u64) {
        let (built, all) = self.built.get();
        self.built.set((0, all));
        let took = now - self.looked - built;
        let mean = took.checked_div(done.saturating_sub(self.timed)).unwrap_or(0);
        if mean > self.slowest.1 {
            self.slowest = (self.chunk.start + done - 1, mean);
        }
        (self.looked, self.timed) = (now, done);
    }

    #[cold]
    fn look(&mut self, done: u64) -> bool {
        let now = now_nanos();
        let since = now - self.looked;
        self.time_tasks(done, now);
        self.stride = match since {
            0..LOOK_NANOS => (2 * self.stride).min(LONGEST_STRIDE),
            LISTEN_NANOS.. => (self.stride / 2).max(1),
            _ => self.stride,
        };
        if now - self.listened >= LISTEN_NANOS {
            self.listened = now;
            if !self.around.listen() {
                return false;
            }
        }
        let left = self.chunk.count - done;
        let mean = ((now - self.started - self.built.get().1) / done).max(1);
        let early = (ASK_NANOS / mean).min(self.chunk.count * 15 / 100).max(1);
        if !self.asked && left > 0 && left <= early {
            self.asked = true;
            self.around.ask_for_more();
        }
        let to_asking = if self.asked { u64::MAX } else { left.saturating_sub(early).max(1) };
        self.next_look = done + self.stride.min(to_asking);
        true
    }
}
