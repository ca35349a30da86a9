//! Workers that are child processes of this program, over socket pairs: mode `processes`, and the children of leaders.
//!
//! A child is the same executable with the same arguments, or the program that the user has named, in a process group
//! of its own. Its standard input is its end of the socket; it recognises itself by an environment variable that names
//! its parent.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::{
    event::{PollFd, PollFlags, Timespec, epoll, poll},
    io::Errno,
};

use super::{
    Ending, Expecting, Idle, Pause,
    group::Group,
    node_memory::{self, NodeMemory},
    stream::FrameStream,
    transport::{Incoming, Replacement, Transport},
    worker_side::{Served, serve_remote},
};
use crate::{
    error::{Error, ErrorKind},
    launch::{self, Policy},
    wire::{Frame, Program, ToRank0, ToWorker},
    worker::{Link, LinkError},
};

/// How long a child may take to leave after its goodbye.
const LEAVE: Duration = Duration::from_secs(5);

/// Children that are read from in one round.
const AT_A_TIME: usize = 64;

/// How long the ends of killed children are waited for.
const REAP: Duration = Duration::from_secs(1);

/// How long a child that is given up may keep others waiting for its end: then its tasks are begun elsewhere.
const END: Duration = Duration::from_millis(50);

/// What the child at a slot is started with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seat {
    /// The CPUs that it is bound to, if it is.
    pub(crate) cpus: Option<Vec<u32>>,
    /// What its environment has beside this process's.
    pub(crate) variables: Vec<(&'static str, String)>,
}

pub(crate) struct Processes {
    children: BTreeMap<u32, Connected>,
    /// Children that were killed, and have not been seen to end.
    killed: Vec<Group>,
    next_rank: u32,
    /// What they are, if they are not this program.
    program: Option<Program>,
    /// Where children sit; one that replaces a lost one takes its seat.
    seats: Vec<Seat>,
    /// Tasks at a time on this host.
    tasks: u32,
    /// Shared values, by their numbers.
    shared: HashMap<u64, NodeMemory>,
    /// Knows which children have sent something: a round does not ask them all.
    arrivals: OwnedFd,
    /// Children for whom frames wait.
    leaving: BTreeSet<u32>,
    /// Children whose socket is broken, as a flush has found out.
    broken: Vec<u32>,
}

struct Connected {
    group: Group,
    slot: u32,
    stream: FrameStream,
}

impl Processes {
    /// Starts a child for each seat, as workers 1 and up. `tasks` run at a time on the CPUs of this process.
    pub(crate) fn start(program: Option<Program>, seats: Vec<Seat>, tasks: u32) -> Result<Processes, Error> {
        let arrivals = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| {
            Error::new(ErrorKind::Launch, format!("worker processes cannot be listened to: {error}"))
        })?;
        let mut processes = Processes {
            children: BTreeMap::new(),
            killed: Vec::new(),
            next_rank: 1,
            program,
            tasks,
            seats,
            shared: HashMap::new(),
            arrivals,
            leaving: BTreeSet::new(),
            broken: Vec::new(),
        };
        for _ in 0..processes.seats.len() {
            processes.spawn()?;
        }
        Ok(processes)
    }

    pub(crate) fn ranks(&self) -> Vec<u32> {
        self.children.keys().copied().collect()
    }

    fn spawn(&mut self) -> Result<u32, Error> {
        let rank = self.next_rank;
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Launch, format!("worker process {rank} could not be started: {error}"))
        };
        let (here, there) = UnixStream::pair().map_err(failed)?;
        let slot = self.free_slot();
        let seat = self.seats.get(slot as usize).cloned().unwrap_or_default();
        let threads = match &seat.cpus {
            Some(cpus) => launch::library_threads(cpus.len(), 1),
            None => launch::library_threads(launch::here().cpus.len(), self.tasks),
        };
        let mut command = self.command().map_err(failed)?;
        command
            .env(launch::CHILD, std::process::id().to_string())
            .envs(threads)
            .envs(seat.variables)
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(there)));
        // A task may be an MPI program itself.
        for (name, _) in std::env::vars_os().filter(|(name, _)| launch::belongs_to_the_launch(name)) {
            command.env_remove(name);
        }
        let mut start = || command.spawn();
        let child = match &seat.cpus {
            Some(cpus) => launch::run_on(cpus, start).and_then(|started| started),
            None => start(),
        };
        let group = Group::of(child.map_err(failed)?);
        let stream = FrameStream::new(here).map_err(failed)?;
        let data = epoll::EventData::new_u64(rank.into());
        epoll::add(&self.arrivals, stream.socket(), data, epoll::EventFlags::IN)
            .map_err(|error| failed(error.into()))?;
        self.children.insert(rank, Connected { group, slot, stream });
        self.next_rank += 1;
        Ok(rank)
    }

    /// What a child is started by.
    fn command(&self) -> std::io::Result<Command> {
        let mut command;
        if let Some(program) = &self.program {
            command = Command::new(program.file());
            command.args(program.arguments());
        } else {
            let mut arguments = std::env::args_os();
            command = Command::new(launch::same_executable()?);
            command.arg0(arguments.next().unwrap_or_default()).args(arguments);
        }
        Ok(command)
    }

    fn free_slot(&self) -> u32 {
        let taken: BTreeSet<u32> = self.children.values().map(|child| child.slot).collect();
        (0..).find(|slot| !taken.contains(slot)).unwrap_or(0)
    }

    /// The slot of a child, and what it was started with.
    pub(crate) fn seat_of(&self, rank: u32) -> (u32, Seat) {
        let slot = self.slot(rank);
        (slot, self.seats.get(slot as usize).cloned().unwrap_or_default())
    }

    /// Keeps a shared value, for children that are going to need it.
    pub(crate) fn keep(&mut self, number: u64, value: Bytes) {
        self.shared.insert(number, NodeMemory::of(value));
    }

    /// Its children have no need of that any more.
    pub(crate) fn drop_shared(&mut self, number: u64) {
        self.shared.remove(&number);
    }

    /// Sleeps until a child has sent something, for so long at most.
    pub(crate) fn wait(&self, limit: Duration) {
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        // What has come is seen at the next poll; an interruption only makes the caller look again.
        let _ = poll(&mut [PollFd::new(&self.arrivals, PollFlags::IN)], Some(&limit));
    }
}

impl Transport for Processes {
    fn poll(&mut self, inbox: &mut Vec<(u32, Incoming)>) -> Result<bool, Error> {
        let before = inbox.len();
        let gone = |rank: u32| (rank, Incoming::Gone("its process ended".into()));
        let mut events = Vec::with_capacity(AT_A_TIME);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        match epoll::wait(&self.arrivals, rustix::buffer::spare_capacity(&mut events), Some(&at_once)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                let text = format!("worker processes cannot be listened to any more: {error}");
                return Err(Error::new(ErrorKind::Internal, text));
            }
        }
        for event in events {
            let rank = event.data.u64() as u32;
            let Some(connected) = self.children.get_mut(&rank) else { continue };
            loop {
                match connected.stream.try_read() {
                    Ok(Some(frame)) => inbox.push((rank, Incoming::Frame(frame))),
                    Ok(None) => break,
                    Err(_) => {
                        inbox.push(gone(rank));
                        break;
                    }
                }
            }
        }
        self.flush();
        inbox.extend(self.broken.drain(..).map(gone));
        Ok(inbox.len() > before)
    }

    fn slot(&self, rank: u32) -> u32 {
        self.children.get(&rank).map_or(0, |child| child.slot)
    }

    fn share(&mut self, rank: u32, number: u64, value: &Bytes) {
        let memory = self.shared.entry(number).or_insert_with(|| NodeMemory::of(value.clone()));
        match memory.clone() {
            NodeMemory::Small(value) => self.post(rank, ToWorker::Share { number, value }.pack()),
            NodeMemory::Mapped { file, length } => {
                if let Some(connected) = self.children.get_mut(&rank) {
                    let frame = ToWorker::Mapped { number, length: length as u64 }.pack();
                    connected.stream.post_with(&frame, file);
                    self.leaving.insert(rank);
                }
            }
        }
    }

    fn forget(&mut self, number: u64) {
        self.drop_shared(number);
    }

    fn post(&mut self, rank: u32, frame: Frame) {
        if let Some(connected) = self.children.get_mut(&rank) {
            connected.stream.post(&frame);
            self.leaving.insert(rank);
        }
    }

    fn flush(&mut self) {
        self.leaving.retain(|rank| match self.children.get_mut(rank).map(|child| child.stream.flush()) {
            Some(Ok(all)) => !all,
            Some(Err(_)) => {
                self.broken.push(*rank);
                false
            }
            None => false,
        });
    }

    fn owns_workers(&self) -> bool {
        true
    }

    fn abandon(&mut self, rank: u32) {
        if let Some(mut connected) = self.children.remove(&rank) {
            // It has been added, and its socket is open.
            let _ = epoll::delete(&self.arrivals, connected.stream.socket());
            connected.group.kill();
            // Its tasks must not begin elsewhere while one of its processes still works on them.
            connected.group.end_within(END);
            self.killed.push(connected.group);
        }
        // They are not waited for: one that the kernel holds, for a hung file system, ends when the kernel lets go.
        self.killed.retain_mut(|group| !group.has_ended());
    }

    fn policy(&self) -> Policy {
        Policy::CHILDREN
    }

    fn replace(&mut self) -> Result<Replacement, Error> {
        self.spawn().map(Replacement::Started)
    }

    fn end(&mut self, ending: Ending, _: bool) -> Result<(), Error> {
        let deadline =
            Instant::now() + if matches!(ending, Ending::Orderly { .. }) { LEAVE } else { Duration::ZERO };
        for mut connected in std::mem::take(&mut self.children).into_values() {
            let mut idle = Idle::new(false);
            while Instant::now() < deadline && connected.group.child_lives() {
                let _ = connected.stream.flush();
                idle.pause(Expecting::Nothing);
            }
            connected.group.kill();
            self.killed.push(connected.group);
        }
        let deadline = Instant::now() + REAP;
        for mut group in self.killed.drain(..) {
            group.end_within(deadline.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        let _ = self.end(Ending::Forced { code: None }, true);
    }
}

/// Serves as a worker and ends the process.
pub(crate) fn serve_as_child() -> ! {
    let served = Socket::from_stdin()
        .and_then(|mut link| serve_remote(&mut link, |link, idle| link.idle = idle, None));
    match served {
        Ok(Served::Goodbye(_)) => launch::exit_now(launch::EXIT_DONE),
        Ok(Served::Refused) => launch::exit_now(launch::EXIT_INTERNAL),
        Err(_) => launch::exit_now(launch::EXIT_ORPHANED),
    }
}

/// A child's link: the socket that was its standard input.
struct Socket {
    stream: FrameStream,
    idle: Idle,
}

fn broken(error: std::io::Error) -> LinkError {
    LinkError(error.to_string())
}

impl Socket {
    fn from_stdin() -> Result<Socket, LinkError> {
        let socket =
            rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3).map_err(|error| broken(error.into()))?;
        // A task that reads its standard input must not eat frames.
        let null = std::fs::File::open("/dev/null").map_err(broken)?;
        rustix::stdio::dup2_stdin(null).map_err(|error| broken(error.into()))?;
        let stream = FrameStream::new(socket.into()).map_err(broken)?;
        Ok(Socket { stream, idle: Idle::new(false) })
    }

    /// Waits in the kernel until the socket can be used in the way asked for.
    fn wait(&self, flags: PollFlags) {
        // An interruption only makes the caller look again.
        let _ = poll(&mut [PollFd::new(self.stream.socket(), flags)], None);
    }
}

impl Link for Socket {
    fn try_recv(&mut self) -> Result<Option<ToWorker>, LinkError> {
        let Some(frame) = self.stream.try_read().map_err(broken)? else { return Ok(None) };
        match ToWorker::unpack(frame).ok_or_else(LinkError::of_noise)? {
            ToWorker::Mapped { number, length } => {
                let file = self.stream.file().ok_or_else(LinkError::of_noise)?;
                let value = node_memory::map(&file, length).map_err(broken)?;
                Ok(Some(ToWorker::Share { number, value }))
            }
            message => Ok(Some(message)),
        }
    }

    fn has_arrived(&self) -> bool {
        self.stream.has_read()
    }

    fn recv(&mut self) -> Result<ToWorker, LinkError> {
        self.flush()?;
        self.idle.reset();
        loop {
            if let Some(message) = self.try_recv()? {
                return Ok(message);
            }
            match self.idle.next(Expecting::Soon) {
                Pause::Spin => std::hint::spin_loop(),
                Pause::Yield => std::thread::yield_now(),
                Pause::Sleep(_) => self.wait(PollFlags::IN),
            }
        }
    }

    fn post(&mut self, message: ToRank0) {
        self.stream.post(&message.pack());
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        while !self.stream.flush().map_err(broken)? {
            self.wait(PollFlags::OUT);
        }
        Ok(())
    }
}
