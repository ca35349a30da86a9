//! The outcomes of a journal, as they are read from it.

use std::{fs::File, io, vec};

use bytes::Bytes;

use super::{
    failure_of,
    index::{Index, Located},
    read_record,
    record::TABLE,
    storage,
};
use crate::{
    error::Error,
    paths::Named,
    wire::{Batch, Piece},
};

/// Reads outcomes from where they lie.
pub(super) struct Reader {
    pub(super) path: Named,
    pub(super) file: File,
    /// The values of the record that was read last, by its offset.
    record: Option<(u64, Batch)>,
}

impl Reader {
    pub(super) fn new(path: Named, file: File) -> Reader {
        Reader { path, file, record: None }
    }

    /// The outcomes of tasks `start ..` in this place.
    ///
    /// # Errors
    /// When they cannot be read any more.
    pub(super) fn piece(&mut self, start: u64, located: Located) -> Result<Piece, Error> {
        self.read(start, located).map_err(|error| storage(&self.path, error))
    }

    fn read(&mut self, start: u64, located: Located) -> io::Result<Piece> {
        let Located { count, offset, size, skip, failed } = located;
        let contradicts = || io::Error::other(format!("the record at byte {offset} contradicts itself"));
        if failed {
            let failure = failure_of(read_record(&self.file, offset, size)?)?;
            return Ok(Piece { start, count, outcome: Err(failure) });
        }
        let batch = match &self.record {
            Some((at, batch)) if *at == offset => batch.clone(),
            _ => {
                let (header, payload) = read_record(&self.file, offset, size)?;
                let values = usize::try_from(header.count).map_err(io::Error::other)?;
                let batch = Batch::from_wire(Bytes::from(payload), values, header.layout & TABLE != 0)
                    .ok_or_else(contradicts)?;
                self.record = Some((offset, batch.clone()));
                batch
            }
        };
        let (from, to) = (skip as usize, (skip + count) as usize);
        if to > batch.len() {
            return Err(contradicts());
        }
        Ok(Piece { start, count, outcome: Ok(batch.slice(from, to)) })
    }
}

/// What a journal had as it was opened, in the order of the tasks. It is read while others are appended; the lock is
/// held as long as it lives.
pub(crate) struct Known {
    reader: Reader,
    left: vec::IntoIter<(u64, Located)>,
}

impl Known {
    pub(super) fn new(reader: Reader, index: &Index) -> Known {
        let located: Vec<(u64, Located)> = index.in_order().collect();
        Known { reader, left: located.into_iter() }
    }

    /// Leaves out what failed.
    pub(crate) fn without_failures(self) -> Known {
        self.only(|located| !located.failed)
    }

    /// Leaves out everything but the first task that failed.
    pub(crate) fn first_failure_only(self) -> Known {
        let mut first = true;
        self.only(|located| located.failed && std::mem::take(&mut first))
    }

    fn only(mut self, mut wanted: impl FnMut(&Located) -> bool) -> Known {
        let left: Vec<_> = self.left.filter(|(_, located)| wanted(located)).collect();
        self.left = left.into_iter();
        self
    }

    /// The first task of what comes next.
    pub(crate) fn next_task(&self) -> Option<u64> {
        self.left.as_slice().first().map(|(start, _)| *start)
    }

    /// The next outcomes.
    ///
    /// # Errors
    /// When the journal cannot be read any more.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, Error> {
        self.left.next().map(|(start, located)| self.reader.piece(start, located)).transpose()
    }
}
