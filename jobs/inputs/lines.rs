//! Lists whose values are lines, or columns of lines: `:::: FILE`, `--arg-file`, `--colsep`, `--header`.

use std::sync::Arc;

use rankpool::Error;
use regex::Regex;

use super::{
    rows::{Cursor, Row, put},
    text::{Lines, Reader},
};

/// How values are made columns.
#[derive(Clone, Default)]
pub struct Columns {
    separator: Option<Regex>,
}

impl Columns {
    pub fn separated(by: &str) -> Result<Columns, Error> {
        let refused = |why: String| Error::usage(format!("--colsep {by}: {why}"));
        let separator =
            Regex::new(by).map_err(|error| refused(format!("is no regular expression: {error}")))?;
        if separator.is_match("") {
            return Err(refused(
                "matches an empty text, which is everywhere; give what stands between columns".into(),
            ));
        }
        Ok(Columns { separator: Some(separator) })
    }

    /// Each value is one column.
    pub fn is_one(&self) -> bool {
        self.separator.is_none()
    }

    /// Columns lose the white space around them, as in parallel; a value that is no column does not.
    pub fn split(&self, value: &str, row: &mut Row) {
        match &self.separator {
            None => put(row, [value]),
            Some(separator) => put(row, separator.split(value).map(str::trim)),
        }
    }

    /// The names in a line or a word at the head of a list.
    pub fn names(&self, header: &str) -> Row {
        let mut names = Row::new();
        self.split(header.strip_suffix('\r').unwrap_or(header), &mut names);
        names
    }
}

/// How lines are read.
#[derive(Clone)]
pub struct LineFormat {
    /// What stands behind each line
    pub end: u8,
    pub columns: Arc<Columns>,
    pub header: bool,
}

/// Goes through the rows of a text.
pub struct LineCursor {
    lines: Lines,
    columns: Arc<Columns>,
    /// Of the header, if there is one
    width: Option<usize>,
}

impl LineCursor {
    /// Also gives the names in the header.
    pub fn new(format: &LineFormat, name: &str, reader: Reader) -> Result<(LineCursor, Option<Row>), Error> {
        let mut lines = Lines::new(name, reader, format.end);
        let mut names = None;
        if format.header {
            match lines.next()? {
                Some(line) => names = Some(format.columns.names(line)),
                None => {
                    return Err(super::text::refused(
                        name,
                        "is empty, and --header names columns in its first line",
                    ));
                }
            }
        }
        let width = names.as_ref().map(Vec::len);
        Ok((LineCursor { lines, columns: format.columns.clone(), width }, names))
    }
}

impl Cursor for LineCursor {
    fn next(&mut self, row: &mut Row) -> Result<bool, Error> {
        let Some(line) = self.lines.next()? else {
            return Ok(false);
        };
        self.columns.split(line, row);
        match self.width {
            Some(width) if row.len() > width => {
                let why =
                    format!("has {} columns, and the header {width}; name each column there", row.len());
                Err(self.lines.refused(why))
            }
            _ => Ok(true),
        }
    }
}
