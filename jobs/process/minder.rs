//! The worker's side of a minder: programs that are run to their ends.

use std::{
    cell::RefCell,
    ffi::{OsStr, OsString},
    fs::{File, OpenOptions, create_dir_all},
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, net::UnixStream},
    },
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::{
    event::{PollFd, PollFlags},
    fs::{MemfdFlags, memfd_create},
    io::{Errno, ioctl_fionbio},
    pipe::{PipeFlags, fcntl_getpipe_size, pipe_with},
};

use super::{
    ASKED, Ended, How, Kept, Out, Spec, Status, Stdin,
    inside::wait_on,
    message::{Answer, Kind, Order, Outcome, Reason},
    output::Collector,
    seek::Programs,
};

/// What is read of an output at a time: a pipe holds as much.
const AT_A_TIME: usize = 64 << 10;

/// How long a minder and its guardian are waited for when they are to go.
const GONE_WITHIN: Duration = Duration::from_secs(30);

thread_local! {
    static OF_THIS_THREAD: RefCell<Option<Minder>> = const { RefCell::new(None) };
}

/// Lends this thread's minder, which is started when it is first asked for, with the environment of all its programs.
///
/// # Errors
/// When it cannot be started, or `with` asks for it again.
pub fn with_minder<T>(
    environment: impl FnOnce() -> Vec<(OsString, OsString)>,
    with: impl FnOnce(&mut Minder) -> T,
) -> io::Result<T> {
    OF_THIS_THREAD.with(|minder| {
        let mut minder = minder.try_borrow_mut().map_err(io::Error::other)?;
        let minder = match &mut *minder {
            Some(minder) => minder,
            none => none.insert(Minder::start(environment())?),
        };
        Ok(with(minder))
    })
}

/// Runs programs, one at a time. Dropped, it leaves no process.
pub struct Minder {
    environment: Vec<(OsString, OsString)>,
    programs: Programs,
    connection: Option<Connection>,
    message: Vec<u8>,
    scratch: Vec<u8>,
}

/// A guardian, and the socket to its minder.
struct Connection {
    guardian: Child,
    socket: UnixStream,
}

impl Minder {
    /// Starts the two processes. All programs get this environment.
    ///
    /// # Errors
    /// When they cannot be started.
    pub fn start(environment: Vec<(OsString, OsString)>) -> io::Result<Minder> {
        let mut minder = Minder {
            programs: Programs::new(&environment),
            environment,
            connection: None,
            message: Vec::new(),
            scratch: vec![0; AT_A_TIME],
        };
        minder.connect()?;
        Ok(minder)
    }

    /// Runs a program, and waits for its end. What it did wrong is in the answer, not an error.
    ///
    /// # Errors
    /// When the minder was killed: its program was ended, and another minder is started for the next one. When no minder
    /// can be started.
    pub fn run(&mut self, spec: &Spec) -> io::Result<Ended> {
        let started = SystemTime::now();
        let (mut stdout, mut stderr) = (Output::default(), Output::default());
        let prepared = self.prepare(spec).and_then(|order| {
            let stdin = open_stdin(&spec.stdin)?;
            let out = stdout.open(&spec.stdout, "output", io::stdout().as_fd())?;
            let err = match &spec.stderr {
                Out::File(path) if spec.stdout == Out::File(path.clone()) => {
                    out.as_ref().map(OwnedFd::try_clone).transpose()?
                }
                to => stderr.open(to, "error", io::stderr().as_fd())?,
            };
            Ok((order, [stdin, out, err]))
        });
        let answer = match prepared {
            Ok((order, streams)) => {
                self.send(order, streams)?;
                self.listen(&mut stdout, &mut stderr)?
            }
            Err(error) => return Ok(not_started(started, error.to_string())),
        };
        let mut ended = self.ended(answer, spec);
        ended.stdout = stdout.finish(&mut self.scratch);
        ended.stderr = stderr.finish(&mut self.scratch);
        Ok(ended)
    }

    /// Puts together the message that starts a program.
    pub(super) fn prepare(&mut self, spec: &Spec) -> io::Result<Order> {
        let Some(name) = spec.words.first() else {
            return Err(io::Error::new(ErrorKind::InvalidInput, "a program needs a name; none is given"));
        };
        let program = self.programs.find(name, &spec.environment).map_err(|error| about(name, &error))?;
        let message = &mut self.message;
        Order::make_room(message);
        put_string(message, &[program.as_os_str()])?;
        for word in &spec.words {
            put_string(message, &[word])?;
        }
        for (name, value) in &spec.environment {
            put_string(message, &[name, OsStr::new("="), value])?;
        }
        if let Some(directory) = &spec.directory {
            put_string(message, &[directory.as_os_str()])?;
        }
        Ok(Order {
            words: spec.words.len() as u64,
            environment: spec.environment.len() as u64,
            limit: spec.limit,
            kill_after: spec.kill_after,
            memory: spec.memory,
            ..Order::new(Kind::Run)
        })
    }

    /// Sends what `prepare` has put together.
    pub(super) fn send(&mut self, mut order: Order, streams: [Option<OwnedFd>; 3]) -> io::Result<()> {
        order.streams =
            streams.iter().enumerate().map(|(place, stream)| u64::from(stream.is_some()) << place).sum();
        let streams: Vec<BorrowedFd> = streams.iter().flatten().map(AsFd::as_fd).collect();
        for again in [true, false] {
            if self.connection.is_none() {
                // It uses the same room for its message.
                let message = std::mem::take(&mut self.message);
                self.connect()?;
                self.message = message;
            }
            let Some(connection) = &mut self.connection else { continue };
            match order.send(&mut self.message, &streams, &mut connection.socket) {
                // It was gone before, and has not started anything.
                Err(error) if again && error.kind() == ErrorKind::BrokenPipe => {
                    self.connection.take().map(Connection::close);
                }
                Err(_) => return Err(self.lost()),
                Ok(()) => return Ok(()),
            }
        }
        Err(self.lost())
    }

    fn connect(&mut self) -> io::Result<()> {
        let failed = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("the process that minds a task's programs cannot be started: {error}"),
            )
        };
        let (socket, theirs) = UnixStream::pair().map_err(failed)?;
        let guardian = rankpool::cli::again()
            .map_err(failed)?
            .arg(ASKED)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let connection = self.connection.insert(Connection { guardian, socket });
        Order::make_room(&mut self.message);
        for (name, value) in &self.environment {
            put_string(&mut self.message, &[name, OsStr::new("="), value])?;
        }
        Order::new(Kind::Environment).send(&mut self.message, &[], &mut connection.socket).map_err(failed)
    }

    /// Reads outputs until the answer is there.
    fn listen(&mut self, stdout: &mut Output, stderr: &mut Output) -> io::Result<Answer> {
        loop {
            let Some(connection) = &self.connection else { return Err(self.lost()) };
            let outputs = [&*stdout, &*stderr].map(|output| output.pipe.is_some());
            let pipes = [&*stdout, &*stderr].into_iter().filter_map(|output| output.pipe.as_ref());
            let mut sources = vec![PollFd::new(&connection.socket, PollFlags::IN)];
            sources.extend(pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            wait_on(&mut sources, None)?;
            let mut ready = sources.iter().map(|source| !source.revents().is_empty());
            let mut next = || ready.next().unwrap_or(false);
            let (answered, out, err) = (next(), outputs[0] && next(), outputs[1] && next());
            if answered {
                return self.answer();
            }
            if out {
                stdout.read(&mut self.scratch);
            }
            if err {
                stderr.read(&mut self.scratch);
            }
        }
    }

    /// Asks the program to end. Its answer comes later.
    pub(super) fn ask_to_end(&mut self, kill_after: Duration) -> io::Result<()> {
        let order = Order { kill_after, ..Order::new(Kind::End) };
        let mut message = Vec::new();
        Order::make_room(&mut message);
        let sent =
            self.connection.as_mut().map(|connection| order.send(&mut message, &[], &mut connection.socket));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(self.lost()),
        }
    }

    /// Takes the answer in, which is there or about to be.
    pub(super) fn answer(&mut self) -> io::Result<Answer> {
        match self.connection.as_mut().map(|connection| Answer::receive(&mut connection.socket)) {
            Some(Ok(answer)) => Ok(answer),
            _ => Err(self.lost()),
        }
    }

    /// The minder is gone. Its guardian kills what it has left; then the guardian ends.
    fn lost(&mut self) -> io::Error {
        let ended = self.connection.take().is_none_or(Connection::close);
        io::Error::other(match ended {
            true => {
                "the process that minds the task's program was killed; all of the program was ended with it"
            }
            false => {
                "the process that minds the task's program was killed; its guardian is still ending the program"
            }
        })
    }

    pub(super) fn ended(&mut self, answer: Answer, spec: &Spec) -> Ended {
        let name = spec.words.first().map(OsString::as_os_str).unwrap_or_default();
        let error = io::Error::from_raw_os_error(answer.value);
        let status = match answer.outcome {
            Outcome::Exited => Ok(Status::Exited(answer.value)),
            Outcome::Signalled => Ok(Status::Signalled(answer.value)),
            Outcome::NotStarted => {
                self.programs.forget(name);
                Err(about(name, &why_not_started(error)))
            }
            Outcome::NoDirectory => {
                let directory = spec.directory.as_deref().unwrap_or(Path::new("."));
                Err(about(
                    directory.as_os_str(),
                    &format_args!("the task cannot run in this directory: {error}"),
                ))
            }
            Outcome::NoMemoryLimit => {
                Err(about(name, &format_args!("its memory cannot be limited, so it was not run: {error}")))
            }
        };
        let how = match (status, answer.reason) {
            (Err(error), _) => How::NotStarted(error.to_string()),
            (Ok(status), Reason::TimeOver) => How::TimedOut(status),
            (Ok(status), Reason::Asked) => How::Stopped(status),
            (Ok(Status::Exited(code)), Reason::ItsOwn) => How::Exited(code),
            (Ok(Status::Signalled(signal)), Reason::ItsOwn) => How::Signalled(signal),
        };
        if answer.left > 0 {
            // The minder goes, since it cannot tell them from the next program's. Its guardian goes when they have ended.
            if let Some(connection) = self.connection.take() {
                connection.leave();
            }
        }
        Ended {
            how,
            started: UNIX_EPOCH + answer.started,
            seconds: answer.ran.as_secs_f64(),
            cpu_seconds: answer.cpu.as_secs_f64(),
            peak_bytes: answer.peak_bytes,
            stdout: Kept::default(),
            stderr: Kept::default(),
            left: answer.left,
        }
    }

    /// What tells that the answer is there.
    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        Some(self.connection.as_ref()?.socket.as_fd())
    }
}

impl Drop for Minder {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close();
        }
    }
}

impl Connection {
    /// Ends both processes, and what runs. Whether they ended in time.
    fn close(mut self) -> bool {
        // The minder sees it as the worker's end.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let deadline = Instant::now() + GONE_WITHIN;
        let mut pause = Duration::from_micros(100);
        while matches!(self.guardian.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        true
    }

    /// Lets them end in their own time. A thread waits for that, so that no zombie stays.
    fn leave(mut self) {
        let wait = move || {
            let _ = self.guardian.wait();
        };
        // Without it a zombie stays until this process ends.
        let _ = thread::Builder::new().name("rankpool-guardian".into()).spawn(wait);
    }
}

/// An output that comes to the worker.
#[derive(Default)]
struct Output {
    /// Until its end.
    pipe: Option<OwnedFd>,
    collector: Option<Collector>,
}

impl Output {
    /// What the program is to write to. `None` for /dev/null.
    fn open(&mut self, to: &Out, name: &str, ours: BorrowedFd) -> io::Result<Option<OwnedFd>> {
        let Out::Keep { most } = to else { return open_output(to, name, ours) };
        // A new one for each program: an old one may be held by a process that is no descendant of the program.
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        ioctl_fionbio(&reader, true)?;
        self.pipe = Some(reader);
        self.collector = Some(Collector::new(*most));
        Ok(Some(writer))
    }

    /// Reads once. How much; 0 when there is nothing, or no more.
    fn read(&mut self, scratch: &mut [u8]) -> usize {
        let (Some(pipe), Some(collector)) = (&self.pipe, &mut self.collector) else { return 0 };
        match rustix::io::read(pipe, &mut *scratch) {
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Ok(0) | Err(_) => {
                self.pipe = None;
                0
            }
            Ok(count) => {
                collector.take(&scratch[..count]);
                count
            }
        }
    }

    /// Reads what is in the pipe. Nothing of the program writes any more; whoever else does is not waited for.
    fn finish(mut self, scratch: &mut [u8]) -> Kept {
        let mut most = self.pipe.as_ref().map_or(0, |pipe| fcntl_getpipe_size(pipe).unwrap_or(AT_A_TIME));
        while most > 0 {
            match self.read(scratch) {
                0 => break,
                count => most = most.saturating_sub(count),
            }
        }
        self.collector.map(Collector::finish).unwrap_or_default()
    }
}

/// Where an output goes that the worker does not read.
pub(super) fn open_output(to: &Out, name: &str, ours: BorrowedFd) -> io::Result<Option<OwnedFd>> {
    match to {
        Out::Nothing | Out::Keep { .. } => Ok(None),
        Out::Inherit => Ok(Some(ours.try_clone_to_owned()?)),
        Out::File(path) => match create(path) {
            Ok(file) => Ok(Some(file.into())),
            Err(error) => {
                Err(about(path.as_os_str(), &format_args!("the standard {name} cannot go there: {error}")))
            }
        },
    }
}

fn open_stdin(stdin: &Stdin) -> io::Result<Option<OwnedFd>> {
    match stdin {
        Stdin::Nothing => Ok(None),
        Stdin::File(path) => match File::open(path) {
            Ok(file) => Ok(Some(file.into())),
            Err(error) => {
                Err(about(path.as_os_str(), &format_args!("it cannot be the standard input: {error}")))
            }
        },
        Stdin::Text(text) => {
            let memory = File::from(memfd_create("stdin", MemfdFlags::CLOEXEC)?);
            std::os::unix::fs::FileExt::write_all_at(&memory, text, 0)?;
            Ok(Some(memory.into()))
        }
    }
}

/// Makes or empties a file, and makes its folders.
fn create(path: &Path) -> io::Result<File> {
    let create = || OpenOptions::new().write(true).create(true).truncate(true).open(path);
    match (create(), path.parent()) {
        (Err(error), Some(folder)) if error.kind() == ErrorKind::NotFound => {
            create_dir_all(folder)?;
            create()
        }
        (created, _) => created,
    }
}

/// Puts a string into a message, in parts.
fn put_string(message: &mut Vec<u8>, parts: &[&OsStr]) -> io::Result<()> {
    for part in parts {
        if part.as_bytes().contains(&0) {
            return Err(about(part, &"no program can be told a zero byte"));
        }
        message.extend_from_slice(part.as_bytes());
    }
    message.push(0);
    Ok(())
}

fn about(name: &OsStr, what: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {what}", name.display()))
}

fn why_not_started(error: io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT) => {
            "there is no such program, or no such interpreter as its first line names".into()
        }
        Some(libc::EACCES) => "it may not be executed; give it the permission with chmod +x".into(),
        Some(libc::ENOEXEC) => "it is no program; a script begins with a line like #!/bin/bash".into(),
        Some(libc::E2BIG) => "its arguments and environment are longer than this system allows".into(),
        _ => format!("it could not be started: {error}"),
    }
}

fn not_started(started: SystemTime, error: String) -> Ended {
    Ended {
        how: How::NotStarted(error),
        started,
        seconds: 0.0,
        cpu_seconds: 0.0,
        peak_bytes: 0,
        stdout: Kept::default(),
        stderr: Kept::default(),
        left: 0,
    }
}
