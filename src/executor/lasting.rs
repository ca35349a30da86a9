//! Lasting maps: their outcomes go into a journal, and a task whose outcome it already has does not run again.

use std::sync::Arc;

use super::{options::CallOptions, turns::Order};
use crate::{
    error::Error,
    paths::Named,
    store::journal::{Addition, Identity, Journal, Known, Queue, Subject},
    task_set::TaskSet,
    wire::Piece,
};

/// Where a call keeps its outcomes, and what they are of.
#[derive(Clone, Debug)]
pub(crate) struct Keeping {
    pub(super) path: Named,
    /// The types of items and values.
    pub(super) items: &'static str,
    pub(super) values: &'static str,
}

/// Takes the outcomes of a call as soon as they are known, on the engine's thread.
pub(super) struct Kept {
    queue: Arc<Queue>,
    order: Option<Arc<Order>>,
}

impl Kept {
    pub(super) fn take(&self, piece: Piece) {
        match &self.order {
            None => self.queue.push(Addition::Outcome(piece)),
            Some(order) => order.by_index(&piece).for_each(|one| self.queue.push(Addition::Outcome(one))),
        }
    }
}

/// The journal of a call in flight, and what it had when the call began.
pub(super) struct Lasting {
    path: Named,
    journal: Journal,
    queue: Arc<Queue>,
    known: Known,
    /// Outcomes come in the order of the items.
    ordered: bool,
    /// The task whose turn it is, then.
    next: u64,
    order: Option<Arc<Order>>,
    /// Tasks that are known.
    skip: TaskSet,
    /// How many of them were given out.
    pub(super) given: u64,
    /// Items behind this number need not be pulled: the call ends before.
    pub(super) enough: u64,
}

impl Lasting {
    /// Opens the journal of a call over so many items, if that is known.
    ///
    /// # Errors
    /// When it is of another call, or no journal, when another process has it, or when it cannot be written.
    pub(super) fn open(
        options: &CallOptions,
        keeping: &Keeping,
        seed: u64,
        ordered: bool,
        tasks: Option<u64>,
    ) -> Result<Lasting, Error> {
        let named = |error: Error| match &options.label {
            Some(label) => Error::new(error.kind(), format!("{label}: {error}")),
            None => error,
        };
        let subject = Subject::Map {
            label: options.label.as_ref().map(ToString::to_string),
            items: options.item_type.as_deref().unwrap_or(keeping.items).into(),
            values: keeping.values.into(),
        };
        let identity = Identity::new(subject, seed, tasks);
        let (journal, known) = Journal::resume(&keeping.path, identity).map_err(named)?;
        journal.damage.iter().for_each(|damage| tracing::warn!("{damage}"));
        let mut lasting = Lasting {
            path: keeping.path.clone(),
            queue: journal.queue(),
            skip: journal.done.clone(),
            journal,
            known,
            ordered,
            next: 0,
            order: options.order.clone(),
            given: 0,
            enough: u64::MAX,
        };
        if let Some(tasks) = tasks {
            lasting.counted(tasks).map_err(named)?;
        }
        Ok(lasting.with_failures(options))
    }

    /// Decides about the tasks that failed: they are run again, or have their outcomes, which end a call that stops at
    /// a failure.
    fn with_failures(mut self, options: &CallOptions) -> Lasting {
        let failed = &self.journal.failed;
        let Some((first, _)) = failed.ranges().next() else { return self };
        if options.retry_failed {
            self.known = self.known.without_failures();
            return self;
        }
        tracing::warn!(
            "{}: {} tasks have failed in an earlier run, and are not run again: retry_failed does",
            self.path,
            failed.len()
        );
        self.skip = self.skip.union(failed);
        if !options.keep_going {
            // What comes behind the failure in its turn is of no use; without an order it is the first to be told.
            self.enough = first + 1;
            if !self.ordered || self.order.is_some() {
                (self.enough, self.ordered) = (0, false);
                self.known = self.known.first_failure_only();
            }
        }
        self
    }

    /// For the engine's thread.
    pub(super) fn kept(&self) -> Kept {
        Kept { queue: self.queue.clone(), order: self.order.clone() }
    }

    /// The tasks that are not run, by their positions in the order in which tasks begin.
    pub(super) fn skip(&self) -> TaskSet {
        self.order.as_ref().map_or_else(|| self.skip.clone(), |order| order.positions(&self.skip))
    }

    /// An outcome that is known has its turn.
    pub(super) fn has_turn(&self) -> bool {
        self.known.next_task().is_some_and(|task| !self.ordered || task <= self.next)
    }

    /// The next outcomes that were known.
    ///
    /// # Errors
    /// When the journal cannot be read any more.
    pub(super) fn take(&mut self) -> Result<Option<Piece>, Error> {
        let piece = self.known.next()?;
        self.given += piece.as_ref().map_or(0, |piece| piece.count);
        Ok(piece.inspect(|piece| self.next = piece.start + piece.count))
    }

    /// Takes note of outcomes of this run that are given out. A task that failed before it was sent is kept here: what
    /// was sent in its place does not count.
    pub(super) fn passed(&mut self, piece: &Piece) {
        self.next = piece.start + piece.count;
        if piece.is_of_no_attempt() {
            self.queue.push(Addition::Outcome(piece.clone()));
        }
    }

    /// Waits until the journal has room for what comes.
    ///
    /// # Errors
    /// When it cannot be written any more.
    pub(super) fn wait_for_room(&self) -> Result<(), Error> {
        self.queue.wait_for_room()
    }

    /// There are so many items, it turns out.
    ///
    /// # Errors
    /// When there were others before.
    pub(super) fn counted(&mut self, tasks: u64) -> Result<(), Error> {
        let end = self.journal.done.end().max(self.journal.failed.end());
        match self.journal.identity.tasks {
            Some(before) if before != tasks => Err(self.differs(&before.to_string(), &tasks.to_string())),
            None if end > tasks => Err(self.differs(&format!("{end} at least"), &tasks.to_string())),
            None => self.journal.counted(tasks),
            Some(_) => Ok(()),
        }
    }

    /// An item more was pulled than `pulled`.
    ///
    /// # Errors
    /// When there were no more before.
    pub(super) fn one_more(&self, pulled: u64) -> Result<(), Error> {
        match self.journal.identity.tasks {
            Some(before) if pulled >= before => {
                Err(self.differs(&before.to_string(), &format!("{} at least", pulled + 1)))
            }
            _ => Ok(()),
        }
    }

    fn differs(&self, before: &str, now: &str) -> Error {
        Error::usage(format!(
            "{}: cannot be resumed: {}",
            self.path,
            self.journal.identity.counts(before, now)
        ))
    }

    /// All outcomes were given out: leaves them on disk.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn finish(self) -> Result<(), Error> {
        if let Err(error) = self.journal.finish()?.sync() {
            // The user has the results, so it does no harm if somebody has removed the file.
            tracing::warn!("{error}: a later run will not find them");
        }
        Ok(())
    }
}
