//! The list of inputs: the product of one or more lists, the last of which varies fastest.

use std::sync::Arc;

use rankpool::{Barrier, Error};
use xxhash_rust::xxh3::Xxh3;

use super::{
    reading::Reading,
    rows::{Cursor, Row, Rows, Through, hash_row},
};

/// The inputs of all tasks. A clone is the same list.
#[derive(Clone)]
pub struct List(Arc<Inner>);

struct Inner {
    names: Vec<String>,
    is_named: Vec<bool>,
    /// Gone through once
    slowest: Vec<Part>,
    /// Gone through anew for each row of the slowest, in memory
    faster: Vec<Linked>,
    /// Of the product of the faster ones
    faster_count: u64,
    count: Option<u64>,
    digest: Option<String>,
    barriers: Vec<Barrier>,
}

/// One list as it was given.
pub struct Part {
    /// The name of each column, if it has one
    pub columns: Vec<Option<String>>,
    /// For people
    pub title: String,
    pub values: Values,
}

pub enum Values {
    Known(Arc<dyn Rows>),
    Read(Box<Reading>),
}

/// Lists that go along with each other: row k of all of them makes one.
type Linked = Vec<Arc<dyn Rows>>;

impl Part {
    /// A list of values that are in memory or worked out.
    pub fn known(title: &str, columns: Vec<Option<String>>, rows: impl Rows + 'static) -> Part {
        Part { columns, title: title.into(), values: Values::Known(Arc::new(rows)) }
    }

    /// A list that is read as needed.
    pub fn read(title: &str, reading: Reading) -> Part {
        let columns = match &reading.names {
            Some(names) => names.iter().cloned().map(Some).collect(),
            None => vec![None; reading.width],
        };
        Part { columns, title: title.into(), values: Values::Read(Box::new(reading)) }
    }

    fn count(&self) -> Option<u64> {
        match &self.values {
            Values::Known(rows) => Some(rows.count()),
            Values::Read(reading) => reading.seen.map(|seen| seen.count),
        }
    }

    /// False if what is in it is not known yet.
    fn hash(&self, hasher: &mut Xxh3) -> bool {
        hasher.update(&(self.columns.len() as u64).to_le_bytes());
        for column in &self.columns {
            hash_row(hasher, column.as_slice());
        }
        match &self.values {
            Values::Known(rows) => {
                hasher.update(&rows.count().to_le_bytes());
                rows.hash(hasher);
            }
            Values::Read(reading) => match reading.seen {
                Some(seen) => {
                    hasher.update(&seen.count.to_le_bytes());
                    hasher.update(&seen.digest.to_le_bytes());
                }
                None => return false,
            },
        }
        true
    }

    fn in_memory(self) -> Result<Arc<dyn Rows>, Error> {
        Ok(match self.values {
            Values::Known(rows) => rows,
            Values::Read(reading) => Arc::new(reading.all()?),
        })
    }

    fn cursor(&self) -> Result<Box<dyn Cursor>, Error> {
        Ok(match &self.values {
            Values::Known(rows) => Box::new(Through { rows: rows.clone(), at: 0 }),
            Values::Read(reading) => reading.rows()?,
        })
    }
}

impl List {
    /// The product of lists, each of which may be several that are linked.
    pub fn product(lists: Vec<Vec<Part>>, barriers: Vec<Barrier>) -> Result<List, Error> {
        let (names, is_named) = names(lists.iter().flatten())?;
        let mut hasher = Xxh3::new();
        let mut is_known = true;
        for list in &lists {
            check_lengths(list)?;
            hasher.update(&(list.len() as u64).to_le_bytes());
            is_known &= list.iter().all(|part| part.hash(&mut hasher));
        }
        let digest = is_known.then(|| format!("{:032x}", hasher.digest128()));
        let mut lists = lists.into_iter();
        let slowest = lists.next().unwrap_or_default();
        let mut faster: Vec<Linked> = Vec::new();
        for list in lists {
            let linked: Linked = list.into_iter().map(Part::in_memory).collect::<Result<_, _>>()?;
            faster.push(linked);
        }
        let too_many =
            || Error::usage("the product of the lists has more than 2^64 tasks; give shorter ones");
        let faster_count = faster.iter().try_fold(1u64, |count, linked| count.checked_mul(linked[0].count()));
        let faster_count = faster_count.ok_or_else(too_many)?;
        let count = match slowest.iter().find_map(Part::count) {
            Some(count) => Some(count.checked_mul(faster_count).ok_or_else(too_many)?),
            None if slowest.is_empty() || faster_count == 0 => Some(0),
            None => None,
        };
        Ok(List(Arc::new(Inner { names, is_named, slowest, faster, faster_count, count, digest, barriers })))
    }

    /// The names of the columns. One without a name is called by its number, from 1.
    pub fn names(&self) -> &[String] {
        &self.0.names
    }

    /// Column `k`, from 0, has a name of its own.
    pub fn is_named(&self, k: usize) -> bool {
        self.0.is_named[k]
    }

    /// How many tasks there are. `None` for a stream that was not read yet.
    pub fn count(&self) -> Option<u64> {
        self.0.count
    }

    /// A hash (xxh3-128, hexadecimal) of all lists, which is another one for other values, names or orders. `None` for
    /// a stream that was not read yet.
    pub fn digest(&self) -> Option<String> {
        self.0.digest.clone()
    }

    /// Where the tasks before must be done first, in the order of the tasks.
    pub fn barriers(&self) -> &[Barrier] {
        &self.0.barriers
    }

    /// The values of each task, one for each column. It can begin again, but for a stream, which is read once: then
    /// the first item is an error. Nothing follows an error.
    pub fn iter(&self) -> impl Iterator<Item = Result<Vec<String>, Error>> + Send + use<> {
        let list = self.0.clone();
        Iter { list, cursors: None, outer: Row::new(), inner: 0, row: Row::new(), given: 0, is_done: false }
    }
}

/// The names of all columns, and whether they were given.
fn names<'a>(parts: impl Iterator<Item = &'a Part>) -> Result<(Vec<String>, Vec<bool>), Error> {
    let (mut names, mut is_named) = (Vec::<String>::new(), Vec::new());
    for part in parts {
        for column in &part.columns {
            let refused = |why: &str| Error::usage(format!("{}: {why}", part.title));
            is_named.push(column.is_some());
            match column {
                None => names.push((names.len() + 1).to_string()),
                Some(name) if name.is_empty() => {
                    return Err(refused("has a column whose name is empty; give it one"));
                }
                Some(name) if names.contains(name) => {
                    return Err(refused(&format!(
                        "names a column {name:?}, and there is one already; name it otherwise"
                    )));
                }
                Some(name) => names.push(name.clone()),
            }
        }
    }
    Ok((names, is_named))
}

/// Linked lists are equally long, as far as that is known.
fn check_lengths(list: &[Part]) -> Result<(), Error> {
    let mut known = list.iter().filter_map(|part| Some((part, part.count()?)));
    let Some((first, count)) = known.next() else {
        return Ok(());
    };
    match known.find(|(_, other)| *other != count) {
        None => Ok(()),
        Some((part, other)) => Err(Error::usage(format!(
            "{} has {count} values, and {}, which goes along with it, {other}; give both as many",
            first.title, part.title
        ))),
    }
}

/// Goes through a list.
struct Iter {
    list: Arc<Inner>,
    /// Of the slowest lists
    cursors: Option<Vec<Box<dyn Cursor>>>,
    /// Their row
    outer: Row,
    /// The number of the next combination of the faster ones; those before belong to `outer`
    inner: u64,
    row: Row,
    /// How many rows were given out
    given: u64,
    is_done: bool,
}

impl Iterator for Iter {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Result<Row, Error>> {
        if self.is_done {
            return None;
        }
        let next = self.advance().transpose();
        self.is_done = !matches!(next, Some(Ok(_)));
        self.given += 1;
        next
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self.list.count {
            _ if self.is_done => (0, Some(0)),
            Some(count) => {
                let left = usize::try_from(count.saturating_sub(self.given)).unwrap_or(usize::MAX);
                (left, Some(left))
            }
            None => (0, None),
        }
    }
}

impl Iter {
    fn advance(&mut self) -> Result<Option<Row>, Error> {
        if self.list.faster_count == 0 || self.list.slowest.is_empty() {
            return Ok(None);
        }
        if self.inner == 0 && !self.advance_slowest()? {
            return Ok(None);
        }
        if self.list.faster.is_empty() {
            return Ok(Some(std::mem::take(&mut self.outer)));
        }
        let mut row = self.outer.clone();
        let mut number = self.inner;
        let mut below = self.list.faster_count;
        for linked in &self.list.faster {
            below /= linked[0].count();
            let k = number / below;
            number %= below;
            linked.iter().for_each(|rows| row.extend(rows.row(k)));
        }
        self.inner = (self.inner + 1) % self.list.faster_count;
        Ok(Some(row))
    }

    /// Takes the next row of each of the slowest lists. False behind the last one.
    fn advance_slowest(&mut self) -> Result<bool, Error> {
        let cursors = match &mut self.cursors {
            Some(cursors) => cursors,
            None => {
                let cursors = self.list.slowest.iter().map(Part::cursor).collect::<Result<_, _>>()?;
                self.cursors.insert(cursors)
            }
        };
        self.outer.clear();
        let mut ended = None;
        let mut more = None;
        for (part, cursor) in self.list.slowest.iter().zip(cursors) {
            if cursor.next(&mut self.row)? {
                more = Some(part);
                self.outer.append(&mut self.row);
            } else {
                ended = Some(part);
            }
        }
        match (ended, more) {
            (Some(short), Some(long)) => Err(Error::usage(format!(
                "{} has fewer values than {}, which goes along with it; give both as many",
                short.title, long.title
            ))),
            (ended, _) => Ok(ended.is_none()),
        }
    }
}
