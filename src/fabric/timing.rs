//! Frames and bare messages between rank 0 and its workers, timed before the workers serve: what `rankpool bench`
//! compares tasks with.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::sync::lock;

/// The body of the smallest message: one number.
pub(crate) const NUMBER_BYTES: usize = 8;
/// Messages on the way to each worker at a time, where it is counted how many go there and back.
pub(crate) const AHEAD: usize = 4;

/// What is to be timed, and what was found. Rank 0 and all workers are to have the same.
#[derive(Clone, Debug)]
pub(crate) struct Timing {
    /// The sizes of blocks.
    pub(crate) sizes: Vec<usize>,
    /// How long each kind of message is sent.
    pub(crate) time: Duration,
    pub(super) found: Arc<Mutex<Option<Found>>>,
}

/// What was found, at rank 0 alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// How long all of it took.
    pub(crate) took: Duration,
    pub(crate) message_trips: Vec<Duration>,
    pub(crate) frame_trips: Vec<Duration>,
    /// Messages there and back, with all workers together.
    pub(crate) messages_per_second: f64,
    /// The time of a message of each size, there and back, and of a frame with such a body.
    pub(crate) message_blocks: Vec<Duration>,
    pub(crate) frame_blocks: Vec<Duration>,
}

impl Timing {
    pub(crate) fn new(sizes: &[usize], time: Duration) -> Timing {
        Timing { sizes: sizes.to_vec(), time, found: Arc::default() }
    }

    /// What was found, once the workers serve; nothing in modes without MPI.
    pub(crate) fn found(&self) -> Option<Found> {
        lock(&self.found).take()
    }
}
