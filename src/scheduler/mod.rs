//! Rank 0's mind: who runs what next. A state machine without I/O, clock, threads or MPI.
//!
//! [`Event`]s go in, [`Action`]s come out. A task is at any moment in exactly one place: not yet
//! handed out, queued again, in flight in one dispatch, held for its turn, or emitted. A dispatch
//! has a number of its own, its epoch; what comes back under a number that is no longer
//! outstanding at that worker is dropped. So a task may run more than once, and counts once.

mod call;
mod chunk;
mod costs;
mod cutting;
mod event;
mod fleet;
mod losses;
mod results;
#[cfg(test)]
mod sanity;
#[cfg(test)]
pub(crate) mod tests;
mod times;

use std::collections::{BTreeSet, VecDeque};

use call::Call;
pub(crate) use call::CallSpec;
pub use chunk::Chunk;
pub(crate) use costs::Costs;
use event::UNKNOWN_NANOS;
pub(crate) use event::{Action, CallId, Dispatch, End, Event, WorkerId};
use fleet::{Fleet, Worker};
use rustc_hash::FxHashMap;
use times::Times;

use crate::task_set::TaskSet;

/// A task that was in flight on this many lost workers is not tried again.
const QUARANTINE_AFTER: u8 = 3;

/// A chunk that is expected to end within this time, or within four times what its worker spends around a chunk, is
/// short. A worker is sent short chunks for this time ahead, so that it does not wait for the round trip, and so that
/// several of them, and of their results, travel in one message.
const SHORT_NANOS: u64 = 50_000;

/// A task slot has no more chunks than this, however short they are.
const MOST_AHEAD: usize = 128;

/// The successor of a longer chunk is sent before that chunk ends only while this many tasks wait for each slot: what
/// waits behind a long task is stuck, and near the end of a call others would have to wait for it. Where all tasks take
/// about the same time, one for each slot is enough.
const PLENTY: u64 = 4;

/// Calls whose tasks are counted to know whether that many wait.
const LOOKED_AT: usize = 4;

/// A chunk is cut short for workers without work only if it is expected to go on for this time: its worker
/// listens once in a millisecond.
const WORTH_CUTTING_NANOS: u64 = 2_000_000;

/// A chunk that takes this many times longer than expected is cut short: it was made for shorter tasks.
const OVERDUE_NANOS: u64 = 400_000_000;

#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    workers: Fleet,
    /// Boxed, so that a call takes no memory beyond its own end: there may be very many.
    calls: FxHashMap<CallId, Box<Call>>,
    /// How long the single tasks of each kind take.
    kinds: FxHashMap<u64, Times>,
    /// When the first waiting task of a call is due, of every call that has one.
    due: BTreeSet<(u64, CallId)>,
    /// Calls that may have a chunk to hand out; served in turn.
    runnable: VecDeque<CallId>,
    idle: VecDeque<WorkerId>,
    eager: VecDeque<WorkerId>,
    /// Task slots of the living workers.
    slots: u64,
    living: usize,
    /// Automatic chunks of several tasks that are with workers, by when they are expected to end; without those that
    /// are to be cut short.
    ends: BTreeSet<(u64, WorkerId, u64)>,
    /// Chunks that are being cut short.
    cut: usize,
    /// The tasks that have come back of chunks whose leaders go on with the rest, by dispatch.
    known: FxHashMap<u64, TaskSet>,
    /// Chunks that are with workers.
    in_flight: usize,
    /// Workers that have a chunk.
    busy: usize,
    /// Of these, those that have nothing to go on with when their chunks are done.
    dry: usize,
    epoch: u64,
    cost_nanos: f64,
    /// Nanoseconds since some start; see [`Scheduler::set_now`].
    now: u64,
    /// When the time of the workers is over, if it ever is.
    limit: Option<u64>,
    draining: bool,
    /// Calls are served in the order in which they came, not in turn.
    one_by_one: bool,
    actions: Vec<Action>,
}

impl Scheduler {
    pub(crate) fn new() -> Scheduler {
        Scheduler { cost_nanos: 2_000.0, ..Scheduler::default() }
    }

    /// That of a leader: its calls are chunks of rank 0, which it answers in their order as far as it can.
    pub(crate) fn of_leader() -> Scheduler {
        Scheduler { one_by_one: true, ..Scheduler::new() }
    }

    /// Takes in what happened and appends what is to be done to `actions`.
    pub(crate) fn handle(&mut self, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Joined { worker, slots, width, host } => self.joined(worker, slots, width, host),
            Event::Requested { worker, free, heard } => {
                if let Some(state) = self.workers.get_mut(worker) {
                    state.asks(free, heard);
                }
                self.offer(worker);
            }
            Event::Returned { worker, dispatch, pieces, busy_nanos, overhead_nanos } => {
                self.returned(worker, dispatch, pieces, busy_nanos, overhead_nanos);
            }
            Event::Partial { worker, dispatch, pieces, busy_nanos, overhead_nanos } => {
                self.partly_returned(worker, dispatch, pieces, busy_nanos, overhead_nanos);
            }
            Event::Lost { worker } => self.lost(worker, None),
            Event::TimedOut { worker, dispatch, task, failure } => {
                self.lost(worker, Some((dispatch, task, failure)));
            }
            Event::Deserted => self.open_calls().into_iter().for_each(|call| self.end(call, End::Deserted)),
            Event::Submitted { call, spec } => {
                self.calls.insert(call, Box::new(Call::new(spec)));
                self.call_changed(call);
            }
            Event::Assigned { call, spec, tasks, kind } => {
                self.calls.insert(call, Box::new(Call::assigned(spec, tasks, kind)));
                self.call_changed(call);
            }
            Event::Fed { call, tasks } => self.with_call(call, |state| state.fed += tasks),
            Event::Skipped { call, tasks } => self.with_call(call, |state| state.skip(tasks)),
            Event::Closed { call } => self.with_call(call, |state| state.closed = true),
            Event::Consumed { call, tasks, bytes } => self.with_call(call, |state| {
                state.consumed += tasks;
                state.unused -= tasks;
                state.held_bytes -= bytes;
            }),
            Event::Cancelled { call } => self.end(call, End::Cancelled),
            Event::Recalled { call } => {
                if let Some(state) = self.calls.get_mut(&call) {
                    state.recalled = true;
                    self.revoke_above(call, 0);
                    self.call_changed(call);
                }
            }
            Event::Tick => {
                let now = self.now;
                while let Some(&(due, call)) = self.due.first()
                    && due <= now
                {
                    self.with_call(call, |state| state.release(now));
                }
                while let Some(&(ends, worker, epoch)) = self.ends.first()
                    && ends.saturating_add(OVERDUE_NANOS) <= now
                {
                    self.cut(ends, worker, epoch);
                }
            }
            Event::Limited { at } => {
                self.limit = Some(at);
                self.open_calls()
                    .into_iter()
                    .for_each(|call| self.with_call(call, |state| state.out_of_time = false));
            }
            Event::Drained => self.drain(),
            Event::TimeOver => self.open_calls().into_iter().for_each(|call| self.end(call, End::Drained)),
        }
        self.dispatch();
        actions.append(&mut self.actions);
    }

    /// The measured time that rank 0 spends on a chunk.
    pub(crate) fn set_cost(&mut self, nanos: f64) {
        self.cost_nanos = nanos;
    }

    /// The time, in nanoseconds since any fixed start; the events that follow happen at it.
    pub(crate) fn set_now(&mut self, nanos: u64) {
        self.now = nanos;
    }

    /// When a task that waits to be tried again may go, or a chunk is overdue: a [`Event::Tick`] is due then.
    pub(crate) fn next_due(&self) -> Option<u64> {
        let again = self.due.first().map(|(due, _)| *due);
        let overdue = self.ends.first().map(|(ends, ..)| ends.saturating_add(OVERDUE_NANOS));
        again.into_iter().chain(overdue).min()
    }

    /// Tasks that may go and that no worker has been given yet.
    pub(crate) fn waiting(&self) -> u64 {
        self.calls.values().filter(|call| call.is_runnable()).map(|call| call.waiting()).sum()
    }

    /// The call of a chunk that is with a worker.
    pub(crate) fn call_of(&self, worker: WorkerId, dispatch: u64) -> Option<CallId> {
        let worker = self.workers.get(worker)?;
        worker.outstanding().iter().find(|d| d.epoch == dispatch).map(|d| d.call)
    }

    /// The chunk that a worker was sent first, of those that it has.
    pub(crate) fn first_of(&self, worker: WorkerId) -> Option<&Dispatch> {
        self.workers.get(worker)?.outstanding().front()
    }

    /// Chunks that are with workers.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Workers that have a chunk.
    pub(crate) fn busy(&self) -> usize {
        self.busy
    }

    /// Whether this worker has a chunk.
    pub(crate) fn is_at_work(&self, worker: WorkerId) -> bool {
        self.workers.get(worker).is_some_and(|worker| !worker.outstanding().is_empty())
    }

    /// Workers that have none.
    pub(crate) fn unoccupied(&self) -> usize {
        self.living - self.busy
    }

    /// Some worker at work will have to wait for its next chunk, if there is one.
    pub(crate) fn runs_dry(&self) -> bool {
        self.dry > 0
    }

    /// True when every call has ended and nothing of it is outstanding.
    pub(crate) fn is_done(&self) -> bool {
        self.calls.is_empty()
    }

    /// Gives back what a burst of calls has needed.
    pub(crate) fn give_back_memory(&mut self) {
        self.calls.shrink_to_fit();
        self.runnable.shrink_to_fit();
    }

    fn joined(&mut self, worker: WorkerId, slots: u32, width: u32, host: String) {
        let joined = Worker::new(slots, width, host);
        self.slots += joined.places();
        self.living += 1;
        self.workers.insert(worker, joined);
        self.offer(worker);
    }

    fn with_call(&mut self, id: CallId, change: impl FnOnce(&mut Call)) {
        if let Some(call) = self.calls.get_mut(&id) {
            change(call);
            self.call_changed(id);
        }
    }

    /// In the order in which they came.
    fn open_calls(&self) -> Vec<CallId> {
        let mut calls: Vec<CallId> = self.calls.keys().copied().collect();
        calls.sort_unstable();
        calls
    }

    fn drain(&mut self) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        for call in self.open_calls() {
            self.revoke_above(call, 0);
            self.call_changed(call);
        }
    }

    /// Ends a call that is complete or can get no further, lists when it is due, forgets one that has left the
    /// workers, enlists one with work.
    fn call_changed(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if !call.ended && call.is_complete() {
            call.ended = true;
            self.actions.push(Action::Finished { call: id, end: End::Done });
        }
        if !call.ended && call.in_flight == 0 && (self.draining || call.out_of_time || call.recalled) {
            call.ended = true;
            self.actions.push(Action::Finished { call: id, end: End::Drained });
        }
        let due = call.next_due().filter(|_| !call.ended);
        if due != call.listed_due {
            call.listed_due.map(|at| self.due.remove(&(at, id)));
            due.map(|at| self.due.insert((at, id)));
            call.listed_due = due;
        }
        if call.ended && call.in_flight == 0 {
            self.calls.remove(&id);
            self.actions.push(Action::Forget { call: id });
        } else if !call.enlisted && !self.draining && call.is_runnable() {
            call.enlisted = true;
            self.runnable.push_back(id);
        }
    }

    fn end(&mut self, id: CallId, end: End) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| !call.ended) else {
            return;
        };
        call.ended = true;
        self.actions.push(Action::Finished { call: id, end });
        self.revoke_above(id, 0);
        self.call_changed(id);
    }

    fn revoke_above(&mut self, id: CallId, task: u64) {
        if self.calls.get(&id).is_none_or(|call| call.in_flight == 0) {
            return; // Most submitted tasks: the workers need not be looked through.
        }
        for (worker, state) in self.workers.iter() {
            for dispatch in state.outstanding().iter().filter(|d| d.call == id && d.start >= task) {
                self.actions.push(Action::Revoke { worker, call: id, dispatch: dispatch.epoch });
            }
        }
    }

    /// Puts the worker into the queue for work that it belongs to.
    fn offer(&mut self, worker: WorkerId) {
        let Some(state) = self.workers.get_mut(worker) else {
            return;
        };
        if state.is_idle() {
            if !std::mem::replace(&mut state.in_idle, true) {
                self.idle.push_back(worker);
            }
        } else if state.is_eager() && !std::mem::replace(&mut state.in_eager, true) {
            self.eager.push_back(worker);
        }
    }

    fn dispatch(&mut self) {
        while let Some(call) = self.next_call() {
            let Some(worker) = self.next_worker(call) else {
                return;
            };
            if !self.may_have(call, worker) {
                self.offer(worker);
                return;
            }
            self.hand_out(call, worker);
        }
        self.spread();
    }

    /// The first call in turn that has a chunk to hand out; it stays at the front of the queue.
    fn next_call(&mut self) -> Option<CallId> {
        if self.draining {
            return None;
        }
        while let Some(&id) = self.runnable.front() {
            match self.calls.get_mut(&id) {
                Some(call) if call.is_runnable() => {
                    if let Some(times) = call.kind.and_then(|kind| self.kinds.get(&kind)) {
                        call.believe(times);
                    }
                    return Some(id);
                }
                Some(call) => call.enlisted = false,
                None => {}
            }
            self.runnable.pop_front();
        }
        None
    }

    /// The worker that a chunk of this call goes to.
    fn next_worker(&mut self, call: CallId) -> Option<WorkerId> {
        while let Some(id) = self.idle.pop_front() {
            let Some(worker) = self.workers.get_mut(id) else {
                continue;
            };
            worker.in_idle = false;
            if worker.is_idle() {
                return Some(id);
            }
        }
        while let Some(&id) = self.eager.front() {
            let Some(worker) = self.workers.get_mut(id) else {
                self.eager.pop_front();
                continue;
            };
            let eager = worker.is_eager();
            // The time that a single task takes is only guessed.
            let guess = || self.calls.get(&call).is_some_and(|call| call.is_guess());
            if eager && (worker.is_at_long() || guess()) && !self.has_plenty(call) {
                return None;
            }
            self.eager.pop_front();
            if let Some(worker) = self.workers.get_mut(id) {
                worker.in_eager = false;
            }
            if eager {
                return Some(id);
            }
        }
        None
    }

    /// Whether the next chunk of a call may go to this worker ahead of time. Tasks that were in flight on a lost worker
    /// go to an idle one: if that is lost, too, they are the cause.
    fn may_have(&self, id: CallId, worker: WorkerId) -> bool {
        let (Some(call), Some(worker)) = (self.calls.get(&id), self.workers.get(worker)) else {
            return true;
        };
        // What is ahead of it may take longer than expected, and then it would be too late.
        let in_time = || {
            let mean = call.times().mean_nanos().map_or(UNKNOWN_NANOS, |mean| mean as u64);
            self.time_left()
                .is_none_or(|left| left >= worker.ahead_nanos().saturating_add(mean).saturating_mul(2))
        };
        worker.is_idle() || !call.next_is_suspect() && call.has_room() && in_time()
    }

    /// Until the time of the workers is over, if it ever is.
    fn time_left(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.now))
    }

    /// There are tasks enough for all workers, in this call and behind it.
    fn has_plenty(&self, call: CallId) -> bool {
        let waiting = |call: &CallId| self.calls.get(call).map_or(0, |call| call.waiting());
        let even = self.calls.get(&call).is_some_and(|call| call.times().is_even());
        let enough = if even { self.slots } else { PLENTY * self.slots };
        let own = waiting(&call);
        if own >= enough {
            return true;
        }
        let behind = self.runnable.iter().skip(1);
        // Each of them has at least one task. Only the next few are asked how many they have.
        let of_the_next = behind.clone().take(LOOKED_AT).map(waiting).fold(0, u64::saturating_add);
        let of_the_others = behind.len().saturating_sub(LOOKED_AT) as u64;
        own.saturating_add(of_the_next).saturating_add(of_the_others) >= enough
    }

    fn hand_out(&mut self, id: CallId, worker: WorkerId) {
        let time_left = self.time_left();
        let (Some(call), Some(state)) = (self.calls.get_mut(&id), self.workers.get_mut(worker)) else {
            return;
        };
        let ahead = if state.is_idle() { 0 } else { state.ahead_nanos() };
        let time_left = time_left.map(|left| left.saturating_sub(ahead));
        let width = state.wants();
        let Some(range) = call.take(worker, width, self.slots, self.cost_nanos, time_left) else {
            // Its time is over.
            self.offer(worker);
            self.call_changed(id);
            return;
        };
        self.epoch += 1;
        self.in_flight += 1;
        let mean_nanos = call.times().mean_nanos();
        let cost = call.cost(range.start, range.count);
        let at_a_time = range.count.min(u64::from(width)) as f64;
        let expected_nanos =
            mean_nanos.map_or(UNKNOWN_NANOS, |mean| UNKNOWN_NANOS.min((cost * mean / at_a_time) as u64));
        let begins = state.outstanding().back().map_or(0, |before| before.ends).max(self.now);
        let several = call.spec.chunk == Chunk::Auto && range.count > 1 && mean_nanos.is_some();
        let dispatch = Dispatch {
            epoch: self.epoch,
            worker,
            call: id,
            start: range.start,
            count: range.count,
            attempt: range.attempt,
            share: call.share(range.count, width),
            losses: range.losses,
            expected_nanos,
            short_nanos: SHORT_NANOS.max((4.0 * call.times().overhead_nanos()) as u64),
            ends: if several { begins.saturating_add(expected_nanos).max(1) } else { 0 },
            precedes: range.count == 1
                && range.losses == 0
                && mean_nanos.is_some()
                && !call.times().is_uneven()
                && call.has_plenty_behind(&range, self.slots),
            cut: false,
        };
        if several {
            self.ends.insert((dispatch.ends, worker, dispatch.epoch));
        }
        call.leaves(&dispatch);
        self.busy += usize::from(state.outstanding().is_empty());
        let dry = state.runs_dry();
        state.push(dispatch);
        self.dry = self.dry + usize::from(state.runs_dry()) - usize::from(dry);
        self.actions.push(Action::Send(dispatch));
        if !self.one_by_one {
            self.runnable.rotate_left(1);
        }
        self.offer(worker);
    }
}
