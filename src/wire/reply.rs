//! The results of a chunk: runs of values, and the failures between them.

use std::{cell::Cell, ops::AddAssign};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{Batch, BatchBuilder, CodecError, Parts, SlotRun, decode, encode, encodings::Encodings};
use crate::error::Failure;

/// The outcomes of a chunk: nearly always one piece, which then needs no memory of its own.
pub(crate) type Pieces = SmallVec<[Piece; 1]>;

/// What became of the tasks `start .. start + count`.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) start: u64,
    pub(crate) count: u64,
    /// All of them ended well, with these values; or the one task failed.
    pub(crate) outcome: Result<Batch, Failure>,
}

/// So many tasks, and the bytes of their results.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Amount {
    pub(crate) tasks: u64,
    pub(crate) bytes: u64,
}

impl AddAssign for Amount {
    fn add_assign(&mut self, more: Amount) {
        self.tasks += more.tasks;
        self.bytes += more.bytes;
    }
}

impl Piece {
    /// Its tasks, and what they weigh.
    pub(crate) fn amount(&self) -> Amount {
        Amount { tasks: self.count, bytes: self.size() }
    }

    /// A task that failed before anybody tried it.
    pub(crate) fn is_of_no_attempt(&self) -> bool {
        self.outcome.as_ref().is_err_and(|failure| failure.attempt() == 0)
    }

    /// What it weighs, in bytes: its values, or a failure's text and what came with it.
    pub(crate) fn size(&self) -> u64 {
        match &self.outcome {
            Ok(batch) => batch.size() as u64,
            Err(failure) => (failure.message.len() + failure.value.as_ref().map_or(0, Vec::len)) as u64,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Segment {
    start: u64,
    count: u64,
    table: bool,
    values: u64,
    bytes: u64,
    failure: Option<Failure>,
}

/// The body of a result of several pieces: the length of their list, the list, and their values.
pub(super) fn pack_pieces(pieces: &[Piece]) -> Parts {
    let mut list = Vec::with_capacity(pieces.len());
    let mut values = Vec::new();
    for piece in pieces {
        let Piece { start, count, outcome } = piece;
        let mut segment =
            Segment { start: *start, count: *count, table: false, values: 0, bytes: 0, failure: None };
        match outcome {
            Ok(batch) => {
                let wire = batch.to_wire();
                segment.table = batch.needs_table();
                segment.values = batch.len() as u64;
                segment.bytes = wire.len() as u64;
                values.push(wire);
            }
            Err(failure) => segment.failure = Some(failure.clone()),
        }
        list.push(segment);
    }
    // Numbers and text: encoding them cannot fail but for memory.
    let list = encode(&list).unwrap_or_default();
    let mut body = Encodings::default();
    body.write(&(list.len() as u64).to_le_bytes());
    body.append(list.into());
    values.iter().flat_map(Parts::iter).for_each(|part| body.append(part.clone()));
    body.finish()
}

/// The same of a leader: before it, what its children have run.
pub(super) fn pack_led(runs: &[SlotRun], pieces: &[Piece]) -> Parts {
    let mut body = Encodings::default();
    // Numbers: encoding them cannot fail.
    let runs = encode(&runs).unwrap_or_default();
    body.write(&(runs.len() as u64).to_le_bytes());
    body.append(runs.into());
    pack_pieces(pieces).iter().for_each(|part| body.append(part.clone()));
    body.finish()
}

/// Reads what [`pack_led`] wrote; `None` when it contradicts itself, or is not of `count` tasks from `start` on.
pub(super) fn unpack_led(body: &Bytes, start: u64, count: u64) -> Option<(Vec<SlotRun>, Pieces)> {
    let length = u64::from_le_bytes(body.get(..8)?.try_into().ok()?);
    let data = usize::try_from(length).ok()?.checked_add(8)?;
    let runs = decode(body.get(8..data)?).ok()?;
    let pieces = segments(body, data, start, true)?;
    (pieces.iter().map(|piece| piece.count).try_fold(0, u64::checked_add)? == count).then_some((runs, pieces))
}

/// Reads what [`pack_pieces`] wrote; `None` when it contradicts itself, or is not of the tasks `start .. start + count`.
pub(super) fn unpack_pieces(body: &Bytes, start: u64, count: u64) -> Option<Pieces> {
    let pieces = segments(body, 0, start, false)?;
    let end = pieces.last().map_or(start, |piece| piece.start + piece.count);
    (start.checked_add(count)? == end).then_some(pieces)
}

/// The pieces that are listed from byte `from` on, in order from task `start` on; with or without `gaps` between them.
fn segments(body: &Bytes, from: usize, start: u64, gaps: bool) -> Option<Pieces> {
    let list = body.get(from..)?;
    let length = u64::from_le_bytes(list.get(..8)?.try_into().ok()?);
    let data = usize::try_from(length).ok()?.checked_add(8)?;
    let segments: Vec<Segment> = decode(list.get(8..data)?).ok()?;
    let mut at = from + data;
    let mut next = start;
    let mut pieces = Pieces::with_capacity(segments.len());
    for segment in segments {
        let to = at.checked_add(usize::try_from(segment.bytes).ok()?)?;
        let in_order = if gaps { segment.start >= next } else { segment.start == next };
        if !in_order || to > body.len() {
            return None;
        }
        let values = usize::try_from(segment.values).ok()?;
        let outcome = match segment.failure {
            Some(failure) => Err(failure),
            None => Ok(Batch::inside(body.len(), body.slice(at..to), values, segment.table)?),
        };
        next = segment.start.checked_add(segment.count)?;
        at = to;
        pieces.push(Piece { start: segment.start, count: segment.count, outcome });
    }
    (at == body.len()).then_some(pieces)
}

thread_local! {
    /// The bytes to expect in the next reply of this thread.
    static EXPECTED: Cell<usize> = const { Cell::new(0) };
}

/// Collects the outcomes of a chunk, task by task, in order.
pub struct ReplyBuilder {
    first: u64,
    /// The first task of the open segment.
    start: u64,
    /// The task whose outcome comes next.
    next: u64,
    values: BatchBuilder,
    closed: Pieces,
}

impl ReplyBuilder {
    pub(crate) fn new(start: u64) -> ReplyBuilder {
        let values = BatchBuilder::expecting(EXPECTED.get());
        ReplyBuilder { first: start, start, next: start, values, closed: Pieces::new() }
    }

    /// How many tasks' outcomes are known.
    pub(crate) fn len(&self) -> u64 {
        self.next - self.first
    }

    /// The next task ended well with this value.
    pub(crate) fn value<T: Serialize>(&mut self, value: &T) -> Result<(), CodecError> {
        self.values.push(value)?;
        self.next += 1;
        Ok(())
    }

    /// The next task ended well; its value goes into one that covers several tasks.
    pub(crate) fn covered(&mut self) {
        self.next += 1;
    }

    /// A value that stands for tasks already [`covered`](Self::covered).
    pub(crate) fn covering<T: Serialize>(&mut self, value: &T) -> Result<(), CodecError> {
        self.values.push(value)
    }

    /// The next task failed.
    pub(crate) fn failed(&mut self, failure: Failure) {
        self.close();
        self.closed.push(Piece { start: self.next, count: 1, outcome: Err(failure) });
        self.next += 1;
        self.start = self.next;
    }

    /// Every task of the open segment failed, those already counted too.
    pub(crate) fn fail_open_segment(&mut self, failure: &Failure) {
        let end = std::mem::replace(&mut self.next, self.start);
        self.values.finish();
        while self.next < end {
            self.failed(failure.clone());
        }
    }

    fn close(&mut self) {
        if self.next > self.start {
            let outcome = Ok(self.values.finish());
            self.closed.push(Piece { start: self.start, count: self.next - self.start, outcome });
            self.start = self.next;
        }
    }

    /// The outcomes, in order.
    pub(crate) fn finish(mut self) -> Pieces {
        self.close();
        EXPECTED.set(self.values.expected());
        self.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::FailureKind;

    #[test]
    fn a_chunk_without_failures_is_one_piece() {
        let mut builder = ReplyBuilder::new(10);
        (0u64..6).for_each(|value| builder.value(&value).unwrap());
        let pieces = builder.finish();
        assert_eq!(pieces.len(), 1);
        assert_eq!((pieces[0].start, pieces[0].count), (10, 6));
        assert_eq!(pieces[0].outcome.as_ref().unwrap().len(), 6);
    }

    #[test]
    fn failures_cut_the_chunk_into_pieces_at_their_tasks() {
        let mut builder = ReplyBuilder::new(10);
        builder.value(&"a").unwrap();
        builder.value(&"bcd").unwrap();
        builder.failed(Failure::new(FailureKind::Failed, "no"));
        builder.failed(Failure::new(FailureKind::Panicked, "oh"));
        builder.value(&"e").unwrap();
        let body = pack_pieces(&builder.finish()).joined();
        let pieces = unpack_pieces(&body, 10, 5).unwrap();
        let shape: Vec<_> =
            pieces.iter().map(|piece| (piece.start, piece.count, piece.outcome.is_ok())).collect();
        assert_eq!(shape, [(10, 2, true), (12, 1, false), (13, 1, false), (14, 1, true)]);
        let batch = pieces[0].outcome.as_ref().unwrap();
        assert_eq!(batch.decode::<String>(1).unwrap(), "bcd");
    }

    #[test]
    fn pieces_that_do_not_add_up_are_refused() {
        let mut builder = ReplyBuilder::new(10);
        builder.failed(Failure::new(FailureKind::Failed, "no"));
        let body = pack_pieces(&builder.finish()).joined();
        assert!(unpack_pieces(&body, 10, 1).is_some());
        assert!(unpack_pieces(&body, 10, 2).is_none());
        assert!(unpack_pieces(&body, 11, 1).is_none());
        assert!(unpack_pieces(&body.slice(..body.len() - 1), 10, 1).is_none());
    }
}
