//! The scheduler against a fleet that misbehaves in every order.

mod ahead;
mod costs;
mod ends;
mod spread;

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    error::{Failure, FailureKind},
    wire::{BatchBuilder, Piece},
};

/// A scheduler, the chunks that its workers hold, and what it has said so far.
struct Fleet {
    scheduler: Scheduler,
    held: Vec<Dispatch>,
    returned: Vec<Dispatch>,
    emitted: Vec<(u64, Result<u64, FailureKind>)>,
    end: Option<End>,
    forgotten: bool,
    workers: u32,
    revoked: Vec<u64>,
    announced: Vec<u64>,
    /// Tasks that kill the worker that runs them.
    deadly: Option<u64>,
}

const CALL: CallId = CallId(1);

fn spec(chunk: Chunk) -> CallSpec {
    CallSpec {
        first: 0,
        chunk,
        retries: 0,
        retry_delay_nanos: 0,
        window_tasks: 1 << 18,
        window_bytes: 1 << 26,
        ordered: true,
        announce: false,
        stop_at_error: true,
        expected: None,
        costs: None,
    }
}

fn good(start: u64, count: u64) -> Piece {
    let mut values = BatchBuilder::default();
    (start..start + count).for_each(|task| values.push(&(task * 10)).unwrap());
    Piece { start, count, outcome: Ok(values.finish()) }
}

fn bad(task: u64) -> Piece {
    Piece { start: task, count: 1, outcome: Err(Failure::new(FailureKind::Failed, "on purpose")) }
}

impl Fleet {
    fn new(workers: u32, spec: CallSpec, tasks: u64) -> Fleet {
        let mut fleet = Fleet {
            scheduler: Scheduler::new(),
            held: Vec::new(),
            returned: Vec::new(),
            emitted: Vec::new(),
            end: None,
            forgotten: false,
            workers: 0,
            revoked: Vec::new(),
            announced: Vec::new(),
            deadly: None,
        };
        (0..workers).for_each(|_| fleet.join());
        fleet.tell(Event::Submitted { call: CALL, spec });
        fleet.tell(Event::Fed { call: CALL, tasks });
        fleet.tell(Event::Closed { call: CALL });
        fleet
    }

    fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.scheduler.handle(event, &mut actions);
        self.scheduler.sanity_check();
        for action in actions {
            match action {
                Action::Emit { call, .. } | Action::Finished { call, .. } | Action::Forget { call }
                    if call != CALL => {}
                Action::Retry { .. } => {}
                Action::Announce { piece, .. } => self.announced.push(piece.start),
                Action::Send(dispatch) => self.held.push(dispatch),
                Action::Revoke { dispatch, .. } => self.revoked.push(dispatch),
                Action::Forget { .. } => self.forgotten = true,
                Action::Finished { end, .. } => {
                    assert_eq!(self.end.replace(end), None, "a call ends once");
                }
                Action::Emit { piece, .. } => {
                    assert_eq!(self.end, None, "nothing is emitted after the end");
                    match piece.outcome {
                        Ok(batch) => {
                            for k in 0..batch.len() {
                                let value = batch.decode(k).unwrap();
                                self.emitted.push((piece.start + k as u64, Ok(value)));
                            }
                        }
                        Err(failure) => self.emitted.push((piece.start, Err(failure.kind))),
                    }
                }
            }
        }
    }

    fn join(&mut self) {
        self.workers += 1;
        self.tell(Event::Joined { worker: WorkerId(self.workers), slots: 1, width: 1, host: "here".into() });
    }

    fn lose(&mut self, worker: WorkerId) {
        self.tell(Event::Lost { worker });
        let (gone, held) = self.held.iter().partition(|d| d.worker == worker);
        self.held = held;
        self.returned.extend::<Vec<Dispatch>>(gone);
    }

    fn answer_with(&mut self, dispatch: Dispatch, pieces: Vec<Piece>) {
        self.tell(Event::Returned {
            worker: dispatch.worker,
            dispatch: dispatch.epoch,
            pieces: pieces.into(),
            busy_nanos: 10_000 * dispatch.count,
            overhead_nanos: 1_000,
        });
    }

    /// The worker's oldest chunk comes back whole; the worker dies if it holds the deadly task.
    fn answer(&mut self, at: usize) {
        let worker = self.held[at].worker;
        let at = self.held.iter().position(|d| d.worker == worker).unwrap();
        let dispatch = self.held.remove(at);
        self.returned.push(dispatch);
        if self.deadly.is_some_and(|task| (dispatch.start..dispatch.start + dispatch.count).contains(&task)) {
            self.lose(worker);
            self.join();
        } else {
            self.answer_with(dispatch, vec![good(dispatch.start, dispatch.count)]);
        }
    }

    /// As a user who takes each result as soon as it is there.
    fn run_and_consume(&mut self) {
        let mut taken = self.emitted.len();
        while self.end.is_none() {
            self.answer(0);
            let tasks = (self.emitted.len() - taken) as u64;
            taken = self.emitted.len();
            if self.end.is_none() {
                self.tell(Event::Consumed { call: CALL, tasks, bytes: 8 * tasks });
            }
        }
    }

    fn run_to_the_end(&mut self) {
        while self.end.is_none() {
            assert!(!self.held.is_empty(), "work is left and nobody has it");
            self.answer(0);
        }
        while !self.held.is_empty() {
            self.answer(0);
        }
    }
}

#[derive(Clone, Debug)]
enum Happening {
    Answer(usize),
    AnswerPart(usize, u64),
    AnswerTwice(usize),
    /// The worker answers what has been revoked, and has done some of it.
    ObeyRevokes(u64),
    /// Time passes.
    Wait(u64),
    AnswerStale(usize),
    Ask(usize),
    Lose(usize),
    Join,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => any::<usize>().prop_map(Happening::Answer),
        2 => (any::<usize>(), any::<u64>()).prop_map(|(at, part)| Happening::AnswerPart(at, part)),
        1 => any::<usize>().prop_map(Happening::AnswerTwice),
        1 => any::<usize>().prop_map(Happening::AnswerStale),
        1 => any::<usize>().prop_map(Happening::Ask),
        1 => any::<usize>().prop_map(Happening::Lose),
        1 => Just(Happening::Join),
        2 => any::<u64>().prop_map(Happening::ObeyRevokes),
        1 => (0u64..1_000_000_000).prop_map(Happening::Wait),
    ]
}

pub(crate) fn any_chunk() -> impl Strategy<Value = Chunk> {
    prop_oneof![
        Just(Chunk::Auto),
        (1u64..9).prop_map(Chunk::Fixed),
        Just(Chunk::Static),
        Just(Chunk::Guided),
        Just(Chunk::Factoring),
    ]
}

proptest! {
    #[test]
    fn every_task_is_committed_once_whatever_happens(
        workers in 1u32..5,
        tasks in 0u64..80,
        first in prop_oneof![Just(0u64), 1u64..1000],
        chunk in any_chunk(),
        ordered: bool,
        costs in prop::option::of(prop::collection::vec(0.0f64..9.0, 80)),
        happenings in prop::collection::vec(happening(), 0..60),
    ) {
        let costs = costs.filter(|_| first == 0).map(|costs| Arc::new(Costs::new(costs.into_iter())));
        let spec = CallSpec { first, ordered, stop_at_error: false, costs, ..spec(chunk) };
        let mut fleet = Fleet::new(workers, spec, tasks);
        let mut now = 0;
        for happening in happenings {
            if fleet.held.is_empty() {
                break;
            }
            let pick = |at: usize| at % fleet.held.len();
            match happening {
                Happening::Answer(at) => { let at = pick(at); fleet.answer(at) }
                Happening::AnswerPart(at, part) => {
                    let dispatch = fleet.held.remove(pick(at));
                    let part = part % (dispatch.count + 1);
                    let pieces = if part == 0 { vec![] } else { vec![good(dispatch.start, part)] };
                    fleet.answer_with(dispatch, pieces);
                }
                Happening::AnswerTwice(at) => {
                    let at = pick(at);
                    let dispatch = fleet.held[at];
                    fleet.held.remove(at);
                    for _ in 0..2 {
                        fleet.answer_with(dispatch, vec![good(dispatch.start, dispatch.count)]);
                    }
                }
                Happening::AnswerStale(at) if !fleet.returned.is_empty() => {
                    let dispatch = fleet.returned[at % fleet.returned.len()];
                    fleet.answer_with(dispatch, vec![good(dispatch.start, dispatch.count)]);
                }
                Happening::AnswerStale(_) => {}
                Happening::Ask(at) => {
                    let worker = fleet.held[pick(at)].worker;
                    fleet.tell(Event::Requested { worker, free: 0, heard: 0 });
                }
                Happening::Lose(at) => {
                    let worker = fleet.held[pick(at)].worker;
                    fleet.lose(worker);
                    fleet.join();
                }
                Happening::Join => fleet.join(),
                Happening::ObeyRevokes(part) => {
                    for epoch in std::mem::take(&mut fleet.revoked) {
                        if let Some(at) = fleet.held.iter().position(|dispatch| dispatch.epoch == epoch) {
                            let dispatch = fleet.held.remove(at);
                            answer_part(&mut fleet, dispatch, part % (dispatch.count + 1), 50_000_000);
                        }
                    }
                }
                Happening::Wait(nanos) => {
                    now += nanos;
                    fleet.scheduler.set_now(now);
                    fleet.tell(Event::Tick);
                }
            }
        }
        fleet.run_to_the_end();
        prop_assert_eq!(fleet.end, Some(End::Done));
        prop_assert!(fleet.forgotten && fleet.scheduler.is_done());
        if !ordered {
            fleet.emitted.sort_by_key(|(task, _)| *task);
        }
        let indices: Vec<u64> = fleet.emitted.iter().map(|(task, _)| *task).collect();
        prop_assert_eq!(indices, (first..first + tasks).collect::<Vec<_>>());
        for (task, outcome) in &fleet.emitted {
            // A task may only end in quarantine after three losses, which the fleet can bring about.
            prop_assert!(*outcome == Ok(task * 10) || *outcome == Err(FailureKind::Quarantined));
        }
    }

    #[test]
    fn nothing_beyond_the_window_is_handed_out(window in 1u64..20, tasks in 1u64..60, taken in 0u64..20) {
        let mut fleet = Fleet::new(3, CallSpec { window_tasks: window, ..spec(Chunk::Fixed(2)) }, tasks);
        for _ in 0..100 {
            if fleet.held.is_empty() { break }
            fleet.answer(0);
        }
        prop_assert_eq!(fleet.emitted.len() as u64, window.min(tasks));
        let taken = taken.min(window).min(tasks);
        if fleet.end.is_none() {
            fleet.tell(Event::Consumed { call: CALL, tasks: taken, bytes: 8 * taken });
            while !fleet.held.is_empty() { fleet.answer(0) }
            prop_assert_eq!(fleet.emitted.len() as u64, (window + taken).min(tasks));
        }
    }
}

#[test]
fn a_window_full_of_bytes_lets_only_the_awaited_task_out() {
    let mut fleet = Fleet::new(2, CallSpec { window_bytes: 16, ..spec(Chunk::Fixed(1)) }, 10);
    let first = fleet.held.remove(0);
    while !fleet.held.is_empty() {
        fleet.answer(0);
    }
    assert_eq!(fleet.emitted.len(), 0, "task 0 is still out");
    fleet.answer_with(first, vec![good(0, 1)]);
    let emitted = fleet.emitted.len() as u64;
    assert!((3..10).contains(&emitted), "full window, {emitted} emitted");
    fleet.tell(Event::Consumed { call: CALL, tasks: emitted, bytes: 8 * emitted });
    assert!(!fleet.held.is_empty());
}

#[test]
fn a_window_full_of_results_that_nobody_takes_lets_nothing_out() {
    for ordered in [true, false] {
        let spec = CallSpec { window_bytes: 16, ordered, ..spec(Chunk::Fixed(1)) };
        let mut fleet = Fleet::new(1, spec, 10);
        while !fleet.held.is_empty() {
            fleet.answer(0);
        }
        let emitted = fleet.emitted.len() as u64;
        assert!((2..=3).contains(&emitted), "ordered {ordered}: {emitted} emitted");
        fleet.tell(Event::Consumed { call: CALL, tasks: emitted, bytes: 8 * emitted });
        fleet.run_and_consume();
    }
}

#[test]
fn outcomes_are_announced_before_their_turn() {
    let mut fleet = Fleet::new(3, CallSpec { announce: true, ..spec(Chunk::Fixed(2)) }, 6);
    for _ in 0..3 {
        let last = fleet.held.pop().unwrap();
        fleet.answer_with(last, vec![good(last.start, 2)]);
    }
    assert_eq!(fleet.announced, [4, 2, 0]);
    let emitted: Vec<u64> = fleet.emitted.iter().map(|(task, _)| *task).collect();
    assert_eq!(emitted, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn tasks_that_are_skipped_are_not_run_and_the_others_are() {
    for ordered in [true, false] {
        let mut fleet = Fleet::new(2, CallSpec { ordered, ..spec(Chunk::Auto) }, 0);
        let call = CallId(9);
        let spec = CallSpec { ordered, ..spec(Chunk::Fixed(4)) };
        fleet.tell(Event::Submitted { call, spec });
        for (skip, tasks) in [(true, 3), (false, 5), (true, 2), (true, 1), (false, 7), (true, 4)] {
            fleet.tell(if skip { Event::Skipped { call, tasks } } else { Event::Fed { call, tasks } });
        }
        fleet.tell(Event::Closed { call });
        let mut ran: Vec<u64> = Vec::new();
        while !fleet.held.is_empty() {
            ran.extend(fleet.held[0].start..fleet.held[0].start + fleet.held[0].count);
            fleet.answer(0);
        }
        ran.sort_unstable();
        assert_eq!(ran, [3, 4, 5, 6, 7, 11, 12, 13, 14, 15, 16, 17]);
        assert!(fleet.scheduler.is_done(), "ordered {ordered}");
    }
}

#[test]
fn a_task_that_is_tried_again_waits_and_the_others_do_not() {
    let delay = 1_000_000_000;
    let spec =
        CallSpec { retries: 2, retry_delay_nanos: delay, stop_at_error: false, ..spec(Chunk::Fixed(1)) };
    let mut fleet = Fleet::new(1, spec, 3);
    let mut now = 5;
    fleet.scheduler.set_now(now);
    let first = fleet.held.remove(0);
    fleet.answer_with(first, vec![bad(0)]);
    fleet.answer(0);
    fleet.answer(0);
    assert!(fleet.held.is_empty(), "task 0 waits");
    for wait in [delay, 2 * delay] {
        assert_eq!(fleet.scheduler.next_due(), Some(now + wait));
        fleet.scheduler.set_now(now + wait - 1);
        fleet.tell(Event::Tick);
        assert!(fleet.held.is_empty(), "not yet");
        now += wait;
        fleet.scheduler.set_now(now);
        fleet.tell(Event::Tick);
        let again = fleet.held.remove(0);
        fleet.answer_with(again, vec![bad(0)]);
    }
    assert_eq!((fleet.end, fleet.scheduler.next_due()), (Some(End::Done), None));
}

/// Answers with so many of the chunk's tasks, at so much a task.
fn answer_part(fleet: &mut Fleet, dispatch: Dispatch, tasks: u64, nanos: u64) {
    let pieces = if tasks > 0 { vec![good(dispatch.start, tasks)] } else { Vec::new() };
    fleet.tell(Event::Returned {
        worker: dispatch.worker,
        dispatch: dispatch.epoch,
        pieces: pieces.into(),
        busy_nanos: tasks * nanos,
        overhead_nanos: 1_000,
    });
}

/// Calls that the scheduler looks at in a round in which one of `waiting` tasks is tried again, while as many
/// others are pending.
fn looks_of_a_round(waiting: u64) -> u64 {
    let mut scheduler = Scheduler::new();
    let mut actions = Vec::new();
    let mut tell = |scheduler: &mut Scheduler, event| -> Option<Dispatch> {
        scheduler.handle(event, &mut actions);
        let sent = actions.drain(..).filter_map(|action| match action {
            Action::Send(dispatch) => Some(dispatch),
            _ => None,
        });
        sent.last()
    };
    tell(&mut scheduler, Event::Joined { worker: WorkerId(1), slots: 1, width: 1, host: "here".into() });
    let returned = |dispatch: Dispatch, piece| Event::Returned {
        worker: dispatch.worker,
        dispatch: dispatch.epoch,
        pieces: [piece].into(),
        busy_nanos: 1 << 30,
        overhead_nanos: 0,
    };
    for number in 0..2 * waiting {
        let (call, retry_delay_nanos) = (CallId(number), 1000 + number);
        let spec = CallSpec { retries: 1, retry_delay_nanos, ..spec(Chunk::Fixed(1)) };
        tell(&mut scheduler, Event::Submitted { call, spec });
        let sent = tell(&mut scheduler, Event::Fed { call, tasks: 1 });
        tell(&mut scheduler, Event::Closed { call });
        if number < waiting {
            assert_eq!(tell(&mut scheduler, returned(sent.unwrap(), bad(0))), None, "it waits");
        }
    }
    scheduler.set_now(1000);
    let before = call::LOOKS.get();
    assert_eq!(scheduler.next_due(), Some(1000));
    tell(&mut scheduler, Event::Tick);
    assert_eq!(scheduler.next_due(), Some(1001), "one was due");
    assert_eq!(scheduler.busy(), 1);
    let looks = call::LOOKS.get() - before;
    scheduler.sanity_check();
    looks
}

#[test]
fn what_a_round_looks_at_does_not_grow_with_the_calls() {
    assert_eq!(looks_of_a_round(4), looks_of_a_round(400));
}

#[test]
fn a_task_that_waits_is_off_the_list_when_its_call_ends() {
    let mut fleet = Fleet::new(1, CallSpec { retries: 1, retry_delay_nanos: 5, ..spec(Chunk::Fixed(1)) }, 1);
    let first = fleet.held.remove(0);
    fleet.answer_with(first, vec![bad(0)]);
    assert_eq!(fleet.scheduler.next_due(), Some(5));
    fleet.tell(Event::Cancelled { call: CALL });
    assert_eq!((fleet.scheduler.next_due(), fleet.forgotten), (None, true));
}

#[test]
fn a_task_that_kills_its_workers_is_quarantined_alone() {
    let mut fleet = Fleet::new(2, CallSpec { stop_at_error: false, ..spec(Chunk::Fixed(40)) }, 100);
    fleet.deadly = Some(17);
    fleet.run_to_the_end();
    let failed: Vec<_> = fleet.emitted.iter().filter(|(_, outcome)| outcome.is_err()).collect();
    assert_eq!(failed, [&(17, Err(FailureKind::Quarantined))]);
    assert_eq!(fleet.emitted.len(), 100);
    assert_eq!(fleet.workers, 2 + 3, "three workers died of it");
}

#[test]
fn results_before_the_first_failure_are_emitted_then_it_and_nothing_else() {
    let mut fleet = Fleet::new(3, spec(Chunk::Fixed(2)), 20);
    let dispatches: Vec<Dispatch> = std::mem::take(&mut fleet.held);
    fleet.answer_with(dispatches[1], vec![good(2, 1), bad(3)]);
    fleet.answer_with(dispatches[2], vec![bad(4), good(5, 1)]);
    assert_eq!(fleet.end, None, "tasks 0 and 1 are still out");
    assert!(fleet.held.is_empty(), "nothing beyond the failure is handed out");
    fleet.answer_with(dispatches[0], vec![good(0, 2)]);
    assert_eq!(fleet.end, Some(End::Stopped));
    assert_eq!(fleet.emitted, [(0, Ok(0)), (1, Ok(10)), (2, Ok(20)), (3, Err(FailureKind::Failed))]);
    assert!(fleet.forgotten);
}

#[test]
fn a_failure_revokes_the_chunks_behind_it() {
    let mut fleet = Fleet::new(3, spec(Chunk::Fixed(2)), 6);
    let dispatches: Vec<Dispatch> = std::mem::take(&mut fleet.held);
    fleet.answer_with(dispatches[1], vec![bad(2), good(3, 1)]);
    assert_eq!(fleet.revoked, [dispatches[2].epoch]);
}

#[test]
fn retries_count_up_to_the_limit_and_the_last_failure_stands() {
    let mut fleet = Fleet::new(1, CallSpec { retries: 2, ..spec(Chunk::Fixed(1)) }, 1);
    for attempt in 1..=3 {
        let dispatch = fleet.held.remove(0);
        assert_eq!(dispatch.attempt, attempt);
        fleet.answer_with(dispatch, vec![bad(0)]);
    }
    assert_eq!(fleet.emitted, [(0, Err(FailureKind::Failed))]);
    assert_eq!(fleet.end, Some(End::Stopped));
}

#[test]
fn a_task_over_its_time_fails_and_its_neighbours_run_elsewhere() {
    let mut fleet = Fleet::new(1, CallSpec { stop_at_error: false, ..spec(Chunk::Fixed(5)) }, 5);
    let Dispatch { worker, epoch: dispatch, .. } = fleet.held.remove(0);
    let failure = Failure::new(FailureKind::TimedOut, "over 1s");
    fleet.tell(Event::TimedOut { worker, dispatch, task: 2, failure });
    fleet.join();
    fleet.run_to_the_end();
    let outcomes: Vec<_> = fleet.emitted.iter().map(|(_, outcome)| outcome.is_ok()).collect();
    assert_eq!(outcomes, [true, true, false, true, true]);
}

#[test]
fn a_worker_gets_its_next_chunk_early_when_it_asks_or_the_chunk_is_short() {
    let mut fleet = Fleet::new(1, spec(Chunk::Fixed(1)), 10);
    assert_eq!(fleet.held.len(), 1, "one chunk while nothing is known");
    fleet.tell(Event::Requested { worker: WorkerId(1), free: 0, heard: 0 });
    assert_eq!(fleet.held.len(), 2, "it asked");
    fleet.answer(0);
    fleet.answer(0);
    assert_eq!(fleet.held.len(), 5, "10 us a task is short: 50 us are sent ahead");
}

#[test]
fn two_calls_take_turns() {
    let mut fleet = Fleet::new(1, spec(Chunk::Fixed(1)), 4);
    fleet.tell(Event::Submitted { call: CallId(2), spec: spec(Chunk::Fixed(1)) });
    fleet.tell(Event::Fed { call: CallId(2), tasks: 4 });
    let mut order = Vec::new();
    while !fleet.held.is_empty() {
        order.push(fleet.held[0].call.0);
        fleet.answer(0);
    }
    assert_eq!(order, [1, 1, 2, 1, 2, 1, 2, 2]);
}

#[test]
fn a_cancelled_call_ends_at_once_and_is_forgotten_when_its_chunks_are_back() {
    let mut fleet = Fleet::new(2, spec(Chunk::Fixed(3)), 100);
    fleet.tell(Event::Cancelled { call: CALL });
    assert_eq!(fleet.end, Some(End::Cancelled));
    assert_eq!((fleet.revoked.len(), fleet.forgotten), (2, false));
    while !fleet.held.is_empty() {
        fleet.answer(0);
    }
    assert!(fleet.forgotten && fleet.emitted.is_empty());
}

#[test]
fn without_workers_every_call_ends_deserted() {
    let mut fleet = Fleet::new(1, spec(Chunk::Fixed(3)), 100);
    fleet.lose(WorkerId(1));
    fleet.tell(Event::Deserted);
    assert_eq!(fleet.end, Some(End::Deserted));
    assert!(fleet.scheduler.is_done());
}
