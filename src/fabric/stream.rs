//! Frames over a socket that never blocks.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice, Read, Write},
    os::unix::net::UnixStream,
};

use crate::wire::{Frame, HEADER_BYTES, Header};

/// Bytes asked of the kernel at a time, so that many small frames cost one call.
const READ_BYTES: usize = 1 << 16;

/// A body that has partly arrived.
struct Partial {
    header: Header,
    body: Vec<u8>,
    filled: usize,
}

/// A frame that has partly left.
struct Leaving {
    header: [u8; HEADER_BYTES],
    frame: Frame,
    sent: usize,
}

pub(super) struct FrameStream {
    socket: UnixStream,
    /// Bytes that were read and belong to frames not yet returned: `buffer[at..]`.
    buffer: Vec<u8>,
    at: usize,
    partial: Option<Partial>,
    leaving: VecDeque<Leaving>,
}

impl FrameStream {
    pub(super) fn new(socket: UnixStream) -> io::Result<FrameStream> {
        socket.set_nonblocking(true)?;
        Ok(FrameStream { socket, buffer: Vec::new(), at: 0, partial: None, leaving: VecDeque::new() })
    }

    pub(super) fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// The next whole frame, if it is there. The end of the stream is an error.
    pub(super) fn try_read(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.parse()? {
                return Ok(Some(frame));
            }
            let read = match &mut self.partial {
                // A large body is read straight to where it belongs.
                Some(partial) => {
                    let read = self.socket.read(&mut partial.body[partial.filled..]);
                    partial.filled += *read.as_ref().unwrap_or(&0);
                    read
                }
                None => {
                    self.buffer.drain(..self.at);
                    self.at = 0;
                    let filled = self.buffer.len();
                    self.buffer.resize(filled + READ_BYTES, 0);
                    let read = self.socket.read(&mut self.buffer[filled..]);
                    self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
                    read
                }
            };
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn parse(&mut self) -> io::Result<Option<Frame>> {
        if self.partial.is_none() {
            let Some(bytes) = self.buffer.get(self.at..self.at + HEADER_BYTES) else {
                return Ok(None);
            };
            let header = Header::from_bytes(bytes)
                .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "bytes that are no frame"))?;
            self.at += HEADER_BYTES;
            let length =
                usize::try_from(header.body_bytes()).map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
            let mut body = vec![0; length];
            let filled = length.min(self.buffer.len() - self.at);
            body[..filled].copy_from_slice(&self.buffer[self.at..self.at + filled]);
            self.at += filled;
            self.partial = Some(Partial { header, body, filled });
        }
        Ok(self
            .partial
            .take_if(|partial| partial.filled == partial.body.len())
            .map(|whole| whole.header.with_body(whole.body.into())))
    }

    pub(super) fn queue(&mut self, frame: Frame) {
        self.leaving.push_back(Leaving { header: frame.header(), frame, sent: 0 });
    }

    /// Sends what the socket takes; true when nothing is left.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while let Some(leaving) = self.leaving.front_mut() {
            let head = &leaving.header[leaving.sent.min(HEADER_BYTES)..];
            let body = &leaving.frame.body()[leaving.sent.saturating_sub(HEADER_BYTES)..];
            match self.socket.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(sent) => leaving.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if leaving.sent == HEADER_BYTES + leaving.frame.body().len() {
                self.leaving.pop_front();
            }
        }
        Ok(true)
    }
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
            here.queue(ToWorker::Share { call: 0, value: body.into() }.pack());
        }
        let mut arrived = Vec::new();
        while arrived.len() < sizes.len() {
            here.flush().unwrap();
            arrived.extend(there.try_read().unwrap());
        }
        for (frame, size) in arrived.iter().zip(sizes) {
            assert_eq!(frame.body().len(), size);
            assert!(frame.body().iter().enumerate().all(|(at, byte)| *byte == at as u8));
        }
        drop(here);
        // Not at once when a test beside this one is just starting a process, which holds a copy.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while there.try_read().is_ok() {
            assert!(std::time::Instant::now() < deadline, "the end is an error");
        }
    }

    #[test]
    fn noise_is_an_error() {
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(&[7; HEADER_BYTES]).unwrap();
        assert!(FrameStream::new(there).unwrap().try_read().is_err());
    }
}
