//! Calls sbatch with a script.

use std::{
    io::{BufRead, BufReader, ErrorKind as IoErrorKind, Write},
    process::{Command, ExitCode, Stdio},
};

use crate::{
    cli::out,
    error::{Error, ErrorKind},
};

/// Submits the script and prints the number of the job; if asked to, waits for its end and returns its code.
///
/// # Errors
/// When there is no sbatch here, or it refuses the script.
pub(super) fn submit(script: &str, wait: bool) -> Result<ExitCode, Error> {
    let broken = |error: std::io::Error| Error::new(ErrorKind::Internal, format!("sbatch: {error}"));
    let mut sbatch = Command::new("sbatch");
    sbatch.arg("--parsable").args(wait.then_some("--wait")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut sbatch = sbatch.spawn().map_err(|error| match error.kind() {
        IoErrorKind::NotFound => {
            Error::usage("there is no sbatch here: submit from a login node, or leave --submit out")
        }
        _ => broken(error),
    })?;
    if let Some(mut stdin) = sbatch.stdin.take() {
        match stdin.write_all(script.as_bytes()) {
            // It has refused before it read all, and says why.
            Err(error) if error.kind() == IoErrorKind::BrokenPipe => {}
            written => written.map_err(broken)?,
        }
    }
    let mut line = String::new();
    if let Some(stdout) = sbatch.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(broken)?;
    }
    // The number, and behind a semicolon the cluster.
    let job = line.trim().split(';').next().unwrap_or_default();
    if !job.is_empty() {
        out::print(format!("{job}\n").as_bytes())?;
    }
    let status = sbatch.wait().map_err(broken)?;
    match status.code() {
        _ if job.is_empty() => Err(Error::usage("sbatch has refused the script")),
        Some(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))),
        None => {
            Err(Error::new(ErrorKind::Internal, format!("sbatch was ended ({status}); job {job} goes on")))
        }
    }
}
