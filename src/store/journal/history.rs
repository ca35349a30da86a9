//! What a journal tells of the past of a run: it is read as it lies there, while others may append to it.

use super::{
    Attempt, Identity, events_of, failure_of, is_written_from, opened, read, read_record, storage, trace_of,
};
use crate::{
    error::Error,
    paths::Named,
    store::{TraceRow, events::EventTable},
    task_set::TaskSet,
};

/// What happened in a run so far.
pub(crate) struct History {
    /// `None` where the first record is damaged.
    pub(crate) identity: Option<Identity>,
    pub(crate) done: TaskSet,
    pub(crate) failed: TaskSet,
    /// The attempts that failed, by task and attempt.
    pub(crate) attempts: Vec<Attempt>,
    /// When and where chunks ran, each with its host, in the order in which they came back.
    pub(crate) chunks: Vec<(TraceRow, String)>,
    /// What happened beside the tasks.
    pub(crate) events: EventTable,
    /// A process writes it.
    pub(crate) in_use: bool,
}

impl History {
    /// Reads a file; `None` when it is no journal.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn of(path: &Named) -> Result<Option<History>, Error> {
        let Some(file) = opened(path)? else { return Ok(None) };
        let failed = |error| storage(path, error);
        let contents = read(&file).map_err(failed)?;
        let record = |(offset, size)| read_record(&file, offset, size);
        let mut attempts = Vec::new();
        for (&(task, _), &place) in &contents.index.attempts {
            let failure = record(place).and_then(failure_of).map_err(failed)?;
            attempts.push(Attempt { task, failure });
        }
        let mut chunks = Vec::new();
        for &place in &contents.index.trace {
            let block = record(place).and_then(trace_of).map_err(failed)?;
            let host = |row: &TraceRow| block.hosts.get(row.host as usize).cloned().unwrap_or_default();
            chunks.extend(block.rows.iter().map(|row| (*row, host(row))));
        }
        let events = events_of(&file, &contents.index).map_err(failed)?;
        let (done, failed) = contents.index.known();
        let host = contents.session.as_ref().map(|session| session.host.as_str());
        let in_use = is_written_from(path, host);
        Ok(Some(History { identity: contents.identity, done, failed, attempts, chunks, events, in_use }))
    }
}
