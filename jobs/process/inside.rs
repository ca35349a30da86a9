//! The minder's own process, and that of its guardian.
//!
//! The worker starts the guardian: the same program anew, in a session of its own, so that neither ctrl-C nor the end
//! of the worker's process group reaches it. The guardian forks the minder, and does nothing but wait for it. The
//! minder runs one program at a time. Both are subreapers: processes that the minder's programs leave behind become
//! the minder's children. Those of a minder that was killed become the guardian's, which kills them.

use std::{
    collections::HashMap,
    ffi::{CStr, CString, OsStr},
    fs::{File, OpenOptions, create_dir_all},
    io,
    mem::MaybeUninit,
    net::Shutdown,
    os::{
        fd::{AsFd, FromRawFd, OwnedFd},
        unix::{ffi::OsStrExt, net::UnixStream},
    },
    path::Path,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{
        Pid, WaitId, WaitIdOptions, chdir, fchdir, getpid, getppid, set_child_subreaper, setsid, waitid,
    },
};

use super::{
    descendants,
    message::{Answer, Inbox, Kind, Order, Outcome, Reason},
    spawn::{Image, spawn_within},
};

/// How long processes are waited for that were killed: one that hangs in the kernel, or is another user's, does not end.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks at processes that were killed.
const LOOK: Duration = Duration::from_millis(2);

/// The guardian: standard input is the socket to the worker.
pub(super) fn guard() -> ExitCode {
    match start().and_then(|socket| Inside::new(socket)?.serve()) {
        Ok(()) => ExitCode::SUCCESS,
        // There is nobody to tell but the worker, which sees that the socket is closed.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Becomes the guardian; returns in the minder only, with its socket.
fn start() -> io::Result<UnixStream> {
    close_inherited();
    // A group leader has a session of its own, or a shell's job: it stays there.
    let _ = setsid();
    block_signals();
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let nothing = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    set_child_subreaper(Some(getpid()))?;
    // SAFETY: this process has one thread.
    let minder = unsafe { libc::fork() };
    match Pid::from_raw(minder) {
        None => {
            set_child_subreaper(Some(getpid()))?;
            rustix::thread::set_name(c"task-minder")?;
            Ok(socket)
        }
        Some(_) if minder < 0 => Err(io::Error::last_os_error()),
        Some(minder) => {
            drop(socket);
            rustix::thread::set_name(c"task-guardian")?;
            while matches!(waitid(WaitId::Pid(minder), WaitIdOptions::EXITED), Err(Errno::INTR)) {}
            descendants::kill_all();
            std::process::exit(0)
        }
    }
}

/// Closes what has come from the worker unasked: a file or a socket of its would stay open here.
fn close_inherited() {
    // SAFETY: nothing in this process owns a descriptor yet but the standard streams.
    if unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) } == 0 {
        return;
    }
    // Linux before 5.9.
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&descriptor| descriptor > 2)
        .collect();
    for descriptor in open {
        // SAFETY: as above. The listing's own descriptor is closed already, which is an error without effect.
        unsafe { libc::close(descriptor) };
    }
}

/// Blocks all signals: what is sent to all processes of a run ends none of these. They end with their worker.
fn block_signals() {
    let mut all = MaybeUninit::uninit();
    // SAFETY: the set is initialised by the first call. A child's end must not be ignored, or nobody could wait for it.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
}

/// A descriptor that can be read when a child has ended.
fn ends_of_children() -> io::Result<OwnedFd> {
    let mut signals = MaybeUninit::uninit();
    // SAFETY: the set is initialised by the first call; the descriptor that comes is new, and owned by nobody else.
    unsafe {
        libc::sigemptyset(signals.as_mut_ptr());
        libc::sigaddset(signals.as_mut_ptr(), libc::SIGCHLD);
        match libc::signalfd(-1, signals.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor)),
        }
    }
}

/// What woke the minder while a program ran.
enum Woken {
    ChildEnded,
    TimeOver,
    Asked(Duration),
    WorkerGone,
}

struct Inside {
    socket: UnixStream,
    inbox: Inbox,
    ends: OwnedFd,
    guardian: Option<Pid>,
    environment: Environment,
    /// Where the worker was when it started this.
    home: File,
    away: bool,
}

impl Inside {
    fn new(socket: UnixStream) -> io::Result<Inside> {
        Ok(Inside {
            socket,
            inbox: Inbox::new(),
            ends: ends_of_children()?,
            guardian: getppid(),
            environment: Environment::default(),
            home: File::open(".")?,
            away: false,
        })
    }

    /// Runs programs until the worker goes, or one leaves a process that cannot be ended: the guardian waits for its end.
    fn serve(mut self) -> io::Result<()> {
        while let Some(order) = self.inbox.receive(&self.socket)? {
            match order.kind {
                Kind::Environment => self.environment = Environment::new(self.inbox.body()),
                Kind::Run | Kind::Keep if !self.run(&order)? => break,
                // That program has ended meanwhile.
                Kind::Run | Kind::Keep | Kind::End => {}
            }
        }
        Ok(())
    }

    /// Runs a program to its end. Whether this minder may run another one.
    fn run(&mut self, order: &Order) -> io::Result<bool> {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut answer = Answer {
            outcome: Outcome::Exited,
            reason: Reason::ItsOwn,
            value: 0,
            started,
            ran: Duration::ZERO,
            cpu: Duration::ZERO,
            peak_bytes: 0,
            left: 0,
        };
        let clock = Instant::now();
        let spawned = self.spawn(order);
        let mut tally = Tally::new(spawned.as_ref().ok().copied());
        let mut kill_after = order.kill_after;
        let mut gone = false;
        match &spawned {
            Err((outcome, error)) => {
                answer.outcome = *outcome;
                answer.value = error.raw_os_error().unwrap_or(libc::EIO);
            }
            Ok(program) => {
                let deadline = order.limit.and_then(|limit| clock.checked_add(limit));
                while !tally.reap() && tally.ended.is_none() {
                    match self.wait(deadline)? {
                        Woken::ChildEnded => continue,
                        Woken::TimeOver => answer.reason = Reason::TimeOver,
                        Woken::Asked(within) => (answer.reason, kill_after) = (Reason::Asked, within),
                        Woken::WorkerGone => gone = true,
                    }
                    let finds_its_end = gone && order.kind == Kind::Keep;
                    if !finds_its_end || !self.ends_by_itself(kill_after, &mut tally)? {
                        self.terminate(*program, kill_after, &mut tally)?;
                    }
                    break;
                }
            }
        }
        answer.left = self.kill_rest(&mut tally)?;
        if let Some(end) = &tally.ended {
            answer.ran = end.at.duration_since(clock);
            (answer.outcome, answer.value) = match libc::WIFSIGNALED(end.status) {
                true => (Outcome::Signalled, libc::WTERMSIG(end.status)),
                false => (Outcome::Exited, libc::WEXITSTATUS(end.status)),
            };
        }
        (answer.cpu, answer.peak_bytes) = (tally.cpu, tally.peak_bytes);
        if gone {
            return Ok(false);
        }
        // Another program's processes could not be told from these, and without a guardian nobody is behind this minder.
        let last = answer.left > 0 || getppid() != self.guardian;
        if last {
            // The worker's next order is refused, and goes to a new minder.
            self.socket.shutdown(Shutdown::Read)?;
        }
        answer.send(&mut self.socket)?;
        Ok(!last)
    }

    fn spawn(&mut self, order: &Order) -> Result<Pid, (Outcome, io::Error)> {
        let not_started = |error| (Outcome::NotStarted, error);
        let mut descriptors = self.inbox.descriptors().into_iter();
        let streams =
            [0, 1, 2].map(|place| (order.streams >> place & 1 == 1).then(|| descriptors.next()).flatten());
        let mut body = self.inbox.body();
        let program = body.next().ok_or_else(|| not_started(io::ErrorKind::InvalidInput.into()))?;
        let words = body.by_ref().take(order.words as usize).collect();
        let environment = self.environment.with(body.by_ref().take(order.environment as usize));
        let image = Image { program, words, environment, streams };
        if self.away {
            fchdir(&self.home).map_err(|error| (Outcome::NoDirectory, error.into()))?;
            self.away = false;
        }
        if let Some(directory) = body.next() {
            enter(Path::new(OsStr::from_bytes(directory.to_bytes())))
                .map_err(|error| (Outcome::NoDirectory, error))?;
            self.away = true;
        }
        match order.memory {
            None => image.spawn().map_err(not_started),
            Some(memory) => spawn_within(&image, memory).map_err(|(error, of_the_limit)| {
                (if of_the_limit { Outcome::NoMemoryLimit } else { Outcome::NotStarted }, error)
            }),
        }
    }

    /// Whether the program ends within this time, without being asked to.
    fn ends_by_itself(&mut self, within: Duration, tally: &mut Tally) -> io::Result<bool> {
        let deadline = Instant::now().checked_add(within);
        while !tally.reap()
            && tally.ended.is_none()
            && deadline.is_none_or(|deadline| Instant::now() < deadline)
        {
            self.wait_for_ends(deadline)?;
        }
        Ok(tally.ended.is_some())
    }

    /// Asks all processes of a program to end, and gives them so much time.
    fn terminate(&mut self, program: Pid, kill_after: Duration, tally: &mut Tally) -> io::Result<()> {
        descendants::terminate(program);
        let deadline = Instant::now().checked_add(kill_after);
        while !tally.reap() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            self.wait_for_ends(deadline)?;
        }
        Ok(())
    }

    /// Kills what is there, and tells how many could not be ended. Mostly there is nothing, and it costs nothing.
    fn kill_rest(&mut self, tally: &mut Tally) -> io::Result<u64> {
        let deadline = Instant::now() + KILLED_WITHIN;
        while !tally.reap() {
            let found = descendants::kill();
            if Instant::now() > deadline {
                return Ok(found.max(1) as u64);
            }
            self.wait_for_ends(Some(Instant::now() + LOOK))?;
        }
        Ok(0)
    }

    fn wait_for_ends(&self, deadline: Option<Instant>) -> io::Result<()> {
        wait_on(&mut [PollFd::new(&self.ends, PollFlags::IN)], deadline)?;
        self.take_ends();
        Ok(())
    }

    /// Waits until something happens to the program that runs.
    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<Woken> {
        // What has been read together with the order to start is not seen on the socket any more.
        if !self.inbox.has_more() {
            let mut sources =
                [PollFd::new(&self.ends, PollFlags::IN), PollFd::new(&self.socket, PollFlags::IN)];
            if !wait_on(&mut sources, deadline)? {
                return Ok(Woken::TimeOver);
            }
            if !sources[0].revents().is_empty() {
                self.take_ends();
                return Ok(Woken::ChildEnded);
            }
        }
        // A worker that has gone in the middle of an order is gone.
        Ok(match self.inbox.receive(&self.socket) {
            Ok(Some(order)) => Woken::Asked(order.kill_after),
            Ok(None) | Err(_) => Woken::WorkerGone,
        })
    }

    /// One signal may stand for many ends, so what it says is of no use.
    fn take_ends(&self) {
        let mut told = [0; size_of::<libc::signalfd_siginfo>()];
        // It does not wait when there is nothing.
        let _ = rustix::io::read(&self.ends, &mut told);
    }
}

/// Goes to a directory, which is made if it is not there.
fn enter(directory: &Path) -> io::Result<()> {
    match chdir(directory) {
        Err(Errno::NOENT) => {
            create_dir_all(directory)?;
            Ok(chdir(directory)?)
        }
        entered => Ok(entered?),
    }
}

/// Waits until one of the sources has something, or the time is over: then false.
pub(super) fn wait_on(sources: &mut [PollFd], deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left =
            left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        match poll(sources, left.as_ref()) {
            Err(Errno::INTR) => {}
            woken => return Ok(woken? > 0),
        }
    }
}

/// How the program ended.
struct End {
    status: i32,
    at: Instant,
}

/// What the processes of one program have used, as they end.
struct Tally {
    program: Option<Pid>,
    ended: Option<End>,
    cpu: Duration,
    peak_bytes: u64,
}

impl Tally {
    fn new(program: Option<Pid>) -> Tally {
        Tally { program, ended: None, cpu: Duration::ZERO, peak_bytes: 0 }
    }

    /// Takes in the ends of processes. Whether there is none any more.
    fn reap(&mut self) -> bool {
        loop {
            let mut status = 0;
            let mut usage = MaybeUninit::<libc::rusage>::zeroed();
            // SAFETY: both places may be written; zeroes are a valid rusage.
            let (pid, usage) = unsafe {
                (libc::wait4(-1, &mut status, libc::WNOHANG, usage.as_mut_ptr()), usage.assume_init())
            };
            match pid {
                0 => return false,
                // There is no child. Those of children's children would have come here.
                -1 => return true,
                _ => {}
            }
            self.cpu += duration(usage.ru_utime) + duration(usage.ru_stime);
            self.peak_bytes = self.peak_bytes.max(usage.ru_maxrss as u64 * 1024);
            if Pid::from_raw(pid) == self.program {
                self.ended = Some(End { status, at: Instant::now() });
            }
        }
    }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
}

/// The environment of all programs, to which each adds its own.
#[derive(Default)]
struct Environment {
    /// As NAME=VALUE.
    entries: Vec<CString>,
    places: HashMap<Vec<u8>, usize>,
}

impl Environment {
    fn new<'a>(entries: impl Iterator<Item = &'a CStr>) -> Environment {
        let entries: Vec<CString> = entries.map(CStr::to_owned).collect();
        let places = entries.iter().enumerate().map(|(place, entry)| (name(entry).to_vec(), place)).collect();
        Environment { entries, places }
    }

    /// With further entries, which take the place of those of the same name.
    fn with<'a>(&'a self, more: impl Iterator<Item = &'a CStr>) -> Vec<&'a CStr> {
        let mut all: Vec<&CStr> = self.entries.iter().map(CString::as_c_str).collect();
        for entry in more {
            let more = all[self.entries.len()..].iter().position(|other| name(other) == name(entry));
            match self.places.get(name(entry)).copied().or(more.map(|place| self.entries.len() + place)) {
                Some(place) => all[place] = entry,
                None => all.push(entry),
            }
        }
        all
    }
}

fn name(entry: &CStr) -> &[u8] {
    let entry = entry.to_bytes();
    entry.split(|&byte| byte == b'=').next().unwrap_or(entry)
}
