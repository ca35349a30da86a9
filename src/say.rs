//! What is written for people, on standard error. It never ends a run: who cannot be told is not told.

use std::io::Write;

/// Writes a line to standard error, if anybody can read it.
pub(crate) fn say(line: &str) {
    // A full device, a closed terminal, a reader that has gone: the run goes on without its words.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
