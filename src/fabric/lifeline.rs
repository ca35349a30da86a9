//! The lifeline: a connection beside the fabric that tells when a worker dies, and when rank 0 does.
//!
//! MPI does not report a dead process everywhere, and a thread that is stuck in a task cannot
//! listen. So every worker process keeps a TCP connection to rank 0, opened with a secret that
//! travelled over the fabric. The kernel closes it when a process dies, however it dies. A thread
//! of its own watches it on both sides and needs no MPI.
//!
//! Worker to rank 0: the token and the rank once, then a record for each task that is over its
//! time, and one when the worker was asked to stop in time: a launcher passes signals on to any rank. Rank 0
//! to worker: one byte, the exit code with which the worker is to end at once, or a goodbye.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt,
};

use super::News;
use crate::{
    launch,
    worker::{Board, Overdue},
};

const HELLO_BYTES: usize = 20;
const RECORD_BYTES: usize = 24;
/// The record that says that the worker was asked to stop in time.
const DRAIN: [u64; 3] = [u64::MAX; 3];
/// Rank 0 leaves in order: that the connection ends after it does not mean that rank 0 was killed.
const GOODBYE: u8 = u8::MAX;
/// How long a worker may take to leave after rank 0 has.
const LEAVE: Duration = Duration::from_secs(3);
/// How often the time limits are looked at; a task is reported within this time of its limit.
const WATCH: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// How long a worker tries to reach rank 0.
const CONNECT: Duration = Duration::from_secs(5);

/// Rank 0's end: the lifelines of all workers.
pub(super) struct Lifelines {
    pub(super) token: [u8; 16],
    port: u16,
    kept: bool,
    addresses: Vec<SocketAddr>,
    pub(super) news: Receiver<News>,
    lines: Arc<Mutex<HashMap<u32, TcpStream>>>,
    ending: Arc<AtomicBool>,
    wake: OwnedFd,
}

impl Lifelines {
    /// Listens on all addresses of this host; news wakes the calling thread.
    pub(super) fn listen() -> io::Result<Lifelines> {
        raise_file_limit();
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let mut addresses: Vec<SocketAddr> = if_addrs::get_if_addrs()?
            .into_iter()
            .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
            .map(|interface| SocketAddr::new(interface.ip(), port))
            .collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        let (out, news) = unbounded();
        let (wake, woken) = rustix::pipe::pipe()?;
        let lines = Arc::new(Mutex::new(HashMap::new()));
        let ending = Arc::new(AtomicBool::new(false));
        let token = launch::random_token()?;
        let watch = Watch {
            token,
            listener,
            out,
            lines: lines.clone(),
            ending: ending.clone(),
            woken: wake,
            scheduler: thread::current(),
        };
        thread::Builder::new().name("rankpool-lifelines".into()).spawn(move || watch.run())?;
        Ok(Lifelines { token, port, kept: false, addresses, news, lines, ending, wake: woken })
    }

    /// The addresses to try, for a worker on this host or on another one.
    pub(super) fn addresses_for(&self, same_host: bool) -> Vec<SocketAddr> {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let local = same_host.then_some(loopback);
        local.into_iter().chain(self.addresses.iter().copied()).collect()
    }

    /// Orders a worker to end at once, stuck or not, with an exit code of at most 254.
    pub(super) fn order_exit(&self, rank: u32, code: u8) {
        self.say(rank, code.min(GOODBYE - 1));
    }

    /// Tells a worker that rank 0 leaves in order, and perhaps before it.
    pub(super) fn say_goodbye(&self, rank: u32) {
        self.say(rank, GOODBYE);
    }

    fn say(&self, rank: u32, word: u8) {
        if let Some(mut line) = lock(&self.lines).get(&rank) {
            // A worker that is gone needs to hear nothing.
            let _ = line.write_all(&[word]);
        }
    }

    /// True while this worker's connection stands.
    pub(super) fn stands(&self, rank: u32) -> bool {
        lock(&self.lines).contains_key(&rank)
    }

    /// Leaves the connections open until this process ends: closing them would end the workers.
    pub(super) fn keep_until_the_end(&mut self) {
        self.kept = true;
        // The watching thread ends when the last writer of its pipe is gone.
        if let Ok(wake) = self.wake.try_clone() {
            std::mem::forget(wake);
        }
    }

    /// From here on a closed lifeline is no news.
    pub(super) fn ending(&self) {
        self.ending.store(true, Ordering::Release);
    }
}

impl Drop for Lifelines {
    fn drop(&mut self) {
        self.ending();
        if self.kept {
            return;
        }
        let _ = rustix::io::write(&self.wake, &[0]);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread at rank 0 that watches every lifeline.
struct Watch {
    token: [u8; 16],
    listener: TcpListener,
    out: Sender<News>,
    lines: Arc<Mutex<HashMap<u32, TcpStream>>>,
    ending: Arc<AtomicBool>,
    woken: OwnedFd,
    scheduler: Thread,
}

/// A connection, and what has come over it.
struct Line {
    stream: TcpStream,
    rank: Option<u32>,
    received: Vec<u8>,
}

impl Watch {
    fn run(self) {
        let mut lines: Vec<Line> = Vec::new();
        loop {
            let mut fds: Vec<PollFd<'_>> =
                vec![PollFd::new(&self.woken, PollFlags::IN), PollFd::new(&self.listener, PollFlags::IN)];
            fds.extend(lines.iter().map(|line| PollFd::new(&line.stream, PollFlags::IN)));
            if poll(&mut fds, None).is_err() {
                continue; // Interrupted by a signal.
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            if ready[0] {
                return; // Rank 0 has ended the fabric; closing the sockets ends late workers.
            }
            let mut number = 2;
            lines.retain_mut(|line| {
                let keep = !ready[number] || self.hear(line);
                number += 1;
                keep
            });
            self.accept(&mut lines);
        }
    }

    fn accept(&self, lines: &mut Vec<Line>) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::error!(
                        "a worker's lifeline cannot be accepted: {error}; raise the limit on open files"
                    );
                    thread::sleep(Duration::from_secs(1));
                    return;
                }
            };
            if stream.set_nonblocking(true).is_ok() && keep_alive(&stream).is_ok() {
                lines.push(Line { stream, rank: None, received: Vec::new() });
            }
        }
    }

    /// Reads what a connection has to say; false when it is over.
    fn hear(&self, line: &mut Line) -> bool {
        let mut bytes = [0; 240];
        match line.stream.read(&mut bytes) {
            Ok(0) => return self.closed(line, "its process ended"),
            Ok(count) => line.received.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(error) => return self.closed(line, &format!("its lifeline broke: {error}")),
        }
        if line.rank.is_none() && line.received.len() >= HELLO_BYTES {
            let rest = line.received.split_off(HELLO_BYTES);
            let hello = std::mem::replace(&mut line.received, rest);
            let Ok(stream) = line.stream.try_clone() else {
                return false;
            };
            if hello[..16] != self.token {
                return false; // A stranger.
            }
            let rank = u32::from_le_bytes([hello[16], hello[17], hello[18], hello[19]]);
            line.rank = Some(rank);
            lock(&self.lines).insert(rank, stream);
        }
        if let Some(rank) = line.rank {
            while line.received.len() >= RECORD_BYTES {
                let rest = line.received.split_off(RECORD_BYTES);
                let record = std::mem::replace(&mut line.received, rest);
                let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|k| record[at + k]));
                if [word(0), word(8), word(16)] == DRAIN {
                    tracing::info!("worker {rank} was asked to stop in time");
                    launch::drain_flag().store(true, Ordering::Relaxed);
                    continue;
                }
                let limit = Duration::from_nanos(word(16));
                self.tell(News::Overdue { rank, dispatch: word(0), task: word(8), limit });
            }
        }
        line.rank.is_some() || line.received.len() < HELLO_BYTES
    }

    fn closed(&self, line: &Line, reason: &str) -> bool {
        if let Some(rank) = line.rank {
            lock(&self.lines).remove(&rank);
            if !self.ending.load(Ordering::Acquire) {
                self.tell(News::Lost { rank, reason: reason.to_string() });
            }
        }
        false
    }

    fn tell(&self, news: News) {
        let _ = self.out.send(news);
        self.scheduler.unpark();
    }
}

/// Each worker takes two descriptors, and 1024 is a usual limit.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A limit that stays serves fewer workers; accepting them says so.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Bounds the loss of a whole node, which closes no connection: about 15 s of silence.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    #[cfg(target_os = "linux")]
    {
        sockopt::set_tcp_keepidle(stream, Duration::from_secs(5))?;
        sockopt::set_tcp_keepintvl(stream, Duration::from_secs(3))?;
        sockopt::set_tcp_keepcnt(stream, 3)?;
    }
    Ok(())
}

/// Connects a worker's lifeline and starts the thread that watches it: it ends this process when
/// rank 0 says so or is gone, and reports tasks that are over their time.
pub(super) fn connect(
    addresses: &[SocketAddr],
    token: [u8; 16],
    rank: u32,
    board: Arc<Board>,
) -> io::Result<()> {
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "rank 0 has no address");
    let share = CONNECT / addresses.len().max(1) as u32;
    for address in addresses {
        match TcpStream::connect_timeout(address, share) {
            Ok(mut stream) => {
                stream.set_nodelay(true)?;
                keep_alive(&stream)?;
                stream.write_all(&[&token[..], &rank.to_le_bytes()].concat())?;
                thread::Builder::new()
                    .name("rankpool-lifeline".into())
                    .spawn(move || watch_rank_0(stream, &board))?;
                return Ok(());
            }
            Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
        }
    }
    Err(last)
}

/// Set when this worker leaves: rank 0 may be gone before it from here on.
static LEAVING: AtomicBool = AtomicBool::new(false);

/// This worker leaves in order; the end of its lifeline means nothing any more.
pub(super) fn leave() {
    LEAVING.store(true, Ordering::Release);
}

fn watch_rank_0(mut stream: TcpStream, board: &Board) {
    let mut reported: Option<Overdue> = None;
    let mut asked = false;
    let mut goodbye = false;
    let send = |mut stream: &TcpStream, words: [u64; 3]| {
        let record: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        // When rank 0 is gone, the next look says so.
        let _ = stream.write_all(&record);
    };
    loop {
        let fd = stream.as_fd();
        let heard = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&WATCH));
        if heard.is_ok_and(|ready| ready > 0) {
            let mut word = [0];
            match stream.read(&mut word) {
                Ok(1..) if word == [GOODBYE] => goodbye = true,
                Ok(1..) => launch::exit_now(word[0].into()),
                _ if LEAVING.load(Ordering::Acquire) => return,
                _ if goodbye => {
                    // The main thread ends this process when it has read as much; unless it is stuck.
                    thread::sleep(LEAVE);
                    launch::exit_now(launch::EXIT_DONE);
                }
                _ => launch::end_orphaned(),
            }
        }
        if let Some(overdue) = board.overdue().filter(|overdue| reported != Some(*overdue)) {
            send(&stream, [overdue.dispatch, overdue.task, overdue.limit.as_nanos() as u64]);
            reported = Some(overdue);
        }
        if launch::drain_asked() && !std::mem::replace(&mut asked, true) {
            send(&stream, DRAIN);
        }
    }
}
