//! Where output goes: words, reports, what tasks print, files and the variables that name them, by real runs with
//! every kind of reader and of place.
//!
//! The program is its own fixture: with a command in front it is a user's program, which has the jobs of `jobs.rs`.

mod files;
mod jobs;
mod printed;
mod refused;
#[path = "../support/mod.rs"]
mod support;
mod words;

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
};

use libtest_mimic::{Arguments, Trial};
use support::Ended;

/// How a run is launched: ranks by mpiexec, 0 for none, and flags.
type Way = (&'static str, u32, &'static [&'static str]);

const SERIAL: Way = ("serial", 0, &["--mode", "serial"]);
const THREADS: Way = ("threads", 0, &["--mode", "threads", "--workers", "2"]);
const PROCESSES: Way = ("processes", 0, &["--mode", "processes", "--workers", "2"]);
const COMM: Way = ("comm", 3, &[]);
const ALL: &[Way] = &[SERIAL, THREADS, PROCESSES, COMM];

/// A behaviour, the ways in which it is shown, and the test.
type Test = (&'static str, &'static [Way], fn(&Way));

fn main() -> ExitCode {
    let first = std::env::args().nth(1).unwrap_or_default();
    if matches!(first.as_str(), "run" | "show" | "export" | "list" | "slurm" | "doctor") {
        return rankpool::cli::main(rankpool::jobs![
            jobs::Talk,
            jobs::Wander,
            jobs::Sparse,
            jobs::Aim,
            jobs::Bulky,
            jobs::Uneven,
            jobs::Loose,
            jobs::Nameless,
        ]);
    }
    let mut trials = Vec::new();
    for (name, ways, test) in [words::TESTS, printed::TESTS, files::TESTS, refused::TESTS].concat() {
        for way in ways {
            trials.push(Trial::test(format!("{}: {name}", way.0), move || support::caught(|| test(way))));
        }
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn program() -> String {
    std::env::current_exe().unwrap().to_str().unwrap().to_string()
}

/// This program, launched in a way, with these arguments.
fn command(way: &Way, arguments: &[&str]) -> Command {
    let mut command = support::under(way.1, &[], &program());
    match arguments {
        ["run", job, flags @ ..] => command.args(["run", job]).args(way.2).args(flags),
        other => command.args(other),
    };
    command
}

fn run(way: &Way, arguments: &[&str]) -> Ended {
    support::start(&mut command(way, &[&["run"], arguments].concat())).end()
}

/// A line of bash in which `"$@"` is the command.
fn bash(line: &str, command: &Command) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-c", line, "bash"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// A folder for a test's files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }

    fn pipe(&self, name: &str) -> String {
        assert!(Command::new("mkfifo").arg(self.path(name)).status().unwrap().success());
        self.file(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_string()).collect();
        names.sort();
        names
    }
}
