//! Rank 0's scheduler and those of leaders, back to back, with children and leaders that are lost in every order.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::{ChildAt, Deed, Ran, Team};
use crate::{
    error::{Failure, FailureKind},
    scheduler::{
        Action, CallId, CallSpec, Chunk, Dispatch, End, Event, Scheduler, WorkerId, tests::any_chunk,
    },
    wire::{BatchBuilder, ChunkMessage, Piece, Pieces, ResultMessage},
};

const CALL: CallId = CallId(1);

/// What is on its way to a leader.
enum Order {
    Take(ChunkMessage),
    Recall(u64),
}

/// What is on its way to rank 0.
enum Word {
    Answer(ResultMessage),
    Partial(ResultMessage),
    Ask(u32, u64),
}

/// A leader, its children with their chunks, and the messages between it and rank 0.
struct Led {
    team: Team,
    children: BTreeMap<u32, VecDeque<ChunkMessage>>,
    revoked: Vec<u64>,
    next_child: u32,
    orders: VecDeque<Order>,
    words: VecDeque<Word>,
    now: u64,
}

struct World {
    scheduler: Scheduler,
    leaders: BTreeMap<u32, Led>,
    next_leader: u32,
    emitted: Vec<(u64, Result<u64, FailureKind>)>,
    end: Option<End>,
    /// Answers that have come already.
    answered: Vec<(u32, ResultMessage)>,
    /// Parts of chunks that have come already.
    parts: Vec<(u32, ResultMessage)>,
    /// Tasks that fail.
    bad: Option<u64>,
    ran: u64,
}

fn values(start: u64, count: u64, bad: Option<u64>) -> Pieces {
    let mut pieces = Pieces::new();
    let mut good = |from: u64, to: u64| {
        if from < to {
            let mut values = BatchBuilder::default();
            (from..to).for_each(|task| values.push(&(task * 10)).unwrap());
            pieces.push(Piece { start: from, count: to - from, outcome: Ok(values.finish()) });
        }
        pieces.clone()
    };
    match bad.filter(|bad| (start..start + count).contains(bad)) {
        None => good(start, start + count),
        Some(bad) => {
            let mut all = good(start, bad);
            let failure = Failure::new(FailureKind::Failed, "on purpose");
            all.push(Piece { start: bad, count: 1, outcome: Err(failure) });
            all.extend(values(bad + 1, start + count - bad - 1, None));
            all
        }
    }
}

impl World {
    fn new(leaders: u32, children: u32, chunk: Chunk, tasks: u64) -> World {
        let mut world = World {
            scheduler: Scheduler::new(),
            leaders: BTreeMap::new(),
            next_leader: 0,
            emitted: Vec::new(),
            end: None,
            answered: Vec::new(),
            parts: Vec::new(),
            bad: None,
            ran: 0,
        };
        (0..leaders).for_each(|_| world.join_leader(children));
        let spec = CallSpec {
            first: 0,
            chunk,
            retries: 1,
            retry_delay_nanos: 0,
            window_tasks: 1 << 18,
            window_bytes: 1 << 26,
            ordered: true,
            announce: false,
            stop_at_error: false,
            expected: Some(tasks),
            costs: None,
        };
        world.tell(Event::Submitted { call: CALL, spec });
        world.tell(Event::Fed { call: CALL, tasks });
        world.tell(Event::Closed { call: CALL });
        world
    }

    fn join_leader(&mut self, children: u32) {
        let rank = self.next_leader;
        self.next_leader += 1;
        let mut led = Led {
            team: Team::new(),
            children: BTreeMap::new(),
            revoked: Vec::new(),
            next_child: 1,
            orders: VecDeque::new(),
            words: VecDeque::new(),
            now: 0,
        };
        (0..children).for_each(|_| led.join_child());
        self.leaders.insert(rank, led);
        self.tell(Event::Joined { worker: WorkerId(rank), slots: 1, width: children, host: "here".into() });
    }

    fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.scheduler.handle(event, &mut actions);
        self.scheduler.sanity_check();
        for action in actions {
            match action {
                Action::Send(dispatch) => self.send(dispatch),
                Action::Revoke { worker, dispatch, .. } => {
                    if let Some(led) = self.leaders.get_mut(&worker.0) {
                        led.orders.push_back(Order::Recall(dispatch));
                    }
                }
                Action::Emit { piece, .. } => match piece.outcome {
                    Ok(batch) => {
                        let value = |k: usize| (piece.start + k as u64, Ok(batch.decode(k).unwrap()));
                        self.emitted.extend((0..batch.len()).map(value));
                    }
                    Err(failure) => self.emitted.push((piece.start, Err(failure.kind))),
                },
                Action::Finished { end, .. } => assert_eq!(self.end.replace(end), None, "a call ends once"),
                Action::Announce { .. } | Action::Retry { .. } | Action::Forget { .. } => {}
            }
        }
    }

    fn send(&mut self, dispatch: Dispatch) {
        let Dispatch { epoch, start, count, attempt, share, .. } = dispatch;
        let chunk = ChunkMessage {
            call: CALL.0,
            dispatch: epoch,
            start,
            count,
            attempt,
            program: 7,
            seed: 0,
            limit_nanos: 0,
            share,
            keeps: false,
            traced: true,
            shared: Vec::new(),
            items: None,
        };
        if let Some(led) = self.leaders.get_mut(&dispatch.worker.0) {
            led.orders.push_back(Order::Take(chunk));
        }
    }

    /// Something happens: `choice` says what, `at` where.
    fn step(&mut self, choice: u8, at: u8) {
        let ranks: Vec<u32> = self.leaders.keys().copied().collect();
        let Some(&rank) = ranks.get(at as usize % ranks.len().max(1)) else { return };
        match choice {
            0..=5 => self.leaders.get_mut(&rank).unwrap().hear(),
            6..=11 => self.hear(rank),
            12..=19 => {
                let bad = self.bad;
                self.ran += self.leaders.get_mut(&rank).unwrap().run(at, bad);
            }
            20 => self.leaders.get_mut(&rank).unwrap().tick(),
            21 => self.leaders.get_mut(&rank).unwrap().lose_child(at),
            22 => self.leaders.get_mut(&rank).unwrap().join_child(),
            23 => {
                self.leaders.remove(&rank);
                self.tell(Event::Lost { worker: WorkerId(rank) });
                self.join_leader(2);
            }
            // An answer comes a second time.
            _ => {
                if let Some((rank, result)) = self.answered.get(at as usize % self.answered.len().max(1)) {
                    let event = returned(*rank, result.clone());
                    self.tell(event);
                }
                if let Some((rank, result)) = self.parts.get(at as usize % self.parts.len().max(1)) {
                    let event = partly_returned(*rank, result.clone());
                    self.tell(event);
                }
            }
        }
    }

    /// Rank 0 hears a leader.
    fn hear(&mut self, rank: u32) {
        match self.leaders.get_mut(&rank).and_then(|led| led.words.pop_front()) {
            Some(Word::Answer(result)) => {
                self.answered.push((rank, result.clone()));
                self.tell(returned(rank, result));
            }
            Some(Word::Partial(result)) => {
                self.parts.push((rank, result.clone()));
                self.tell(partly_returned(rank, result));
            }
            Some(Word::Ask(free, heard)) => {
                self.tell(Event::Requested { worker: WorkerId(rank), free, heard });
            }
            None => {}
        }
    }

    /// Everything goes on its way until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..200_000 {
            if self.end.is_some() {
                return;
            }
            for rank in self.leaders.keys().copied().collect::<Vec<_>>() {
                let bad = self.bad;
                let led = self.leaders.get_mut(&rank).unwrap();
                if led.children.is_empty() {
                    led.join_child();
                }
                led.hear();
                let mut ran = 0;
                (0..led.children.len() as u8).for_each(|child| ran += led.run(child, bad));
                self.ran += ran;
                self.hear(rank);
            }
        }
        panic!("it does not come to an end");
    }
}

fn returned(rank: u32, result: ResultMessage) -> Event {
    Event::Returned {
        worker: WorkerId(rank),
        dispatch: result.dispatch,
        pieces: result.pieces.unwrap(),
        busy_nanos: result.busy_nanos,
        overhead_nanos: result.overhead_nanos,
    }
}

fn partly_returned(rank: u32, result: ResultMessage) -> Event {
    Event::Partial {
        worker: WorkerId(rank),
        dispatch: result.dispatch,
        pieces: result.pieces.unwrap(),
        busy_nanos: result.busy_nanos,
        overhead_nanos: result.overhead_nanos,
    }
}

impl Led {
    fn does(&mut self, deeds: Vec<Deed>) {
        for deed in deeds {
            match deed {
                Deed::Send { child, chunk } => {
                    self.children.get_mut(&child).expect("a living child").push_back(chunk);
                }
                Deed::Revoke { dispatch, .. } => self.revoked.push(dispatch),
                Deed::Answer(result) => self.words.push_back(Word::Answer(result)),
                Deed::Tell(result) => self.words.push_back(Word::Partial(result)),
                Deed::Ask { free, heard } => self.words.push_back(Word::Ask(free, heard)),
            }
        }
    }

    fn hear(&mut self) {
        let mut deeds = Vec::new();
        match self.orders.pop_front() {
            Some(Order::Take(chunk)) => self.team.take(chunk, &mut deeds),
            Some(Order::Recall(dispatch)) => self.team.recall(dispatch, &mut deeds),
            None => {}
        }
        self.does(deeds);
    }

    /// A tenth of a second passes.
    fn tick(&mut self) {
        self.now += 100_000_000;
        self.team.set_now(self.now);
        let mut deeds = Vec::new();
        self.team.tick(&mut deeds);
        self.does(deeds);
    }

    fn join_child(&mut self) {
        let child = self.next_child;
        self.next_child += 1;
        self.children.insert(child, VecDeque::new());
        let mut deeds = Vec::new();
        self.team.joined(child, ChildAt { slot: child, pid: 0 }, &mut deeds);
        self.does(deeds);
    }

    fn lose_child(&mut self, at: u8) {
        let children: Vec<u32> = self.children.keys().copied().collect();
        if let Some(child) = children.get(at as usize % children.len().max(1)) {
            self.children.remove(child);
            let mut deeds = Vec::new();
            self.team.lost(*child, &mut deeds);
            self.does(deeds);
        }
    }

    /// A child runs its oldest chunk, or a part of it if it was revoked; how many tasks it ran.
    fn run(&mut self, at: u8, bad: Option<u64>) -> u64 {
        let children: Vec<u32> = self.children.keys().copied().collect();
        let Some(&child) = children.get(at as usize % children.len().max(1)) else { return 0 };
        let Some(chunk) = self.children.get_mut(&child).and_then(VecDeque::pop_front) else { return 0 };
        let revoked = self.revoked.contains(&chunk.dispatch);
        let count = if revoked { chunk.count / 2 } else { chunk.count };
        let ran = Ran {
            start: chunk.start,
            count,
            busy_nanos: 10_000 * count,
            overhead_nanos: 1_000,
            slowest: chunk.start,
            slowest_nanos: 10_000,
        };
        let mut deeds = Vec::new();
        self.team.returned(child, chunk.dispatch, ran, values(chunk.start, count, bad), &mut deeds);
        self.does(deeds);
        count
    }
}

proptest! {
    #[test]
    fn whatever_is_lost_and_in_whatever_order_messages_come_each_task_counts_once_and_in_order(
        leaders in 1u32..4,
        children in 1u32..4,
        chunk in any_chunk(),
        tasks in 1u64..120,
        bad in prop::option::of(0u64..120),
        steps in prop::collection::vec((0u8..25, any::<u8>()), 0..400),
    ) {
        let mut world = World::new(leaders, children, chunk, tasks);
        world.bad = bad;
        steps.into_iter().for_each(|(choice, at)| world.step(choice, at));
        world.settle();
        prop_assert_eq!(world.end, Some(End::Done));
        let indices: Vec<u64> = world.emitted.iter().map(|(task, _)| *task).collect();
        prop_assert_eq!(indices, (0..tasks).collect::<Vec<_>>());
        for (task, outcome) in world.emitted {
            match outcome {
                Ok(value) => prop_assert_eq!(value, 10 * task),
                // Many losses can hit one task here; else only the bad one fails.
                Err(FailureKind::Quarantined) => {}
                Err(kind) => prop_assert_eq!((Some(task), kind), (bad, FailureKind::Failed)),
            }
        }
    }

    #[test]
    fn where_nobody_is_lost_each_task_runs_once(
        leaders in 1u32..4,
        children in 1u32..4,
        chunk in any_chunk(),
        tasks in 1u64..200,
        steps in prop::collection::vec((0u8..21, any::<u8>()), 0..200),
    ) {
        let mut world = World::new(leaders, children, chunk, tasks);
        steps.into_iter().for_each(|(choice, at)| world.step(choice, at));
        world.settle();
        prop_assert_eq!(world.ran, tasks);
        prop_assert_eq!(world.emitted.len() as u64, tasks);
    }
}

/// One leader with two children, and a chunk of ten tasks that is half done.
fn half_done() -> Led {
    let mut world = World::new(1, 2, Chunk::Fixed(5), 10);
    let mut led = world.leaders.remove(&0).unwrap();
    led.words.clear();
    led.hear();
    led
}

#[test]
fn a_chunk_is_shared_out_among_the_children_and_answered_as_one() {
    let mut led = half_done();
    let shares: Vec<(u64, u64)> =
        led.children.values().map(|chunks| (chunks[0].start, chunks[0].count)).collect();
    assert_eq!(shares, [(0, 5), (5, 5)]);
    led.run(1, None);
    assert!(led.words.iter().all(|word| matches!(word, Word::Ask(..))), "the other half is on its way");
    led.run(0, None);
    let answer = led.words.iter().find_map(|word| match word {
        Word::Answer(result) => Some(result),
        Word::Partial(_) | Word::Ask(..) => None,
    });
    let answer = answer.expect("an answer");
    let pieces = answer.pieces.as_ref().unwrap();
    assert_eq!((pieces.len(), pieces[0].start, pieces[0].count), (1, 0, 10), "in order, and in one piece");
    assert_eq!(answer.runs.iter().map(|run| run.slot).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn a_chunk_that_is_recalled_is_answered_with_what_was_done_and_gaps() {
    let mut led = half_done();
    led.run(1, None);
    led.orders.push_back(Order::Recall(1));
    led.hear();
    led.run(0, None);
    let answers: Vec<&ResultMessage> = led
        .words
        .iter()
        .filter_map(|word| if let Word::Answer(result) = word { Some(result) } else { None })
        .collect();
    let ran: Vec<(u64, u64)> =
        answers[0].pieces.as_ref().unwrap().iter().map(|piece| (piece.start, piece.count)).collect();
    assert_eq!(ran, [(0, 2), (5, 5)], "the first child was cut short");
    assert_eq!(answers[0].count, 7);
}

#[test]
fn what_is_done_of_a_chunk_does_not_wait_for_the_rest_of_it() {
    let mut led = half_done();
    led.run(1, None);
    led.tick();
    led.run(0, None);
    let pieces = |result: &ResultMessage| -> Vec<(u64, u64)> {
        result.pieces.as_ref().unwrap().iter().map(|piece| (piece.start, piece.count)).collect()
    };
    let told: Vec<_> = led
        .words
        .iter()
        .filter_map(|word| match word {
            Word::Partial(result) => Some(("part", pieces(result), result.runs.len(), result.busy_nanos)),
            Word::Answer(result) => Some(("whole", pieces(result), result.runs.len(), result.busy_nanos)),
            Word::Ask(..) => None,
        })
        .collect();
    assert_eq!(told, [("part", vec![(5, 5)], 1, 50_000), ("whole", vec![(0, 5)], 1, 50_000)]);
    assert_eq!(led.team.next_due(), None);
}
