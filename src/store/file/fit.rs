//! Checks as rows come whether they fit the file. A run whose file is written at the end would otherwise notice only
//! when all is done.

use super::{
    Shape,
    column::{ColumnError, Counted},
    shape_of,
};
use crate::{
    error::{Error, ErrorKind},
    rows::Rows,
    store::schema::{Malformed, Schema, walk},
    wire::Piece,
};

pub(crate) struct Fit {
    schema: Schema,
    shape: Shape,
}

impl Fit {
    /// # Errors
    /// When no rows of the schema fit the layout.
    pub(crate) fn new(schema: &Schema, layout: &Rows) -> Result<Fit, Error> {
        Ok(Fit { schema: schema.clone(), shape: shape_of(schema, layout)? })
    }

    /// Makes sure that each row of the piece has its place in the file.
    ///
    /// # Errors
    /// When one has not; its task is named.
    pub(crate) fn check(&self, piece: &Piece) -> Result<(), Error> {
        let batch = match &piece.outcome {
            Ok(batch) => batch,
            Err(failure) => {
                let row = failure.value.as_ref().map_or(Ok(()), |row| self.row(row));
                return row.map_err(|error| cannot_be_written(piece.start, &error));
            }
        };
        let size = self.schema.fixed_size().filter(|_| self.shape == Shape::Ragged);
        if size.is_some_and(|size| size * batch.len() == batch.size()) {
            return Ok(());
        }
        (0..batch.len()).try_for_each(|k| {
            self.row(&batch.get(k)).map_err(|error| cannot_be_written(piece.start + k as u64, &error))
        })
    }

    fn row(&self, mut bytes: &[u8]) -> Result<(), ColumnError> {
        let found = match Counted::of(&self.schema) {
            Some((counted, _)) => counted.take(&mut { bytes })?,
            None => 0,
        };
        match &self.shape {
            Shape::Fixed(dimensions) => {
                let expected = dimensions.iter().product();
                if found != expected {
                    return Err(ColumnError::Shape { found, expected });
                }
            }
            Shape::Lines(width) if !found.is_multiple_of(*width) => {
                return Err(ColumnError::Line { found, width: *width });
            }
            _ => {}
        }
        walk(&self.schema, &mut bytes)?;
        if bytes.is_empty() { Ok(()) } else { Err(Malformed.into()) }
    }
}

pub(super) fn cannot_be_written(task: u64, error: &ColumnError) -> Error {
    Error::new(ErrorKind::Internal, format!("the row of task {task} cannot be written: {error}"))
}
