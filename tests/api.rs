//! The public API, as a list of its items: a change of it is seen, whether it was meant or not.
//!
//! `INSTA_UPDATE=always cargo test --test api` writes the list anew. rustdoc's JSON is unstable, so the crate public-api
//! reads one version of it. Under a Rust whose rustdoc writes another version there is nothing to compare.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

mod support;

/// The version of rustdoc's JSON that the public-api of tests/api/Cargo.toml reads.
const FORMAT: u64 = 57;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const TMP: &str = env!("CARGO_TARGET_TMPDIR");

/// A command of cargo, with its outputs in this folder.
fn cargo(words: &[&str], target: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(ROOT).env_remove("RUSTDOCFLAGS").args(words).arg("--target-dir").arg(target);
    command
}

/// Runs it, and returns what it printed.
fn printed_by(command: &mut Command) -> String {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn the_public_api_is_the_one_that_was_reviewed() {
    // The folder of all builds: the dependencies are there.
    let target = Path::new(TMP).parent().unwrap();
    let mut rustdoc = cargo(&["rustdoc", "--quiet", "--offline", "--lib"], target);
    rustdoc.env("RUSTDOC", Path::new(ROOT).join("tests/api/rustdoc.sh"));
    printed_by(rustdoc.args(["--", "-Zunstable-options", "--output-format", "json"]));
    let json = target.join("doc/rankpool.json");
    let described: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let format = &described["format_version"];
    if *format != FORMAT {
        support::skipped(format_args!("the API: this rustdoc's JSON has version {format}, not {FORMAT}"));
        return;
    }
    let words = ["run", "--quiet", "--locked", "--manifest-path", "tests/api/Cargo.toml"];
    let items = printed_by(cargo(&words, &Path::new(TMP).join("api")).arg("--").arg(&json));
    insta::assert_snapshot!("the public API", items);
}
