//! Test programs that are users' programs, too: the ways in which they are launched, and folders for their files.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
};

use libtest_mimic::Trial;

/// How a run is launched: ranks by mpiexec, 0 for none, and flags.
pub type Way = (&'static str, u32, &'static [&'static str]);

pub const SERIAL: Way = ("serial", 0, &["--mode", "serial"]);
pub const THREADS: Way = ("threads", 0, &["--mode", "threads", "--workers", "2"]);
pub const PROCESSES: Way = ("processes", 0, &["--mode", "processes", "--workers", "2"]);
pub const COMM: Way = ("comm", 3, &[]);
pub const POOL: Way = ("pool", 1, &["--mode", "pool", "--workers", "2"]);
/// Two ranks, each of which leads two children.
pub const LEADERS: Way = ("leaders", 2, &["--processes-per-worker", "2"]);
/// One rank that does, without a launcher.
pub const NODE: Way = ("node", 0, &["--processes-per-worker", "2"]);

/// A behaviour, the ways in which it is shown, and the test.
pub type Test = (&'static str, &'static [Way], fn(&Way));

/// The end of a test program's `main`: every test in each of its ways, one after the other.
pub fn run(tests: Vec<Test>) -> ExitCode {
    super::one_by_one(trials(tests))
}

/// The tests in each of their ways.
pub fn trials(tests: Vec<Test>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, ways, test) in tests {
        for way in ways {
            trials.push(Trial::test(format!("{}: {name}", way.0), move || super::caught(|| test(way))));
        }
    }
    trials
}

/// This program, launched in a way, with these arguments. The way's flags stand behind the job, and `flags` behind
/// them.
pub fn command(way: &Way, flags: &[&str], arguments: &[&str]) -> Command {
    let mut command = super::under(way.1, &[], &super::program());
    match arguments {
        ["run", job, more @ ..] => command.args(["run", job]).args(way.2).args(flags).args(more),
        other => command.args(other),
    };
    command
}

/// A folder for a test's files.
pub struct Folder(pub tempfile::TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    pub fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }

    pub fn pipe(&self, name: &str) -> String {
        assert!(Command::new("mkfifo").arg(self.path(name)).status().unwrap().success());
        self.file(name)
    }

    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_string()).collect();
        names.sort();
        names
    }
}
