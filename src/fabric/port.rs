//! Frames over one MPI communicator, without ever waiting in MPI.
//!
//! A frame whose body is short is one message. Otherwise its header is a message, and the body
//! follows under a tag of its own, in segments, straight from and into the memory where it
//! belongs. Messages between two ranks do not overtake one another (MPI 4.1, section 3.5), so
//! frames stay in order.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::{Bytes, BytesMut};

use crate::{
    error::{Error, ErrorKind},
    mpi::{Communicator, Received, Receiving, Sending, WorkBuffer},
    wire::{Frame, HEADER_BYTES, Header},
};

/// Bodies up to here travel with their header.
const SHORT_BODY: usize = 1 << 16;

const FRAME_TAG: i32 = 1;
const BODY_TAG: i32 = 2;

/// Frames that are handed up in one poll, so that a flood does not keep rank 0 from sending.
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
            leaving: VecDeque::new(),
            gone: Vec::new(),
            failed: HashSet::new(),
        }
    }

    /// Appends the frames that have arrived, with the ranks they came from.
    ///
    /// # Errors
    /// When nobody can be listened to any more; that a rank is gone is no error, see [`gone`](Port::gone).
    pub(super) fn poll(&mut self, frames: &mut Vec<(u32, Frame)>) -> Result<(), Error> {
        for _ in 0..AT_A_TIME {
            let rank = match self.communicator.try_receive(self.source, FRAME_TAG, &mut self.buffer)? {
                Received::Nothing => break,
                Received::From(rank) => rank,
                Received::Failures(ranks) => {
                    let new = ranks.into_iter().filter(|rank| self.failed.insert(*rank));
                    self.gone.extend(new.map(|rank| (rank, "MPI says that its process failed".into())));
                    continue;
                }
            };
            let header = Header::from_bytes(&self.buffer.0).ok_or_else(|| {
                Error::new(ErrorKind::Internal, format!("rank {rank} sent a message that is no frame"))
            })?;
            let arriving = if header.body_bytes() as usize <= SHORT_BODY {
                let body = Bytes::copy_from_slice(&self.buffer.0[HEADER_BYTES..]);
                Arriving::Whole(header.with_body(body))
            } else {
                match self.communicator.receive(rank, BODY_TAG, header.body_bytes() as usize) {
                    Ok(receiving) => Arriving::Body(header, receiving),
                    Err(error) => {
                        self.gone.push((rank, error.to_string()));
                        continue;
                    }
                }
            };
            match (arriving, self.arriving.get_mut(&rank)) {
                (Arriving::Whole(frame), None) => frames.push((rank, frame)),
                (arriving, Some(queue)) => queue.push_back(arriving),
                (arriving, None) => {
                    self.arriving.insert(rank, VecDeque::from([arriving]));
                }
            }
        }
        if !self.arriving.is_empty() {
            self.complete_bodies(frames);
        }
        Ok(())
    }

    fn complete_bodies(&mut self, frames: &mut Vec<(u32, Frame)>) {
        for (rank, queue) in &mut self.arriving {
            while let Some(arriving) = queue.pop_front() {
                match arriving {
                    Arriving::Whole(frame) => frames.push((*rank, frame)),
                    Arriving::Body(header, mut receiving) => match receiving.done() {
                        Ok(Some(body)) => frames.push((*rank, header.with_body(body.into()))),
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

    /// Starts to send a frame.
    pub(super) fn send(&mut self, rank: u32, frame: &Frame) {
        if let Err(error) = self.try_send(rank, frame) {
            self.gone.push((rank, error.to_string()));
        }
    }

    fn try_send(&mut self, rank: u32, frame: &Frame) -> Result<(), Error> {
        let body = frame.body();
        let short = body.len() <= SHORT_BODY;
        let mut message = BytesMut::with_capacity(HEADER_BYTES + if short { body.len() } else { 0 });
        message.extend_from_slice(&frame.header());
        if short {
            message.extend_from_slice(body);
        }
        self.start(rank, FRAME_TAG, message.freeze())?;
        if !short {
            self.start(rank, BODY_TAG, body.clone())?;
        }
        Ok(())
    }

    fn start(&mut self, rank: u32, tag: i32, data: Bytes) -> Result<(), Error> {
        let mut sending = self.communicator.send(rank, tag, data)?;
        if !sending.done()? {
            self.leaving.push_back((rank, sending));
        }
        Ok(())
    }

    /// Asks after what is being sent; true when nothing is left.
    pub(super) fn flush(&mut self) -> bool {
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

    /// Forgets all traffic with a rank that is lost.
    pub(super) fn abandon(&mut self, rank: u32) {
        self.leaving.retain(|(to, _)| *to != rank);
        self.arriving.remove(&rank);
    }
}
