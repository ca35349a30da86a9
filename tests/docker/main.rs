//! The images and the clusters of docker/, by a real docker engine: built, run, scaled, killed. The guide's
//! commands are run as they stand.
//!
//! Where no engine can be had, each test says so and passes.

mod cluster;
mod engine;
mod guide;
mod image;
mod slurm;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use engine::Docker;
use libtest_mimic::{Failed, Trial};

/// A test's name, and the test.
type Test = (&'static str, fn(&'static Docker));

fn main() -> ExitCode {
    let tests = [image::TESTS, cluster::TESTS, slurm::TESTS, guide::TESTS].concat();
    let trials =
        tests.into_iter().map(|(name, test)| Trial::test(name, move || caught(test))).collect::<Vec<_>>();
    let code = support::one_by_one(trials);
    cluster::take_down();
    engine::leave();
    code
}

fn caught(test: fn(&'static Docker)) -> Result<(), Failed> {
    support::caught(|| match engine::docker() {
        Ok(docker) => test(docker),
        Err(reason) => support::skipped(format!("docker: {reason}")),
    })
}
