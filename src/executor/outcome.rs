//! Outcomes of tasks, on their way from the wire to the user.

use serde::de::DeserializeOwned;

use crate::{
    error::{Failure, FailureKind, TaskError},
    wire::{Batch, CodecError, Piece},
    worker::catch,
};

/// What came of one task: a batch of its value.
pub(super) type Outcome = Result<Batch, Failure>;

/// What is said of the tasks that a drain left.
pub(super) const STOPPED: &str = "the time is over, and the rest was not begun";

/// The outcome of task `index` that is known not to have been run.
pub(super) fn not_done(index: u64, reason: &str) -> TaskError {
    Failure::new(FailureKind::NotDone, reason).at_task(index)
}

pub(super) fn undecodable(index: u64, error: &CodecError) -> TaskError {
    Failure::new(FailureKind::Codec, format!("the result {error}")).at_task(index)
}

/// Gives each task's outcome to `take`.
pub(super) fn each<R: DeserializeOwned>(piece: Piece, take: &mut dyn FnMut(u64, Result<R, TaskError>)) {
    match piece.outcome {
        Err(failure) => take(piece.start, Err(failure.at_task(piece.start))),
        Ok(batch) => {
            for k in 0..batch.len() {
                let index = piece.start + k as u64;
                take(index, value(&batch, k, index));
            }
        }
    }
}

/// Decodes value `k` of a batch, which is the result of task `index`.
pub(crate) fn value<R: DeserializeOwned>(batch: &Batch, k: usize, index: u64) -> Result<R, TaskError> {
    match catch(|| batch.decode(k)) {
        Ok(decoded) => decoded.map_err(|error| undecodable(index, &error)),
        Err(failure) => Err(failure.at_task(index)),
    }
}

/// Gives the values of a piece to `take`, up to the first failure.
pub(super) fn values<R: DeserializeOwned>(piece: Piece, take: &mut dyn FnMut(R)) -> Result<(), TaskError> {
    let batch = piece.outcome.map_err(|failure| failure.at_task(piece.start))?;
    for k in 0..batch.len() {
        take(value(&batch, k, piece.start + k as u64)?);
    }
    Ok(())
}
