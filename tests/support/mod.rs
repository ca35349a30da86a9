//! Starting real processes with a time limit, and leaving nothing behind.

#![allow(dead_code)] // Each test program uses a part of it.

pub mod processes;
pub mod ways;

use std::{
    io::{Read, Seek, Write},
    os::unix::process::CommandExt,
    panic::Location,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a process under test may take, unless the test says otherwise.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How long descendants may outlive the process that was started.
const LINGER: Duration = Duration::from_secs(5);

/// Marks everything that a test starts, so that what is left behind can be found.
const MARK: &str = "RANKPOOL_TEST_MARK";

/// What a process left when it ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; 128 and the signal for one that was killed.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ended {
    /// The process ended with this code; says all it printed when it did not.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ended {
        assert_eq!(self.code, code, "exit code\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output is one JSON object, alone.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("no JSON ({error})\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)
        })
    }
}

/// A process that runs, with all that it started.
pub struct Running {
    child: Child,
    mark: String,
    stdout: std::fs::File,
    stderr: std::fs::File,
    began: Instant,
    /// It goes when all processes are gone.
    _scratch: tempfile::TempDir,
}

/// Where temporary files go, and the memory that Open MPI's ranks share (in version 5 a synonym of btl_sm_...).
const SCRATCH: [&str; 2] = ["TMPDIR", "OMPI_MCA_btl_vader_backing_directory"];

/// A command in a process group of its own, marked. What its processes leave in their folder for temporary files goes
/// with them, unless the command has a TMPDIR of its own.
pub fn start(command: &mut Command) -> Running {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mark = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let scratch = tempfile::tempdir().unwrap();
    let own = command.get_envs().any(|(name, value)| name == SCRATCH[0] && value.is_some());
    if !own {
        command.envs(SCRATCH.map(|name| (name, scratch.path())));
    }
    let child = command
        .env(MARK, &mark)
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    if !own {
        // It may be started again, in another folder.
        for name in SCRATCH {
            command.env_remove(name);
        }
    }
    Running { child, mark, stdout, stderr, began: Instant::now(), _scratch: scratch }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True while the process that was started lives.
    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The living processes that it has started, and itself.
    pub fn family(&self) -> Vec<u32> {
        marked(&self.mark)
    }

    /// What it has printed to standard output so far.
    pub fn so_far(&mut self) -> String {
        read(&mut self.stdout)
    }

    pub fn stderr_so_far(&mut self) -> String {
        read(&mut self.stderr)
    }

    /// Waits until standard output holds `text`.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let out = self.so_far();
            if out.contains(text) {
                return out;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                Instant::now() < deadline && ended.is_none(),
                "{text:?} did not come ({ended:?})\n--- stdout\n{out}\n--- stderr\n{}",
                self.stderr_so_far()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        signal_process(self.pid(), signal);
    }

    /// Sends a signal to every process of it but one.
    pub fn signal_others(&self, but: u32, signal: rustix::process::Signal) {
        marked(&self.mark).into_iter().filter(|pid| *pid != but).for_each(|pid| signal_process(pid, signal));
    }

    /// Waits for the end; kills everything and fails the test when the limit is over, and when
    /// descendants are left behind.
    #[track_caller]
    pub fn end_within(mut self, limit: Duration) -> Ended {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.began.elapsed() > limit {
                let (out, err) = (self.so_far(), self.stderr_so_far());
                panic!("no end within {limit:?}\n--- stdout\n{out}\n--- stderr\n{err}"); // Drop kills.
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let took = self.began.elapsed();
        let deadline = Instant::now() + LINGER;
        while !marked(&self.mark).is_empty() {
            let (out, err) = (self.so_far(), self.stderr_so_far());
            assert!(
                Instant::now() < deadline,
                "processes are left behind\n--- stdout\n{out}\n--- stderr\n{err}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        use std::os::unix::process::ExitStatusExt;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Ended { code, stdout: self.so_far(), stderr: self.stderr_so_far(), took }
    }

    #[track_caller]
    pub fn end(self) -> Ended {
        self.end_within(LIMIT)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // A launcher that is asked first takes its ranks along.
            self.signal(rustix::process::Signal::TERM);
            std::thread::sleep(Duration::from_millis(300));
        }
        for pid in marked(&self.mark) {
            signal_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(file: &mut std::fs::File) -> String {
    // The offset is shared with the process, which appends: read without moving it.
    let mut copy =
        std::fs::File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file))).unwrap();
    copy.rewind().unwrap();
    let mut bytes = Vec::new();
    copy.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub fn signal_process(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid as i32) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Living processes with this mark in their environment.
fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let zombie = std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')));
            !zombie && environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
        })
        .collect()
}

/// Asks, with a pause between, until there is an answer; fails the test with the last refusal when the time is over.
#[track_caller]
pub fn wait<T>(
    limit: Duration,
    pause: Duration,
    what: &str,
    mut ask: impl FnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(refusal) => assert!(Instant::now() < deadline, "{what} did not come: {refusal}"),
        }
        std::thread::sleep(pause);
    }
}

/// Runs a trial of a test program without the standard harness; a panic is its failure.
pub fn caught(test: impl FnOnce()) -> Result<(), libtest_mimic::Failed> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(test)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default().into()
    })
}

/// The end of the `main` of a test program without the standard harness: one trial after the other.
pub fn one_by_one(trials: Vec<libtest_mimic::Trial>) -> ExitCode {
    at_a_time(1, trials)
}

/// The same, with so many trials at a time: for those that mostly wait.
pub fn at_a_time(trials_at_a_time: usize, trials: Vec<libtest_mimic::Trial>) -> ExitCode {
    let mut arguments = libtest_mimic::Arguments::from_args();
    arguments.test_threads = Some(trials_at_a_time);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The path of this program.
pub fn program() -> String {
    std::env::current_exe().unwrap().to_str().unwrap().to_string()
}

/// What a script of tests/python prints.
pub fn python(script: &str, arguments: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("target/python/bin/python");
    assert!(program.exists(), "{} is missing: `make test` installs it", program.display());
    let mut command = Command::new(program);
    command.arg(root.join("tests/python").join(script)).args(arguments);
    start(&mut command).end().expect(0).stdout
}

/// What Open MPI is told in tests: root may use it, and all ranks are on this host.
pub const MPI: [(&str, &str); 6] = [
    ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
    ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
    ("PRTE_ALLOW_RUN_AS_ROOT", "1"),
    ("PRTE_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
    ("OMPI_MCA_btl_tcp_if_include", "lo"),
    ("OMPI_MCA_oob_tcp_if_include", "lo"),
];

/// An MPI library with its launcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    OpenMpi4,
    OpenMpi5,
    Mpich,
}

/// The one whose mpiexec is on PATH; the program under test was built with it.
pub fn stack() -> Stack {
    static STACK: OnceLock<Stack> = OnceLock::new();
    *STACK.get_or_init(|| {
        let version =
            Command::new("mpiexec").envs(MPI).arg("--version").output().expect("an mpiexec on PATH");
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        if version.contains("HYDRA") {
            Stack::Mpich
        } else if version.contains("OpenRTE) 4") {
            Stack::OpenMpi4
        } else {
            Stack::OpenMpi5
        }
    })
}

impl Stack {
    /// Lets mpiexec start more ranks than there are cores.
    fn oversubscribe(self) -> &'static [&'static str] {
        match self {
            Stack::OpenMpi4 => &["--oversubscribe"],
            Stack::OpenMpi5 => &["--map-by", ":oversubscribe"],
            Stack::Mpich => &[],
        }
    }

    /// Has mpiexec tell of three slots.
    pub fn three_slots(self) -> &'static [&'static str] {
        match self {
            Stack::OpenMpi4 | Stack::OpenMpi5 => &["--host", "localhost:3"],
            Stack::Mpich => &["-usize", "3"],
        }
    }

    /// Lets the other ranks live when one dies, where that can be had.
    pub fn survive(self) -> Option<&'static [&'static str]> {
        match self {
            Stack::OpenMpi4 => Some(&["--enable-recovery"]),
            Stack::OpenMpi5 => Some(&["--with-ft", "ulfm", "--prtemca", "state_base_recoverable", "1"]),
            Stack::Mpich => None,
        }
    }
}

/// Tells what is not tested here, past the capture of the test harness, so that it is seen.
pub fn skipped(what: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}");
}

/// What lets the other ranks live when one dies; `None`, and a word, where that cannot be had.
#[track_caller]
pub fn survive() -> Option<&'static [&'static str]> {
    let flags = stack().survive();
    if flags.is_none() {
        skipped(format!("{}: {:?} ends a run when a process dies", Location::caller(), stack()));
    }
    flags
}

/// `mpiexec` with these arguments, as root and on few cores.
pub fn mpiexec(arguments: &[&str]) -> Command {
    let mut command = Command::new("mpiexec");
    command.envs(MPI).args(stack().oversubscribe()).args(arguments);
    command
}

/// `program` behind the launcher that `world` asks for: none for 0, else that many ranks.
pub fn under(world: u32, launcher: &[&str], program: &str) -> Command {
    if world == 0 {
        let mut command = Command::new(program);
        command.envs(MPI);
        return command;
    }
    let mut command = mpiexec(launcher);
    command.args(["-n", &world.to_string(), program]);
    command
}

/// Makes a copy of a program whose build id differs in its last byte; both build ids.
pub fn another_build(program: &Path, copy: &Path) -> [String; 2] {
    let mut bytes = std::fs::read(program).unwrap();
    let note = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
    let at = bytes.windows(note.len()).position(|window| window == note).expect("a build id of 20 bytes");
    let id =
        |bytes: &[u8]| bytes[at + 16..at + 36].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let first = id(&bytes);
    bytes[at + 35] ^= 0xff;
    std::fs::write(copy, &bytes).unwrap();
    std::fs::set_permissions(copy, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    [first, id(&bytes)]
}
