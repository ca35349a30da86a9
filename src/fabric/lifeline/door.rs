//! Where lifelines come in: connections are strangers until they have shown the token.
//!
//! Anyone who reaches the port can connect. Only a few strangers are kept, and not for long: when there is no room,
//! the oldest goes. A worker that is sent away in a crowd tries again.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::{event::epoll, io::Errno};

use super::Introduction;

/// How long a connection may take to show the token.
const INTRODUCE: Duration = Duration::from_secs(3);
/// Connections that are taken in one round, so that a flood does not keep the workers waiting.
const AT_A_TIME: usize = 64;

struct Stranger {
    stream: TcpStream,
    since: Duration,
    said: [u8; Introduction::BYTES],
    length: usize,
}

/// Who has shown the token.
pub(super) struct Guest {
    /// What the connection is called in the epoll set.
    pub(super) number: u64,
    pub(super) stream: TcpStream,
    pub(super) introduction: Introduction,
}

/// The listening socket, and who stands before it.
pub(super) struct Door {
    listener: TcpListener,
    token: [u8; 16],
    /// By number, so that the first one is the oldest.
    strangers: BTreeMap<u64, Stranger>,
    /// How many strangers there may be.
    room: usize,
    next_number: u64,
    open: bool,
    warned: bool,
}

impl Door {
    /// The number of the listening socket in the epoll set; connections have higher ones.
    pub(super) const NUMBER: u64 = 1;

    pub(super) fn new(listener: TcpListener, token: [u8; 16], room: usize) -> Door {
        let strangers = BTreeMap::new();
        Door { listener, token, strangers, room, next_number: Door::NUMBER + 1, open: false, warned: false }
    }

    /// Takes connections from here on; again after there was no descriptor for one.
    pub(super) fn open(&mut self, poll: &OwnedFd) {
        if !self.open {
            let added = epoll::add(
                poll,
                &self.listener,
                epoll::EventData::new_u64(Door::NUMBER),
                epoll::EventFlags::IN,
            );
            self.open = added.is_ok();
        }
    }

    /// Takes nobody in for a while; the others are served meanwhile.
    fn close(&mut self, poll: &OwnedFd, error: &io::Error) {
        self.open = epoll::delete(poll, &self.listener).is_err();
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                "a worker's lifeline cannot be accepted now: {error}; raise the limit on open files (ulimit -n)"
            );
        }
    }

    /// Lets those in who wait. A worker has shown its token by then, as a rule; others become strangers.
    pub(super) fn admit(&mut self, poll: &OwnedFd, now: Duration) -> Vec<Guest> {
        let mut guests = Vec::new();
        for _ in 0..AT_A_TIME {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_shortage(&error) => {
                    if self.strangers.pop_first().is_some() {
                        continue;
                    }
                    self.close(poll, &error);
                    break;
                }
                Err(_) => continue, // It has left already.
            };
            let number = self.next_number;
            self.next_number += 1;
            let added = stream.set_nonblocking(true).is_ok()
                && epoll::add(poll, &stream, epoll::EventData::new_u64(number), epoll::EventFlags::IN)
                    .is_ok();
            if added {
                let said = [0; Introduction::BYTES];
                self.strangers.insert(number, Stranger { stream, since: now, said, length: 0 });
                guests.extend(self.hear(number));
            }
            if self.strangers.len() > self.room {
                self.strangers.pop_first();
            }
        }
        guests
    }

    /// Hears a stranger; returns one that has shown the token.
    pub(super) fn hear(&mut self, number: u64) -> Option<Guest> {
        let stranger = self.strangers.get_mut(&number)?;
        while stranger.length < Introduction::BYTES {
            match stranger.stream.read(&mut stranger.said[stranger.length..]) {
                Ok(count) if count > 0 => stranger.length += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => {
                    self.strangers.remove(&number);
                    return None;
                }
            }
        }
        // The token is compared as a whole: an early answer would let it be guessed piece by piece.
        let Stranger { stream, said, .. } = self.strangers.remove(&number)?;
        let introduction = Introduction::from_bytes(&said);
        (introduction.token == self.token).then_some(Guest { number, stream, introduction })
    }

    /// Sends those away who have been here for too long.
    pub(super) fn clear(&mut self, now: Duration) {
        self.strangers.retain(|_, stranger| now - stranger.since < INTRODUCE);
    }
}

/// No descriptor or memory is left, here or in the system.
fn is_shortage(error: &io::Error) -> bool {
    let codes = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|code| codes.contains(&code))
}
