//! Lists that are read: once to know how many rows there are and what is in them, then again for the run. No more than
//! a row of them is in memory.

use std::sync::{Mutex, PoisonError};

use rankpool::{Barrier, Error};
use xxhash_rust::xxh3::Xxh3;

use super::{
    json::JsonCursor,
    lines::{LineCursor, LineFormat},
    rows::{Cursor, Row, hash_row},
    table::TableCursor,
    tasks::TaskCursor,
    text::Text,
};

/// What a text is read as.
pub enum Format {
    Lines(LineFormat),
    Table,
    Json,
    Tasks,
}

impl Format {
    /// Begins to read, and tells the names of the columns if the text does.
    fn open(&self, text: &Text) -> Result<(Box<dyn Cursor>, Option<Row>), Error> {
        let reader = text.open()?;
        Ok(match self {
            Format::Lines(format) => {
                let (cursor, names) = LineCursor::new(format, &text.name, reader)?;
                (Box::new(cursor), names)
            }
            Format::Table => {
                let (cursor, names) = TableCursor::new(&text.name, reader)?;
                (Box::new(cursor), Some(names))
            }
            Format::Json => {
                let (cursor, keys) = JsonCursor::new(&text.name, reader)?;
                (Box::new(cursor), keys)
            }
            Format::Tasks => (Box::new(TaskCursor::new(&text.name, reader)), None),
        })
    }

    /// A row has one column, and nobody need look.
    fn is_one_column(&self) -> bool {
        matches!(self, Format::Lines(format) if format.columns.is_one())
    }
}

/// A list that is read as it is needed.
pub struct Reading {
    text: Text,
    format: Format,
    /// Those that the text names
    pub names: Option<Row>,
    pub width: usize,
    /// `None` for a stream
    pub seen: Option<Seen>,
    /// Of a stream that has begun to be read
    stream: Mutex<Option<Streamed>>,
}

/// What reading a list once has shown.
#[derive(Clone, Copy, PartialEq)]
pub struct Seen {
    pub count: u64,
    pub digest: u128,
}

impl Reading {
    /// Reads a text through, if that is more than once possible.
    pub fn new(text: Text, format: Format) -> Result<Reading, Error> {
        let (mut cursor, names) = format.open(&text)?;
        if text.is_stream() {
            return Reading::stream(text, format, cursor, names);
        }
        let (seen, width) = scan(&mut *cursor, names.as_ref())?;
        let width = names.as_ref().map_or(width, Vec::len);
        Ok(Reading { text, format, names, width, seen: Some(seen), stream: Mutex::new(None) })
    }

    /// Reads a task file through, and tells its barriers.
    pub fn tasks(text: Text) -> Result<(Reading, Vec<Barrier>), Error> {
        let mut cursor = TaskCursor::new(&text.name, text.open()?);
        let (seen, width) = scan(&mut cursor, None)?;
        let (format, stream) = (Format::Tasks, Mutex::new(None));
        let barriers = cursor.barriers.into_iter().filter(|barrier| barrier.before < seen.count).collect();
        Ok((Reading { text, format, names: None, width, seen: Some(seen), stream }, barriers))
    }

    /// Looks at the first row of a stream, which tells how many columns there are.
    fn stream(
        text: Text,
        format: Format,
        mut cursor: Box<dyn Cursor>,
        names: Option<Row>,
    ) -> Result<Reading, Error> {
        let mut first = None;
        let width = match &names {
            Some(names) => names.len(),
            None if format.is_one_column() => 1,
            None => {
                let mut row = Row::new();
                first = cursor.next(&mut row)?.then_some(row);
                first.as_ref().map_or(1, Vec::len)
            }
        };
        let streamed = Streamed { name: text.name.clone(), cursor, first, width, number: 0 };
        Ok(Reading { text, format, names, width, seen: None, stream: Mutex::new(Some(streamed)) })
    }

    /// Begins to go through the rows, each of which has the width of the list.
    pub fn rows(&self) -> Result<Box<dyn Cursor>, Error> {
        let Some(seen) = self.seen else {
            let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            return match stream {
                Some(stream) => Ok(Box::new(stream)),
                // Says that it was read already.
                None => Err(self.text.open().err().unwrap_or_else(|| self.text.changed())),
            };
        };
        let (cursor, names) = self.format.open(&self.text)?;
        let mut hasher = Xxh3::new();
        hash_row(&mut hasher, names.as_deref().unwrap_or_default());
        let changed = self.text.changed().to_string();
        Ok(Box::new(Checked { cursor, seen, hasher, count: 0, width: self.width, changed }))
    }

    /// All rows, in memory.
    pub fn all(&self) -> Result<Vec<Row>, Error> {
        let mut cursor = self.rows()?;
        let mut all = Vec::new();
        let mut row = Row::new();
        while cursor.next(&mut row)? {
            all.push(std::mem::take(&mut row));
        }
        Ok(all)
    }
}

/// Reads all rows, and tells how many values the longest one has.
fn scan(cursor: &mut dyn Cursor, names: Option<&Row>) -> Result<(Seen, usize), Error> {
    let mut hasher = Xxh3::new();
    hash_row(&mut hasher, names.map_or(&[], Vec::as_slice));
    let (mut count, mut width) = (0, 1);
    let mut row = Row::new();
    while cursor.next(&mut row)? {
        hash_row(&mut hasher, &row);
        count += 1;
        width = width.max(row.len());
    }
    Ok((Seen { count, digest: hasher.digest128() }, width))
}

/// Reads again what was seen before.
struct Checked {
    cursor: Box<dyn Cursor>,
    seen: Seen,
    hasher: Xxh3,
    count: u64,
    width: usize,
    /// What to say if it is not the same
    changed: String,
}

impl Cursor for Checked {
    fn next(&mut self, row: &mut Row) -> Result<bool, Error> {
        let more = self.cursor.next(row)?;
        let as_before = if more {
            hash_row(&mut self.hasher, row);
            self.count += 1;
            self.count <= self.seen.count && row.len() <= self.width
        } else {
            self.seen == Seen { count: self.count, digest: self.hasher.digest128() }
        };
        if !as_before {
            return Err(Error::usage(self.changed.clone()));
        }
        row.resize(self.width, String::new());
        Ok(more)
    }
}

/// Reads a stream, whose first row says how many columns there are.
struct Streamed {
    name: String,
    cursor: Box<dyn Cursor>,
    first: Option<Row>,
    width: usize,
    number: u64,
}

impl Cursor for Streamed {
    fn next(&mut self, row: &mut Row) -> Result<bool, Error> {
        self.number += 1;
        if let Some(first) = self.first.take() {
            *row = first;
        } else if !self.cursor.next(row)? {
            return Ok(false);
        }
        if row.len() > self.width {
            return Err(super::text::refused(
                &self.name,
                format!(
                    "value {} has {} columns, and the first one {}; give the first one as many, or a file in place of \
                     the stream",
                    self.number,
                    row.len(),
                    self.width
                ),
            ));
        }
        row.resize(self.width, String::new());
        Ok(true)
    }
}
