//! `rankpool exec` and `rankpool pipe`: any program as a task, by real processes. That nothing is left behind is looked at
//! after every run.

mod examples;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use support::ways;

const PROGRAM: &str = env!("CARGO_BIN_EXE_rankpool");

fn main() -> ExitCode {
    ways::run([examples::TESTS].concat())
}
