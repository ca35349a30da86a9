//! What a worker and its minder tell each other, over a stream socket: numbers of a fixed count, and for an order a body
//! of any length after them. Both are the same program on the same machine.

use std::{
    ffi::CStr,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg,
    },
};

/// Stands for "none" where a number is optional.
const NONE: u64 = u64::MAX;

/// The numbers at the start of an order, in bytes.
const HEAD: usize = 8 * 8;

/// What a minder reads at a time: an order is mostly shorter, and read at once.
const AT_A_TIME: usize = 64 << 10;

/// The kinds of orders.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// The body is the environment of all programs from now on.
    Environment,
    /// Run a program. The body is its path, its words, its own environment, and its directory, each ended by a zero byte.
    Run,
    /// The same, for a program that ends when its input does: the worker's end is the end of its input.
    Keep,
    /// End the program that runs.
    End,
}

/// What a worker tells its minder, but for the body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Order {
    pub kind: Kind,
    /// How many words the program has, its name being the first.
    pub words: u64,
    /// How many entries are added to the environment.
    pub environment: u64,
    /// Which of the three standard streams come with the order; the others are /dev/null.
    pub streams: u64,
    pub limit: Option<Duration>,
    pub kill_after: Duration,
    /// In bytes, for each process of the program.
    pub memory: Option<u64>,
}

impl Order {
    pub(super) fn new(kind: Kind) -> Order {
        Order {
            kind,
            words: 0,
            environment: 0,
            streams: 0,
            limit: None,
            kill_after: Duration::ZERO,
            memory: None,
        }
    }

    /// Room for the numbers of an order; the body is put after it.
    pub(super) fn make_room(message: &mut Vec<u8>) {
        message.clear();
        message.resize(HEAD, 0);
    }

    /// Sends a message that `make_room` began, with descriptors at its first byte.
    pub(super) fn send(
        &self,
        message: &mut [u8],
        streams: &[BorrowedFd],
        socket: &mut UnixStream,
    ) -> io::Result<()> {
        let kind = match self.kind {
            Kind::Environment => 0,
            Kind::Run => 1,
            Kind::Keep => 2,
            Kind::End => 3,
        };
        let numbers = [
            kind,
            (message.len() - HEAD) as u64,
            self.words,
            self.environment,
            self.streams,
            self.limit.map_or(NONE, nanoseconds),
            nanoseconds(self.kill_after),
            self.memory.unwrap_or(NONE),
        ];
        put_numbers(&numbers, message);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !streams.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(streams));
        }
        let first = loop {
            match sendmsg(&*socket, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                sent => break sent?,
            }
        };
        socket.write_all(&message[first..])
    }
}

/// How a program ended, for the minder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    Exited,
    Signalled,
    /// The value is the error's number.
    NotStarted,
    NoDirectory,
    NoMemoryLimit,
}

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reason {
    ItsOwn,
    TimeOver,
    Asked,
}

/// What a minder answers when a program and all that it has started have ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answer {
    pub outcome: Outcome,
    pub reason: Reason,
    /// The exit code, signal or error number.
    pub value: i32,
    /// Since 1970.
    pub started: Duration,
    pub ran: Duration,
    pub cpu: Duration,
    pub peak_bytes: u64,
    /// Processes that could not be ended.
    pub left: u64,
}

impl Answer {
    pub(super) fn send(&self, socket: &mut UnixStream) -> io::Result<()> {
        let numbers = [
            self.outcome as u64,
            self.reason as u64,
            self.value as u64,
            nanoseconds(self.started),
            nanoseconds(self.ran),
            nanoseconds(self.cpu),
            self.peak_bytes,
            self.left,
        ];
        let mut message = [0; HEAD];
        put_numbers(&numbers, &mut message);
        socket.write_all(&message)
    }

    pub(super) fn receive(socket: &mut UnixStream) -> io::Result<Answer> {
        let mut message = [0; HEAD];
        socket.read_exact(&mut message)?;
        let [outcome, reason, value, started, ran, cpu, peak_bytes, left] = numbers_of(&message);
        Ok(Answer {
            outcome: match outcome {
                0 => Outcome::Exited,
                1 => Outcome::Signalled,
                2 => Outcome::NotStarted,
                3 => Outcome::NoDirectory,
                _ => Outcome::NoMemoryLimit,
            },
            reason: match reason {
                0 => Reason::ItsOwn,
                1 => Reason::TimeOver,
                _ => Reason::Asked,
            },
            value: value as i32,
            started: Duration::from_nanos(started),
            ran: Duration::from_nanos(ran),
            cpu: Duration::from_nanos(cpu),
            peak_bytes,
            left,
        })
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NONE - 1).min(NONE - 1)
}

fn put_numbers(numbers: &[u64; 8], message: &mut [u8]) {
    for (place, number) in message.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

fn numbers_of(head: &[u8]) -> [u64; 8] {
    let mut numbers = [0; 8];
    for (number, bytes) in numbers.iter_mut().zip(head.chunks_exact(8)) {
        let mut place = [0; 8];
        place.copy_from_slice(bytes);
        *number = u64::from_le_bytes(place);
    }
    numbers
}

/// What has come to a minder.
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// How much of it is there, and not taken yet.
    filled: usize,
    /// The length of the order that was taken last.
    taken: usize,
    descriptors: Vec<OwnedFd>,
}

impl Inbox {
    pub(super) fn new() -> Inbox {
        Inbox { bytes: vec![0; AT_A_TIME], filled: 0, taken: 0, descriptors: Vec::new() }
    }

    /// Waits for the next order. `None` when the worker has gone.
    pub(super) fn receive(&mut self, socket: &UnixStream) -> io::Result<Option<Order>> {
        self.bytes.copy_within(self.taken..self.filled, 0);
        self.filled -= std::mem::take(&mut self.taken);
        // One long order does not make every minder large for good.
        if self.bytes.len() > AT_A_TIME && self.filled <= AT_A_TIME {
            self.bytes.truncate(AT_A_TIME);
            self.bytes.shrink_to_fit();
        }
        while self.filled < HEAD {
            if !self.read(socket)? {
                return Ok(None);
            }
        }
        let [kind, body, words, environment, streams, limit, kill_after, memory] = numbers_of(&self.bytes);
        let whole = HEAD + body as usize;
        if self.bytes.len() < whole {
            self.bytes.resize(whole, 0);
        }
        while self.filled < whole {
            if !self.read(socket)? {
                return Ok(None);
            }
        }
        self.taken = whole;
        Ok(Some(Order {
            kind: match kind {
                0 => Kind::Environment,
                1 => Kind::Run,
                2 => Kind::Keep,
                _ => Kind::End,
            },
            words,
            environment,
            streams,
            limit: (limit != NONE).then(|| Duration::from_nanos(limit)),
            kill_after: Duration::from_nanos(kill_after),
            memory: (memory != NONE).then_some(memory),
        }))
    }

    /// Whether more has been read than the order that was received last.
    pub(super) fn has_more(&self) -> bool {
        self.filled > self.taken
    }

    /// The body of the order that was received last.
    pub(super) fn body(&self) -> Strings<'_> {
        Strings(&self.bytes[HEAD.min(self.taken)..self.taken])
    }

    /// The descriptors that have come with it.
    pub(super) fn descriptors(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }

    /// Reads once. False at the end of the stream.
    fn read(&mut self, socket: &UnixStream) -> io::Result<bool> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut free = [IoSliceMut::new(&mut self.bytes[self.filled..])];
        let read = loop {
            match recvmsg(socket.as_fd(), &mut free, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                read => break read?,
            }
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        self.filled += read.bytes;
        Ok(read.bytes > 0)
    }
}

/// Strings that are each ended by a zero byte.
pub(super) struct Strings<'a>(&'a [u8]);

impl<'a> Iterator for Strings<'a> {
    type Item = &'a CStr;

    fn next(&mut self) -> Option<&'a CStr> {
        let string = CStr::from_bytes_until_nul(self.0).ok()?;
        self.0 = &self.0[string.to_bytes_with_nul().len()..];
        Some(string)
    }
}
