//! One record of the journal: a header of fixed size, a payload, and a checksum over both.

use std::io::{self, Read, Seek, SeekFrom};

/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 40;
/// Bytes after the payload.
pub(super) const CHECK_BYTES: usize = 4;
/// The payload starts with a table of lengths.
pub(super) const TABLE: u8 = 1;
/// The rows of a trace have slot and process.
pub(super) const SLOTS: u8 = 2;
/// A failure says whether the task gave a value all the same.
pub(super) const VALUE: u8 = 4;

const MAGIC: [u8; 4] = *b"RPJ1";
/// Payloads are checked in pieces of this many bytes.
const PIECE_BYTES: usize = 1 << 18;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// What the journal is of; always the first. Payload: [`Identity`](super::Identity) as JSON.
    Identity = 1,
    /// A run begins to write here. Payload: [`Session`](super::Session) as JSON.
    Session = 2,
    /// The results of tasks that ended well. Payload: a batch.
    Values = 3,
    /// A task that failed for good. Payload: the failure.
    Failed = 4,
    /// An attempt at a task that failed. Payload: the failure.
    Attempt = 5,
    /// When and where chunks ran. Payload: rows.
    Trace = 6,
    /// What happened beside the tasks, for those who watch and for the result file. Payload: lines of `--events`.
    Events = 7,
}

impl Kind {
    fn from_u8(byte: u8) -> Option<Kind> {
        use Kind::*;
        [Identity, Session, Values, Failed, Attempt, Trace, Events]
            .get(usize::from(byte).checked_sub(1)?)
            .copied()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) layout: u8,
    /// A hash of the journal's identity: a record of another journal does not count.
    pub(super) identity: u64,
    /// The first task, and how many.
    pub(super) start: u64,
    pub(super) count: u64,
    /// Bytes of the payload.
    pub(super) length: u64,
}

impl Header {
    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        (out[4], out[5]) = (self.kind as u8, self.layout);
        let words = [self.identity, self.start, self.count, self.length];
        for (place, word) in out[8..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let ours = bytes[..4] == MAGIC && bytes[6..8] == [0, 0];
        ours.then_some(Header {
            kind: Kind::from_u8(bytes[4])?,
            layout: bytes[5],
            identity: word(8),
            start: word(16),
            count: word(24),
            length: word(32),
        })
    }

    /// Bytes of the whole record.
    pub(super) fn size(&self) -> u64 {
        self.length + (HEADER_BYTES + CHECK_BYTES) as u64
    }
}

/// What lies at a place of the file.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    Record {
        offset: u64,
        header: Header,
    },
    /// Bytes that are no record, with records behind them.
    Damage {
        from: u64,
        to: u64,
    },
    /// Nothing from here on is a whole record.
    Tail {
        from: u64,
    },
}

/// Walks the records of a journal from its start, and checks each against its checksum.
pub(super) struct Scan<R> {
    source: R,
    length: u64,
    at: u64,
    /// The identity that all records must have; that of the first, once it is known.
    identity: Option<u64>,
    over: bool,
    piece: Vec<u8>,
}

impl<R: Read + Seek> Scan<R> {
    pub(super) fn new(mut source: R) -> io::Result<Scan<R>> {
        let length = source.seek(SeekFrom::End(0))?;
        Ok(Scan { source, length, at: 0, identity: None, over: false, piece: Vec::new() })
    }

    /// Goes on behind a record that ends at `at`; `identity` is that of the first.
    #[cfg(feature = "cli")]
    pub(super) fn behind(source: R, at: u64, identity: Option<u64>) -> io::Result<Scan<R>> {
        let scan = Scan::new(source)?;
        Ok(Scan { at: at.min(scan.length), identity, ..scan })
    }

    /// The next record, or what is there instead; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        if self.over || self.at == self.length {
            return Ok(None);
        }
        let from = self.at;
        if let Some(header) = self.check(from)? {
            self.at += header.size();
            self.identity.get_or_insert(header.identity);
            return Ok(Some(Found::Record { offset: from, header }));
        }
        match self.resume_behind(from)? {
            Some(to) => {
                self.at = to;
                Ok(Some(Found::Damage { from, to }))
            }
            None => {
                self.over = true;
                Ok(Some(Found::Tail { from }))
            }
        }
    }

    /// The header of the record at `offset`, if there is a whole one.
    fn check(&mut self, offset: u64) -> io::Result<Option<Header>> {
        let room = self.length - offset;
        if room < (HEADER_BYTES + CHECK_BYTES) as u64 {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_BYTES];
        self.source.seek(SeekFrom::Start(offset))?;
        self.source.read_exact(&mut bytes)?;
        let Some(header) = Header::from_bytes(&bytes) else {
            return Ok(None);
        };
        let foreign = self.identity.is_some_and(|identity| identity != header.identity);
        if foreign || header.length > room - (HEADER_BYTES + CHECK_BYTES) as u64 {
            return Ok(None);
        }
        let mut sum = crc32c::crc32c(&bytes);
        let mut left = header.length;
        self.piece.resize(PIECE_BYTES, 0);
        while left > 0 {
            let part = left.min(PIECE_BYTES as u64) as usize;
            self.source.read_exact(&mut self.piece[..part])?;
            sum = crc32c::crc32c_append(sum, &self.piece[..part]);
            left -= part as u64;
        }
        let mut check = [0; CHECK_BYTES];
        self.source.read_exact(&mut check)?;
        Ok(agree(sum.to_le_bytes(), check).then_some(header))
    }

    /// The first whole record behind `from`.
    fn resume_behind(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut window = vec![0; PIECE_BYTES];
        let mut at = from + 1;
        while at + MAGIC.len() as u64 <= self.length {
            let part = (self.length - at).min(PIECE_BYTES as u64) as usize;
            self.source.seek(SeekFrom::Start(at))?;
            self.source.read_exact(&mut window[..part])?;
            for place in window[..part].windows(MAGIC.len()).enumerate().filter(|(_, w)| **w == MAGIC) {
                let offset = at + place.0 as u64;
                if self.check(offset)?.is_some() {
                    return Ok(Some(offset));
                }
            }
            // The next window begins with what could be the start of a magic number cut in two.
            at += (part - (MAGIC.len() - 1)) as u64;
        }
        Ok(None)
    }
}

/// Appends a whole record to `out`.
pub(super) fn append(out: &mut Vec<u8>, header: Header, payload: &[u8]) {
    let from = out.len();
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(payload);
    let sum = crc32c::crc32c(&out[from..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// The checksum of a record whose payload lies elsewhere.
pub(super) fn checksum(header: &Header, payload: &[u8]) -> [u8; CHECK_BYTES] {
    crc32c::crc32c_append(crc32c::crc32c(&header.to_bytes()), payload).to_le_bytes()
}

/// Reads the record in `bytes`, which a scan has found there; `None` when it is no more as it was.
pub(super) fn read(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let header = Header::from_bytes(bytes.get(..HEADER_BYTES)?.try_into().ok()?)?;
    let (body, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK_BYTES)?)?;
    let payload = body.get(HEADER_BYTES..)?;
    let check = check.try_into().ok()?;
    let whole = header.length == payload.len() as u64 && agree(crc32c::crc32c(body).to_le_bytes(), check);
    whole.then_some((header, payload))
}

/// A fuzzer would never get past a checksum: it is spared.
fn agree(sum: [u8; CHECK_BYTES], check: [u8; CHECK_BYTES]) -> bool {
    cfg!(fuzzing) || sum == check
}

/// True for the beginning of a journal, however short.
pub(super) fn begins_like_a_journal(bytes: &[u8]) -> bool {
    let common = bytes.len().min(MAGIC.len());
    bytes[..common] == MAGIC[..common]
}
