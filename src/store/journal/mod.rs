//! The journal: every outcome of a run, in a file that survives whatever ends the run.
//!
//! It is a sequence of [records](record), appended as outcomes come in, in any order of the tasks. A
//! run that goes on from it runs only the tasks whose outcomes it lacks. A journal that was cut off
//! anywhere is whole up to the cut. Bytes in the middle that have changed cost the records that they
//! belong to: those behind them are found again by their magic number, and count.

mod earlier;
#[cfg(feature = "cli")]
mod follow;
#[cfg(all(feature = "cli", feature = "hdf5"))]
mod history;
mod identity;
mod index;
mod known;
#[cfg(all(feature = "cli", feature = "hdf5"))]
mod overview;
mod record;
#[cfg(test)]
mod tests;
mod under_way;
mod writer;

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    sync::Arc,
};

use earlier::EarlierBlock;
#[cfg(feature = "cli")]
pub(crate) use follow::{Entry, Follower, is_written_from};
#[cfg(all(feature = "cli", feature = "hdf5"))]
pub(crate) use history::History;
pub(crate) use identity::{Identity, Subject};
use index::{Index, Located};
pub(crate) use known::Known;
use known::Reader;
#[cfg(all(feature = "cli", feature = "hdf5"))]
pub(crate) use overview::Overview;
use record::{Found, Header, Kind, SLOTS, Scan, VALUE};
use serde::{Deserialize, Serialize};
pub(crate) use under_way::Dispatch;
use writer::Writer;
pub(crate) use writer::{Addition, Queue};
use xxhash_rust::xxh3::xxh3_64;

use super::{Attempt, TraceBlock, events::EventTable, lock};
use crate::{
    error::{Error, ErrorKind, Failure},
    launch,
    paths::{Named, explain},
    task_set::TaskSet,
    wire::{Piece, decode},
};

/// What the name of a journal beside its result file ends in.
pub(crate) const SUFFIX: &str = ".journal";

/// A process that writes the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) host: String,
    pub(crate) pid: u32,
    /// Seconds since 1970.
    pub(crate) began: f64,
}

/// What to do with a journal that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Refuse,
    Replace,
    Resume,
}

/// A journal that is open for writing, and locked.
pub(crate) struct Journal {
    path: Named,
    pub(crate) identity: Identity,
    /// Tasks that ended well, and tasks that failed, as the journal was opened.
    pub(crate) done: TaskSet,
    pub(crate) failed: TaskSet,
    /// Places that were damaged, told to the user.
    pub(crate) damage: Vec<String>,
    writer: Writer,
}

/// Values without bytes that a record may have.
const MOST_EMPTY: u64 = 1 << 32;

fn refused(path: &Named, why: impl std::fmt::Display) -> Error {
    Error::usage(format!("{path}: {why}"))
}

fn storage(path: &Named, error: io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("{path}: {}", explain(&error)))
}

impl Journal {
    /// Opens the journal for a run of `identity`; a run that is resumed keeps the identity it had.
    ///
    /// # Errors
    /// When it is there and should not be, is of another run, is used by another process, or cannot be written.
    pub(crate) fn open(path: &Named, identity: Identity, existing: Existing) -> Result<Journal, Error> {
        Journal::begin(Opened::open(path, identity, existing)?)
    }

    /// Opens the journal to go on from it, or a new one; what it has can be read while it is written.
    ///
    /// # Errors
    /// As [`open`](Journal::open).
    pub(crate) fn resume(path: &Named, identity: Identity) -> Result<(Journal, Known), Error> {
        let opened = Opened::open(path, identity, Existing::Resume)?;
        let file = opened.file.try_clone().map_err(|error| storage(path, error))?;
        let known = Known::new(Reader::new(path.clone(), file), &opened.index);
        Ok((Journal::begin(opened)?, known))
    }

    fn begin(opened: Opened) -> Result<Journal, Error> {
        let Opened { path, identity, hash, file, index, damage } = opened;
        let (done, failed) = index.known();
        let writer =
            Writer::start(file, index, hash, path.to_string()).map_err(|error| storage(&path, error))?;
        Ok(Journal { path, identity, done, failed, damage, writer })
    }

    /// Where outcomes are appended.
    pub(crate) fn queue(&self) -> Arc<Queue> {
        self.writer.queue.clone()
    }

    /// Keeps how many tasks there are, which was not known before.
    ///
    /// # Errors
    /// When the journal cannot be written any more.
    pub(crate) fn counted(&mut self, tasks: u64) -> Result<(), Error> {
        self.identity.tasks = Some(tasks);
        let named = serde_json::to_vec(&self.identity).map_err(|error| storage(&self.path, error.into()))?;
        self.writer.queue.append(Addition::Identity(named))
    }

    /// Ends the writing, so that all that is in the journal can be read.
    ///
    /// # Errors
    /// When the journal could not be written.
    pub(crate) fn finish(self) -> Result<Complete, Error> {
        let (file, index) = self.writer.finish()?;
        Ok(Complete { reader: Reader::new(self.path, file), index })
    }
}

/// A journal that is locked, and ready to be written.
struct Opened {
    path: Named,
    identity: Identity,
    /// What all records bear.
    hash: u64,
    file: File,
    index: Index,
    damage: Vec<String>,
}

impl Opened {
    fn open(path: &Named, identity: Identity, existing: Existing) -> Result<Opened, Error> {
        let site = path.site()?;
        let mut file = match lock::open(&site.path).map_err(|error| refused(path, error))? {
            lock::Opened::Mine(file) => file,
            lock::Opened::Taken(file) => return Err(lock::in_use(path, &holder(&file))),
            lock::Opened::Without(file, error) => {
                lock::warn_of_none(path, error);
                file
            }
        };
        refuse_foreign(path, &mut file)?;
        let mut found = match existing {
            Existing::Replace => Contents::default(),
            Existing::Refuse | Existing::Resume => read(&file).map_err(|error| storage(path, error))?,
        };
        if existing == Existing::Refuse && found.holds_something() {
            return Err(refused(
                path,
                "is the journal of a run that did not end; --resume goes on from it, --force starts anew",
            ));
        }
        if existing != Existing::Resume {
            file.set_len(0).map_err(|error| storage(path, error))?;
            found = Contents::default();
        }
        let mut damage = Vec::new();
        for (from, to) in &found.damage {
            damage.push(format!(
                "{path}: bytes {from} to {to} are damaged; the tasks that lay there are run again"
            ));
        }
        if found.cut && found.hash.is_some() {
            damage
                .push(format!("{path}: what follows byte {} is no whole record, and is cut off", found.end));
        }
        let identity = match found.identity {
            Some(first) => match identity.difference(&first) {
                Some(difference) => {
                    return Err(refused(
                        path,
                        format!("cannot be resumed: {difference}; {}", identity.way_on()),
                    ));
                }
                None => first,
            },
            None if found.hash.is_some() => {
                return Err(refused(
                    path,
                    format!(
                        "the first record is damaged at byte 0, so it cannot be known what run this is of; {}",
                        identity.way_on()
                    ),
                ));
            }
            None => identity,
        };
        let hash =
            begin(&mut file, &identity, found.hash, found.end).map_err(|error| storage(path, error))?;
        Ok(Opened { path: path.clone(), identity, hash, file, index: found.index, damage })
    }
}

/// Who writes the journal, as it says itself.
fn holder(file: &File) -> String {
    let holder = last_session(file).ok().flatten();
    holder.map_or("another process".into(), |session| format!("process {} on {}", session.pid, session.host))
}

/// Refuses a file that is something else, which would be overwritten.
fn refuse_foreign(path: &Named, file: &mut File) -> Result<(), Error> {
    let mut first = Vec::new();
    let read = Read::by_ref(file).take(4).read_to_end(&mut first);
    read.and_then(|_| file.seek(SeekFrom::Start(0))).map_err(|error| refused(path, error))?;
    if record::begins_like_a_journal(&first) {
        return Ok(());
    }
    Err(refused(path, "is no journal of rankpool, and is left alone; name another file"))
}

/// Cuts the file at `end` and appends who writes from now on; returns the hash that all records bear: that of
/// the first record, once there is one.
fn begin(file: &mut File, identity: &Identity, hash: Option<u64>, end: u64) -> io::Result<u64> {
    file.set_len(end)?;
    file.seek(SeekFrom::End(0))?;
    let mut out = Vec::new();
    let named = serde_json::to_vec(identity)?;
    let hash = hash.unwrap_or_else(|| xxh3_64(&named));
    let header = |kind, length: usize| Header {
        kind,
        layout: 0,
        identity: hash,
        start: 0,
        count: 0,
        length: length as u64,
    };
    if end == 0 {
        record::append(&mut out, header(Kind::Identity, named.len()), &named);
    }
    let session =
        Session { host: launch::here().host.clone(), pid: std::process::id(), began: crate::store::now() };
    let session = serde_json::to_vec(&session)?;
    record::append(&mut out, header(Kind::Session, session.len()), &session);
    file.write_all(&out)?;
    Ok(hash)
}

/// What a journal holds.
#[derive(Default)]
struct Contents {
    identity: Option<Identity>,
    /// Who has begun to write it last.
    session: Option<Session>,
    /// The hash that the records bear, if there are any.
    hash: Option<u64>,
    index: Index,
    damage: Vec<(u64, u64)>,
    /// Where the last whole record ends, and whether something follows.
    end: u64,
    cut: bool,
}

impl Contents {
    /// Whether something would be lost with it. A run that had no room on its disk may have left only the identity, or
    /// part of it.
    fn holds_something(&self) -> bool {
        let outcomes = self.index.in_order().next().is_some();
        outcomes || !self.index.attempts.is_empty() || !self.damage.is_empty()
    }
}

/// Opens a file that begins like a journal, to be read as it lies there; `None` where there is none, or it is something
/// else.
///
/// # Errors
/// When it cannot be read.
#[cfg(all(feature = "cli", feature = "hdf5"))]
fn opened(path: &Named) -> Result<Option<File>, Error> {
    let site = path.site()?;
    if !site.exists {
        return Ok(None);
    }
    let mut file = File::open(&site.path).map_err(|error| refused(path, error))?;
    let mut first = Vec::new();
    Read::by_ref(&mut file).take(4).read_to_end(&mut first).map_err(|error| refused(path, error))?;
    Ok((first.len() == 4 && record::begins_like_a_journal(&first)).then_some(file))
}

fn read(file: &File) -> io::Result<Contents> {
    let mut source = file;
    source.seek(SeekFrom::Start(0))?;
    read_from(BufReader::with_capacity(1 << 16, source), &|offset, size| read_record(file, offset, size))
}

type Record = (Header, Vec<u8>);

fn read_from(
    source: impl Read + Seek,
    record: &dyn Fn(u64, u64) -> io::Result<Record>,
) -> io::Result<Contents> {
    let mut contents = Contents::default();
    let mut scan = Scan::new(source)?;
    while let Some(found) = scan.next()? {
        match found {
            Found::Record { offset, header } => {
                contents.hash.get_or_insert(header.identity);
                contents.end = offset + header.size();
                if !take_in(&mut contents, offset, header, record)? {
                    contents.damage.push((offset, contents.end));
                }
            }
            Found::Damage { from, to } => contents.damage.push((from, to)),
            Found::Tail { from } => (contents.end, contents.cut) = (from, true),
        }
    }
    if contents.hash.is_none() {
        contents.end = 0;
    }
    Ok(contents)
}

/// Takes a record in; false when it contradicts itself or the identity.
fn take_in(
    contents: &mut Contents,
    offset: u64,
    header: Header,
    record: &dyn Fn(u64, u64) -> io::Result<Record>,
) -> io::Result<bool> {
    let (start, count, size) = (header.start, header.count, header.size());
    let tasks = contents.identity.as_ref().and_then(|identity| identity.tasks);
    // Values without bytes could be any number of them.
    let most = if header.length == 0 { MOST_EMPTY } else { header.length };
    let end = start.checked_add(count);
    let fits = count > 0 && count <= most && end.is_some_and(|end| tasks.is_none_or(|tasks| end <= tasks));
    let located = Located { count, offset, size, skip: 0, failed: header.kind == Kind::Failed };
    match header.kind {
        Kind::Identity => {
            let found: Option<Identity> = serde_json::from_slice(&record(offset, size)?.1).ok();
            match &mut contents.identity {
                // A later one adds how many tasks there are.
                Some(first) => first.tasks = first.tasks.or(found.and_then(|found| found.tasks)),
                None if offset == 0 => contents.identity = found,
                None => {}
            }
        }
        Kind::Session => contents.session = serde_json::from_slice(&record(offset, size)?.1).ok(),
        Kind::Events => contents.index.events.push((offset, size)),
        Kind::Trace => contents.index.trace.push((offset, size)),
        Kind::Values if fits => contents.index.insert(start, located),
        Kind::Failed | Kind::Attempt if fits && count == 1 => {
            let Ok(failure) = failure_of(record(offset, size)?) else {
                return Ok(false);
            };
            if header.kind == Kind::Failed {
                contents.index.insert(start, located);
            }
            contents.index.attempts.insert((start, failure.attempt()), (offset, size));
        }
        Kind::Values | Kind::Failed | Kind::Attempt => return Ok(false),
    }
    Ok(true)
}

fn read_record(file: &File, offset: u64, size: u64) -> io::Result<Record> {
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, offset)?;
    let header = match record::read(&bytes) {
        Some((header, _)) => header,
        None => {
            return Err(io::Error::other(format!(
                "the record at byte {offset} has changed since it was written"
            )));
        }
    };
    bytes.truncate(bytes.len() - record::CHECK_BYTES);
    bytes.drain(..record::HEADER_BYTES);
    Ok((header, bytes))
}

/// The failure that a record holds; one of an earlier version does not say whether there is a value.
fn failure_of((header, mut payload): Record) -> io::Result<Failure> {
    if header.layout & VALUE == 0 {
        payload.push(0);
    }
    decode(&payload).map_err(io::Error::other)
}

/// The rows of the trace that a record holds; those of an earlier version have neither slot nor process.
fn trace_of((header, payload): Record) -> io::Result<TraceBlock> {
    let block = match header.layout & SLOTS {
        0 => decode::<EarlierBlock>(&payload).map(TraceBlock::from),
        _ => decode(&payload),
    };
    block.map_err(io::Error::other)
}

/// What happened beside the tasks.
fn events_of(file: &File, index: &Index) -> io::Result<EventTable> {
    let mut table = EventTable::default();
    for &(offset, size) in &index.events {
        table.take_lines(&read_record(file, offset, size)?.1);
    }
    Ok(table)
}

fn last_session(file: &File) -> io::Result<Option<Session>> {
    let mut source = file;
    source.seek(SeekFrom::Start(0))?;
    let mut scan = Scan::new(BufReader::new(source))?;
    let mut last = None;
    while let Some(found) = scan.next()? {
        if let Found::Record { offset, header } = found
            && header.kind == Kind::Session
        {
            last = serde_json::from_slice(&read_record(file, offset, header.size())?.1).ok();
        }
    }
    Ok(last)
}

/// A journal that is written, to be read in the order of the tasks. The lock is held as long as it lives.
pub(crate) struct Complete {
    reader: Reader,
    index: Index,
}

impl Complete {
    /// Everything that is known, in the order of the tasks; tasks that are not known are left out.
    ///
    /// # Errors
    /// When the journal cannot be read any more.
    pub(crate) fn pieces(&mut self) -> impl Iterator<Item = Result<Piece, Error>> {
        let located: Vec<(u64, Located)> = self.index.in_order().collect();
        located.into_iter().map(|(start, located)| self.reader.piece(start, located))
    }

    /// Every attempt that failed, by task and attempt.
    ///
    /// # Errors
    /// When the journal cannot be read any more.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = Result<Attempt, Error>> {
        self.index.attempts.iter().map(|(&(task, _), &(offset, size))| {
            let failure = read_record(&self.reader.file, offset, size)
                .and_then(failure_of)
                .map_err(|error| storage(&self.reader.path, error))?;
            Ok(Attempt { task, failure })
        })
    }

    /// When and where chunks ran, in the order in which they came back.
    ///
    /// # Errors
    /// When the journal cannot be read any more.
    pub(crate) fn trace(&self) -> impl Iterator<Item = Result<TraceBlock, Error>> {
        self.index.trace.iter().map(|&(offset, size)| {
            read_record(&self.reader.file, offset, size)
                .and_then(trace_of)
                .map_err(|error| storage(&self.reader.path, error))
        })
    }

    /// What happened beside the tasks, in all sessions.
    ///
    /// # Errors
    /// When the journal cannot be read any more.
    pub(crate) fn events(&self) -> Result<EventTable, Error> {
        events_of(&self.reader.file, &self.index).map_err(|error| storage(&self.reader.path, error))
    }

    /// Leaves all of it on disk, for another run.
    ///
    /// # Errors
    /// When it cannot be written, or another run could not find it: somebody has removed it.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.reader.file.sync_all().map_err(|error| storage(&self.reader.path, error))?;
        if !lock::is_at(self.reader.path.place(), &self.reader.file) {
            let gone = io::Error::other("is not there any more: it was removed or renamed");
            return Err(storage(&self.reader.path, gone));
        }
        Ok(())
    }

    /// Removes the journal: the result file is in its place.
    ///
    /// # Errors
    /// When it cannot be removed. One that is gone already is no harm.
    pub(crate) fn remove(self) -> Result<(), Error> {
        match std::fs::canonicalize(self.reader.path.place()).and_then(std::fs::remove_file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(storage(&self.reader.path, error)),
            _ => Ok(()),
        }
    }
}

/// Reads any bytes as a journal: for the fuzzer.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    let record = |offset: u64, size: u64| {
        let bytes = &bytes[offset as usize..(offset + size) as usize];
        record::read(bytes)
            .map(|(header, payload)| (header, payload.to_vec()))
            .ok_or(io::ErrorKind::Other.into())
    };
    if let Ok(contents) = read_from(io::Cursor::new(bytes), &record) {
        for (_, located) in contents.index.in_order().filter(|(_, located)| !located.failed) {
            let (header, payload) = record(located.offset, located.size).expect("it was whole a moment ago");
            let table = header.layout & record::TABLE != 0;
            let _ = crate::wire::Batch::from_wire(payload.into(), header.count as usize, table);
        }
    }
}
