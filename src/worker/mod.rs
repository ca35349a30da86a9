//! The loop that every worker runs, whatever the fabric: receive a chunk, run it, answer.

mod board;
mod prints;
mod program;
mod run;
mod sink;
mod task;
mod threaded;
mod unwind;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

pub(crate) use board::{Board, Limited, Seen, now_nanos};
pub(crate) use prints::let_out_from_now;
pub(crate) use program::run_chunk;
pub use program::{AsItIs, Each, Fallible, Function, Init, Returned, Verdict, With};
pub use run::ChunkRun;
use run::{Place, SharedValue, States, Surroundings, run_frame};
pub(crate) use sink::{Collect, Fold, Node, append};
pub use task::Task;
pub(crate) use unwind::{catch, install_hook, or_end};

use crate::wire::{Frame, Header, Kind};

/// The worker's end of the fabric.
pub(crate) trait Link {
    /// The next frame, if one is there.
    ///
    /// # Errors
    /// When rank 0 cannot be reached any more.
    fn try_recv(&mut self) -> Result<Option<Frame>, LinkError>;

    /// Waits for the next frame without burning a CPU.
    ///
    /// # Errors
    /// As [`try_recv`](Link::try_recv).
    fn recv(&mut self) -> Result<Frame, LinkError>;

    /// Sends a frame to rank 0; returns when the frame is on its way.
    ///
    /// # Errors
    /// As [`try_recv`](Link::try_recv).
    fn send(&mut self, frame: Frame) -> Result<(), LinkError>;
}

/// Rank 0 cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("the connection to rank 0 is gone: {0}")]
pub(crate) struct LinkError(pub(crate) String);

/// Who this worker is.
pub(crate) struct Identity {
    pub(crate) rank: u32,
    /// Task threads.
    pub(crate) threads: u32,
    pub(crate) board: Arc<Board>,
}

/// Serves until rank 0 says to leave; true when MPI is to be finalised then.
///
/// # Errors
/// When rank 0 cannot be reached any more.
pub(crate) fn serve(link: &mut dyn Link, identity: &Identity) -> Result<bool, LinkError> {
    install_hook();
    if identity.threads > 1 {
        return threaded::serve(link, identity);
    }
    let mut desk = Desk::default();
    let mut states = States::new();
    let mut overhead = 0;
    loop {
        let frame = match desk.inbox.pop_front() {
            Some(frame) => frame,
            None => link.recv()?,
        };
        match frame.header.kind {
            Kind::Chunk => {
                let received = now_nanos();
                let shared = desk.shared.get(&frame.header.call).cloned();
                let mut here = Here { link, desk: &mut desk, dispatch: frame.header.dispatch, broken: None };
                let place = Place {
                    rank: identity.rank,
                    thread: 0,
                    board: &identity.board,
                    states: &mut states,
                    around: &mut here,
                };
                let mut answer = run_frame(&frame, shared, place);
                if let Some(error) = here.broken {
                    return Err(error);
                }
                // What this chunk costs around its tasks is known only after it is sent.
                answer.header.nanos = overhead;
                let busy = answer.header.seed;
                link.send(answer)?;
                overhead = (now_nanos() - received).saturating_sub(busy);
            }
            Kind::Shutdown => return Ok(frame.header.attempt == 1),
            _ => {
                if frame.header.kind == Kind::Forget {
                    // A state's Drop is the user's code.
                    let _ = catch(|| states.remove(&frame.header.call));
                }
                desk.take(frame);
            }
        }
    }
}

/// What has arrived and is not a running chunk.
#[derive(Default)]
struct Desk {
    /// Frames that came in while a chunk ran.
    inbox: VecDeque<Frame>,
    shared: HashMap<u64, Arc<SharedValue>>,
}

impl Desk {
    fn take(&mut self, frame: Frame) {
        let header = frame.header;
        match header.kind {
            Kind::Share => {
                self.shared.insert(header.call, Arc::new(SharedValue::new(frame.body)));
            }
            Kind::Forget => {
                self.shared.remove(&header.call);
            }
            // A chunk that waits here is cut to nothing: its answer says that no task ran.
            Kind::Revoke => {
                let waiting = |other: &&mut Frame| {
                    other.header.kind == Kind::Chunk && other.header.dispatch == header.dispatch
                };
                if let Some(chunk) = self.inbox.iter_mut().find(waiting) {
                    chunk.header.count = 0;
                    chunk.body.clear();
                }
            }
            _ => self.inbox.push_back(frame),
        }
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
        if let Err(error) = self.link.send(Frame::bare(Kind::Request)) {
            self.broken = Some(error);
        }
    }

    fn listen(&mut self) -> bool {
        loop {
            match self.link.try_recv() {
                Ok(None) => return true,
                Ok(Some(frame)) if is_revoke(&frame.header, self.dispatch) => return false,
                // The state of a call that is over is dropped between chunks, not inside one.
                Ok(Some(frame)) if frame.header.kind == Kind::Forget => self.desk.inbox.push_back(frame),
                Ok(Some(frame)) => self.desk.take(frame),
                Err(error) => {
                    self.broken = Some(error);
                    return false;
                }
            }
        }
    }
}

fn is_revoke(header: &Header, dispatch: u64) -> bool {
    header.kind == Kind::Revoke && header.dispatch == dispatch
}
