//! What a journal holds, for people. It is read without being changed.

use super::{Attempt, Identity, Session, failure_of, is_written_from, opened, read, read_record, storage};
use crate::{error::Error, paths::Named, task_set::TaskSet};

/// What a journal holds.
pub(crate) struct Overview {
    /// `None` where the first record is damaged.
    pub(crate) identity: Option<Identity>,
    /// Who has begun to write it last.
    pub(crate) session: Option<Session>,
    pub(crate) done: TaskSet,
    pub(crate) failed: TaskSet,
    /// The first failures, in the order of the tasks.
    pub(crate) failures: Vec<Attempt>,
    /// Bytes that are no whole records.
    pub(crate) damage: Vec<(u64, u64)>,
    /// A process writes it.
    pub(crate) in_use: bool,
}

impl Overview {
    /// Looks at a file; `None` when it is no journal. Of the failures, `most` are read.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn of(path: &Named, most: usize) -> Result<Option<Overview>, Error> {
        let Some(file) = opened(path)? else { return Ok(None) };
        let failed = |error| storage(path, error);
        let mut contents = read(&file).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if contents.cut && contents.end < length {
            contents.damage.push((contents.end, length));
        }
        let mut failures = Vec::new();
        for (task, located) in contents.index.in_order().filter(|(_, located)| located.failed).take(most) {
            let record = read_record(&file, located.offset, located.size).map_err(failed)?;
            failures.push(Attempt { task, failure: failure_of(record).map_err(failed)? });
        }
        let (done, failed) = contents.index.known();
        let host = contents.session.as_ref().map(|session| session.host.as_str());
        let in_use = is_written_from(path, host);
        Ok(Some(Overview {
            identity: contents.identity,
            session: contents.session,
            done,
            failed,
            failures,
            damage: contents.damage,
            in_use,
        }))
    }
}
