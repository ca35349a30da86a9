//! One call: which of its tasks are where.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    Dispatch, PLENTY, WorkerId,
    chunk::{Chunk, Policy, View},
    costs::Costs,
    times::Times,
};
use crate::wire::{Amount, Piece};

/// Results of an automatic chunk, in bytes: larger ones would only keep the worker and rank 0 waiting
/// for each other, when they could send and compute at the same time.
const CHUNK_BYTES: u64 = 4 << 20;

/// The longest that an automatic chunk is expected to take, in nanoseconds. What rank 0 spends on a chunk is
/// nothing beside it, and nobody learns of a chunk's results before its end: neither progress nor a journal.
const CHUNK_NANOS: f64 = 2e8;

/// The longest wait before a task is tried again.
const LONGEST_DELAY_NANOS: u64 = 3600 * 1_000_000_000;

#[cfg(test)]
thread_local! {
    /// How often this thread has looked at a call: tests count the work of the scheduler by it.
    pub(super) static LOOKS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// What the scheduler needs to know of a call.
#[derive(Clone, Debug)]
pub(crate) struct CallSpec {
    /// The index of its first task: 0 in a map, the number of a submitted task.
    pub(crate) first: u64,
    pub(crate) chunk: Chunk,
    /// How often a failed task is tried again.
    pub(crate) retries: u16,
    /// How long a failed task waits for its second attempt; each further wait is twice as long.
    pub(crate) retry_delay_nanos: u64,
    /// Tasks that may be handed out beyond those that the user has taken.
    pub(crate) window_tasks: u64,
    /// Bytes of results that may wait for the user.
    pub(crate) window_bytes: u64,
    pub(crate) ordered: bool,
    /// Outcomes are announced as soon as they are known, before their turn to be emitted.
    pub(crate) announce: bool,
    pub(crate) stop_at_error: bool,
    /// How many tasks there will be, where known.
    pub(crate) expected: Option<u64>,
    /// What each of them costs, where that is known.
    pub(crate) costs: Option<Arc<Costs>>,
}

/// Tasks that belong together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) count: u64,
    /// Which attempt the next one is, from 1.
    pub(super) attempt: u16,
    /// Workers that were lost with these tasks in flight.
    pub(super) losses: u8,
}

impl Range {
    pub(super) fn of(dispatch: &Dispatch) -> Range {
        Range {
            start: dispatch.start,
            count: dispatch.count,
            attempt: dispatch.attempt,
            losses: dispatch.losses,
        }
    }

    pub(super) fn contains(&self, task: u64) -> bool {
        (self.start..self.start + self.count).contains(&task)
    }

    /// What is left of the range without `task`, at most two ranges.
    pub(super) fn around(self, task: u64) -> Vec<Range> {
        let before = Range { count: task - self.start, ..self };
        let after = Range { start: task + 1, count: self.start + self.count - task - 1, ..self };
        [before, after].into_iter().filter(|range| range.count > 0).collect()
    }

    /// The range in pieces of `part` tasks.
    pub(super) fn split(self, part: u64) -> impl Iterator<Item = Range> {
        let end = self.start + self.count;
        (self.start..end).step_by(part.max(1) as usize).map(move |start| Range {
            start,
            count: part.max(1).min(end - start),
            ..self
        })
    }
}

/// A committed piece below its turn, or, in a call without order, the mark that it is committed.
#[derive(Debug)]
enum Held {
    Piece(Piece),
    Mark { count: u64 },
}

/// Tasks in a row that are not to be run.
#[derive(Debug)]
struct Gap {
    start: u64,
    count: u64,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) spec: CallSpec,
    policy: Policy,
    /// Tasks that are there.
    pub(super) fed: u64,
    pub(super) closed: bool,
    /// Tasks of a kind are believed to take as long as each other.
    pub(super) kind: Option<u64>,
    /// It was recalled.
    pub(super) recalled: bool,
    /// Tasks below have been handed out at least once.
    next: u64,
    queued: BTreeMap<u64, Range>,
    /// Tasks that failed and will be tried again, by when.
    waiting: BTreeMap<(u64, u64), Range>,
    /// The first of them, as the scheduler has it on its list.
    pub(super) listed_due: Option<u64>,
    /// Start and count of the tasks above `next` that are not to be run.
    skipped: VecDeque<Gap>,
    /// Dispatches that are with workers.
    pub(super) in_flight: usize,
    /// Their tasks.
    pub(super) flying: u64,
    /// Tasks below are committed, and in an ordered call emitted.
    pub(super) cursor: u64,
    held: BTreeMap<u64, Held>,
    /// Tasks that the user has taken.
    pub(super) consumed: u64,
    /// Tasks that were emitted and that the user has not taken.
    pub(super) unused: u64,
    /// Bytes of results that are committed and not taken by the user.
    pub(super) held_bytes: u64,
    /// The first task that failed for good, in a call that stops at errors.
    pub(super) stop_before: u64,
    pub(super) ended: bool,
    /// No further task is expected to end in time.
    pub(super) out_of_time: bool,
    /// In the scheduler's queue of runnable calls.
    pub(super) enlisted: bool,
    /// Whether each worker has had a chunk, by its number.
    seen: Vec<bool>,
    times: Times,
    /// Bytes of the results, and of how many tasks.
    sized: Amount,
}

impl Call {
    pub(super) fn new(spec: CallSpec) -> Call {
        Call {
            policy: Policy::new(spec.chunk),
            fed: spec.first,
            closed: false,
            kind: None,
            recalled: false,
            next: spec.first,
            queued: BTreeMap::new(),
            in_flight: 0,
            flying: 0,
            cursor: spec.first,
            waiting: BTreeMap::new(),
            listed_due: None,
            skipped: VecDeque::new(),
            held: BTreeMap::new(),
            consumed: spec.first,
            unused: 0,
            held_bytes: 0,
            stop_before: u64::MAX,
            ended: false,
            out_of_time: false,
            enlisted: false,
            seen: Vec::new(),
            times: Times::default(),
            sized: Amount::default(),
            spec,
        }
    }

    /// A call of so many tasks, which are there.
    pub(super) fn assigned(spec: CallSpec, tasks: u64, kind: u64) -> Call {
        let fed = spec.first + tasks;
        Call { fed, closed: true, kind: Some(kind), ..Call::new(spec) }
    }

    /// The time that its task takes is only guessed, from other tasks.
    pub(super) fn is_guess(&self) -> bool {
        self.kind.is_some() && self.fed == self.spec.first + 1
    }

    /// Its tasks take as long as these did.
    pub(super) fn believe(&mut self, times: &Times) {
        self.times.clone_from(times);
    }

    pub(super) fn leaves(&mut self, dispatch: &Dispatch) {
        self.in_flight += 1;
        self.flying += dispatch.count;
    }

    /// A dispatch is no longer with its worker, and so many tasks less are in flight.
    pub(super) fn comes_back(&mut self, tasks: u64) {
        self.in_flight -= 1;
        self.flying -= tasks;
    }

    /// Whether the window has room beyond what is expected of the tasks in flight.
    pub(super) fn has_room(&self) -> bool {
        let coming = self.flying * self.sized.bytes / self.sized.tasks.max(1);
        self.held_bytes + coming < self.spec.window_bytes
    }

    pub(super) fn requeue(&mut self, range: Range) {
        self.queued.insert(range.start, range);
    }

    /// Queues a task for its next attempt, after its wait.
    pub(super) fn retry(&mut self, range: Range, now: u64) {
        let doublings = u32::from(range.attempt.saturating_sub(2)).min(40);
        let delay = self.spec.retry_delay_nanos.saturating_mul(1 << doublings);
        match delay.min(LONGEST_DELAY_NANOS.max(self.spec.retry_delay_nanos)) {
            0 => self.requeue(range),
            delay => drop(self.waiting.insert((now.saturating_add(delay), range.start), range)),
        }
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        #[cfg(test)]
        LOOKS.set(LOOKS.get() + 1);
        self.waiting.first_key_value().map(|(&(due, _), _)| due)
    }

    /// Queues the tasks whose wait is over.
    pub(super) fn release(&mut self, now: u64) {
        while let Some(entry) = self.waiting.first_entry()
            && entry.key().0 <= now
        {
            let range = entry.remove();
            self.requeue(range);
        }
    }

    /// The next `tasks` tasks are as good as committed, and not emitted.
    pub(super) fn skip(&mut self, tasks: u64) {
        if tasks > 0 {
            self.skipped.push_back(Gap { start: self.fed, count: tasks });
            self.fed += tasks;
            self.consumed += tasks;
            self.pass_skipped();
        }
    }

    /// True once for each worker.
    fn is_new(&mut self, worker: WorkerId) -> bool {
        let place = worker.0 as usize;
        if self.seen.len() <= place {
            self.seen.resize(place + 1, false);
        }
        !std::mem::replace(&mut self.seen[place], true)
    }

    /// Tasks that are handed out next begin behind those that are skipped.
    fn pass_skipped(&mut self) {
        while let Some(&Gap { start, count }) = self.skipped.front()
            && start == self.next
        {
            self.skipped.pop_front();
            self.next += count;
            self.mark(start, count);
        }
        self.advance(|_| {});
    }

    pub(super) fn is_complete(&self) -> bool {
        self.closed && self.cursor == self.fed
    }

    /// The end of the fresh tasks that the window lets out now.
    fn fresh_end(&self) -> u64 {
        let end = self.fed.min(self.stop_before).min(self.consumed.saturating_add(self.spec.window_tasks));
        if self.held_bytes < self.spec.window_bytes {
            end
        } else if self.spec.ordered && self.unused == 0 {
            // The window is full of results behind the one that the user waits for: only that task may go.
            end.min(self.cursor + 1)
        } else {
            // The window is full of results that the user has not taken.
            end.min(self.next)
        }
    }

    /// At least so many tasks may go now.
    pub(super) fn waiting(&self) -> u64 {
        self.queued.len() as u64 + self.fresh_end().saturating_sub(self.next)
    }

    pub(super) fn is_runnable(&self) -> bool {
        #[cfg(test)]
        LOOKS.set(LOOKS.get() + 1);
        let queued = self.queued.first_key_value().is_some_and(|(&start, _)| start < self.stop_before);
        !self.ended && !self.out_of_time && !self.recalled && (queued || self.next < self.fresh_end())
    }

    /// Whether the next chunk was in flight on a worker that was lost.
    pub(super) fn next_is_suspect(&self) -> bool {
        let next = self.queued.first_key_value().filter(|(start, _)| **start < self.stop_before);
        next.is_some_and(|(_, range)| range.losses > 0)
    }

    /// Takes the next chunk for `worker`: what came back first, then fresh tasks; no more of them than are
    /// expected to end within `time_left`.
    #[inline]
    pub(super) fn take(
        &mut self,
        worker: WorkerId,
        width: u32,
        slots: u64,
        cost_nanos: f64,
        time_left: Option<u64>,
    ) -> Option<Range> {
        let auto = self.spec.chunk == Chunk::Auto;
        let again =
            self.queued.first_key_value().map(|(start, _)| *start).filter(|start| *start < self.stop_before);
        let start = again.unwrap_or(self.next);
        let in_time = self.tasks_within(start, time_left).saturating_mul(u64::from(width));
        if in_time == 0 {
            self.out_of_time = true;
            return None;
        }
        let most = if auto { self.fitting(start, slots).saturating_mul(u64::from(width)) } else { u64::MAX };
        if again.is_some()
            && let Some(entry) = self.queued.first_entry()
        {
            let range = entry.remove();
            let count = range.count.min(in_time).min(most);
            if count < range.count {
                self.requeue(Range { start: range.start + count, count: range.count - count, ..range });
            }
            return Some(Range { count, ..range });
        }
        let end = self.fresh_end();
        if self.next >= end {
            return None;
        }
        let expected = self.spec.expected.filter(|_| !self.closed).map_or(0, |tasks| self.spec.first + tasks);
        let end_of_all = self.fed.max(expected);
        let first_for_worker = auto && self.kind.is_none() && self.is_new(worker);
        let view = View {
            total: end_of_all - self.spec.first,
            left: end_of_all - self.next,
            slots,
            first_for_worker,
            width: u64::from(width),
            mean_nanos: self.times.mean_nanos(),
            cost_nanos,
            overhead_nanos: self.times.overhead_nanos(),
        };
        let size = match &self.spec.costs {
            // An automatic chunk is a share of the cost that is left, not of the tasks.
            Some(costs) if auto => {
                let mean_cost = costs.of(self.next, view.left) / view.left as f64;
                let mean_nanos = view.mean_nanos.map(|nanos| nanos * mean_cost);
                let size = self.policy.next(&View { mean_nanos, ..view });
                costs.within(self.next, size as f64 * mean_cost).clamp(1, size)
            }
            _ => self.policy.next(&view),
        };
        let run = self.skipped.front().map_or(u64::MAX, |gap| gap.start - self.next);
        let count = size.min(most).min(in_time).min(end - self.next).min(run);
        let range = Range { start: self.next, count, attempt: 1, losses: 0 };
        self.next += count;
        self.pass_skipped();
        Some(range)
    }

    /// How many tasks of a chunk of this size a leader hands to a child at a time; 0 where it finds that out.
    pub(super) fn share(&self, count: u64, width: u32) -> u64 {
        match self.spec.chunk {
            Chunk::Auto => 0,
            Chunk::Fixed(tasks) => tasks,
            Chunk::Static | Chunk::Guided | Chunk::Factoring => count.div_ceil(u64::from(width)),
        }
    }

    /// What these tasks cost: 1 each on average, and 1 each where nothing is known of it.
    pub(super) fn cost(&self, start: u64, count: u64) -> f64 {
        self.spec.costs.as_ref().map_or(count as f64, |costs| costs.of(start, count))
    }

    /// How many tasks from `start` on cost no more than `most`.
    fn costing(&self, start: u64, most: f64) -> u64 {
        self.spec.costs.as_ref().map_or(most as u64, |costs| costs.within(start, most))
    }

    /// Whether the fresh tasks cost enough to keep all slots at work long after one slot has run these.
    pub(super) fn has_plenty_behind(&self, range: &Range, slots: u64) -> bool {
        self.spec.costs.as_ref().is_none_or(|costs| {
            let left = costs.of(self.next, self.fed - self.next);
            left >= (PLENTY * slots) as f64 * costs.of(range.start, range.count)
        })
    }

    /// How long its tasks take, for what they cost.
    pub(super) fn times(&self) -> &Times {
        &self.times
    }

    #[inline]
    pub(super) fn measured(&mut self, cost: f64, busy_nanos: u64, overhead_nanos: u64) {
        self.times.measured(cost, busy_nanos, overhead_nanos);
    }

    /// How many tasks from `start` on are expected to be done one after the other in that many nanoseconds. While
    /// nothing has been measured, there is no limit.
    fn tasks_within(&self, start: u64, time_left: Option<u64>) -> u64 {
        match (time_left, self.times.mean_nanos()) {
            (Some(0), _) => 0,
            (Some(left), Some(mean)) => self.costing(start, left as f64 / mean),
            _ => u64::MAX,
        }
    }

    /// Records the outcome of tasks for good, and emits what has its turn.
    #[inline]
    pub(super) fn commit(&mut self, piece: Piece, mut emit: impl FnMut(Piece)) {
        self.held_bytes += piece.size();
        self.sized += piece.amount();
        if self.spec.ordered && piece.start == self.cursor {
            self.cursor += piece.count;
            self.unused += piece.count;
            emit(piece);
        } else if self.spec.ordered {
            self.held.insert(piece.start, Held::Piece(piece));
        } else {
            self.mark(piece.start, piece.count);
            self.unused += piece.count;
            emit(piece);
        }
        self.advance(emit);
    }

    /// Moves the cursor over what is committed, and emits what has its turn.
    fn advance(&mut self, mut emit: impl FnMut(Piece)) {
        while let Some(entry) = self.held.first_entry()
            && *entry.key() == self.cursor
        {
            match entry.remove() {
                Held::Mark { count } => self.cursor += count,
                Held::Piece(piece) => {
                    self.cursor += piece.count;
                    self.unused += piece.count;
                    emit(piece);
                }
            }
        }
    }

    /// Marks tasks as committed, in one mark with their neighbours.
    fn mark(&mut self, mut start: u64, mut count: u64) {
        if let Some((&before, &Held::Mark { count: length })) = self.held.range(..start).next_back()
            && before + length == start
        {
            (start, count) = (before, length + count);
        }
        if let Some(&Held::Mark { count: length }) = self.held.get(&(start + count)) {
            self.held.remove(&(start + count));
            count += length;
        }
        self.held.insert(start, Held::Mark { count });
    }

    /// How many tasks from `start` on fit into a chunk, by the sizes and times so far: into a worker's share of the
    /// window, into what is worth sending at a time, and into the time that a chunk may take.
    fn fitting(&self, start: u64, slots: u64) -> u64 {
        let mean = (self.sized.bytes / self.sized.tasks.max(1)).max(1);
        let by_size = (self.spec.window_bytes / (2 * slots.max(1))).min(CHUNK_BYTES) / mean;
        let by_time =
            self.times.longest_mean_nanos().map_or(u64::MAX, |mean| self.costing(start, CHUNK_NANOS / mean));
        by_size.min(by_time).max(1)
    }

    /// Every task below `fed` is in exactly one place.
    #[cfg(test)]
    pub(super) fn sanity_check(&self, flying: impl Iterator<Item = (u64, u64)>) {
        let mut ranges: Vec<(u64, u64)> = flying.collect();
        let again = self.queued.values().chain(self.waiting.values());
        ranges.extend(again.map(|range| (range.start, range.count)));
        ranges.extend(self.held.iter().map(|(&start, held)| match held {
            Held::Mark { count } => (start, *count),
            Held::Piece(piece) => (start, piece.count),
        }));
        ranges.sort();
        let mut at = self.cursor;
        for (start, count) in ranges {
            assert_eq!(start, at, "a task is missing or in two places");
            at += count;
        }
        assert_eq!(at, self.next, "tasks handed out are accounted for");
        assert!(self.next <= self.fed && self.consumed <= self.fed);
        assert!(self.next <= self.consumed.saturating_add(self.spec.window_tasks), "beyond the window");
    }
}
