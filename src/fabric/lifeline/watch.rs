//! The thread at rank 0 that watches every lifeline, and asks who is silent.

use std::{
    collections::HashMap,
    io::{self, Read},
    net::TcpStream,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use crossbeam_channel::Sender;
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    process::Pid,
};

use super::{
    Heard, Introduction, Report,
    door::{Door, Guest},
    keep_alive,
    lines::Posts,
    pid_space,
    pulse::Clock,
};
use crate::{launch, sync::lock};

/// The number of the pipe in the epoll set whose end means that rank 0 leaves.
const LEAVING: u64 = 0;
/// How often the workers are asked, where the stall is not short.
const BEAT: Duration = Duration::from_secs(1);
/// Connections that are looked at in one round.
const EVENTS: usize = 256;

/// The lifeline of a worker.
struct Line {
    rank: u32,
    stream: Arc<TcpStream>,
    /// The beginning of a report.
    received: Vec<u8>,
}

pub(super) struct Lookout {
    poll: OwnedFd,
    _leaving: OwnedFd,
    door: Door,
    lines: HashMap<u64, Line>,
    posts: Posts,
    stall: Option<Duration>,
    out: Sender<Heard>,
    ending: Arc<AtomicBool>,
    engine: Thread,
}

impl Lookout {
    /// Starts the thread, which wakes this one when there is news. It ends when the other end of `leaving` closes.
    pub(super) fn start(
        mut door: Door,
        leaving: OwnedFd,
        stall: Option<Duration>,
        posts: Posts,
        out: Sender<Heard>,
        ending: Arc<AtomicBool>,
    ) -> io::Result<()> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&poll, &leaving, epoll::EventData::new_u64(LEAVING), epoll::EventFlags::IN)?;
        door.open(&poll);
        let engine = thread::current();
        let lines = HashMap::new();
        let watch = Lookout { poll, _leaving: leaving, door, lines, posts, stall, out, ending, engine };
        thread::Builder::new().name("rankpool-lifelines".into()).spawn(move || watch.run()).map(drop)
    }

    fn run(mut self) {
        let beat = self.stall.map_or(BEAT, |stall| stall / 8).min(BEAT);
        let mut clock = Clock::new(beat);
        let mut next_beat = Duration::ZERO;
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        loop {
            // A millisecond more, so that a wait that is rounded down does not end just before the beat.
            let wait = next_beat.saturating_sub(clock.now()) + Duration::from_millis(1);
            let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
            events.clear();
            // An interruption only makes this thread look again.
            let _ = epoll::wait(&self.poll, spare_capacity(&mut events), Some(&wait));
            let now = clock.look();
            for event in &events {
                match event.data.u64() {
                    // Rank 0 has ended the fabric; closing the sockets ends late workers.
                    LEAVING => return,
                    Door::NUMBER => {
                        let guests = self.door.admit(&self.poll, now);
                        guests.into_iter().for_each(|guest| self.join(guest));
                    }
                    number if self.lines.contains_key(&number) => self.hear(number),
                    number => {
                        if let Some(guest) = self.door.hear(number) {
                            self.join(guest);
                        }
                    }
                }
            }
            if now >= next_beat {
                next_beat = now + beat;
                self.door.open(&self.poll);
                self.door.clear(now);
                self.ask(now);
            }
        }
    }

    /// Takes a worker's lifeline, unless the worker has one.
    fn join(&mut self, guest: Guest) {
        let Guest { number, stream, introduction } = guest;
        let rank = introduction.rank;
        let mut posts = lock(&self.posts);
        let Some(post) = posts.get_mut(&rank) else {
            tracing::warn!("a connection says that it is worker {rank}, which there is not; it is refused");
            return;
        };
        if post.line.is_some() && post.pulse.has_answered() {
            tracing::warn!("a connection says that it is worker {rank}, which is connected; it is refused");
            return;
        }
        if keep_alive(&stream).is_err() {
            return; // It is gone.
        }
        post.process = process_on_this_host(&stream, introduction);
        let stream = Arc::new(stream);
        if let Some((earlier, _)) = post.line.replace((number, stream.clone())) {
            self.lines.remove(&earlier); // The worker has given up waiting on it, and tries again.
        }
        post.ping(None);
        drop(posts);
        self.lines.insert(number, Line { rank, stream, received: Vec::new() });
    }

    /// Reads what a worker has to say.
    fn hear(&mut self, number: u64) {
        let Some(line) = self.lines.get_mut(&number) else { return };
        let mut bytes = [0; 16 * Report::BYTES];
        match (&*line.stream).read(&mut bytes) {
            Ok(0) => return self.closed(number, "its process ended"),
            Ok(count) => line.received.extend_from_slice(&bytes[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return;
            }
            Err(error) => return self.closed(number, &format!("its lifeline broke: {error}")),
        }
        let rank = line.rank;
        let (reports, rest) = line.received.as_chunks::<{ Report::BYTES }>();
        let reports: Vec<Option<Report>> = reports.iter().map(Report::from_bytes).collect();
        line.received = rest.to_vec();
        for report in reports {
            match report {
                Some(Report::Alive) => {
                    if let Some(post) = lock(&self.posts).get_mut(&rank) {
                        post.pulse.answered();
                    }
                }
                Some(Report::Overdue(task)) => self.tell(Heard::Overdue { rank, task }),
                Some(Report::Drain) => {
                    tracing::info!("worker {rank} was asked to stop in time");
                    launch::drain_flag().store(true, Ordering::Relaxed);
                }
                None => return self.closed(number, "it sent what is no report over its lifeline"),
            }
        }
    }

    fn closed(&mut self, number: u64, reason: &str) {
        let Some(Line { rank, .. }) = self.lines.remove(&number) else { return };
        let mut posts = lock(&self.posts);
        let Some(post) = posts.get_mut(&rank) else { return };
        post.line = None;
        // One that has not answered yet may be trying again.
        let known = post.pulse.has_answered() || post.lost;
        if post.lost {
            posts.remove(&rank);
        }
        drop(posts);
        if known && !self.ending.load(Ordering::Acquire) {
            self.tell(Heard::Gone { rank, reason: reason.to_string() });
        }
    }

    /// Asks the workers that have answered, and gives those up that have not for too long.
    fn ask(&self, now: Duration) {
        for (rank, post) in lock(&self.posts).iter_mut() {
            let Some(patience) = post.patience(self.stall).filter(|_| !post.frozen && post.line.is_some())
            else {
                continue;
            };
            match post.pulse.silence(now) {
                None => post.ping(Some(now)),
                Some(time) if time > patience => {
                    post.frozen = true;
                    self.tell(Heard::Silent { rank: *rank, time });
                }
                Some(_) => {}
            }
        }
    }

    fn tell(&self, heard: Heard) {
        let _ = self.out.send(heard);
        self.engine.unpark();
    }
}

/// The worker's process, if this host and this container know it by the number that it tells.
fn process_on_this_host(stream: &TcpStream, introduction: Introduction) -> Option<Pid> {
    // A connection from one address to the same one has not left the host.
    let here = stream.peer_addr().ok()?.ip() == stream.local_addr().ok()?.ip();
    let same_space = introduction.pid_space != 0 && introduction.pid_space == pid_space();
    Pid::from_raw(introduction.pid as i32).filter(|_| here && same_space)
}
