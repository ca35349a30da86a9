//! Where output goes: words, reports, what tasks print, files and the variables that name them, by real runs with
//! every kind of reader and of place.
//!
//! The program is its own fixture: with a command in front it is a user's program, which has the jobs of `jobs.rs`.

mod apart;
mod code_file;
mod files;
mod jobs;
mod printed;
mod refused;
#[path = "../support/mod.rs"]
mod support;
mod words;

use std::process::{Command, ExitCode};

use support::{
    Ended,
    ways::{self, COMM, Folder, PROCESSES, SERIAL, THREADS, Test, Way},
};

const ALL: &[Way] = &[SERIAL, THREADS, PROCESSES, COMM];

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
    ways::run(
        [words::TESTS, printed::TESTS, files::TESTS, code_file::TESTS, apart::TESTS, refused::TESTS].concat(),
    )
}

/// This program, launched in a way, with these arguments.
fn command(way: &Way, arguments: &[&str]) -> Command {
    ways::command(way, &[], arguments)
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

/// A line for [`bash`]: the command obeys a hangup, though the tests may have been started by nohup.
const HEARING: &str = r#"exec env --default-signal=HUP "$@""#;
