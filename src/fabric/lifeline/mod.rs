//! The lifeline: a connection beside the fabric that tells when a worker dies or freezes, and when rank 0 dies.
//!
//! MPI does not report a dead process everywhere, and a thread that is stuck in a task cannot
//! listen. So every worker process keeps a TCP connection to rank 0, opened with a secret that
//! travelled over the fabric. The kernel closes it when a process dies, however it dies. A thread
//! of its own watches it on both sides and needs no MPI.
//!
//! The kernel keeps it open for a process that is stopped. So rank 0 asks now and then (a ping), and a
//! process that computes answers all the same, since its thread needs only a moment. The first ping tells a
//! worker that rank 0 has taken it in; before it, a connection that ends is only tried again.
//!
//! A worker that has had nothing to do for a while sleeps, since looking for messages by MPI takes CPU; it is woken over
//! its lifeline.
//!
//! Worker to rank 0: one [`Introduction`], then [`Report`]s. Rank 0 to worker: bytes, each a ping, a goodbye, a call to
//! wake up, or the exit code with which the worker is to end at once.

mod door;
mod lines;
mod pulse;
mod watch;
mod worker;

use std::{io, net::TcpStream, time::Duration};

use rustix::net::sockopt;

pub(super) use lines::Lifelines;
pub(super) use worker::connect;
#[cfg(test)]
pub(super) use worker::introduce;

use crate::{wire::nanos, worker::Limited};

/// Rank 0 leaves in order: that the connection ends after it does not mean that rank 0 was killed.
const GOODBYE: u8 = u8::MAX;
/// Rank 0 asks whether the worker is alive.
const PING: u8 = u8::MAX - 1;
/// There is a message for the worker.
const WAKE: u8 = PING - 1;
/// The largest exit code that can be ordered.
const LARGEST_CODE: u8 = WAKE - 1;

/// What rank 0 hears of its workers.
#[derive(Debug)]
pub(super) enum Heard {
    /// The connection ended, and why.
    Gone { rank: u32, reason: String },
    /// Not an answer for this long.
    Silent { rank: u32, time: Duration },
    /// A task is over its time.
    Overdue { rank: u32, task: Limited },
}

/// What a worker says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Introduction {
    pub(super) token: [u8; 16],
    pub(super) rank: u32,
    pub(super) pid: u32,
    /// Names the system of process ids that `pid` belongs to, on its host; 0 when it is not known.
    pub(super) pid_space: u64,
}

impl Introduction {
    const BYTES: usize = 32;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.token);
        bytes[16..20].copy_from_slice(&self.rank.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.pid.to_le_bytes());
        bytes[24..].copy_from_slice(&self.pid_space.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; Self::BYTES]) -> Introduction {
        let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|k| bytes[at + k]));
        Introduction {
            token: std::array::from_fn(|k| bytes[k]),
            rank: half(16),
            pid: half(20),
            pid_space: word(bytes, 24),
        }
    }
}

/// What a worker reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Report {
    /// The answer to a ping.
    Alive,
    /// A task is over its time.
    Overdue(Limited),
    /// The worker was asked to stop in time: a launcher passes signals on to any rank.
    Drain,
}

impl Report {
    const BYTES: usize = 32;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let words = match self {
            Report::Alive => [1, 0, 0, 0],
            Report::Overdue(Limited { dispatch, task, limit }) => [2, dispatch, task, nanos(limit)],
            Report::Drain => [3, 0, 0, 0],
        };
        std::array::from_fn(|k| words[k / 8].to_le_bytes()[k % 8])
    }

    fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Report> {
        match word(bytes, 0) {
            1 => Some(Report::Alive),
            2 => Some(Report::Overdue(Limited {
                dispatch: word(bytes, 8),
                task: word(bytes, 16),
                limit: Duration::from_nanos(word(bytes, 24)),
            })),
            3 => Some(Report::Drain),
            _ => None,
        }
    }
}

fn word(bytes: &[u8; 32], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|k| bytes[at + k]))
}

/// Names the system of process ids that this process lives in: containers have their own. 0 when it is not known.
fn pid_space() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |space| std::os::unix::fs::MetadataExt::ino(&space))
}

/// How long the other side may be unreachable.
#[cfg(target_os = "linux")]
const UNREACHABLE: Duration = Duration::from_secs(15);

/// Bounds the loss of a whole node, which closes no connection: about 15 s of silence, whether something is
/// under way to it or not.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    #[cfg(target_os = "linux")]
    {
        sockopt::set_tcp_keepidle(stream, Duration::from_secs(5))?;
        sockopt::set_tcp_keepintvl(stream, Duration::from_secs(3))?;
        sockopt::set_tcp_keepcnt(stream, 3)?;
        sockopt::set_tcp_user_timeout(stream, UNREACHABLE.as_millis() as u32)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
