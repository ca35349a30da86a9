//! A hybrid worker: this thread talks to rank 0, several others run chunks.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{
    Board, Desk, Goodbye, Identity, Link, LinkError, catch, now_nanos, or_end,
    run::{Seat, States, Surroundings, run_message},
    scattered::AtHand,
};
use crate::{
    sync::lock,
    wire::{ChunkMessage, ToRank0, ToWorker},
};

/// The longest time that a message from rank 0 waits to be seen while the threads work.
const PAUSE: Duration = Duration::from_micros(50);

/// What the talking thread and the task threads share.
#[derive(Default)]
struct Common {
    revoked: Mutex<HashSet<u64>>,
    any_revoked: AtomicBool,
    holders: Holders,
}

/// How many threads hold a state, for each call: when the call is over, each of them drops its own.
#[derive(Default)]
struct Holders {
    /// How many threads, and whether the call is over.
    calls: Mutex<HashMap<u64, (usize, bool)>>,
    /// How many of them are over, counted from the beginning.
    ends: AtomicU64,
}

impl Holders {
    /// One more thread holds a state of this call.
    fn takes(&self, call: u64) {
        lock(&self.calls).entry(call).or_default().0 += 1;
    }

    fn lets_go(&self, call: u64) {
        let mut calls = lock(&self.calls);
        if let Some((threads, _)) = calls.get_mut(&call) {
            *threads -= 1;
            if *threads == 0 {
                calls.remove(&call);
            }
        }
    }

    fn ends(&self, call: u64) {
        if let Some((_, over)) = lock(&self.calls).get_mut(&call) {
            *over = true;
            self.ends.fetch_add(1, Ordering::Release);
        }
    }

    /// Drops those of these states whose calls are over; `seen` says how many ends there were the last time.
    fn sweep(&self, states: &mut States, seen: &mut u64) {
        let ends = self.ends.load(Ordering::Acquire);
        if std::mem::replace(seen, ends) == ends {
            return;
        }
        let is_over = |call: &u64| lock(&self.calls).get(call).is_some_and(|(_, over)| *over);
        let over: Vec<u64> = states.keys().copied().filter(is_over).collect();
        for call in over {
            // A state's Drop is the user's code.
            let _ = catch(|| states.remove(&call));
            self.lets_go(call);
        }
    }
}

struct Order {
    chunk: ChunkMessage,
    shared: AtHand,
}

pub(super) fn serve(link: &mut dyn Link, identity: &Identity) -> Result<Goodbye, LinkError> {
    let common = Arc::new(Common::default());
    let (orders, queue) = unbounded::<Order>();
    let (answers, done) = unbounded::<ToRank0>();
    let mut threads = Vec::new();
    for number in 0..identity.threads as usize {
        let hand = Hand {
            rank: identity.rank,
            slot: identity.slot + number as u32,
            number,
            board: identity.board.clone(),
            common: common.clone(),
            queue: queue.clone(),
            answers: answers.clone(),
        };
        let thread = thread::Builder::new()
            .name(format!("rankpool-task-{number}"))
            .stack_size(crate::launch::STACK_BYTES)
            .spawn(move || or_end(|| hand.work()))
            .map_err(|error| LinkError(format!("a task thread could not be started: {error}")))?;
        threads.push(thread);
    }
    let mut desk = Desk::default();
    let mut active = HashSet::new();
    loop {
        let mut next = if active.is_empty() { Some(link.recv()?) } else { link.try_recv()? };
        while let Some(message) = next {
            match message {
                ToWorker::Chunk(chunk) => {
                    active.insert(chunk.dispatch);
                    let shared = desk.at_hand(&chunk);
                    let _ = orders.send(Order { chunk, shared });
                }
                // One that comes too late concerns nobody any more.
                ToWorker::Revoke { dispatch, .. } if !active.contains(&dispatch) => {}
                ToWorker::Revoke { dispatch, .. } => {
                    lock(&common.revoked).insert(dispatch);
                    common.any_revoked.store(true, Ordering::Release);
                }
                ToWorker::Shutdown { finalise } => {
                    if active.is_empty() {
                        // What states keep ends with them. A thread that is at a task cannot be waited for.
                        drop(orders);
                        threads.into_iter().for_each(|thread| drop(thread.join()));
                    }
                    return Ok(Goodbye { finalise });
                }
                message => {
                    if let ToWorker::Forget { number } = message {
                        common.holders.ends(number);
                    }
                    desk.take(message);
                }
            }
            next = link.try_recv()?;
        }
        if let Ok(message) = done.recv_timeout(PAUSE) {
            if let ToRank0::Result(result) = &message {
                active.remove(&result.dispatch);
                let mut revoked = lock(&common.revoked);
                revoked.remove(&result.dispatch);
                common.any_revoked.store(!revoked.is_empty(), Ordering::Release);
            }
            link.send(message)?;
        }
    }
}

/// One task thread.
struct Hand {
    rank: u32,
    slot: u32,
    number: usize,
    board: Arc<Board>,
    common: Arc<Common>,
    queue: Receiver<Order>,
    answers: Sender<ToRank0>,
}

impl Hand {
    fn work(self) {
        let mut states = States::new();
        let mut seen = 0;
        let mut overhead = 0;
        for Order { mut chunk, shared } in &self.queue {
            let received = now_nanos();
            let holders = &self.common.holders;
            holders.sweep(&mut states, &mut seen);
            let held = states.contains_key(&chunk.call);
            let mut around = Around { hand: &self, dispatch: chunk.dispatch };
            if !around.listen() {
                chunk.revoke();
            }
            let place = Seat {
                rank: self.rank,
                slot: self.slot,
                thread: self.number,
                board: &self.board,
                states: &mut states,
                around: &mut around,
            };
            let (mut result, time) = run_message(&mut chunk, shared, place);
            match (held, states.contains_key(&chunk.call)) {
                (false, true) => holders.takes(chunk.call),
                (true, false) => holders.lets_go(chunk.call),
                _ => {}
            }
            result.overhead_nanos = overhead;
            if self.answers.send(ToRank0::Result(result)).is_err() {
                return;
            }
            overhead = (now_nanos() - received).saturating_sub(time.end - time.start);
        }
    }
}

struct Around<'a> {
    hand: &'a Hand,
    dispatch: u64,
}

impl Surroundings for Around<'_> {
    fn ask_for_more(&mut self) {
        let _ = self.hand.answers.send(ToRank0::Request { free: 0, heard: 0 });
    }

    fn listen(&mut self) -> bool {
        let common = &self.hand.common;
        !(common.any_revoked.load(Ordering::Acquire) && lock(&common.revoked).contains(&self.dispatch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_call_that_is_over_nothing_is_kept() {
        let holders = Holders::default();
        let (mut one, mut other, mut idle) = (States::new(), States::new(), States::new());
        let (mut seen_by_one, mut seen_by_other) = (0, 0);
        for call in 0..100 {
            for states in [&mut one, &mut other] {
                states.insert(call, Box::new(call));
                holders.takes(call);
            }
            holders.ends(call);
            holders.ends(1000 + call); // Without a state.
            holders.sweep(&mut one, &mut seen_by_one);
            holders.sweep(&mut other, &mut seen_by_other);
            assert!(one.is_empty() && other.is_empty());
        }
        holders.sweep(&mut idle, &mut 0);
        assert!(lock(&holders.calls).is_empty(), "also though a third thread has heard of none before");
        one.insert(7, Box::new(7));
        holders.takes(7);
        holders.ends(8);
        holders.sweep(&mut one, &mut seen_by_one);
        assert!(one.contains_key(&7), "its call goes on");
    }
}
