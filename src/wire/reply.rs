//! The results of a chunk: runs of values, and the failures between them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Batch, BatchBuilder, CodecError, Frame, Header, Kind, LAYOUT_TABLE, decode, encode};
use crate::error::Failure;

/// The body starts with a list of segments; without it the body is one batch.
const SEGMENTED: u8 = 2;

/// What became of the tasks `start .. start + count`.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) start: u64,
    pub(crate) count: u64,
    /// All of them ended well, with these values; or the one task failed.
    pub(crate) outcome: Result<Batch, Failure>,
}

impl Piece {
    /// A task that failed before anybody tried it.
    pub(crate) fn is_of_no_attempt(&self) -> bool {
        self.outcome.as_ref().is_err_and(|failure| failure.attempt() == 0)
    }

    /// What it weighs, in bytes: its values, or a failure's text.
    pub(crate) fn size(&self) -> u64 {
        match &self.outcome {
            Ok(batch) => batch.size() as u64,
            Err(failure) => failure.message.len() as u64,
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

/// The answer to a chunk, read from a [`Kind::Result`] frame.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) pieces: Vec<Piece>,
}

impl Reply {
    /// `None` when the frame contradicts itself.
    pub(crate) fn read(frame: &Frame) -> Option<Reply> {
        let header = &frame.header;
        if header.count == 0 {
            return Some(Reply { pieces: Vec::new() });
        }
        if header.layout & SEGMENTED == 0 {
            let values = usize::try_from(header.program).ok()?;
            let batch = Batch::from_wire(frame.body.clone(), values, header.layout & LAYOUT_TABLE != 0)?;
            return Some(Reply {
                pieces: vec![Piece { start: header.start, count: header.count, outcome: Ok(batch) }],
            });
        }
        let length = u64::from_le_bytes(frame.body.get(..8)?.try_into().ok()?);
        let data = usize::try_from(length).ok()?.checked_add(8)?;
        let segments: Vec<Segment> = decode(frame.body.get(8..data)?).ok()?;
        let mut at = data;
        let mut next = header.start;
        let mut pieces = Vec::with_capacity(segments.len());
        for segment in segments {
            let to = at.checked_add(usize::try_from(segment.bytes).ok()?)?;
            if segment.start != next || to > frame.body.len() {
                return None;
            }
            let outcome = match segment.failure {
                Some(failure) => Err(failure),
                None => Ok(Batch::from_wire(
                    frame.body.slice(at..to),
                    usize::try_from(segment.values).ok()?,
                    segment.table,
                )?),
            };
            next = next.checked_add(segment.count)?;
            at = to;
            pieces.push(Piece { start: segment.start, count: segment.count, outcome });
        }
        let whole = header.start.checked_add(header.count)? == next && at == frame.body.len();
        whole.then_some(Reply { pieces })
    }
}

/// Collects the outcomes of a chunk, task by task, in order.
pub(crate) struct ReplyBuilder {
    first: u64,
    /// The first task of the open segment.
    start: u64,
    /// The task whose outcome comes next.
    next: u64,
    values: BatchBuilder,
    closed: Vec<(Segment, Bytes)>,
}

impl ReplyBuilder {
    pub(crate) fn new(start: u64) -> ReplyBuilder {
        ReplyBuilder { first: start, start, next: start, values: BatchBuilder::default(), closed: Vec::new() }
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
        self.closed.push((
            Segment { start: self.next, count: 1, table: false, values: 0, bytes: 0, failure: Some(failure) },
            Bytes::new(),
        ));
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
        if self.next == self.start {
            return;
        }
        let batch = self.values.finish();
        let wire = batch.to_wire();
        let segment = Segment {
            start: self.start,
            count: self.next - self.start,
            table: batch.needs_table(),
            values: batch.len() as u64,
            bytes: wire.len() as u64,
            failure: None,
        };
        self.closed.push((segment, wire));
        self.start = self.next;
    }

    /// The frame that answers the chunk of `header`.
    pub(crate) fn finish(mut self, chunk: &Header, busy_nanos: u64) -> Frame {
        self.close();
        let mut header = Header::new(Kind::Result);
        header.call = chunk.call;
        header.dispatch = chunk.dispatch;
        header.start = self.first;
        header.count = self.next - self.first;
        header.seed = busy_nanos;
        if let [(segment, wire)] = self.closed.as_mut_slice()
            && segment.failure.is_none()
        {
            header.layout = if segment.table { LAYOUT_TABLE } else { 0 };
            header.program = segment.values;
            return Frame::new(header, std::mem::take(wire));
        }
        header.layout = SEGMENTED;
        let (segments, data): (Vec<Segment>, Vec<Bytes>) = self.closed.into_iter().unzip();
        // A segment holds numbers and text: encoding it cannot fail but for memory.
        let list = encode(&segments).unwrap_or_default();
        let mut body = Vec::with_capacity(8 + list.len() + data.iter().map(Bytes::len).sum::<usize>());
        body.extend_from_slice(&(list.len() as u64).to_le_bytes());
        body.extend_from_slice(&list);
        data.iter().for_each(|part| body.extend_from_slice(part));
        Frame::new(header, body.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::FailureKind;

    fn chunk() -> Header {
        let mut header = Header::new(Kind::Chunk);
        (header.call, header.dispatch, header.start, header.count) = (3, 8, 10, 6);
        header
    }

    #[test]
    fn a_chunk_without_failures_is_one_piece() {
        let mut builder = ReplyBuilder::new(10);
        (0u64..6).for_each(|value| builder.value(&value).unwrap());
        let frame = builder.finish(&chunk(), 5);
        assert_eq!((frame.header.start, frame.header.count, frame.body.len()), (10, 6, 48));
        let reply = Reply::read(&frame).unwrap();
        assert_eq!(reply.pieces.len(), 1);
        assert_eq!(reply.pieces[0].outcome.as_ref().unwrap().len(), 6);
    }

    #[test]
    fn failures_cut_the_chunk_into_pieces_at_their_tasks() {
        let mut builder = ReplyBuilder::new(10);
        builder.value(&"a").unwrap();
        builder.value(&"bcd").unwrap();
        builder.failed(Failure::new(FailureKind::Failed, "no"));
        builder.failed(Failure::new(FailureKind::Panicked, "oh"));
        builder.value(&"e").unwrap();
        let reply = Reply::read(&builder.finish(&chunk(), 5)).unwrap();
        let shape: Vec<_> =
            reply.pieces.iter().map(|piece| (piece.start, piece.count, piece.outcome.is_ok())).collect();
        assert_eq!(shape, [(10, 2, true), (12, 1, false), (13, 1, false), (14, 1, true)]);
        let batch = reply.pieces[0].outcome.as_ref().unwrap();
        assert_eq!(decode::<String>(batch.get(1)).unwrap(), "bcd");
    }

    #[test]
    fn a_reply_whose_segments_do_not_add_up_is_refused() {
        let mut builder = ReplyBuilder::new(10);
        builder.failed(Failure::new(FailureKind::Failed, "no"));
        let mut frame = builder.finish(&chunk(), 5);
        frame.header.count = 2;
        assert!(Reply::read(&frame).is_none());
    }
}
