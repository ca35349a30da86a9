//! By what a process dies.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};

use crate::support::signal_process;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    Kill,
    Segv,
    Abort,
    /// It calls `exit`, in the middle of its work.
    Exit,
    /// The kernel kills it for the memory it takes; where no cgroup can be made, the allocator ends it.
    Memory,
}

impl Death {
    pub const ALL: [Death; 5] = [Death::Kill, Death::Segv, Death::Abort, Death::Exit, Death::Memory];
    /// Those that can come from outside.
    pub const SIGNALS: [Death; 3] = [Death::Kill, Death::Segv, Death::Abort];

    pub fn name(self) -> &'static str {
        match self {
            Death::Kill => "SIGKILL",
            Death::Segv => "SIGSEGV",
            Death::Abort => "SIGABRT",
            Death::Exit => "exit",
            Death::Memory => "memory",
        }
    }

    pub fn named(name: &str) -> Option<Death> {
        Death::ALL.into_iter().find(|death| death.name() == name)
    }

    fn signal(self) -> Signal {
        match self {
            Death::Segv => Signal::SEGV,
            Death::Abort => Signal::ABORT,
            _ => Signal::KILL,
        }
    }

    /// Ends this process. `name` is that of a cgroup, should one be made.
    pub fn die(self, name: &str) -> ! {
        match self {
            Death::Exit => std::process::exit(3),
            Death::Memory => eat(name),
            _ => loop {
                // The first SIGSEGV that no access has caused only takes Rust's handler away.
                kill_process(getpid(), self.signal()).expect("a signal to oneself");
            },
        }
    }

    /// Ends another process.
    #[track_caller]
    pub fn strike(self, pid: u32) {
        let deadline = Instant::now() + Duration::from_secs(2);
        signal_process(pid, self.signal());
        while self == Death::Segv && lives(pid) {
            assert!(Instant::now() < deadline, "process {pid} does not die of it");
            std::thread::sleep(Duration::from_millis(2));
            signal_process(pid, self.signal());
        }
    }
}

fn lives(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// How much a process may have that is about to take more.
const MEMORY: u64 = 256 << 20;

/// The cgroup of this name: its folder, and the file that has its limit. Version 1, then 2.
fn cgroup(name: &str) -> [(PathBuf, &'static str); 2] {
    [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        .map(|(root, file)| (PathBuf::from(root).join(format!("rankpool-test-{name}")), file))
}

/// Takes memory until that is the end.
fn eat(name: &str) -> ! {
    let limited = cgroup(name).into_iter().any(|(folder, file)| {
        let enter = || {
            fs::create_dir(&folder)?;
            fs::write(folder.join(file), MEMORY.to_string())?;
            fs::write(folder.join("cgroup.procs"), std::process::id().to_string())
        };
        let entered: std::io::Result<()> = enter();
        entered.is_ok()
    });
    if !limited {
        let limit = Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
        setrlimit(Resource::As, limit).expect("a lower limit");
    }
    let hog = vec![1u8; 4 * MEMORY as usize];
    panic!("{} bytes were given out", std::hint::black_box(hog).len());
}

/// Takes the cgroup away again, if one was made.
pub fn clean_up(name: &str) {
    for (folder, _) in cgroup(name) {
        for _ in 0..100 {
            if !folder.exists() || fs::remove_dir(&folder).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
