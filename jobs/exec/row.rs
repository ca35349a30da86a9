//! What is known of a command that has ended.

use std::time::UNIX_EPOCH;

use rankpool::{RawText, Record};
use serde::{Deserialize, Serialize};

use crate::process::{Ended, How, Status};

/// The row of a command in the result file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What ran, as it could be typed
    pub command: String,
    /// Its exit code; -1 if it had none
    pub exit_code: i32,
    /// The signal that ended it; 0 if none did
    pub signal: i32,
    /// When it began, in seconds since 1970
    pub started: f64,
    pub seconds: f64,
    /// Of all of its processes
    pub cpu_seconds: f64,
    /// The most memory that one of its processes had
    pub peak_bytes: u64,
    pub host: String,
    pub stdout: RawText,
    pub stderr: RawText,
    /// Bytes that were cut from the outputs
    pub stdout_cut: u64,
    pub stderr_cut: u64,
    /// The columns of `--parse`
    pub parsed: Record,
}

impl Row {
    pub fn new(command: String, ended: &Ended) -> Row {
        let (exit_code, signal) = match ended.how {
            How::Exited(code) | How::TimedOut(Status::Exited(code)) | How::Stopped(Status::Exited(code)) => {
                (code, 0)
            }
            How::Signalled(signal)
            | How::TimedOut(Status::Signalled(signal))
            | How::Stopped(Status::Signalled(signal)) => (-1, signal),
            How::NotStarted(_) => (-1, 0),
        };
        Row {
            command,
            exit_code,
            signal,
            started: ended.started.duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64()),
            seconds: ended.seconds,
            cpu_seconds: ended.cpu_seconds,
            peak_bytes: ended.peak_bytes,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            stdout: ended.stdout.bytes.clone().into(),
            stderr: ended.stderr.bytes.clone().into(),
            stdout_cut: ended.stdout.left_out,
            stderr_cut: ended.stderr.left_out,
            parsed: Record::default(),
        }
    }

    /// Begins each line of the outputs with `tag`.
    pub fn tag(&mut self, tag: &str) {
        for output in [&mut self.stdout, &mut self.stderr] {
            let mut tagged = Vec::new();
            for line in output.as_bytes().split_inclusive(|byte| *byte == b'\n') {
                tagged.extend_from_slice(tag.as_bytes());
                tagged.push(b'\t');
                tagged.extend_from_slice(line);
            }
            *output = tagged.into();
        }
    }
}
