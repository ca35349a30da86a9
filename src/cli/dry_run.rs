//! `--dry-run`: what would be run, a line a task.

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use super::out;
use crate::{
    Job,
    error::{Error, ErrorKind},
    job::Plan,
    launch,
    task_set::TaskSet,
};

/// Prints the tasks that would be run, and runs none of them.
///
/// # Errors
/// When the job has no items, or standard output cannot be written.
pub(super) fn execute<J: Job>(mut job: J, plan: &Plan, only: Option<&TaskSet>) -> Result<ExitCode, Error> {
    if !launch::is_first(launch::variable) {
        return Ok(ExitCode::SUCCESS);
    }
    job.prepare(plan)?;
    let mut printed = BufWriter::new(io::stdout().lock());
    for (index, item) in (0..).zip(job.try_items()?) {
        let item = item?;
        if only.is_some_and(|only| !only.contains(index)) {
            continue;
        }
        let line = match job.describe(index, &item) {
            Some(line) => line,
            None => serde_json::to_string(&item).map_err(|error| {
                Error::new(ErrorKind::Internal, format!("the item of task {index} cannot be shown: {error}"))
            })?,
        };
        if let Err(error) = writeln!(printed, "{line}") {
            return out::written(Err(error)).map(|()| ExitCode::SUCCESS);
        }
    }
    out::written(printed.flush()).map(|()| ExitCode::SUCCESS)
}
