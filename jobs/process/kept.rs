//! The worker's side of a program that stays: lines go to it, and lines come back.

use std::{
    fmt, io, mem,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags},
    io::{Errno, ioctl_fionbio},
    pipe::{PipeFlags, fcntl_getpipe_size, pipe_with},
};

use super::{
    Ended, Minder, Out, Spec,
    inside::wait_on,
    message::{Kind, Order},
};

/// So much is sent without waiting for more.
const ENOUGH: usize = 16 << 10;

/// What is read at a time: a pipe holds as much.
const AT_A_TIME: usize = 64 << 10;

/// The longest line that a program may answer, so that one that never ends a line does not fill the memory.
const LONGEST_LINE: usize = 1 << 30;

/// How long a program that has closed its output may take to end, so that its end can be told.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// Why no line came.
#[derive(Debug)]
pub enum Gone {
    /// The program has ended, or was not started.
    Ended(Box<Ended>),
    /// The time was over. A line may come still.
    TimeOver,
    /// It runs on, but will not say anything any more.
    ClosedOutput,
    /// It says more than a GiB without ending the line.
    LongLine,
    /// Its minder was killed, and the program with it.
    Lost(io::Error),
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Gone::Ended(ended) => match &ended.how {
                super::How::Exited(code) => write!(f, "the program ended with code {code}"),
                super::How::Signalled(signal) => write!(f, "the program was killed by signal {signal}"),
                super::How::TimedOut(_) => f.write_str("the program's time was over, so it was ended"),
                super::How::Stopped(_) => f.write_str("the program was asked to end, and did"),
                super::How::NotStarted(why) => f.write_str(why),
            },
            Gone::TimeOver => f.write_str("the program has not answered in time"),
            Gone::ClosedOutput => f.write_str("the program has closed its standard output, and runs on"),
            Gone::LongLine => f.write_str("the program has written more than 1 GiB without ending the line"),
            Gone::Lost(error) => error.fmt(f),
        }
    }
}

/// A program that stays. Dropped, or left by a worker that dies, it finds the end of its input, and is ended like by
/// [`Program::end`], with its `kill_after`.
pub struct Program {
    minder: Minder,
    spec: Spec,
    /// Until the program is to read no more.
    stdin: Option<OwnedFd>,
    /// Until its end.
    stdout: Option<OwnedFd>,
    to_send: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    /// How much of it was given out.
    given: usize,
    /// How much of it has no end of a line in it.
    searched: usize,
    ended: Option<Ended>,
    asked: bool,
}

impl Minder {
    /// Starts a program that stays. Standard input and output are pipes to the worker, whatever `spec` says of them.
    /// Whether it could be started is told by the first [`Program::receive_line`].
    ///
    /// # Errors
    /// When the program cannot be found, or what `spec` says of it cannot be had. Standard error cannot be kept.
    pub fn keep(mut self, spec: Spec) -> io::Result<Program> {
        if matches!(spec.stderr, Out::Keep { .. }) {
            let text = "the standard error of a program that stays cannot be kept; let it go to a file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let order = Order { kind: Kind::Keep, ..self.prepare(&spec)? };
        let (their_stdin, stdin) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stdout, their_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        ioctl_fionbio(&stdin, true)?;
        ioctl_fionbio(&stdout, true)?;
        let stderr = super::minder::open_output(&spec.stderr, "error", io::stderr().as_fd())?;
        self.send(order, [Some(their_stdin), Some(their_stdout), stderr])?;
        Ok(Program {
            minder: self,
            spec,
            stdin: Some(stdin),
            stdout: Some(stdout),
            to_send: Vec::new(),
            sent: 0,
            received: Vec::new(),
            given: 0,
            searched: 0,
            ended: None,
            asked: false,
        })
    }
}

impl Program {
    /// Gives the program something to read. It leaves here together with what follows, at the latest when a line is waited
    /// for, so that many short messages cost no more than a long one. Never waits for the program.
    pub fn send(&mut self, bytes: &[u8]) {
        self.to_send.extend_from_slice(bytes);
        if self.to_send.len() - self.sent >= ENOUGH {
            self.write();
        }
    }

    /// The next line, without its end. What the program says last counts as a line without one.
    ///
    /// # Errors
    /// Why there is none.
    pub fn receive_line(&mut self, limit: Option<Duration>) -> Result<Vec<u8>, Gone> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            if let Some(line) = self.next_line() {
                return Ok(line);
            }
            if self.received.len() - self.given > LONGEST_LINE {
                return Err(Gone::LongLine);
            }
            if self.stdout.is_none() {
                return Err(self.why_silent());
            }
            self.write();
            if !self.exchange(deadline).map_err(Gone::Lost)? {
                return Err(Gone::TimeOver);
            }
        }
    }

    /// Ends its standard input, and gives it so much time to end by itself. Then it is asked to, and after as long again
    /// killed. What it still says is dropped.
    ///
    /// # Errors
    /// When its minder was killed, and the program with it.
    pub fn end(mut self, kill_after: Duration) -> io::Result<Ended> {
        self.end_within(kill_after)
    }

    fn end_within(&mut self, kill_after: Duration) -> io::Result<Ended> {
        let deadline = Instant::now().checked_add(kill_after);
        loop {
            self.write();
            if self.to_send.is_empty() {
                self.stdin = None;
            }
            if let Some(ended) = &self.ended {
                return Ok(ended.clone());
            }
            self.received.clear();
            (self.given, self.searched) = (0, 0);
            if !self.exchange(if self.asked { None } else { deadline })? && !self.asked {
                self.asked = true;
                self.minder.ask_to_end(kill_after)?;
            }
        }
    }

    /// Takes a line out of what was received.
    fn next_line(&mut self) -> Option<Vec<u8>> {
        let unsearched = &self.received[self.searched..];
        match unsearched.iter().position(|&byte| byte == b'\n') {
            Some(length) => {
                let end = self.searched + length;
                let line = self.received[self.given..end].to_vec();
                self.given = end + 1;
                self.searched = self.given;
                Some(line)
            }
            None if self.stdout.is_none() && self.given < self.received.len() => {
                let line = self.received[self.given..].to_vec();
                self.given = self.received.len();
                self.searched = self.given;
                Some(line)
            }
            None => {
                self.searched = self.received.len();
                None
            }
        }
    }

    fn why_silent(&mut self) -> Gone {
        let deadline = Instant::now() + ENDS_WITHIN;
        while self.ended.is_none() {
            match self.exchange(Some(deadline)) {
                Ok(true) => {}
                Ok(false) => return Gone::ClosedOutput,
                Err(error) => return Gone::Lost(error),
            }
        }
        match &self.ended {
            Some(ended) => Gone::Ended(Box::new(ended.clone())),
            None => Gone::ClosedOutput,
        }
    }

    /// Waits until the program says something, reads something, or ends, and takes part in it. False when the time was
    /// over before.
    fn exchange(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        let Some(answer) = self.minder.source() else {
            return Err(io::Error::other("the program has gone with its minder"));
        };
        let mut sources = vec![PollFd::from_borrowed_fd(answer, PollFlags::IN)];
        let to_write = self.stdin.as_ref().filter(|_| !self.to_send.is_empty());
        sources.extend(to_write.map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
        sources.extend(self.stdout.as_ref().map(|stdout| PollFd::new(stdout, PollFlags::IN)));
        if !wait_on(&mut sources, deadline)? {
            return Ok(false);
        }
        let (writes, reads) = (to_write.is_some(), self.stdout.is_some());
        let mut ready = sources.iter().map(|source| !source.revents().is_empty());
        let mut next = || ready.next().unwrap_or(false);
        let (answered, writable, readable) = (next(), writes && next(), reads && next());
        if writable {
            self.write();
        }
        if readable {
            self.read();
        }
        if answered {
            let answer = self.minder.answer()?;
            self.ended = Some(self.minder.ended(answer, &self.spec));
            self.read_rest();
        }
        Ok(true)
    }

    /// Writes what the program takes now.
    fn write(&mut self) {
        while self.sent < self.to_send.len() {
            let Some(stdin) = &self.stdin else { break };
            match rustix::io::write(stdin, &self.to_send[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if self.sent >= AT_A_TIME {
                        self.to_send.drain(..mem::take(&mut self.sent));
                    }
                    return;
                }
                // The program reads no more. Why is told when it is asked for a line.
                Err(_) => self.stdin = None,
            }
        }
        self.to_send.clear();
        self.sent = 0;
    }

    /// Reads once. How much.
    fn read(&mut self) -> usize {
        let Some(stdout) = &self.stdout else { return 0 };
        self.received.drain(..self.given);
        self.searched -= mem::take(&mut self.given);
        self.received.reserve(AT_A_TIME);
        match rustix::io::read(stdout, rustix::buffer::spare_capacity(&mut self.received)) {
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Ok(0) | Err(_) => {
                self.stdout = None;
                0
            }
            Ok(count) => count,
        }
    }

    /// Reads what is in the pipe. Nothing of the program writes any more; whoever else does is not waited for.
    fn read_rest(&mut self) {
        let mut most =
            self.stdout.as_ref().map_or(0, |stdout| fcntl_getpipe_size(stdout).unwrap_or(AT_A_TIME));
        while most > 0 {
            match self.read() {
                0 => break,
                count => most = most.saturating_sub(count),
            }
        }
        self.stdout = None;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // How it ended is of no interest any more.
        let _ = self.end_within(self.spec.kill_after);
    }
}
