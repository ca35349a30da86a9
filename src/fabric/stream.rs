//! Frames over a socket that never blocks. A frame may bring a descriptor along.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
};

use bytes::{Buf, Bytes, BytesMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::wire::{Frame, HEADER_BYTES, Header};

/// Bytes asked of the kernel at a time, so that many small frames cost one call.
const READ_BYTES: usize = 1 << 16;

/// Parts of bodies up to here are copied to their headers, so that many small frames cost one call.
const SHORT_BODY: usize = 1 << 14;

/// Pieces of memory that are offered to the kernel at a time.
const PIECES: usize = 16;

/// A body that has partly arrived.
struct Partial {
    header: Header,
    body: Vec<u8>,
    length: usize,
}

pub(super) struct FrameStream {
    socket: UnixStream,
    /// What the socket is read into, behind what is left from the last time.
    buffer: Box<[u8]>,
    /// What was read and belongs to frames that are not yet returned.
    arrived: Bytes,
    partial: Option<Partial>,
    /// The last read has taken all that was there.
    drained: bool,
    /// Descriptors that have come, in the order of their frames.
    files: VecDeque<OwnedFd>,
    /// Short frames that leave together.
    posted: BytesMut,
    leaving: VecDeque<Leaving>,
}

/// Bytes on their way out, and the descriptor that goes with the first of them.
struct Leaving {
    bytes: Bytes,
    file: Option<Arc<OwnedFd>>,
}

impl From<Bytes> for Leaving {
    fn from(bytes: Bytes) -> Leaving {
        Leaving { bytes, file: None }
    }
}

impl FrameStream {
    pub(super) fn new(socket: UnixStream) -> io::Result<FrameStream> {
        socket.set_nonblocking(true)?;
        Ok(FrameStream {
            socket,
            buffer: vec![0; READ_BYTES].into(),
            arrived: Bytes::new(),
            partial: None,
            drained: false,
            files: VecDeque::new(),
            posted: BytesMut::new(),
            leaving: VecDeque::new(),
        })
    }

    pub(super) fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// Whether something of a next frame has been read.
    pub(super) fn has_read(&self) -> bool {
        self.arrived.len() >= HEADER_BYTES
    }

    /// The next whole frame, if it is there. The end of the stream is an error.
    pub(super) fn try_read(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.parse()? {
                return Ok(Some(frame));
            }
            if std::mem::take(&mut self.drained) {
                return Ok(None);
            }
            match self.read() {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        if let Some(Partial { body, length, .. }) = &mut self.partial {
            // A large body is read straight to where it belongs.
            let before = body.len();
            let read = (&self.socket).take((*length - before) as u64).read_to_end(body);
            // What came before an error is there.
            return if body.len() > before { Ok(body.len() - before) } else { read };
        }
        let before = self.arrived.len();
        self.buffer[..before].copy_from_slice(&self.arrived);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let mut place = [IoSliceMut::new(&mut self.buffer[before..])];
        let received = recvmsg(&self.socket, &mut place, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files);
            }
        }
        let end = before + received.bytes;
        // A read that brings a descriptor ends behind its frame, though more may be there.
        self.drained = end < self.buffer.len() && self.files.is_empty();
        // In memory that is as long as what is in it: results may be kept for long.
        self.arrived = Bytes::copy_from_slice(&self.buffer[..end]);
        Ok(received.bytes)
    }

    /// The descriptor of the oldest frame that has brought one.
    pub(super) fn file(&mut self) -> Option<OwnedFd> {
        self.files.pop_front()
    }

    fn parse(&mut self) -> io::Result<Option<Frame>> {
        if self.partial.is_none() {
            let Some(bytes) = self.arrived.get(..HEADER_BYTES) else {
                return Ok(None);
            };
            let header = Header::from_bytes(bytes)
                .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "bytes that are no frame"))?;
            self.arrived.advance(HEADER_BYTES);
            let length = usize::try_from(header.body_bytes()).map_err(|_| ErrorKind::OutOfMemory)?;
            if length <= self.arrived.len() {
                return Ok(Some(header.with_body(self.arrived.split_to(length))));
            }
            let mut body = Vec::with_capacity(length);
            body.extend_from_slice(&std::mem::take(&mut self.arrived));
            self.partial = Some(Partial { header, body, length });
        }
        let whole = self.partial.take_if(|partial| partial.body.len() == partial.length);
        Ok(whole.map(|whole| whole.header.with_body(whole.body.into())))
    }

    /// Queues a frame: it leaves at the next [`flush`](FrameStream::flush).
    pub(super) fn post(&mut self, frame: &Frame) {
        self.posted.extend_from_slice(&frame.header());
        for part in frame.body().iter() {
            if part.len() <= SHORT_BODY {
                self.posted.extend_from_slice(part);
            } else {
                self.close_posted();
                self.leaving.push_back(part.clone().into());
            }
        }
    }

    /// Queues a frame without a body, which brings a descriptor along.
    pub(super) fn post_with(&mut self, frame: &Frame, file: Arc<OwnedFd>) {
        self.close_posted();
        let bytes = Bytes::copy_from_slice(&frame.header());
        self.leaving.push_back(Leaving { bytes, file: Some(file) });
    }

    /// Ends the run of short frames that leave together.
    fn close_posted(&mut self) {
        if !self.posted.is_empty() {
            self.leaving.push_back(self.posted.split().freeze().into());
        }
    }

    /// Sends what the socket takes; true when nothing is left.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        self.close_posted();
        while let Some(first) = self.leaving.front() {
            let sent = match &first.file {
                Some(file) => send_with(&self.socket, &first.bytes, file),
                None => {
                    let mut pieces = [IoSlice::new(&[]); PIECES];
                    let next = self.leaving.iter().take_while(|leaving| leaving.file.is_none());
                    pieces
                        .iter_mut()
                        .zip(next)
                        .for_each(|(place, piece)| *place = IoSlice::new(&piece.bytes));
                    self.socket.write_vectored(&pieces)
                }
            };
            match sent {
                Ok(sent) => self.has_left(sent),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn has_left(&mut self, mut sent: usize) {
        while let Some(piece) = self.leaving.front_mut()
            && sent > 0
        {
            // Its descriptor has left with its first byte.
            piece.file = None;
            if sent < piece.bytes.len() {
                piece.bytes.advance(sent);
                return;
            }
            sent -= piece.bytes.len();
            self.leaving.pop_front();
        }
    }
}

fn send_with(socket: &UnixStream, bytes: &[u8], file: &OwnedFd) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let files = [file.as_fd()];
    beside.push(SendAncillaryMessage::ScmRights(&files));
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut beside, SendFlags::NOSIGNAL)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ToWorker;

    #[test]
    fn frames_small_and_large_arrive_whole_and_in_order() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut here, mut there) = (FrameStream::new(here).unwrap(), FrameStream::new(there).unwrap());
        let sizes = [0usize, 1, 100, 3_000_000, 7, 70_000, 0];
        for size in sizes {
            let body: Vec<u8> = (0..size).map(|byte| byte as u8).collect();
            here.post(&ToWorker::Share { number: 0, value: body.into() }.pack());
        }
        let mut arrived = Vec::new();
        while arrived.len() < sizes.len() {
            here.flush().unwrap();
            arrived.extend(there.try_read().unwrap());
        }
        for (frame, size) in arrived.iter().zip(sizes) {
            assert_eq!(frame.body().len(), size);
            let mut bytes = frame.body().iter().flatten();
            assert!(bytes.by_ref().enumerate().all(|(at, byte)| *byte == at as u8));
        }
        drop(here);
        // Not at once when a test beside this one is just starting a process, which holds a copy.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while there.try_read().is_ok() {
            assert!(std::time::Instant::now() < deadline, "the end is an error");
        }
    }

    #[test]
    fn descriptors_arrive_in_the_order_of_their_frames() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut here, mut there) = (FrameStream::new(here).unwrap(), FrameStream::new(there).unwrap());
        let mut files = Vec::new();
        let mut arrived = 0;
        for round in 0..20u64 {
            let file = tempfile::tempfile().unwrap();
            files.push(std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap()));
            here.post(&ToWorker::Forget { number: round }.pack());
            here.post_with(&ToWorker::Mapped { number: round, length: 0 }.pack(), Arc::new(file.into()));
            here.post(
                &ToWorker::Share { number: round, value: vec![7; 10_000 * round as usize].into() }.pack(),
            );
            here.flush().unwrap();
            if round % 3 == 0 {
                arrived += std::iter::from_fn(|| there.try_read().unwrap()).count();
            }
        }
        while arrived < 60 {
            here.flush().unwrap();
            arrived += usize::from(there.try_read().unwrap().is_some());
        }
        for inode in files {
            let file = std::fs::File::from(there.file().expect("a descriptor for each"));
            assert_eq!(std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap()), inode);
        }
        assert!(there.file().is_none());
    }

    #[test]
    fn noise_is_an_error() {
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(&[7; HEADER_BYTES]).unwrap();
        assert!(FrameStream::new(there).unwrap().try_read().is_err());
    }
}
