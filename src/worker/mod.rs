//! The loop that every worker runs, whatever the fabric: receive a chunk, run it, answer.

mod board;
mod entry;
mod prints;
mod program;
mod run;
mod scattered;
mod sink;
mod slot;
mod task;
mod tasks;
mod threaded;
mod unwind;

/// What [`slot`] is made of; a test has another one, which tries all orders.
mod atomics {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering, fence};
}

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

pub(crate) use board::{Board, Limited, Seen, now_nanos};
pub(crate) use entry::{EntryPoint, to_program};
pub(crate) use prints::let_out_from_now;
pub(crate) use program::run_chunk;
pub use program::{
    AsItIs, Each, Fallible, Function, Init, Numbered, Numbering, PerTask, Returned, Verdict, With,
};
pub use run::ChunkRun;
use run::{LISTEN_NANOS, Seat, States, Surroundings, run_message};
pub use scattered::Scattered;
use scattered::{AtHand, SharedValue};
pub(crate) use scattered::{Home, Original, Originals, noting};
pub(crate) use sink::{Collect, Fold, Node, append};
pub use task::Task;
pub use tasks::{Chunks, ChunksWith, Tasks};
pub(crate) use unwind::{catch, install_hook, or_end};

use crate::wire::{ChunkMessage, ToRank0, ToWorker};

/// The worker's end of the fabric.
pub(crate) trait Link {
    /// The next message, if one is there.
    ///
    /// # Errors
    /// When rank 0 cannot be reached any more.
    fn try_recv(&mut self) -> Result<Option<ToWorker>, LinkError>;

    /// Whether more messages are here, which came together with an earlier one.
    fn has_arrived(&self) -> bool;

    /// Waits for the next message without burning a CPU; sends first what is posted.
    ///
    /// # Errors
    /// As [`try_recv`](Link::try_recv).
    fn recv(&mut self) -> Result<ToWorker, LinkError>;

    /// Queues a message to rank 0: it leaves at the next [`flush`](Link::flush), or before.
    fn post(&mut self, message: ToRank0);

    /// Sends what is posted; returns when it is on its way.
    ///
    /// # Errors
    /// As [`try_recv`](Link::try_recv).
    fn flush(&mut self) -> Result<(), LinkError>;

    /// Sends a message to rank 0, and what was posted before it.
    ///
    /// # Errors
    /// As [`try_recv`](Link::try_recv).
    fn send(&mut self, message: ToRank0) -> Result<(), LinkError> {
        self.post(message);
        self.flush()
    }
}

/// Rank 0 cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("the connection to rank 0 is gone: {0}")]
pub(crate) struct LinkError(pub(crate) String);

impl LinkError {
    /// What came from rank 0 is nothing that it sends.
    pub(crate) fn of_noise() -> LinkError {
        LinkError("what it sent is no message".into())
    }
}

/// How rank 0 has said goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Goodbye {
    /// MPI is to be finalised.
    pub(crate) finalise: bool,
}

/// Who this worker is.
pub(crate) struct Identity {
    pub(crate) rank: u32,
    /// The slot of its first task thread.
    pub(crate) slot: u32,
    /// Task threads.
    pub(crate) threads: u32,
    pub(crate) board: Arc<Board>,
}

/// Serves until rank 0 says goodbye.
///
/// # Errors
/// When rank 0 cannot be reached any more.
pub(crate) fn serve(link: &mut dyn Link, identity: &Identity) -> Result<Goodbye, LinkError> {
    install_hook();
    if identity.threads > 1 {
        return threaded::serve(link, identity);
    }
    let mut desk = Desk::default();
    let mut states = States::new();
    let mut results = Results::default();
    // When the last chunk ended, or the wait for this one.
    let mut free = now_nanos();
    // The last chunk took long enough for rank 0 to have said something.
    let mut listens = false;
    loop {
        // What has arrived may revoke what waits here.
        while listens {
            match link.try_recv()? {
                Some(message) => desk.put(message),
                None => listens = false,
            }
        }
        let message = match desk.inbox.pop_front() {
            Some(message) => message,
            None if link.has_arrived() => match link.try_recv()? {
                Some(message) => message,
                None => continue,
            },
            None => {
                let around = now_nanos() - free;
                let message = link.recv()?;
                free = now_nanos() - around;
                message
            }
        };
        match message {
            ToWorker::Chunk(mut chunk) => {
                if results.leave_before(chunk.call) {
                    link.flush()?;
                }
                let shared = desk.at_hand(&chunk);
                let mut here = Here { link, desk: &mut desk, dispatch: chunk.dispatch, broken: None };
                let place = Seat {
                    rank: identity.rank,
                    slot: identity.slot,
                    thread: 0,
                    board: &identity.board,
                    states: &mut states,
                    around: &mut here,
                };
                let (mut result, time) = run_message(&mut chunk, shared, place);
                if let Some(error) = here.broken {
                    return Err(error);
                }
                result.overhead_nanos = time.start - free;
                free = time.end;
                listens = time.end - time.start >= LISTEN_NANOS;
                let more = link.has_arrived() || !desk.inbox.is_empty();
                let waits = results.may_wait(time.end - time.start, free, more);
                link.post(ToRank0::Result(result));
                if !waits {
                    link.flush()?;
                }
            }
            ToWorker::Shutdown { finalise } => return Ok(Goodbye { finalise }),
            message => {
                if let ToWorker::Forget { number } = message {
                    // A state's Drop is the user's code.
                    let _ = catch(|| states.remove(&number));
                }
                desk.take(message);
            }
        }
    }
}

/// A chunk that takes no longer is short.
const SHORT_NANOS: u64 = 10_000;
/// After so many short chunks of a call its next one is believed to be short, too.
const CALM: u32 = 8;
/// The result of a short chunk waits no longer for the next ones, with which it leaves.
const WAIT_NANOS: u64 = 50_000;
/// At most this many results leave together: rank 0 is to go through them while this worker runs the other chunks that
/// it was sent ahead.
const TOGETHER: u32 = 32;

/// Results that leave together: of short chunks of one call, while there are more at hand.
#[derive(Default)]
struct Results {
    /// The call of the last chunk.
    call: Option<u64>,
    /// Its short chunks in a row.
    short: u32,
    /// When the first of those that wait was there.
    since: Option<u64>,
    /// How many wait.
    waiting: u32,
}

impl Results {
    /// A chunk of this call begins. Returns whether waiting results leave before it: they do if the call is another
    /// one, since nobody knows how long its chunks take.
    fn leave_before(&mut self, call: u64) -> bool {
        if self.call == Some(call) {
            return false;
        }
        let waited = self.waiting > 0;
        *self = Results { call: Some(call), ..Results::default() };
        waited
    }

    /// Whether the result of a chunk that has taken `busy` may wait; `more`: other chunks are at hand.
    fn may_wait(&mut self, busy: u64, now: u64, more: bool) -> bool {
        self.short = if busy < SHORT_NANOS { self.short.saturating_add(1) } else { 0 };
        let since = *self.since.get_or_insert(now);
        self.waiting += 1;
        let waits = more && self.short >= CALM && self.waiting < TOGETHER && now - since < WAIT_NANOS;
        if !waits {
            (self.since, self.waiting) = (None, 0);
        }
        waits
    }
}

/// What has arrived and is not a running chunk.
#[derive(Default)]
struct Desk {
    /// What came in while a chunk ran.
    inbox: VecDeque<ToWorker>,
    shared: HashMap<u64, Arc<SharedValue>>,
}

impl Desk {
    /// The shared values of a chunk; they have come before it.
    fn at_hand(&self, chunk: &ChunkMessage) -> AtHand {
        chunk.shared.iter().filter_map(|number| Some((*number, self.shared.get(number)?.clone()))).collect()
    }

    /// Takes a message that has come between chunks or inside one; what is to be forgotten is dropped in its turn, between
    /// chunks.
    fn put(&mut self, message: ToWorker) {
        match message {
            ToWorker::Forget { .. } => self.inbox.push_back(message),
            message => self.take(message),
        }
    }

    fn take(&mut self, message: ToWorker) {
        match message {
            ToWorker::Share { number, value } => {
                self.shared.insert(number, Arc::new(SharedValue::new(value)));
            }
            ToWorker::Forget { number } => {
                // A value's Drop is the user's code, too.
                let _ = catch(|| drop(self.shared.remove(&number)));
            }
            ToWorker::Revoke { dispatch, .. } => {
                if let Some(chunk) = self.waiting(dispatch) {
                    chunk.revoke();
                }
            }
            message => self.inbox.push_back(message),
        }
    }

    /// The chunk of this dispatch, if it waits here.
    fn waiting(&mut self, dispatch: u64) -> Option<&mut ChunkMessage> {
        self.inbox.iter_mut().find_map(|message| match message {
            ToWorker::Chunk(chunk) if chunk.dispatch == dispatch => Some(chunk),
            _ => None,
        })
    }
}

/// The surroundings of a chunk that runs on the thread that also talks to rank 0.
struct Here<'a> {
    link: &'a mut dyn Link,
    desk: &'a mut Desk,
    dispatch: u64,
    broken: Option<LinkError>,
}

impl Surroundings for Here<'_> {
    fn ask_for_more(&mut self) {
        if let Err(error) = self.link.send(ToRank0::Request { free: 0, heard: 0 }) {
            self.broken = Some(error);
        }
    }

    fn listen(&mut self) -> bool {
        loop {
            match self.link.try_recv() {
                Ok(None) => return true,
                Ok(Some(ToWorker::Revoke { dispatch, .. })) if dispatch == self.dispatch => return false,
                Ok(Some(message)) => self.desk.put(message),
                Err(error) => {
                    self.broken = Some(error);
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        program::{Each, Plain},
        *,
    };
    use crate::wire::BatchBuilder;

    /// Rank 0, which says the rest while the first chunk runs.
    #[derive(Default)]
    struct Script {
        now: VecDeque<ToWorker>,
        meanwhile: VecDeque<ToWorker>,
        results: Vec<(u64, u64)>,
        /// How many results had left when each one was posted, and have left.
        left: Vec<usize>,
        leaves: usize,
    }

    impl Link for Script {
        fn try_recv(&mut self) -> Result<Option<ToWorker>, LinkError> {
            Ok(self.now.pop_front())
        }

        fn has_arrived(&self) -> bool {
            !self.now.is_empty()
        }

        fn recv(&mut self) -> Result<ToWorker, LinkError> {
            self.now.pop_front().ok_or_else(LinkError::of_noise)
        }

        fn post(&mut self, message: ToRank0) {
            if let ToRank0::Result(result) = message {
                self.results.push((result.dispatch, result.count));
                self.left.push(self.leaves);
                self.now.append(&mut self.meanwhile);
            }
        }

        fn flush(&mut self) -> Result<(), LinkError> {
            self.leaves = self.results.len();
            Ok(())
        }
    }

    fn identity() -> Identity {
        Identity { rank: 1, slot: 0, threads: 1, board: Arc::new(Board::new(1)) }
    }

    fn chunk<F: Fn(u64) -> u64 + Copy + 'static>(_: F, call: u64, dispatch: u64) -> ToWorker {
        let mut items = BatchBuilder::default();
        items.push(&5u64).unwrap();
        let program = to_program(run_chunk::<Each<Plain, F, u64, u64>, Collect>).unwrap();
        let items = Some(items.finish());
        let (start, count, attempt, seed, limit_nanos) = (dispatch, 1, 1, 0, 0);
        ToWorker::Chunk(ChunkMessage {
            call,
            dispatch,
            start,
            count,
            attempt,
            program,
            seed,
            limit_nanos,
            share: 0,
            keeps: false,
            traced: false,
            shared: Vec::new(),
            items,
        })
    }

    #[test]
    fn a_chunk_that_was_revoked_during_a_long_task_is_not_run() {
        let long = |millis| {
            std::thread::sleep(Duration::from_millis(millis));
            millis
        };
        let mut link = Script {
            now: [chunk(long, 1, 1)].into(),
            meanwhile: [
                chunk(long, 1, 2),
                chunk(long, 1, 3),
                ToWorker::Revoke { call: 1, dispatch: 2 },
                ToWorker::Shutdown { finalise: true },
            ]
            .into(),
            ..Script::default()
        };
        assert_eq!(serve(&mut link, &identity()).unwrap(), Goodbye { finalise: true });
        assert_eq!(link.results, [(1, 1), (2, 0), (3, 1)]);
    }

    #[test]
    fn a_result_does_not_wait_for_a_chunk_of_another_call() {
        let (short, other) = (|value| value, |value| value + 1);
        let mut now: VecDeque<ToWorker> = (1..=12).map(|dispatch| chunk(short, 1, dispatch)).collect();
        now.extend([chunk(other, 2, 13), chunk(other, 2, 14), ToWorker::Shutdown { finalise: true }]);
        let mut link = Script { now, ..Script::default() };
        serve(&mut link, &identity()).unwrap();
        // The next call's chunks are not known to be short either.
        assert_eq!(link.left[12..], [12, 13]);
    }
}
