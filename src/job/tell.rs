//! A job tells of its outcomes while the run goes on, as they come. It does so on a thread of its own, so that a slow
//! terminal holds up neither the engine nor the gathering.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use super::Job;
use crate::{
    error::{Error, TaskError},
    executor::value,
    sync::{lock, wait_until},
    wire::{Piece, decode},
};

/// Bytes of outcomes that wait to be told.
const MOST_BYTES: u64 = 1 << 26;

/// Whether, and in which order, [`Job::tell`] hears of the outcomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Telling {
    /// It does not.
    #[default]
    Nothing,
    /// In the order of the tasks.
    InOrder,
    /// Each as soon as it is known. Those that a resumed run knew before are not told again.
    AsTheyEnd,
}

/// The outcome of a task, as [`Job::tell`] hears of it.
#[derive(Clone, Copy, Debug)]
pub struct Told<'t, T> {
    index: u64,
    output: Option<&'t T>,
    error: Option<&'t TaskError>,
}

impl<'t, T> Told<'t, T> {
    /// The task's index.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// What it gave: also of a task that [failed with](crate::FailedWith) an output.
    pub fn output(&self) -> Option<&'t T> {
        self.output
    }

    /// Why it failed, if it did.
    pub fn error(&self) -> Option<&'t TaskError> {
        self.error
    }
}

#[derive(Default)]
struct Waiting {
    pieces: VecDeque<Piece>,
    bytes: u64,
    over: bool,
    broken: Option<Error>,
}

/// Outcomes on their way to a job that is told of each as it ends.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Something has come, or is over.
    filled: Condvar,
    /// There is room again, or nobody listens any more.
    emptied: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }

    /// Appends outcomes without waiting for room.
    pub(super) fn push(&self, piece: Piece) {
        let mut waiting = self.lock();
        waiting.bytes += piece.size();
        waiting.pieces.push_back(piece);
        self.filled.notify_one();
    }

    /// Waits for room.
    ///
    /// # Errors
    /// What the job said when it could not tell.
    pub(super) fn wait_for_room(&self) -> Result<(), Error> {
        let free = |waiting: &mut Waiting| waiting.bytes < MOST_BYTES || waiting.broken.is_some();
        match wait_until(&self.emptied, self.lock(), None, free).broken.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Tells the job of what comes, until the queue is closed or the job cannot tell any more.
    ///
    /// # Errors
    /// What the job said.
    pub(super) fn serve<J: Job>(&self, job: &J) -> Result<(), Error> {
        loop {
            let there = |waiting: &mut Waiting| waiting.over || !waiting.pieces.is_empty();
            let mut waiting = wait_until(&self.filled, self.lock(), None, there);
            let Some(piece) = waiting.pieces.pop_front() else { return Ok(()) };
            drop(waiting);
            let told = tell_of(job, &piece);
            let mut waiting = self.lock();
            waiting.bytes -= piece.size();
            self.emptied.notify_all();
            if let Err(error) = told {
                // Whoever waits for room hears of it, and what comes after it is for nobody.
                waiting.broken = Some(error);
                return Ok(());
            }
        }
    }
}

/// Closes a queue when it is dropped: nothing more comes.
pub(super) struct Closing(pub(super) Arc<Queue>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.filled.notify_one();
    }
}

/// Tells a job of a piece.
pub(super) fn tell_of<J: Job>(job: &J, piece: &Piece) -> Result<(), Error> {
    match &piece.outcome {
        Ok(batch) => (0..batch.len()).try_for_each(|k| {
            let index = piece.start + k as u64;
            match value(batch, k, index) {
                Ok(output) => job.tell(Told { index, output: Some(&output), error: None }),
                Err(error) => job.tell(Told { index, output: None, error: Some(&error) }),
            }
        }),
        Err(failure) => {
            // What does not decode is told without its output; its row is checked where it is written.
            let output = failure.value.as_ref().and_then(|value| decode::<J::Output>(value).ok());
            let error = failure.clone().at_task(piece.start);
            job.tell(Told { index: piece.start, output: output.as_ref(), error: Some(&error) })
        }
    }
}
