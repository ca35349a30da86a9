//! The inputs of a run, kept while they come, and written when its file is finished.

use std::{io, path::Path, rc::Rc};

use serde::Serialize;

use super::spool::Spool;
use crate::{
    store::schema::Schema,
    wire::{Batch, BatchBuilder},
};

/// Inputs are gathered in batches of this many bytes.
const TOGETHER: usize = 1 << 16;

/// A list of inputs, as they are encoded.
pub(crate) struct Inputs {
    pub(super) schema: Schema,
    pub(super) rows: Spool,
    batch: BatchBuilder,
    /// How many there are.
    pub(super) count: u64,
    /// Why no more are taken.
    broken: Option<io::Error>,
}

impl Inputs {
    /// A list of inputs of this type, kept in a file without a name in `folder`.
    pub(crate) fn new(schema: Schema, folder: Rc<Path>) -> Inputs {
        let rows = Spool::new(folder);
        Inputs { schema, rows, batch: BatchBuilder::default(), count: 0, broken: None }
    }

    /// Appends an input. What cannot be encoded, or panics, is filled, as a row that is missing.
    #[inline]
    pub(crate) fn push<T: Serialize>(&mut self, input: &T) {
        let pushed = crate::worker::catch(|| self.batch.push(input));
        self.count += 1;
        if !matches!(pushed, Ok(Ok(()))) {
            let mut fill = Vec::new();
            self.schema.fill(&mut fill);
            self.spool(&[]);
            self.spool(&fill);
        } else if self.batch.size() >= TOGETHER {
            self.spool(&[]);
        }
    }

    /// Moves the batch to the others, and `more` behind it. After an error nothing is kept any more: it is told at the end.
    #[cold]
    fn spool(&mut self, more: &[u8]) {
        let batch: Batch = self.batch.finish();
        if self.broken.is_none() {
            self.rows.open().extend_from_slice(&batch.bytes());
            self.rows.open().extend_from_slice(more);
            self.broken = self.rows.ended().err();
        }
    }

    /// The list, complete.
    ///
    /// # Errors
    /// When it could not be kept.
    pub(super) fn finish(mut self) -> io::Result<Inputs> {
        self.spool(&[]);
        match self.broken.take() {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }
}
