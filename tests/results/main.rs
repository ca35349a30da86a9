//! Result files and journals, by real runs and real kills; the files are read with h5py, too.
//!
//! The program is its own fixture: with `run`, `show` or `export` in front it is a user's program, which
//! has the jobs of `jobs.rs`.

mod children;
mod drain;
mod failures;
mod files;
mod inputs;
mod jobs;
mod records;
mod resume;
#[path = "../support/mod.rs"]
mod support;

use std::process::{Command, ExitCode};

use serde_json::Value;
use support::{
    Ended, python, start,
    ways::{self, COMM, Folder, LEADERS, NODE, POOL, PROCESSES, SERIAL, Test, Way},
};

fn main() -> ExitCode {
    let first = std::env::args().nth(1).unwrap_or_default();
    if matches!(first.as_str(), "run" | "show" | "export") {
        return rankpool::cli::main(rankpool::jobs![
            jobs::Compound,
            jobs::Everything,
            jobs::Trouble,
            jobs::Steady,
            jobs::Large,
            jobs::Plain,
            jobs::Unfit,
            jobs::Scaled,
            jobs::Unsendable,
            jobs::Surroundings,
            jobs::Printing,
            jobs::Described,
            jobs::Taken,
            jobs::Edges,
        ]);
    }
    let rows = [files::TESTS, records::TESTS, inputs::TESTS].concat();
    ways::run([rows, [failures::TESTS, resume::TESTS, drain::TESTS, children::TESTS].concat()].concat())
}

/// This program, launched in a way, with these arguments.
fn command(way: &Way, arguments: &[&str]) -> Command {
    ways::command(way, &["--progress", "none"], arguments)
}

fn run(way: &Way, arguments: &[&str]) -> Ended {
    start(&mut command(way, &[&["run"], arguments].concat())).end()
}

/// A command of this program that runs no job.
fn tool(arguments: &[&str]) -> Ended {
    start(&mut command(&SERIAL, arguments)).end()
}

/// The mode that a way has a run in.
fn mode_of(way: &Way) -> &'static str {
    if way.2 == LEADERS.2 { "comm" } else { way.0 }
}

/// The lines of an events file, of the kind `event`.
fn events_of(path: &str, event: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["event"] == event).collect()
}

/// What h5py finds in a result file.
fn h5py(file: &str) -> Value {
    serde_json::from_str(&python("result_file.py", &[file])).unwrap()
}

/// The values of a dataset that [`h5py`] found.
fn values<'f>(file: &'f Value, path: &str) -> &'f Value {
    let values = &file["data"][path]["values"];
    assert!(!values.is_null(), "there is no {path} in {:?}", file["data"].as_object().unwrap().keys());
    values
}

/// Two files hold the same: every dataset but trace and events, and every attribute but those that tell of
/// when, where and how the run was made.
#[track_caller]
fn assert_same(found: &Value, expected: &Value) {
    let paths = |file: &Value| file["data"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(paths(found), paths(expected));
    let of_the_run = |path: &str| matches!(path, "trace" | "events" | "errors");
    for path in paths(expected).iter().filter(|path| !of_the_run(path)) {
        assert_eq!(found["data"][path], expected["data"][path], "{path}");
    }
    let errors = |file: &Value| {
        let rows = file["data"]["errors"]["values"].as_array().unwrap().clone();
        let row = |row: Value| ["task", "attempt", "kind", "message"].map(|name| row[name].clone());
        rows.into_iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(errors(found), errors(expected), "errors");
    for name in ["job", "parameters", "seed", "row_type", "row_layout", "tasks", "rankpool_format"] {
        assert_eq!(found["attributes"][name], expected["attributes"][name], "{name}");
    }
    let digest = |file: &Value| {
        let report: Value = serde_json::from_str(file["attributes"]["report"].as_str().unwrap()).unwrap();
        ["results_digest", "done", "failed", "not_run", "summary"].map(|name| report[name].clone())
    };
    assert_eq!(digest(found), digest(expected), "report");
}
