//! Rows back out of the datasets, as they were encoded.

use hdf5::{
    Dataset, Group,
    types::{TypeDescriptor, VarLenUnicode},
};
use serde_json::{Map, Value};

use super::{
    RecordColumn,
    column::{Counted, Shape, TextKind, descriptor, elements},
    optional::ReadOptional,
    raw,
    records::columns_of,
};
use crate::store::schema::Schema;

/// Rows are read in blocks of about this many bytes.
const READ_BYTES: usize = 4 << 20;
/// To take more bytes than this at a time can only be an error.
const LARGEST: usize = 1 << 36;
/// Texts may be of any length, and are read so many at a time.
const READ_TEXTS: usize = 1 << 8;

/// Part of a row, as it is read; the reverse of [`Column`](super::column::Column).
pub(super) enum ReadColumn {
    Nothing,
    Fixed { rows: FixedRows, counted: Option<(Counted, usize)> },
    Optional(ReadOptional),
    Text { dataset: Dataset, at: usize, ahead: std::vec::IntoIter<VarLenUnicode>, kind: TextKind },
    Record(Vec<(RecordColumn, ReadColumn)>),
    List { counted: Counted, of: Box<ReadColumn>, offsets: FixedRows, start: u64, width: usize },
    Group(Vec<ReadColumn>),
}

impl Counted {
    /// Appends the length of a list.
    pub(super) fn put(self, count: usize, out: &mut Vec<u8>) {
        match self {
            Counted::Values => out.extend_from_slice(&(count as u64).to_le_bytes()),
            Counted::Bytes(size) => out.extend_from_slice(&((count * size) as u64).to_le_bytes()),
            Counted::Option => out.push(count.min(1) as u8),
            Counted::Always(_) => {}
        }
    }
}

impl ReadColumn {
    pub(super) fn open(
        parent: &Group,
        name: &str,
        schema: &Schema,
        shape: &Shape,
    ) -> hdf5::Result<ReadColumn> {
        if let (Shape::Fixed(dimensions), Some((counted, of))) = (shape, Counted::of(schema))
            && let Some(element) = descriptor(of)
        {
            let rows = FixedRows::open(parent.dataset(name)?, element, of.fixed_size().unwrap_or(0));
            return Ok(ReadColumn::Fixed { rows, counted: Some((counted, dimensions.iter().product())) });
        }
        if schema.fixed_size().is_some() {
            let Some((element, size, _)) = elements(schema) else {
                return Ok(ReadColumn::Nothing);
            };
            let rows = FixedRows::open(parent.dataset(name)?, element, size);
            return Ok(ReadColumn::Fixed { rows, counted: None });
        }
        // Up to format 3 an option is a list.
        if let (Shape::Ragged, Schema::Option(of), Ok(values)) = (shape, schema, parent.dataset(name))
            && let Some(elements) = elements(of)
        {
            return ReadOptional::open(parent, name, values, elements).map(ReadColumn::Optional);
        }
        if let Some((counted, of)) = Counted::of(schema) {
            let group = parent.group(name)?;
            let mut offsets = FixedRows::open(
                group.dataset("offsets")?,
                TypeDescriptor::Unsigned(hdf5::types::IntSize::U8),
                8,
            );
            let start = offsets.whole()?;
            let width = if let Shape::Lines(width) = shape { *width } else { 1 };
            let of = match (shape, descriptor(of), of.fixed_size()) {
                (Shape::Lines(_), Some(element), Some(size)) => ReadColumn::Fixed {
                    rows: FixedRows::open(group.dataset("values")?, element, size),
                    counted: None,
                },
                _ => ReadColumn::open(&group, "values", of, &Shape::Ragged)?,
            };
            return Ok(ReadColumn::List { counted, of: Box::new(of), offsets, start, width });
        }
        match schema {
            Schema::Struct(fields) => {
                let group = parent.group(name)?;
                let column = |(name, field): &(String, Schema)| match field {
                    Schema::Record => ReadColumn::records(&group, name),
                    field => ReadColumn::open(&group, name, field, &Shape::Ragged),
                };
                Ok(ReadColumn::Group(fields.iter().map(column).collect::<hdf5::Result<_>>()?))
            }
            Schema::Record => ReadColumn::records(&parent.group(name)?, ""),
            _ => Ok(ReadColumn::Text {
                dataset: parent.dataset(name)?,
                at: 0,
                ahead: Vec::new().into_iter(),
                kind: TextKind::of(schema),
            }),
        }
    }

    /// The records of a field, whose columns lie in the group.
    fn records(group: &Group, field: &str) -> hdf5::Result<ReadColumn> {
        let column = |found: RecordColumn| {
            let read = ReadColumn::open(group, &found.name, &found.schema(), &Shape::Ragged)?;
            Ok((found, read))
        };
        let columns = record_columns(group, field)?.into_iter().map(column).collect::<hdf5::Result<_>>()?;
        Ok(ReadColumn::Record(columns))
    }

    /// Appends the next row.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> hdf5::Result<()> {
        match self {
            ReadColumn::Nothing => Ok(()),
            ReadColumn::Fixed { rows, counted } => {
                if let Some((counted, count)) = counted {
                    counted.put(*count, out);
                }
                rows.take(1, out)
            }
            ReadColumn::Optional(optional) => optional.next(out),
            ReadColumn::Text { dataset, at, ahead, kind } => {
                if ahead.len() == 0 {
                    let to = (*at + READ_TEXTS).min(dataset.size());
                    *ahead = dataset.read_slice_1d::<VarLenUnicode, _>(*at..to)?.to_vec().into_iter();
                    *at = to;
                }
                let text = ahead.next().ok_or_else(short)?;
                if !matches!(kind, TextKind::Char) {
                    Counted::Values.put(text.len(), out);
                }
                out.extend_from_slice(text.as_bytes());
                Ok(())
            }
            ReadColumn::List { counted, of, offsets, start, width } => {
                let end = offsets.whole()?;
                let lines = end.checked_sub(std::mem::replace(start, end)).ok_or_else(short)? as usize;
                counted.put(lines * *width, out);
                match &mut **of {
                    ReadColumn::Fixed { rows, .. } => rows.take(lines, out),
                    of => (0..lines).try_for_each(|_| of.next(out)),
                }
            }
            ReadColumn::Record(columns) => {
                let (mut record, mut bytes) = (Map::new(), Vec::new());
                for (found, column) in columns {
                    bytes.clear();
                    column.next(&mut bytes)?;
                    let value = found.value(&bytes).map_err(|_| hdf5::Error::Internal(NO_RECORD.into()))?;
                    if let Some(value) = value {
                        found.put(&mut record, value);
                    }
                }
                let text = Value::Object(record).to_string();
                Counted::Values.put(text.len(), out);
                out.extend_from_slice(text.as_bytes());
                Ok(())
            }
            ReadColumn::Group(columns) => columns.iter_mut().try_for_each(|column| column.next(out)),
        }
    }
}

const NO_RECORD: &str = "what the columns of a record hold is no record";

/// The columns of the records in a field, as the group says.
pub(super) fn record_columns(group: &Group, field: &str) -> hdf5::Result<Vec<RecordColumn>> {
    let told = group.attr(&columns_of(field))?.read_scalar::<VarLenUnicode>()?;
    serde_json::from_str(&told).map_err(|error| hdf5::Error::Internal(error.to_string()))
}

fn short() -> hdf5::Error {
    hdf5::Error::Internal("the file has fewer values than it says".into())
}

/// Rows of one size, read ahead in blocks.
pub(super) struct FixedRows {
    dataset: Dataset,
    element: TypeDescriptor,
    row_bytes: usize,
    rows: usize,
    /// The row that is read next, and what was read ahead of those that were taken.
    at: usize,
    ahead: Vec<u8>,
    taken: usize,
}

impl FixedRows {
    pub(super) fn open(dataset: Dataset, element: TypeDescriptor, size: usize) -> FixedRows {
        let shape = dataset.shape();
        let row_bytes = size * shape.iter().skip(1).product::<usize>();
        let rows = shape.first().copied().unwrap_or(0);
        FixedRows { dataset, element, row_bytes, rows, at: 0, ahead: Vec::new(), taken: 0 }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Appends the next `count` rows.
    pub(super) fn take(&mut self, count: usize, out: &mut Vec<u8>) -> hdf5::Result<()> {
        let mut left = count.checked_mul(self.row_bytes).filter(|size| *size <= LARGEST).ok_or_else(short)?;
        while left > 0 {
            if self.taken == self.ahead.len() {
                let block = (READ_BYTES / self.row_bytes.max(1)).max(1).min(self.rows - self.at);
                if block == 0 {
                    return Err(short());
                }
                self.ahead = raw::read(&self.dataset, self.at, block, &self.element)?;
                self.at += block;
                self.taken = 0;
            }
            let part = left.min(self.ahead.len() - self.taken);
            out.extend_from_slice(&self.ahead[self.taken..self.taken + part]);
            self.taken += part;
            left -= part;
        }
        Ok(())
    }

    /// The next row, of a dataset of 64-bit whole numbers.
    fn whole(&mut self) -> hdf5::Result<u64> {
        let mut bytes = Vec::with_capacity(8);
        self.take(1, &mut bytes)?;
        bytes.try_into().map(u64::from_le_bytes).map_err(|_| short())
    }
}
