//! `--csv FILE`: a table whose first line names its columns.

use csv::{ErrorKind, StringRecord};
use rankpool::Error;

use super::{
    rows::{Cursor, Row, put},
    text::{Reader, refused},
};

/// Goes through the rows of a table.
pub struct TableCursor {
    name: String,
    reader: csv::Reader<Reader>,
    record: StringRecord,
}

impl TableCursor {
    /// Also gives the names of the columns.
    pub fn new(name: &str, reader: Reader) -> Result<(TableCursor, Row), Error> {
        let mut reader = csv::ReaderBuilder::new().buffer_capacity(1 << 16).from_reader(reader);
        let header = reader.headers().map_err(|error| explained(name, &error))?;
        if header.is_empty() {
            return Err(refused(name, "is empty, and its first line must name the columns"));
        }
        let columns = header.iter().map(str::to_string).collect();
        Ok((TableCursor { name: name.into(), reader, record: StringRecord::new() }, columns))
    }
}

impl Cursor for TableCursor {
    fn next(&mut self, row: &mut Row) -> Result<bool, Error> {
        let more =
            self.reader.read_record(&mut self.record).map_err(|error| explained(&self.name, &error))?;
        put(row, &self.record);
        Ok(more)
    }
}

fn explained(name: &str, error: &csv::Error) -> Error {
    let line = error.position().map_or(0, csv::Position::line);
    refused(
        name,
        match error.kind() {
            ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("line {line} has {len} columns, and the first line {expected_len}; give each as many")
            }
            ErrorKind::Utf8 { .. } => {
                format!("line {line} is no UTF-8 text; convert the file, as by iconv -t UTF-8")
            }
            _ => error.to_string(),
        },
    )
}
