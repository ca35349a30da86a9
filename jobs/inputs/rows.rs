//! Lists of inputs that are known without reading a file: given as words, or worked out.

use std::sync::Arc;

use rankpool::Error;
use xxhash_rust::xxh3::Xxh3;

/// One value for each column.
pub type Row = Vec<String>;

/// Rows by their numbers.
pub trait Rows: Send + Sync {
    fn count(&self) -> u64;

    /// Row `k`, which is less than the count.
    fn row(&self, k: u64) -> Row;

    /// Hashes the rows, or what they are worked out from.
    fn hash(&self, hasher: &mut Xxh3);
}

impl Rows for Vec<Row> {
    fn count(&self) -> u64 {
        self.len() as u64
    }

    fn row(&self, k: u64) -> Row {
        self[k as usize].clone()
    }

    fn hash(&self, hasher: &mut Xxh3) {
        self.iter().for_each(|row| hash_row(hasher, row));
    }
}

/// Hashes a row with the number of its values and the length of each, so that no two rows are alike.
pub fn hash_row(hasher: &mut Xxh3, row: &[String]) {
    hasher.update(&(row.len() as u64).to_le_bytes());
    for value in row {
        hasher.update(&(value.len() as u64).to_le_bytes());
        hasher.update(value.as_bytes());
    }
}

/// Rows one after the other.
pub trait Cursor: Send {
    /// Puts the next row in the place of the one before. False if there is none.
    fn next(&mut self, row: &mut Row) -> Result<bool, Error>;
}

/// Goes through rows by their numbers.
pub struct Through {
    pub rows: Arc<dyn Rows>,
    pub at: u64,
}

impl Cursor for Through {
    fn next(&mut self, row: &mut Row) -> Result<bool, Error> {
        let more = self.at < self.rows.count();
        if more {
            *row = self.rows.row(self.at);
            self.at += 1;
        }
        Ok(more)
    }
}

/// Puts values in a row, in the memory of those that are there.
pub fn put<'a>(row: &mut Row, values: impl IntoIterator<Item = &'a str>) {
    let mut length = 0;
    for value in values {
        match row.get_mut(length) {
            Some(place) => {
                place.clear();
                place.push_str(value);
            }
            None => row.push(value.to_string()),
        }
        length += 1;
    }
    row.truncate(length);
}
