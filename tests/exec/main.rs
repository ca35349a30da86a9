//! `rankpool exec` and `rankpool pipe`: any program as a task, by real processes. That nothing is left behind is looked at
//! after every run.

mod ends;
mod examples;
mod halts;
mod pipe;
mod printed;
mod resume;
#[path = "../support/mod.rs"]
mod support;
mod tasks;
mod victims;

use std::{
    collections::BTreeMap,
    process::{Command, ExitCode},
};

use support::{
    Ended, start, under,
    ways::{self, Folder, Way},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rankpool");

/// Trials at a time: most of them wait, for a time to be over or for processes to end.
const AT_A_TIME: usize = 4;

fn main() -> ExitCode {
    let exec = [tasks::TESTS, printed::TESTS, halts::TESTS, ends::TESTS, resume::TESTS];
    let tests = [&exec[..], &[examples::TESTS, pipe::TESTS]].concat().concat();
    support::at_a_time(AT_A_TIME, ways::trials(tests))
}

/// `rankpool`, launched in a way and in a folder. The way's flags stand behind the first argument, which is exec or pipe.
fn command(way: &Way, folder: &Folder, arguments: &[&str]) -> Command {
    surviving(way, &[], folder, arguments)
}

/// The same, with arguments for mpiexec.
fn surviving(way: &Way, launcher: &[&str], folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = under(way.1, launcher, PROGRAM);
    command.arg(arguments[0]).args(way.2).args(["--progress", "none"]).args(&arguments[1..]);
    command.current_dir(folder.0.path());
    command
}

fn run(way: &Way, folder: &Folder, arguments: &[&str]) -> Ended {
    start(&mut command(way, folder, arguments)).end()
}

/// The same, with a file of the folder as standard input.
fn fed(way: &Way, folder: &Folder, file: &str, arguments: &[&str]) -> Ended {
    in_shell(&format!("exec \"$@\" < {file}"), way, folder, arguments)
}

/// A line of sh, in which `"$@"` is `rankpool`, launched in a way and in a folder.
fn in_shell(line: &str, way: &Way, folder: &Folder, arguments: &[&str]) -> Ended {
    let inside = command(way, folder, arguments);
    let mut command = Command::new("sh");
    command.args(["-c", line, "sh"]).arg(inside.get_program()).args(inside.get_args());
    command.envs(inside.get_envs().filter_map(|(name, value)| Some((name, value?))));
    start(command.current_dir(folder.0.path())).end()
}

/// A bash that runs a line, in which `$RANKPOOL` is the program.
fn bash(folder: &Folder, line: &str) -> Ended {
    let mut command = Command::new("bash");
    start(command.args(["-c", line]).env("RANKPOOL", PROGRAM).current_dir(folder.0.path())).end()
}

/// A command of `rankpool` that runs no job.
fn tool(folder: &Folder, arguments: &[&str]) -> Ended {
    start(Command::new(PROGRAM).args(arguments).current_dir(folder.0.path())).end()
}

/// What a result file holds, as `export --csv` has it: for each task the cell of each column.
fn table(folder: &Folder, file: &str) -> Vec<BTreeMap<String, String>> {
    let exported = tool(folder, &["export", file, "--csv"]).expect(0).stdout;
    let mut reader = csv::Reader::from_reader(exported.as_bytes());
    let names = reader.headers().unwrap().clone();
    let row =
        |row: csv::StringRecord| names.iter().map(String::from).zip(row.iter().map(String::from)).collect();
    reader.records().map(|record| row(record.unwrap())).collect()
}

/// A column of a result file.
fn column(folder: &Folder, file: &str, name: &str) -> Vec<String> {
    let cell = |mut row: BTreeMap<String, String>| {
        row.remove(name).unwrap_or_else(|| panic!("no column {name} among {:?}", row.keys()))
    };
    table(folder, file).into_iter().map(cell).collect()
}

/// What differs from run to run.
const MEASURED: [&str; 5] = ["started", "seconds", "cpu_seconds", "peak_bytes", "host"];

/// Two files hold the same but for what was measured.
#[track_caller]
fn assert_same(folder: &Folder, found: &str, expected: &str) {
    let without = |file| {
        let mut rows = table(folder, file);
        rows.iter_mut().for_each(|row| row.retain(|name, _| !MEASURED.contains(&name.as_str())));
        rows
    };
    assert_eq!(without(found), without(expected));
}

/// The lines of a file of the folder.
fn lines(folder: &Folder, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    text.lines().map(String::from).collect()
}

fn write(folder: &Folder, file: &str, text: &str) {
    std::fs::write(folder.path(file), text).unwrap();
}

/// These stand in what was said on standard error.
fn assert_told(ended: &Ended, parts: &[&str]) {
    for part in parts {
        assert!(ended.stderr.contains(part), "{part:?} is not in {ended:?}");
    }
}
