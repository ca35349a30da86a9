//! A hybrid worker: this thread talks to rank 0, several others run chunks.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{
    Board, Desk, Identity, Link, LinkError, catch, now_nanos, or_end,
    run::{Place, SharedValue, States, Surroundings, run_message},
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
    /// Calls that are over, oldest first; each thread drops the states it has of them.
    forgotten: Mutex<Vec<u64>>,
    forgets: AtomicU64,
}

struct Order {
    chunk: ChunkMessage,
    shared: Option<Arc<SharedValue>>,
}

pub(super) fn serve(link: &mut dyn Link, identity: &Identity) -> Result<bool, LinkError> {
    let common = Arc::new(Common::default());
    let (orders, queue) = unbounded::<Order>();
    let (answers, done) = unbounded::<ToRank0>();
    for number in 0..identity.threads as usize {
        let hand = Hand {
            rank: identity.rank,
            number,
            board: identity.board.clone(),
            common: common.clone(),
            queue: queue.clone(),
            answers: answers.clone(),
        };
        thread::Builder::new()
            .name(format!("rankpool-task-{number}"))
            .stack_size(crate::launch::STACK_BYTES)
            .spawn(move || or_end(|| hand.work()))
            .map_err(|error| LinkError(format!("a task thread could not be started: {error}")))?;
    }
    let mut desk = Desk::default();
    let mut active = HashSet::new();
    loop {
        let mut next = if active.is_empty() { Some(link.recv()?) } else { link.try_recv()? };
        while let Some(message) = next {
            match message {
                ToWorker::Chunk(chunk) => {
                    active.insert(chunk.dispatch);
                    let shared = desk.shared.get(&chunk.call).cloned();
                    let _ = orders.send(Order { chunk, shared });
                }
                // One that comes too late concerns nobody any more.
                ToWorker::Revoke { dispatch, .. } if !active.contains(&dispatch) => {}
                ToWorker::Revoke { dispatch, .. } => {
                    lock(&common.revoked).insert(dispatch);
                    common.any_revoked.store(true, Ordering::Release);
                }
                ToWorker::Shutdown { finalise } => return Ok(finalise),
                message => {
                    if let ToWorker::Forget { call } = message {
                        lock(&common.forgotten).push(call);
                        common.forgets.fetch_add(1, Ordering::Release);
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
    number: usize,
    board: Arc<Board>,
    common: Arc<Common>,
    queue: Receiver<Order>,
    answers: Sender<ToRank0>,
}

impl Hand {
    fn work(self) {
        let mut states = States::new();
        let mut forgets = 0;
        let mut overhead = 0;
        for Order { mut chunk, shared } in &self.queue {
            let received = now_nanos();
            let told = self.common.forgets.load(Ordering::Acquire);
            if told != forgets {
                for call in &lock(&self.common.forgotten)[forgets as usize..] {
                    // A state's Drop is the user's code.
                    let _ = catch(|| states.remove(call));
                }
                forgets = told;
            }
            let mut around = Around { hand: &self, dispatch: chunk.dispatch };
            if !around.listen() {
                chunk.revoke();
            }
            let place = Place {
                rank: self.rank,
                thread: self.number,
                board: &self.board,
                states: &mut states,
                around: &mut around,
            };
            let (mut result, time) = run_message(&chunk, shared, place);
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
        let _ = self.hand.answers.send(ToRank0::Request);
    }

    fn listen(&mut self) -> bool {
        let common = &self.hand.common;
        !(common.any_revoked.load(Ordering::Acquire) && lock(&common.revoked).contains(&self.dispatch))
    }
}
