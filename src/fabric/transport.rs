//! What moves frames to and from worker processes, and starts more of them; one for each mode.

use bytes::Bytes;

use super::Ending;
use crate::{
    error::Error,
    launch::{Policy, Siblings},
    wire::{Frame, ToWorker},
};

/// What a transport hands up.
pub(crate) enum Incoming {
    Frame(Frame),
    /// The worker cannot be reached any more.
    Gone(String),
}

/// How a transport starts another worker.
#[derive(Debug)]
pub(crate) enum Replacement {
    /// As this rank.
    Started(u32),
    /// It is being started, these see it die meanwhile, and [`Transport::replaced`] will have it.
    #[cfg_attr(not(feature = "mpi"), expect(dead_code, reason = "without MPI nothing is spawned aside"))]
    Coming(Siblings),
    /// Not at all.
    #[cfg_attr(not(feature = "mpi"), expect(dead_code, reason = "processes can always be started"))]
    Impossible,
}

/// Moves frames to and from worker processes; one for each mode.
pub(crate) trait Transport {
    /// Appends what came in, with the rank it came from; true when anything moved. Never blocks.
    fn poll(&mut self, inbox: &mut Vec<(u32, Incoming)>) -> Result<bool, Error>;

    /// The worker's place among those of its parent, from 0.
    fn slot(&self, _rank: u32) -> u32 {
        0
    }

    /// Queues a shared value for a worker.
    fn share(&mut self, rank: u32, number: u64, value: &Bytes) {
        self.post(rank, ToWorker::Share { number, value: value.clone() }.pack());
    }

    /// A shared value need not be kept for others.
    fn forget(&mut self, _number: u64) {}

    /// Queues a frame for a worker: it leaves at the next [`flush`](Transport::flush), or before.
    fn post(&mut self, rank: u32, frame: Frame);

    /// Sends what is queued, as far as that needs no waiting; the rest leaves in [`poll`](Transport::poll).
    fn flush(&mut self);

    /// Never touches this worker's connection again, and ends its process if it owns it.
    fn abandon(&mut self, rank: u32);

    /// Whether workers are child processes of this one.
    fn owns_workers(&self) -> bool {
        false
    }

    /// What the workers may expect of the one who started them.
    fn policy(&self) -> Policy;

    /// Starts one more worker.
    fn replace(&mut self) -> Result<Replacement, Error>;

    /// The rank of a worker that was [coming](Replacement::Coming), once it is there.
    fn replaced(&mut self) -> Option<Result<u32, Error>> {
        None
    }

    /// Leaves: workers have had their goodbye, or the order to end. `lost`: somebody was.
    fn end(&mut self, ending: Ending, lost: bool) -> Result<(), Error>;
}
