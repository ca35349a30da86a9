//! The outcomes of a run in the order of the tasks: hashed, written to the file, and given on.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::Xxh3;

use super::record::Shared;
use crate::{
    error::{Error, ErrorKind},
    executor::value,
    rows::Rows,
    store::{
        file::ResultFile,
        schema::{Schema, walk},
    },
    wire::Piece,
};

/// Who is told of pieces.
pub(super) type Tell<'t> = dyn Fn(&Piece) -> Result<(), Error> + 't;

/// Yields index and output of each task that ended well, and takes note of the others.
pub(super) struct Gather<'s, T> {
    source: &'s mut dyn FnMut() -> Result<Option<Piece>, Error>,
    /// Who is told of each piece in its turn.
    tell: Option<&'s Tell<'s>>,
    pub(super) file: Option<ResultFile>,
    digest: Digest,
    pub(super) done: u64,
    pub(super) failed: u64,
    /// Where attempts and the trace wait to be written, of a run without a journal.
    notes: Option<Shared>,
    /// The piece whose outputs are being yielded, and how many were.
    current: Option<(Piece, usize)>,
    /// Why it ended before its end.
    pub(super) broken: Option<Error>,
    output: PhantomData<fn() -> T>,
}

impl<'s, T: DeserializeOwned> Gather<'s, T> {
    pub(super) fn new(
        source: &'s mut dyn FnMut() -> Result<Option<Piece>, Error>,
        tell: Option<&'s Tell<'s>>,
        file: Option<ResultFile>,
        notes: Option<Shared>,
        layout: &Rows,
    ) -> Result<Gather<'s, T>, Error> {
        let measured = match layout.measured_fields() {
            [] => None,
            _ => Measured::of(Schema::of::<T>().ok().as_ref(), layout)?,
        };
        Ok(Gather {
            source,
            tell,
            file,
            digest: Digest { measured, ..Digest::default() },
            done: 0,
            failed: 0,
            notes,
            current: None,
            broken: None,
            output: PhantomData,
        })
    }

    /// Takes what is left, when nobody wants to see it.
    pub(super) fn drain(&mut self) -> Result<(), Error> {
        self.by_ref().for_each(drop);
        self.broken.take().map_or(Ok(()), Err)
    }

    pub(super) fn digest(&self) -> String {
        self.digest.finish()
    }

    fn pull(&mut self) -> Result<Option<Piece>, Error> {
        let Some(piece) = (self.source)()? else {
            return Ok(None);
        };
        if let Some(file) = &mut self.file {
            file.append(&piece)?;
            if let Some(notes) = &self.notes {
                notes.lock().write_full_to(file)?;
            }
        }
        self.digest.piece(&piece);
        self.tell.map_or(Ok(()), |tell| tell(&piece))?;
        Ok(Some(piece))
    }
}

impl<T: DeserializeOwned> Iterator for Gather<'_, T> {
    type Item = (u64, T);

    fn next(&mut self) -> Option<(u64, T)> {
        loop {
            if let Some((piece, k)) = &mut self.current
                && let Ok(batch) = &piece.outcome
                && *k < batch.len()
            {
                let index = piece.start + *k as u64;
                let output = value(batch, *k, index);
                *k += 1;
                match output {
                    Ok(output) => {
                        self.done += 1;
                        return Some((index, output));
                    }
                    Err(error) => {
                        tracing::error!("{error}");
                        self.failed += 1;
                        continue;
                    }
                }
            }
            if self.broken.is_some() {
                return None;
            }
            match self.pull() {
                Ok(Some(piece)) => {
                    self.failed += if piece.outcome.is_err() { piece.count } else { 0 };
                    self.current = Some((piece, 0));
                }
                Ok(None) => {
                    self.current = None;
                    return None;
                }
                Err(error) => {
                    self.broken = Some(error);
                    return None;
                }
            }
        }
    }
}

/// Bytes that are hashed at a time.
const TOGETHER: usize = 1 << 16;

/// The fields of a row, and which of them are measured.
pub(super) struct Measured(Vec<(Schema, bool)>);

impl Measured {
    /// What the layout says of rows of this type; `None` where nothing is measured.
    ///
    /// # Errors
    /// When there are no such fields.
    pub(super) fn of(schema: Option<&Schema>, layout: &Rows) -> Result<Option<Measured>, Error> {
        let measured = layout.measured_fields();
        let fields = match schema {
            Some(Schema::Struct(fields)) => fields.as_slice(),
            _ => &[],
        };
        if let Some(name) = measured.iter().find(|name| !fields.iter().any(|(field, _)| field == *name)) {
            return Err(Error::new(
                ErrorKind::Internal,
                format!(
                    "the job's Rows do not fit its output: it is no struct with a field {name:?}, which is measured"
                ),
            ));
        }
        let field = |(name, schema): &(String, Schema)| (schema.clone(), measured.contains(name));
        Ok((!measured.is_empty()).then(|| Measured(fields.iter().map(field).collect())))
    }

    /// Appends what is not measured of an encoded row to `out`.
    fn computed(&self, mut row: &[u8], out: &mut Vec<u8>) {
        for (schema, measured) in &self.0 {
            let before = row;
            // Bytes that are no row are hashed as they are.
            if walk(schema, &mut row).is_err() {
                return out.extend_from_slice(before);
            }
            if !measured {
                out.extend_from_slice(&before[..before.len() - row.len()]);
            }
        }
    }
}

/// A hash of outcomes in order, over their encodings.
#[derive(Default)]
struct Digest {
    hash: Xxh3,
    buffer: Vec<u8>,
    measured: Option<Measured>,
}

impl Digest {
    fn piece(&mut self, piece: &Piece) {
        let Ok(batch) = &piece.outcome else {
            for task in piece.start..piece.start + piece.count {
                self.hash.update(&[0]);
                self.hash.update(&task.to_le_bytes());
            }
            return;
        };
        for k in 0..batch.len() {
            let value = batch.get(k);
            self.buffer.push(1);
            if let Some(measured) = &self.measured {
                measured.computed(&value, &mut self.buffer);
                if self.buffer.len() > TOGETHER {
                    self.hash_buffer();
                }
                continue;
            }
            // Small values are put together, since it costs as much to hash a few bytes as many.
            if value.len() < TOGETHER {
                self.buffer.extend_from_slice(&value);
                if self.buffer.len() > TOGETHER {
                    self.hash_buffer();
                }
            } else {
                self.hash_buffer();
                self.hash.update(&value);
            }
        }
        self.hash_buffer();
    }

    fn hash_buffer(&mut self) {
        self.hash.update(&self.buffer);
        self.buffer.clear();
    }

    fn finish(&self) -> String {
        format!("xxh3-{:032x}", self.hash.digest128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::{Failure, FailureKind},
        wire::BatchBuilder,
    };

    /// The digest of outcomes that come in pieces of `size`.
    fn digest(outcomes: &[Option<f64>], size: usize) -> String {
        let mut digest = Digest::default();
        let mut values = BatchBuilder::default();
        let mut start = 0;
        for (index, outcome) in outcomes.iter().enumerate() {
            if let Some(value) = outcome {
                values.push(value).unwrap();
            }
            if outcome.is_none() || values.len() == size || index + 1 == outcomes.len() {
                let batch = values.finish();
                let count = batch.len() as u64;
                digest.piece(&Piece { start, count, outcome: Ok(batch) });
                start += count;
            }
            if outcome.is_none() {
                let failure = Failure::new(FailureKind::Failed, "no");
                digest.piece(&Piece { start, count: 1, outcome: Err(failure) });
                start += 1;
            }
        }
        digest.finish()
    }

    #[test]
    fn the_digest_tells_values_order_and_failures_apart() {
        let all = [
            digest(&[Some(1.0), Some(2.0)], 9),
            digest(&[Some(2.0), Some(1.0)], 9),
            digest(&[Some(1.0), None], 9),
            digest(&[None, Some(1.0)], 9),
            digest(&[Some(1.0)], 9),
        ];
        let distinct: std::collections::HashSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn the_digest_does_not_depend_on_the_pieces() {
        let outcomes = [Some(1.0), Some(2.0), None, Some(3.0), Some(4.0), Some(5.0)];
        assert_eq!(digest(&outcomes, 1), digest(&outcomes, 4));
    }
}
