//! What survives what: every process of a run is killed, by everything that kills, at every moment of it, in every mode.
//! And a soak: random work and random kills, for as long as one likes.
//!
//! `table.rs` has what is expected, `cases.rs` runs a case. A sample runs, or, with RANKPOOL_TEST_KILLS=all, everything.
//! The program is its own fixture: with a command in front it is a user's program, which has the job of `job.rs`.

mod cases;
mod deaths;
mod job;
mod soak;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod victims;

use std::process::ExitCode;

use libtest_mimic::Trial;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("run" | "show") => return rankpool::cli::main(rankpool::jobs![job::Mortal]),
        Some("inside") => return soak::inside(&arguments[2..]),
        _ => {}
    }
    let everything = std::env::var("RANKPOOL_TEST_KILLS").is_ok_and(|which| which == "all");
    let cases = table::cases(support::stack(), everything).into_iter();
    let mut trials: Vec<Trial> = cases
        .map(|case| Trial::test(case.to_string(), move || support::caught(|| cases::try_out(&case))))
        .collect();
    for (name, test) in soak::TESTS {
        trials.push(Trial::test(*name, move || support::caught(test)));
    }
    support::one_by_one(trials)
}
