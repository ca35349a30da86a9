//! The inputs of a run, kept while they come, and written when its file is finished.

use std::{io, path::Path, rc::Rc};

use serde::Serialize;

use super::spool::Spool;
use crate::{store::schema::Schema, wire::encode_onto, worker::catch};

/// A list of inputs, as they are encoded.
pub(crate) struct Inputs {
    pub(super) schema: Schema,
    pub(super) rows: Spool,
    /// How many there are.
    pub(super) count: u64,
    /// Why no more are kept: it is told at the end.
    broken: Option<io::Error>,
}

impl Inputs {
    /// A list of inputs of this type, kept in a file without a name in `folder`.
    pub(crate) fn new(schema: Schema, folder: Rc<Path>) -> Inputs {
        Inputs { schema, rows: Spool::new(folder), count: 0, broken: None }
    }

    /// Appends an input. What cannot be encoded, or panics, is filled, as a row that is missing.
    #[inline]
    pub(crate) fn push<T: Serialize>(&mut self, input: &T) {
        if self.broken.is_some() {
            return;
        }
        self.count += 1;
        let rows = self.rows.open();
        let before = rows.len();
        if !matches!(catch(|| encode_onto(input, rows)), Ok(Ok(()))) {
            let rows = self.rows.open();
            rows.truncate(before);
            self.schema.fill(rows);
        }
        self.broken = self.rows.ended().err();
    }

    /// The list, complete.
    ///
    /// # Errors
    /// When it could not be kept.
    pub(super) fn finish(mut self) -> io::Result<Inputs> {
        self.broken.take().map_or(Ok(self), Err)
    }
}
