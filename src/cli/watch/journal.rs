//! What a journal tells, and how it stands with its run.

use serde_json::Value;

use super::{
    events, result,
    state::{Chunk, Ended, Failed, News, Run, Standing},
};
use crate::{
    error::Error,
    paths::Named,
    store::{
        Attempt,
        journal::{Entry, Follower, Identity, Subject, is_written_from},
    },
};

/// A journal that is followed.
pub(super) struct Journal {
    path: Named,
    /// The result file that it becomes, where that is known.
    output: Option<Named>,
    follower: Follower,
    run: String,
    began: f64,
    host: Option<String>,
    /// Of a map of a user's program it has no trace.
    is_map: bool,
    /// Something was read: what comes from now on, comes now.
    lives: bool,
}

impl Journal {
    pub(super) fn open(path: Named, output: Option<Named>) -> Result<Journal, Error> {
        let follower = Follower::open(&path)?;
        let (run, host) = (String::new(), None);
        Ok(Journal { path, output, follower, run, began: 0.0, host, is_map: false, lives: false })
    }

    /// Reads what has come since it was last read, at this time.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(&mut self, clock: f64, take: &mut dyn FnMut(News)) -> Result<(), Error> {
        if self.follower.is_another() {
            *self = Journal::open(self.path.clone(), self.output.clone())?;
        }
        let Journal { follower, run, began, host, is_map, lives, .. } = self;
        follower.read(&mut |entry| match entry {
            Entry::Identity(identity) => {
                (*run, *began) = (identity.run.clone(), identity.began);
                *is_map = matches!(identity.subject, Subject::Map { .. });
                take(News::Run(run_of(identity)));
            }
            Entry::Session(session) => {
                *host = Some(session.host.clone());
                let t = (session.began - *began).max(0.0);
                take(News::Session { t, host: Some(session.host) });
            }
            Entry::Done { start, count } => {
                let t = (*is_map && *lives).then(|| (clock - *began).max(0.0));
                take(News::Done { start, count, t });
            }
            Entry::Failed { attempt: Attempt { task, failure }, last } => take(News::Failed(Failed {
                task,
                attempt: failure.attempt(),
                kind: failure.kind.to_string(),
                place: failure.place.as_ref().map(|place| (place.rank, place.host.clone())),
                message: failure.message.clone(),
                last,
            })),
            Entry::Trace(block) => {
                for row in &block.rows {
                    take(News::Chunk(Chunk {
                        t: row.ended,
                        rank: row.rank,
                        host: block.hosts.get(row.host as usize).cloned(),
                        pid: row.pid,
                        start: row.start,
                        count: row.count,
                        busy_s: row.ended - row.started,
                    }));
                }
            }
            Entry::Events(lines) => {
                lines.split(|byte| *byte == b'\n').for_each(|line| events::tell(line, true, take));
            }
        })?;
        *lives = true;
        take(News::Standing(self.standing()));
        Ok(())
    }

    fn standing(&self) -> Standing {
        let there = self.path.place().exists();
        if there && is_written_from(&self.path, self.host.as_deref()) {
            return Standing::Running;
        }
        match self.output.as_ref().and_then(|output| result::ended(output, &self.run)) {
            Some(ended) => Standing::Ended(ended),
            None if there => Standing::Stopped,
            None => {
                let error = Some("its journal is gone, and its result file is not there".into());
                Standing::Ended(Ended { error, ..Ended::default() })
            }
        }
    }
}

fn run_of(identity: Identity) -> Run {
    let Identity { subject, tasks, run, began, .. } = identity;
    let (what, parameters) = match subject {
        Subject::Job { job, parameters, .. } => (job, parameters.to_string()),
        Subject::Map { label: Some(label), .. } => (format!("the map {label:?}"), Value::Null.to_string()),
        Subject::Map { label: None, .. } => ("a map".into(), Value::Null.to_string()),
    };
    Run { run, what, parameters, tasks, began }
}
