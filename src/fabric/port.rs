//! Frames over one MPI communicator, without ever waiting in MPI.
//!
//! Frames with short bodies travel together: those to one rank share a message. Of a frame with a longer body, the
//! message has only the header and the lengths of the body's parts. The parts follow under a tag of their own, in
//! segments, straight from and into the memory where they belong. Messages between two ranks do not overtake one
//! another (MPI 4.1, section 3.5), so frames stay in order.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    error::{Error, ErrorKind},
    mpi::{Communicator, Received, Receiving, Sending, WorkBuffer},
    wire::{Frame, HEADER_BYTES, Header, Parts},
};

/// Bodies up to here travel with their header.
const SHORT_BODY: usize = 1 << 16;

/// A message of several frames leaves when it is as long as this. Beyond 4 KiB Open MPI makes a sender wait for its
/// receiver on the same host.
const MESSAGE_BYTES: usize = 3500;

const FRAME_TAG: i32 = 1;
const BODY_TAG: i32 = 2;

/// Messages that are taken in one poll, so that a flood does not keep rank 0 from sending.
const AT_A_TIME: usize = 64;

enum Arriving {
    Whole(Frame),
    Body(Header, Receiving),
}

pub(super) struct Port {
    communicator: Communicator,
    /// The only rank that is listened to; `None` for all.
    source: Option<u32>,
    buffer: WorkBuffer,
    /// Frames by source, behind one whose body is still coming.
    arriving: HashMap<u32, VecDeque<Arriving>>,
    /// By rank, frames that leave together at the next flush.
    posted: Vec<BytesMut>,
    /// The ranks that have such frames.
    addressed: Vec<u32>,
    leaving: VecDeque<(u32, Sending)>,
    /// Ranks that cannot be reached any more, and why.
    gone: Vec<(u32, String)>,
    /// Ranks that MPI itself has told to have failed.
    failed: HashSet<u32>,
}

impl Port {
    pub(super) fn new(communicator: Communicator, source: Option<u32>) -> Port {
        Port {
            communicator,
            source,
            buffer: WorkBuffer::default(),
            arriving: HashMap::new(),
            posted: Vec::new(),
            addressed: Vec::new(),
            leaving: VecDeque::new(),
            gone: Vec::new(),
            failed: HashSet::new(),
        }
    }

    /// Hands the frames that have arrived to `take`, with the ranks they came from.
    ///
    /// # Errors
    /// When nobody can be listened to any more; that a rank is gone is no error, see [`gone`](Port::gone).
    pub(super) fn poll(&mut self, mut take: impl FnMut(u32, Frame)) -> Result<(), Error> {
        for _ in 0..AT_A_TIME {
            match self.communicator.try_receive(self.source, FRAME_TAG, &mut self.buffer)? {
                Received::Nothing => break,
                Received::From(rank) => self.arrived(rank, &mut take)?,
                Received::Failures(ranks) => {
                    let new = ranks.into_iter().filter(|rank| self.failed.insert(*rank));
                    self.gone.extend(new.map(|rank| (rank, "MPI says that its process failed".into())));
                }
            }
        }
        if !self.arriving.is_empty() {
            self.complete_bodies(&mut take);
        }
        Ok(())
    }

    /// Takes a message apart.
    fn arrived(&mut self, rank: u32, take: &mut impl FnMut(u32, Frame)) -> Result<(), Error> {
        let mut message = self.buffer.take();
        while !message.is_empty() {
            let header = Header::from_bytes(&message).filter(|header| {
                let body = header.body_bytes() as usize;
                body > SHORT_BODY || body <= message.len() - HEADER_BYTES
            });
            let noise = || {
                let text = format!("rank {rank} sent a message that is no frame");
                Error::new(ErrorKind::Internal, text)
            };
            let header = header.ok_or_else(noise)?;
            message.advance(HEADER_BYTES);
            let length = header.body_bytes() as usize;
            let arriving = if length <= SHORT_BODY {
                Arriving::Whole(header.with_body(message.split_to(length)))
            } else {
                let parts = split_lengths(&mut message, length).ok_or_else(noise)?;
                match self.communicator.receive(rank, BODY_TAG, &parts) {
                    Ok(receiving) => Arriving::Body(header, receiving),
                    Err(error) => {
                        self.gone.push((rank, error.to_string()));
                        continue;
                    }
                }
            };
            match (arriving, self.arriving.get_mut(&rank)) {
                (Arriving::Whole(frame), None) => take(rank, frame),
                (arriving, Some(queue)) => queue.push_back(arriving),
                (arriving, None) => {
                    self.arriving.insert(rank, VecDeque::from([arriving]));
                }
            }
        }
        Ok(())
    }

    fn complete_bodies(&mut self, take: &mut impl FnMut(u32, Frame)) {
        for (rank, queue) in &mut self.arriving {
            while let Some(arriving) = queue.pop_front() {
                match arriving {
                    Arriving::Whole(frame) => take(*rank, frame),
                    Arriving::Body(header, mut receiving) => match receiving.done() {
                        Ok(Some(body)) => take(*rank, header.with_body(body.into())),
                        Ok(None) => {
                            queue.push_front(Arriving::Body(header, receiving));
                            break;
                        }
                        Err(error) => self.gone.push((*rank, error.to_string())),
                    },
                }
            }
        }
        self.arriving.retain(|_, queue| !queue.is_empty());
    }

    /// Sends a frame at the next [`flush`](Port::flush), or when there is enough for a message.
    pub(super) fn post(&mut self, rank: u32, frame: &Frame) {
        let place = rank as usize;
        if self.posted.len() <= place {
            self.posted.resize_with(place + 1, BytesMut::new);
        }
        let posted = &mut self.posted[place];
        if posted.is_empty() {
            self.addressed.push(rank);
        }
        let body = frame.body();
        let short = body.len() <= SHORT_BODY;
        posted.reserve(HEADER_BYTES + if short { body.len() } else { 0 });
        posted.extend_from_slice(&frame.header());
        if short {
            body.iter().for_each(|part| posted.extend_from_slice(part));
        } else {
            put_lengths(posted, body);
        }
        if !short || posted.len() >= MESSAGE_BYTES {
            self.leave(rank);
        }
        if !short {
            self.start(rank, BODY_TAG, body.clone());
        }
    }

    /// Sends what is posted to a rank.
    fn leave(&mut self, rank: u32) {
        let message = self.posted[rank as usize].split().freeze();
        if !message.is_empty() {
            self.start(rank, FRAME_TAG, message.into());
        }
    }

    fn start(&mut self, rank: u32, tag: i32, data: Parts) {
        let started = self.communicator.send(rank, tag, data);
        match started.and_then(|mut sending| Ok((sending.done()?, sending))) {
            Ok((true, _)) => {}
            Ok((false, sending)) => self.leaving.push_back((rank, sending)),
            Err(error) => self.gone.push((rank, error.to_string())),
        }
    }

    /// Sends what is posted, and asks after what is being sent; true when nothing is left.
    pub(super) fn flush(&mut self) -> bool {
        while let Some(rank) = self.addressed.pop() {
            self.leave(rank);
        }
        self.leaving.retain_mut(|(rank, sending)| match sending.done() {
            Ok(done) => !done,
            Err(error) => {
                self.gone.push((*rank, error.to_string()));
                false
            }
        });
        self.leaving.is_empty()
    }

    /// The ranks that could not be reached since this was asked last, and why.
    pub(super) fn gone(&mut self) -> std::vec::Drain<'_, (u32, String)> {
        self.gone.drain(..)
    }

    /// Leaves the communicator, as the others on it do.
    pub(super) fn free(&mut self) -> Result<(), Error> {
        self.communicator.free()
    }

    /// Forgets all traffic with a rank that is lost.
    pub(super) fn abandon(&mut self, rank: u32) {
        self.posted.get_mut(rank as usize).map(BytesMut::clear);
        self.leaving.retain(|(to, _)| *to != rank);
        self.arriving.remove(&rank);
    }
}

/// Appends how many parts a body has, and the length of each.
fn put_lengths(message: &mut BytesMut, body: &Parts) {
    message.put_u64_le(body.iter().len() as u64);
    body.iter().for_each(|part| message.put_u64_le(part.len() as u64));
}

/// Takes off what [`put_lengths`] wrote; `None` when it is not of a body of this length.
fn split_lengths(message: &mut Bytes, body: usize) -> Option<Vec<usize>> {
    let count = usize::try_from(message.try_get_u64_le().ok()?).ok()?;
    if count > message.len() / 8 {
        return None;
    }
    let mut left = body;
    let mut lengths = Vec::with_capacity(count);
    for _ in 0..count {
        let length = usize::try_from(message.try_get_u64_le().ok()?).ok().filter(|length| *length > 0)?;
        left = left.checked_sub(length)?;
        lengths.push(length);
    }
    (left == 0).then_some(lengths)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lengths_come_back_and_no_others_are_taken(
            lengths in prop::collection::vec(1usize..9, 1..9),
            at in 0usize..9,
            other: u64,
        ) {
            let body: Parts = lengths.iter().map(|length| vec![7; *length].into()).collect();
            let mut message = BytesMut::new();
            put_lengths(&mut message, &body);
            message.put_u8(1);
            let total = body.len();
            let mut whole = message.clone().freeze();
            prop_assert_eq!(split_lengths(&mut whole, total), Some(lengths.clone()));
            prop_assert_eq!(&whole[..], [1], "what follows is left");
            prop_assert_eq!(split_lengths(&mut message.clone().freeze(), total + 1), None);
            for short in 0..message.len() - 1 {
                prop_assert_eq!(split_lengths(&mut message.clone().freeze().slice(..short), total), None);
            }
            let at = at.min(lengths.len());
            let before = message[8 * at..][..8].to_vec();
            message[8 * at..][..8].copy_from_slice(&other.to_le_bytes());
            if before != other.to_le_bytes() {
                prop_assert_eq!(split_lengths(&mut message.freeze(), total), None);
            }
        }
    }
}
