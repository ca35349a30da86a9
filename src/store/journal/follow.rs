//! A journal that is read while somebody else writes it.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    time::Duration,
};

use super::{
    Attempt, Identity, Session, failure_of, read_record, record,
    record::{Found, Header, Kind, Scan},
    refused, storage, trace_of,
};
use crate::{
    error::Error,
    launch,
    paths::Named,
    store::{TraceBlock, lock},
};

/// What a record tells.
pub(crate) enum Entry {
    Identity(Identity),
    Session(Session),
    /// These tasks have ended well.
    Done {
        start: u64,
        count: u64,
    },
    /// An attempt has failed; it was the last one, or the task will be tried again.
    Failed {
        attempt: Attempt,
        last: bool,
    },
    Trace(TraceBlock),
    /// Lines of `--events`.
    Events(Vec<u8>),
}

/// Most records are small, and each is sought by itself: what a larger buffer would hold beyond it is read in vain.
const BUFFER_BYTES: usize = 1 << 12;

/// A journal, read up to some record.
pub(crate) struct Follower {
    path: Named,
    file: File,
    /// Where the last record that was read ends.
    at: u64,
    hash: Option<u64>,
}

impl Follower {
    /// Opens the journal at its beginning.
    ///
    /// # Errors
    /// When it is not there, is no journal, or cannot be read.
    pub(crate) fn open(path: &Named) -> Result<Follower, Error> {
        let mut file = File::open(path.site()?.path).map_err(|error| refused(path, error))?;
        let mut first = Vec::new();
        Read::by_ref(&mut file).take(4).read_to_end(&mut first).map_err(|error| refused(path, error))?;
        if !record::begins_like_a_journal(&first) {
            return Err(refused(path, "is no journal of rankpool"));
        }
        Ok(Follower { path: path.clone(), file, at: 0, hash: None })
    }

    /// Reads what has come since it was last read. A record that is half there is left for the next time.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read(&mut self, take: &mut dyn FnMut(Entry)) -> Result<(), Error> {
        self.read_on(take).map_err(|error| storage(&self.path, error))
    }

    fn read_on(&mut self, take: &mut dyn FnMut(Entry)) -> io::Result<()> {
        let mut scan = Scan::behind(BufReader::with_capacity(BUFFER_BYTES, &self.file), self.at, self.hash)?;
        while let Some(found) = scan.next()? {
            match found {
                Found::Record { offset, header } => {
                    self.hash.get_or_insert(header.identity);
                    self.at = offset + header.size();
                    if let Some(entry) = entry(&self.file, offset, header)? {
                        take(entry);
                    }
                }
                Found::Damage { to, .. } => self.at = to,
                Found::Tail { .. } => {}
            }
        }
        Ok(())
    }

    /// Whether another file has its name by now, or it was begun anew.
    pub(crate) fn is_another(&self) -> bool {
        let shrunk = self.file.metadata().is_ok_and(|about| about.len() < self.at);
        shrunk || (self.path.place().exists() && !lock::is_at(self.path.place(), &self.file))
    }
}

/// What the record tells those who watch; nothing when it contradicts itself.
fn entry(file: &File, offset: u64, header: Header) -> io::Result<Option<Entry>> {
    let Header { kind, start, count, .. } = header;
    let record = || read_record(file, offset, header.size());
    let failed = |last| -> io::Result<Option<Entry>> {
        let failure = failure_of(record()?).ok();
        Ok(failure.map(|failure| Entry::Failed { attempt: Attempt { task: start, failure }, last }))
    };
    Ok(match kind {
        Kind::Identity => serde_json::from_slice(&record()?.1).ok().map(Entry::Identity),
        Kind::Session => serde_json::from_slice(&record()?.1).ok().map(Entry::Session),
        Kind::Values => start.checked_add(count).map(|_| Entry::Done { start, count }),
        Kind::Failed => return failed(true),
        Kind::Attempt => return failed(false),
        Kind::Trace => trace_of(record()?).ok().map(Entry::Trace),
        Kind::Events => Some(Entry::Events(record()?.1)),
    })
}

/// Where no lock can tell, a file that has changed within this time counts as one that is being written.
const RECENT: Duration = Duration::from_secs(60);

/// Whether a run writes this file now; `host` is where that began, if it is known. A lock tells, but not on every file
/// system, and on some only on the host that has it: there the time of the last change has to do.
pub(crate) fn is_written_from(path: &Named, host: Option<&str>) -> bool {
    match lock::is_locked(path.place()) {
        Some(true) => true,
        Some(false) if host == Some(launch::here().host.as_str()) => false,
        _ => path
            .place()
            .metadata()
            .and_then(|about| about.modified())
            .is_ok_and(|changed| changed.elapsed().is_ok_and(|age| age < RECENT)),
    }
}
