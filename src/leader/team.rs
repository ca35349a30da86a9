//! A leader's mind, without I/O: chunks of rank 0 in, chunks for the children and answers out.
//!
//! A chunk from rank 0 is a call of the leader's own [`Scheduler`], by the number of its dispatch. Tasks keep rank 0's
//! numbers, so a child runs them as a worker of rank 0 would. What the children give is put together in one answer, in
//! order.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::{
    error::Failure,
    scheduler::{Action, CallId, CallSpec, Chunk, Event, Scheduler, WorkerId},
    wire::{Batch, ChunkMessage, Piece, Pieces, ResultMessage, SlotRun},
};

/// The next chunk is asked for when fewer tasks of the last one wait than this part of it, or than there are children.
const EARLY: f64 = 0.15;

/// What is done of a chunk waits no longer than this for the rest of it.
const LATE_NANOS: u64 = 50_000_000;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Deed {
    /// Send a child a chunk.
    Send { child: u32, chunk: ChunkMessage },
    /// Have a child stop a chunk between two tasks.
    Revoke { child: u32, call: u64, dispatch: u64 },
    /// Answer rank 0.
    Answer(ResultMessage),
    /// Tell rank 0 what is done of a chunk; the rest of it runs.
    Tell(ResultMessage),
    /// Ask rank 0 for the next chunk: so many children have nothing to do, and this was the last dispatch that came.
    Ask { free: u32, heard: u64 },
}

/// A chunk of rank 0 that is not answered.
struct Part {
    chunk: ChunkMessage,
    /// What came back that rank 0 does not know of yet, in the order in which it came.
    pieces: Vec<Piece>,
    /// When the first of them came.
    since: u64,
    busy_nanos: u64,
    overhead_nanos: u64,
    slowest: (u64, u64),
    runs: Vec<Run>,
}

impl Part {
    fn new(chunk: ChunkMessage) -> Part {
        Part {
            pieces: Vec::new(),
            since: 0,
            busy_nanos: 0,
            overhead_nanos: 0,
            slowest: (chunk.start, 0),
            runs: Vec::new(),
            chunk,
        }
    }

    /// When rank 0 is to be told of what is done.
    fn due(&self) -> Option<u64> {
        (!self.pieces.is_empty()).then_some(self.since + LATE_NANOS)
    }
}

/// Where a child is: which of them, and its process. Another one may have the same slot later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChildAt {
    pub(crate) slot: u32,
    pub(crate) pid: u32,
}

/// What a child has run.
struct Run {
    at: ChildAt,
    sent: u64,
    ended: u64,
    result: Ran,
}

/// What is to be known of a result beyond its values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    pub(crate) start: u64,
    pub(crate) count: u64,
    pub(crate) busy_nanos: u64,
    pub(crate) overhead_nanos: u64,
    pub(crate) slowest: u64,
    pub(crate) slowest_nanos: u64,
}

impl Ran {
    pub(crate) fn of(result: &ResultMessage) -> Ran {
        let ResultMessage { start, count, busy_nanos, overhead_nanos, slowest, slowest_nanos, .. } = *result;
        Ran { start, count, busy_nanos, overhead_nanos, slowest, slowest_nanos }
    }
}

/// The children of a leader, and what they have to do. Times are nanoseconds since any fixed start.
pub(crate) struct Team {
    scheduler: Scheduler,
    parts: FxHashMap<u64, Part>,
    /// When to look for parts of which rank 0 is to be told; no part is due before.
    due: Option<u64>,
    /// Where each living child sits.
    slots: FxHashMap<u32, ChildAt>,
    /// When each chunk was sent to its child, while somebody wants to know.
    sent: FxHashMap<u64, u64>,
    /// The dispatch that came last, and its tasks.
    heard: u64,
    last: u64,
    /// Rank 0 was asked for the next chunk.
    asked: bool,
    /// The children without work that it was told of.
    told: u32,
    now: u64,
    cost_nanos: f64,
    actions: Vec<Action>,
}

impl Team {
    pub(crate) fn new() -> Team {
        Team {
            scheduler: Scheduler::of_leader(),
            parts: FxHashMap::default(),
            due: None,
            slots: FxHashMap::default(),
            sent: FxHashMap::default(),
            heard: 0,
            last: 0,
            asked: false,
            told: 0,
            now: 0,
            cost_nanos: 2_000.0,
            actions: Vec::new(),
        }
    }

    /// The time; what follows happens at it.
    pub(crate) fn set_now(&mut self, nanos: u64) {
        self.now = nanos;
        self.scheduler.set_now(nanos);
    }

    /// The measured time that the leader spends on a chunk of a child.
    pub(crate) fn set_cost(&mut self, nanos: f64) {
        self.cost_nanos = nanos;
        self.scheduler.set_cost(nanos);
    }

    /// A child is ready, at this slot.
    pub(crate) fn joined(&mut self, child: u32, at: ChildAt, deeds: &mut Vec<Deed>) {
        self.slots.insert(child, at);
        let worker = WorkerId(child);
        self.tell(Event::Joined { worker, slots: 1, width: 1, host: String::new() }, deeds);
    }

    /// A chunk of rank 0 is there.
    pub(crate) fn take(&mut self, chunk: ChunkMessage, deeds: &mut Vec<Deed>) {
        let ChunkMessage { dispatch, start, count, program, share, .. } = chunk;
        let spec = CallSpec {
            first: start,
            chunk: if share == 0 { Chunk::Auto } else { Chunk::Fixed(share) },
            retries: 0,
            retry_delay_nanos: 0,
            window_tasks: u64::MAX,
            window_bytes: u64::MAX,
            ordered: false,
            announce: false,
            stop_at_error: false,
            expected: Some(count),
            costs: None,
        };
        self.parts.insert(dispatch, Part::new(chunk));
        (self.heard, self.last, self.asked) = (dispatch, count, false);
        self.told = self.told.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        self.tell(Event::Assigned { call: CallId(dispatch), spec, tasks: count, kind: program }, deeds);
    }

    /// Rank 0 wants a chunk back, as far as it has come.
    pub(crate) fn recall(&mut self, dispatch: u64, deeds: &mut Vec<Deed>) {
        self.tell(Event::Recalled { call: CallId(dispatch) }, deeds);
    }

    /// A child will soon be out of work.
    pub(crate) fn requested(&mut self, child: u32, deeds: &mut Vec<Deed>) {
        self.tell(Event::Requested { worker: WorkerId(child), free: 0, heard: 0 }, deeds);
    }

    /// A child has answered.
    pub(crate) fn returned(
        &mut self,
        child: u32,
        dispatch: u64,
        ran: Ran,
        pieces: Pieces,
        deeds: &mut Vec<Deed>,
    ) {
        let worker = WorkerId(child);
        let sent = self.sent.remove(&dispatch);
        let part = self.scheduler.call_of(worker, dispatch).and_then(|call| self.parts.get_mut(&call.0));
        if let Some(part) = part {
            part.busy_nanos += ran.busy_nanos;
            part.overhead_nanos += ran.overhead_nanos;
            if ran.slowest_nanos > part.slowest.1 {
                part.slowest = (ran.slowest, ran.slowest_nanos);
            }
            if let (Some(sent), Some(&at)) = (sent, self.slots.get(&child)) {
                part.runs.push(Run { at, sent, ended: self.now, result: ran });
            }
        }
        let Ran { busy_nanos, overhead_nanos, .. } = ran;
        self.tell(Event::Returned { worker, dispatch, pieces, busy_nanos, overhead_nanos }, deeds);
    }

    /// A child is gone.
    pub(crate) fn lost(&mut self, child: u32, deeds: &mut Vec<Deed>) {
        self.tell(Event::Lost { worker: WorkerId(child) }, deeds);
        self.slots.remove(&child);
    }

    /// A child has run a task for too long, and was given up.
    pub(crate) fn timed_out(
        &mut self,
        child: u32,
        dispatch: u64,
        task: u64,
        failure: Failure,
        deeds: &mut Vec<Deed>,
    ) {
        self.tell(Event::TimedOut { worker: WorkerId(child), dispatch, task, failure }, deeds);
        self.slots.remove(&child);
    }

    /// No child is left, and none will come: rank 0 gets back what it has given.
    pub(crate) fn disbanded(&mut self, deeds: &mut Vec<Deed>) {
        self.tell(Event::Deserted, deeds);
    }

    /// Time has passed: [`next_due`](Team::next_due) is over.
    pub(crate) fn tick(&mut self, deeds: &mut Vec<Deed>) {
        self.tell(Event::Tick, deeds);
        if self.due.is_some_and(|due| due <= self.now) {
            self.tell_of_late_parts(deeds);
        }
    }

    pub(crate) fn next_due(&self) -> Option<u64> {
        self.scheduler.next_due().into_iter().chain(self.due).min()
    }

    /// Rank 0 is told of what has waited for the rest of its chunk.
    fn tell_of_late_parts(&mut self, deeds: &mut Vec<Deed>) {
        let now = self.now;
        let is_late = |part: &Part| part.due().is_some_and(|due| due <= now);
        let late = self.parts.iter().filter(|(_, part)| is_late(part)).map(|(dispatch, _)| *dispatch);
        for dispatch in late.collect::<BTreeSet<u64>>() {
            if let Some(part) = self.parts.remove(&dispatch) {
                self.parts.insert(dispatch, Part::new(part.chunk.clone()));
                deeds.push(Deed::Tell(self.answer(part)));
            }
        }
        self.due = self.parts.values().filter_map(Part::due).min();
    }

    /// Chunks that are with children.
    pub(crate) fn in_flight(&self) -> usize {
        self.scheduler.in_flight()
    }

    /// The children that run something.
    pub(crate) fn at_work(&self) -> Vec<u32> {
        let at_work = |child: &u32| self.scheduler.is_at_work(WorkerId(*child));
        self.slots.keys().copied().filter(at_work).collect()
    }

    /// Some child has nothing to do, or will have nothing when its chunk is done, unless rank 0 sends more.
    pub(crate) fn runs_dry(&self) -> bool {
        let dry = self.scheduler.runs_dry() || self.scheduler.unoccupied() > 0;
        dry && self.scheduler.waiting() == 0
    }

    /// Nothing that rank 0 has given is unanswered.
    pub(crate) fn is_done(&self) -> bool {
        self.parts.is_empty()
    }

    /// Tells the scheduler, and says what follows.
    fn tell(&mut self, event: Event, deeds: &mut Vec<Deed>) {
        let mut actions = std::mem::take(&mut self.actions);
        self.scheduler.handle(event, &mut actions);
        for action in actions.drain(..) {
            self.act(action, deeds);
        }
        self.actions = actions;
        self.ask(deeds);
    }

    fn act(&mut self, action: Action, deeds: &mut Vec<Deed>) {
        match action {
            Action::Send(dispatch) => {
                let Some(part) = self.parts.get(&dispatch.call.0) else { return };
                let whole = &part.chunk;
                let from = (dispatch.start - whole.start) as usize;
                let items =
                    whole.items.as_ref().map(|items| items.slice(from, from + dispatch.count as usize));
                let (start, count) = (dispatch.start, dispatch.count);
                if whole.traced {
                    self.sent.insert(dispatch.epoch, self.now);
                }
                let (dispatch, child) = (dispatch.epoch, dispatch.worker.0);
                let shared = whole.shared.clone();
                let chunk = ChunkMessage { dispatch, start, count, shared, items, ..*whole };
                deeds.push(Deed::Send { child, chunk });
            }
            Action::Revoke { worker, call, dispatch } => {
                if let Some(part) = self.parts.get(&call.0) {
                    deeds.push(Deed::Revoke { child: worker.0, call: part.chunk.call, dispatch });
                }
            }
            Action::Emit { call, piece } => {
                if let Some(part) = self.parts.get_mut(&call.0) {
                    if part.pieces.is_empty() {
                        part.since = self.now;
                    }
                    part.pieces.push(piece);
                    self.due = self.due.or(part.due());
                }
            }
            Action::Finished { call, .. } => {
                if let Some(part) = self.parts.remove(&call.0) {
                    let answer = self.answer(part);
                    deeds.push(Deed::Answer(answer));
                    self.due = self.due.filter(|_| !self.parts.is_empty());
                }
            }
            Action::Announce { .. } | Action::Retry { .. } | Action::Forget { .. } => {}
        }
    }

    fn answer(&self, part: Part) -> ResultMessage {
        let Part { chunk, pieces, busy_nanos, overhead_nanos, slowest, runs, .. } = part;
        let pieces = merged(pieces);
        let count = pieces.iter().map(|piece| piece.count).sum();
        let width = self.slots.len().max(1) as u64;
        let run = |run: &Run| SlotRun {
            slot: run.at.slot,
            pid: run.at.pid,
            start: run.result.start,
            count: run.result.count,
            sent_ago: self.now - run.sent,
            ended_ago: self.now - run.ended,
            busy_nanos: run.result.busy_nanos,
            slowest: run.result.slowest,
            slowest_nanos: run.result.slowest_nanos,
        };
        ResultMessage {
            call: chunk.call,
            dispatch: chunk.dispatch,
            start: chunk.start,
            count,
            pieces: Some(pieces),
            busy_nanos,
            // The overheads of the children pass side by side, so that of this chunk is their sum divided by their
            // number.
            overhead_nanos: overhead_nanos / width + self.cost_nanos as u64,
            slowest: slowest.0,
            slowest_nanos: slowest.1,
            runs: runs.iter().map(run).collect(),
        }
    }

    /// Asks rank 0 for the next chunk while each child still has something to begin; and tells how many have not.
    fn ask(&mut self, deeds: &mut Vec<Deed>) {
        if self.slots.is_empty() {
            return;
        }
        let waiting = self.scheduler.waiting();
        let free = if waiting == 0 { self.scheduler.unoccupied() as u32 } else { 0 };
        let few = (self.slots.len() as f64).max(EARLY * self.last as f64);
        if !self.asked && waiting as f64 <= few || free > self.told {
            (self.asked, self.told) = (true, free);
            deeds.push(Deed::Ask { free, heard: self.heard });
        }
    }
}

/// The pieces in order; neighbours that ended well are one.
fn merged(mut pieces: Vec<Piece>) -> Pieces {
    pieces.sort_unstable_by_key(|piece| piece.start);
    let mut merged = Pieces::new();
    let mut run: Vec<Batch> = Vec::new();
    let (mut start, mut next) = (0, 0);
    let close = |run: &mut Vec<Batch>, start: u64, end: u64, merged: &mut Pieces| {
        if !run.is_empty() {
            merged.push(Piece { start, count: end - start, outcome: Ok(Batch::join(run)) });
            run.clear();
        }
    };
    for piece in pieces {
        if piece.start != next || piece.outcome.is_err() {
            close(&mut run, start, next, &mut merged);
        }
        if run.is_empty() {
            start = piece.start;
        }
        next = piece.start + piece.count;
        match piece.outcome {
            Ok(batch) => run.push(batch),
            Err(_) => merged.push(piece),
        }
    }
    close(&mut run, start, next, &mut merged);
    merged
}
