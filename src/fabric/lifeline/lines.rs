//! Rank 0's end: what its other threads do with the workers' lifelines.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crossbeam_channel::{Receiver, unbounded};
use rustix::process::{Pid, Signal};

use super::{
    GOODBYE, Heard, LARGEST_CODE, PING, WAKE,
    door::Door,
    pulse::{Pulse, patience},
    watch::Lookout,
};
use crate::{fabric::files, launch, sync::lock};

/// The most connections that have not shown the token.
const MOST_STRANGERS: usize = 32;

/// What is known of a worker that was told the token.
#[derive(Default)]
pub(super) struct Post {
    /// Its connection, while it stands, and the number by which the watching thread knows it.
    pub(super) line: Option<(u64, Arc<TcpStream>)>,
    /// Its process, where that can be ended from here.
    pub(super) process: Option<Pid>,
    /// How long the tasks may take that it was given last.
    limit: Option<Duration>,
    pub(super) pulse: Pulse,
    /// It was given up, because it did not answer.
    pub(super) frozen: bool,
    /// It is lost: nothing is to be kept of it once its process is gone.
    pub(super) lost: bool,
}

impl Post {
    /// How long it may be silent.
    pub(super) fn patience(&self, stall: Option<Duration>) -> Option<Duration> {
        patience(stall, self.limit)
    }

    /// Asks whether it is alive; what it does not take now it is asked later.
    pub(super) fn ping(&mut self, now: Option<Duration>) {
        if self.say(PING) {
            self.pulse.asked(now);
        }
    }

    fn say(&self, word: u8) -> bool {
        // A worker that is gone needs to hear nothing.
        self.line.as_ref().is_some_and(|(_, stream)| (&**stream).write(&[word]).is_ok_and(|sent| sent == 1))
    }
}

/// The workers, by rank.
pub(super) type Posts = Arc<Mutex<BTreeMap<u32, Post>>>;

/// The lifelines of all workers.
pub(in crate::fabric) struct Lifelines {
    pub(in crate::fabric) token: [u8; 16],
    port: u16,
    addresses: Vec<SocketAddr>,
    pub(in crate::fabric) heard: Receiver<Heard>,
    posts: Posts,
    ending: Arc<AtomicBool>,
    /// The watching thread ends when this is closed.
    alive: Option<OwnedFd>,
}

impl Lifelines {
    /// Listens on all addresses of this host, for `workers` lifelines; what is heard wakes the calling thread. A worker that
    /// does not answer for `stall` is given up.
    pub(in crate::fabric) fn listen(workers: usize, stall: Option<Duration>) -> io::Result<Lifelines> {
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
        let (out, heard) = unbounded();
        let (woken, alive) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let posts = Posts::default();
        let ending = Arc::new(AtomicBool::new(false));
        let token = launch::random_token()?;
        // Strangers leave descriptors for workers, and for what else rank 0 opens.
        let room = (files::free().saturating_sub(workers) / 2).clamp(1, MOST_STRANGERS);
        let door = Door::new(listener, token, room);
        Lookout::start(door, woken, stall, posts.clone(), out, ending.clone())?;
        Ok(Lifelines { token, port, addresses, heard, posts, ending, alive: Some(alive) })
    }

    /// The addresses to try, for a worker on this host or on another one.
    pub(in crate::fabric) fn addresses_for(&self, same_host: bool) -> Vec<SocketAddr> {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let local = same_host.then_some(loopback);
        local.into_iter().chain(self.addresses.iter().copied()).collect()
    }

    /// A worker is about to be told the token; a connection for another rank is refused.
    pub(in crate::fabric) fn expect(&self, rank: u32) {
        lock(&self.posts).entry(rank).or_default();
    }

    /// A worker is lost. Nothing is kept of it from when its connection ends; one that has not connected yet may still
    /// come, and must hear then that it is to end.
    pub(in crate::fabric) fn lost(&self, rank: u32) {
        let mut posts = lock(&self.posts);
        if let Some(post) = posts.get_mut(&rank) {
            post.lost = true;
            if post.line.is_none() && post.pulse.has_answered() {
                posts.remove(&rank);
            }
        }
    }

    /// True while something is kept of a worker.
    pub(in crate::fabric) fn knows(&self, rank: u32) -> bool {
        lock(&self.posts).contains_key(&rank)
    }

    /// Tells how long the tasks may take that a worker is given from here on; `None` for any time.
    pub(in crate::fabric) fn limit(&self, rank: u32, limit: Option<Duration>) {
        if let Some(post) = lock(&self.posts).get_mut(&rank) {
            post.limit = limit;
        }
    }

    /// Orders a worker to end at once, stuck or not, with an exit code of at most 252.
    pub(in crate::fabric) fn order_exit(&self, rank: u32, code: u8) {
        self.say(rank, code.min(LARGEST_CODE));
    }

    /// Tells a worker that rank 0 leaves in order, and perhaps before it.
    pub(in crate::fabric) fn say_goodbye(&self, rank: u32) {
        self.say(rank, GOODBYE);
    }

    /// Wakes a worker, should it sleep: there is a message for it.
    pub(in crate::fabric) fn wake(&self, rank: u32) {
        self.say(rank, WAKE);
    }

    fn say(&self, rank: u32, word: u8) {
        if let Some(post) = lock(&self.posts).get(&rank) {
            post.say(word);
        }
    }

    /// Kills a worker on this host that cannot hear the order to exit. The process is there, and no other one has
    /// its number, as long as its lifeline stands.
    pub(in crate::fabric) fn kill(&self, rank: u32) {
        if let Some(Post { line: Some(_), process: Some(pid), .. }) = lock(&self.posts).get(&rank) {
            // It may end in this moment by itself.
            let _ = rustix::process::kill_process(*pid, Signal::KILL);
        }
    }

    /// True while this worker's connection stands.
    pub(in crate::fabric) fn stands(&self, rank: u32) -> bool {
        lock(&self.posts).get(&rank).is_some_and(|post| post.line.is_some())
    }

    /// True when this worker was given up because it did not answer, and its process is still there.
    pub(in crate::fabric) fn is_frozen(&self, rank: u32) -> bool {
        lock(&self.posts).get(&rank).is_some_and(|post| post.frozen && post.line.is_some())
    }

    /// Asks all workers once more. They have no tasks any more, and no reason to let rank 0 wait.
    pub(in crate::fabric) fn ask_idle_workers(&self) {
        for post in lock(&self.posts).values_mut() {
            post.limit = Some(Duration::ZERO);
            post.ping(None);
        }
    }

    /// True when each worker has answered, or is given up.
    pub(in crate::fabric) fn all_have_answered(&self) -> bool {
        let waits = |post: &Post| post.line.is_some() && !post.frozen;
        !lock(&self.posts).values().any(|post| waits(post) && post.pulse.owes_an_answer())
    }

    /// Leaves the connections open until this process ends: closing them would end the workers.
    pub(in crate::fabric) fn keep_until_the_end(&mut self) {
        std::mem::forget(self.alive.take());
    }

    /// From here on a closed lifeline is no news.
    pub(in crate::fabric) fn ending(&self) {
        self.ending.store(true, Ordering::Release);
    }
}

impl Drop for Lifelines {
    fn drop(&mut self) {
        self.ending();
    }
}
