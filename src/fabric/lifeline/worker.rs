//! The worker's end: it is heard by a thread that needs no MPI.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{GOODBYE, Introduction, PING, Report, WAKE, keep_alive, pid_space, pulse::Clock};
use crate::{
    launch,
    worker::{Board, Limited, Seen},
};

/// How long a worker may take to leave after rank 0 has.
const LEAVE: Duration = Duration::from_secs(3);
/// How often the time limits are looked at; a task is reported within this time of its limit.
const WATCH: Duration = Duration::from_millis(25);
/// How long a worker tries to reach rank 0.
const CONNECT: Duration = Duration::from_secs(6);
/// How long it waits before it tries again.
const AGAIN: Duration = Duration::from_millis(100);

/// Connects a worker's lifeline and starts the thread that watches it: it ends this process when
/// rank 0 says so or is gone, answers pings, wakes the calling thread when rank 0 says so, and reports tasks that are over
/// their time.
///
/// # Errors
/// When rank 0 has not taken this worker in after some seconds.
pub(in crate::fabric) fn connect(
    addresses: &[SocketAddr],
    token: [u8; 16],
    rank: u32,
    board: Arc<Board>,
) -> io::Result<Lifeline> {
    let introduction = Introduction { token, rank, pid: std::process::id(), pid_space: pid_space() };
    let serving = thread::current();
    let deadline = Instant::now() + CONNECT;
    let share = CONNECT / addresses.len().max(1) as u32;
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "rank 0 has no address");
    loop {
        for address in addresses {
            match introduce(address, share, introduction) {
                Ok(stream) => {
                    let leaving = Arc::new(AtomicBool::new(false));
                    let line = Lifeline { leaving: leaving.clone() };
                    return thread::Builder::new()
                        .name("rankpool-lifeline".into())
                        .spawn(move || watch_rank_0(stream, &board, &serving, &leaving))
                        .map(|_| line);
                }
                Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
            }
        }
        // Rank 0 sends workers away when strangers crowd its door.
        thread::sleep(AGAIN);
        if Instant::now() > deadline {
            return Err(last);
        }
    }
}

/// One try: connected, introduced, and taken in by rank 0.
pub(in crate::fabric) fn introduce(
    address: &SocketAddr,
    limit: Duration,
    introduction: Introduction,
) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(address, limit)?;
    keep_alive(&stream)?;
    stream.write_all(&introduction.to_bytes())?;
    stream.set_read_timeout(Some(limit))?;
    let mut word = [0];
    stream.read_exact(&mut word).map_err(|error| {
        io::Error::new(error.kind(), format!("connected, and not taken in by rank 0 ({error})"))
    })?;
    if word != [PING] {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "this is not rank 0"));
    }
    stream.set_read_timeout(None)?;
    stream.write_all(&Report::Alive.to_bytes())?;
    Ok(stream)
}

/// A worker's end of its lifeline.
#[derive(Debug)]
pub(in crate::fabric) struct Lifeline {
    /// Set when this worker leaves: rank 0 may be gone before it from then on.
    leaving: Arc<AtomicBool>,
}

impl Lifeline {
    /// This worker leaves in order; the end of its lifeline means nothing any more.
    pub(in crate::fabric) fn leave(self) {
        self.leaving.store(true, Ordering::Release);
    }
}

fn watch_rank_0(mut stream: TcpStream, board: &Board, serving: &Thread, leaving: &AtomicBool) {
    let mut reported: Option<Limited> = None;
    let mut asked = false;
    let mut goodbye = false;
    let mut clock = Clock::new(WATCH);
    let mut seen = Seen::default();
    let wait = Timespec { tv_sec: 0, tv_nsec: WATCH.subsec_nanos().into() };
    loop {
        let fd = stream.as_fd();
        let heard = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&wait));
        let now = clock.look();
        let mut reports = [None; 3];
        if heard.is_ok_and(|ready| ready > 0) {
            let mut word = [0];
            match stream.read(&mut word) {
                Ok(1..) if word == [GOODBYE] => {
                    goodbye = true;
                    serving.unpark(); // What rank 0 has to say besides is on its way.
                }
                Ok(1..) if word == [PING] => reports[0] = Some(Report::Alive),
                Ok(1..) if word == [WAKE] => serving.unpark(),
                Ok(1..) => launch::exit_now(word[0].into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ if leaving.load(Ordering::Acquire) => return,
                _ if goodbye => {
                    // The serving thread leaves when it has read as much; unless it is stuck.
                    thread::sleep(LEAVE);
                    if leaving.load(Ordering::Acquire) {
                        return;
                    }
                    launch::exit_now(launch::EXIT_DONE);
                }
                _ => launch::end_orphaned(),
            }
        }
        if let Some(overdue) =
            board.overdue(&mut seen, now, WATCH).filter(|overdue| reported != Some(*overdue))
        {
            reports[1] = Some(Report::Overdue(overdue));
            reported = Some(overdue);
        }
        if launch::drain_asked() && !std::mem::replace(&mut asked, true) {
            reports[2] = Some(Report::Drain);
        }
        for report in reports.into_iter().flatten() {
            // When rank 0 is gone, the next look says so.
            let _ = stream.write_all(&report.to_bytes());
        }
    }
}
