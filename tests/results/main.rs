//! Result files and journals, by real runs and real kills; the files are read with h5py, too.
//!
//! The program is its own fixture: with `run`, `show` or `export` in front it is a user's program, which
//! has the jobs of `jobs.rs`.

mod drain;
mod failures;
mod files;
mod jobs;
mod resume;
#[path = "../support/mod.rs"]
mod support;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use support::{Ended, start};

/// How a run is launched: ranks by mpiexec, 0 for none, and flags.
type Way = (&'static str, u32, &'static [&'static str]);

const SERIAL: Way = ("serial", 0, &["--mode", "serial"]);
const PROCESSES: Way = ("processes", 0, &["--mode", "processes", "--workers", "2"]);
const COMM: Way = ("comm", 3, &[]);
const POOL: Way = ("pool", 1, &["--mode", "pool", "--workers", "2"]);

type Test = fn(&Way);

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
        ]);
    }
    let mut trials = Vec::new();
    for (name, ways, test) in [files::TESTS, failures::TESTS, resume::TESTS, drain::TESTS].concat() {
        for way in ways {
            trials.push(Trial::test(format!("{}: {name}", way.0), move || support::caught(|| test(way))));
        }
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// This program, launched in a way, with these arguments.
fn command(way: &Way, arguments: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = support::under(way.1, &[], program.to_str().unwrap());
    let [first, rest @ ..] = arguments else { panic!("no arguments") };
    command.arg(first);
    if *first == "run" {
        let [job, flags @ ..] = rest else { panic!("no job") };
        command.arg(job).args(way.2).args(["--progress", "none"]).args(flags);
    } else {
        command.args(rest);
    }
    command
}

fn run(way: &Way, arguments: &[&str]) -> Ended {
    start(&mut command(way, &[&["run"], arguments].concat())).end()
}

/// A command of this program that runs no job.
fn tool(arguments: &[&str]) -> Ended {
    start(&mut command(&SERIAL, arguments)).end()
}

/// A folder for a test's files, and the path of a file in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_string()).collect();
        names.sort();
        names
    }
}

/// What a script of tests/python prints.
fn python(script: &str, arguments: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("target/python/bin/python");
    assert!(program.exists(), "{} is missing: `make test` installs it", program.display());
    let mut command = Command::new(program);
    command.arg(root.join("tests/python").join(script)).args(arguments);
    start(&mut command).end().expect(0).stdout
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

/// Two files hold the same: every dataset but the trace, and every attribute but those that tell of
/// when, where and how the run was made.
#[track_caller]
fn assert_same(found: &Value, expected: &Value) {
    let paths = |file: &Value| file["data"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(paths(found), paths(expected));
    for path in paths(expected).iter().filter(|path| !matches!(path.as_str(), "trace" | "errors")) {
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
