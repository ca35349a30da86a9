//! The thread that writes the journal, and the queue before it.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use super::{
    index::{Index, Located},
    record::{self, Header, Kind, SLOTS, TABLE, VALUE},
    under_way::{Dispatch, UnderWay},
};
use crate::{
    error::{Error, ErrorKind, Failure},
    paths::explain,
    store::{TraceBlock, TraceRow},
    sync::{lock, wait_until},
    wire::{Piece, encode},
};

/// Entries wait in the queue up to this many bytes; then those who append wait.
const QUEUE_BYTES: u64 = 32 << 20;
/// The thread takes this many bytes of them at a time.
const TAKEN_BYTES: u64 = 4 << 20;
/// What was appended is with the operating system after this time, where the end of the process cannot
/// harm it.
const FLUSH_TIME: Duration = Duration::from_millis(10);
/// What is written is on disk after this time, or after this many bytes.
const SYNC_TIME: Duration = Duration::from_secs(1);
const SYNC_BYTES: u64 = 64 << 20;
/// Small records are gathered into writes of about this size.
const WRITE_BYTES: usize = 1 << 20;
/// Neighbouring results become one record up to this size.
const RECORD_BYTES: usize = 1 << 20;
/// Rows of the trace in a record.
const TRACE_ROWS: usize = 1 << 13;

/// What is appended.
pub(crate) enum Addition {
    Outcome(Piece),
    Attempt {
        task: u64,
        failure: Failure,
    },
    Chunk {
        row: TraceRow,
        host: Arc<str>,
    },
    /// A chunk was sent to a worker.
    Dispatched(Dispatch),
    /// A line of `--events`, for those who watch, and for the result file.
    Event(Vec<u8>),
    /// What the journal is of, now that more is known of it.
    Identity(Vec<u8>),
}

impl Addition {
    /// What it weighs in the queue, in bytes.
    fn size(&self) -> u64 {
        match self {
            Addition::Outcome(piece) => piece.size() + 64,
            Addition::Event(line) => line.len() as u64 + 64,
            _ => 64,
        }
    }
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Addition>,
    bytes: u64,
    /// Entries that were appended, and of them those that are on disk.
    appended: u64,
    synced: u64,
    /// Somebody waits for the disk.
    urgent: bool,
    closed: bool,
    /// The thread has ended.
    over: bool,
    /// Why nothing is written any more.
    broken: Option<String>,
}

/// The queue before the journal's thread.
#[derive(Default)]
pub(crate) struct Queue {
    contents: Mutex<Waiting>,
    /// There is something to write.
    filled: Condvar,
    /// There is room, or something has reached the disk.
    emptied: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.contents)
    }

    /// Appends an entry without waiting for room.
    pub(crate) fn push(&self, entry: Addition) {
        self.put(self.lock(), entry);
    }

    /// Appends an entry, when there is room.
    ///
    /// # Errors
    /// When the journal cannot be written any more.
    pub(crate) fn append(&self, entry: Addition) -> Result<(), Error> {
        self.put(self.room()?, entry);
        Ok(())
    }

    /// Waits for room, for those who push without waiting.
    ///
    /// # Errors
    /// When the journal cannot be written any more.
    pub(crate) fn wait_for_room(&self) -> Result<(), Error> {
        self.room().map(drop)
    }

    fn room(&self) -> Result<MutexGuard<'_, Waiting>, Error> {
        let free = |contents: &mut Waiting| contents.bytes < QUEUE_BYTES || contents.broken.is_some();
        let contents = wait_until(&self.emptied, self.lock(), None, free);
        match &contents.broken {
            Some(why) => Err(Error::new(ErrorKind::Storage, why.clone())),
            None => Ok(contents),
        }
    }

    fn put(&self, mut contents: MutexGuard<'_, Waiting>, entry: Addition) {
        contents.bytes += entry.size();
        contents.appended += 1;
        contents.entries.push_back(entry);
        // A thread that is at work looks for more by itself.
        if contents.entries.len() == 1 {
            self.filled.notify_one();
        }
    }

    /// Waits until everything appended so far is on disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn commit(&self) -> Result<(), Error> {
        let mut contents = self.lock();
        let wanted = contents.appended;
        contents = wait_until(&self.emptied, contents, None, |contents| {
            let done = contents.synced >= wanted || contents.over;
            if !done {
                contents.urgent = true;
                self.filled.notify_one();
            }
            done
        });
        contents.broken.clone().map_or(Ok(()), |why| Err(Error::new(ErrorKind::Storage, why)))
    }
}

/// Appends to a journal on a thread of its own.
pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    thread: Option<thread::JoinHandle<(File, Index)>>,
}

impl Writer {
    /// Starts the thread; it appends at the end of `file`, whose records are indexed.
    pub(super) fn start(file: File, index: Index, identity: u64, path: String) -> io::Result<Writer> {
        let queue = Arc::new(Queue::default());
        let mut log = Log::at_end(file, index, identity)?;
        let watched = queue.clone();
        let thread = thread::Builder::new().name("rankpool-journal".into()).spawn(move || {
            // Whoever waits for the journal must hear of its end, whatever it was.
            let ended = catch_unwind(AssertUnwindSafe(|| log.run(&watched)));
            let ended = ended.unwrap_or_else(|_| Err(io::Error::other("its thread panicked")));
            if ended.is_err() {
                log.cut_back();
            }
            let mut contents = watched.lock();
            contents.over = true;
            contents.entries.clear();
            contents.broken =
                ended.err().map(|error| format!("{path} cannot be written: {}", explain(&error)));
            watched.emptied.notify_all();
            drop(contents);
            (log.file, log.index)
        })?;
        Ok(Writer { queue, thread: Some(thread) })
    }

    /// Writes what is left and ends the thread.
    ///
    /// # Errors
    /// When it could not be written.
    pub(super) fn finish(mut self) -> Result<(File, Index), Error> {
        let written =
            self.close().ok_or_else(|| Error::new(ErrorKind::Internal, "the journal's thread panicked"))?;
        let broken = self.queue.lock().broken.take();
        broken.map_or(Ok(written), |why| Err(Error::new(ErrorKind::Storage, why)))
    }

    fn close(&mut self) -> Option<(File, Index)> {
        self.queue.lock().closed = true;
        self.queue.filled.notify_one();
        self.thread.take()?.join().ok()
    }
}

/// A run that ends early leaves all that it knows on disk.
impl Drop for Writer {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // Who is to be told has been told, or has gone.
            let _ = self.queue.commit();
            self.close();
        }
    }
}

/// Neighbouring results that are becoming one record.
struct Stretch {
    start: u64,
    count: u64,
    /// Bytes of each value.
    size: usize,
    payload: Vec<u8>,
}

/// What was taken from the queue at a time.
struct Taken {
    entries: Vec<Addition>,
    /// Nothing is left there.
    all: bool,
    appended: u64,
    /// Somebody waits until all of it is on disk.
    urgent: bool,
    closed: bool,
}

/// The journal as its thread sees it.
struct Log {
    file: File,
    index: Index,
    identity: u64,
    /// Where the next byte goes, those in `buffer` counted.
    end: u64,
    /// Where the last record ends that the file has.
    written: u64,
    buffer: Vec<u8>,
    run: Option<Stretch>,
    trace: TraceBlock,
    /// What workers have been sent, and has not come back.
    under_way: UnderWay,
    /// Lines that become one record.
    events: Vec<u8>,
    unsynced: u64,
    last_flush: Instant,
    last_sync: Instant,
}

impl Log {
    fn at_end(mut file: File, index: Index, identity: u64) -> io::Result<Log> {
        let end = file.seek(SeekFrom::End(0))?;
        Ok(Log {
            file,
            index,
            identity,
            end,
            written: end,
            buffer: Vec::new(),
            run: None,
            trace: TraceBlock::default(),
            under_way: UnderWay::default(),
            events: Vec::new(),
            unsynced: 0,
            last_flush: Instant::now(),
            last_sync: Instant::now(),
        })
    }

    fn run(&mut self, queue: &Queue) -> io::Result<()> {
        loop {
            let taken = self.wait(queue);
            for entry in taken.entries {
                self.add(entry)?;
            }
            self.under_way.tell_old(Instant::now(), &mut self.events);
            let last = taken.closed && taken.all;
            if taken.urgent || last || self.last_flush.elapsed() >= FLUSH_TIME {
                self.flush()?;
                self.last_flush = Instant::now();
            }
            // The end of the run needs no disk: the result file will be on it before the journal goes.
            if self.unsynced > 0 && !last && (taken.urgent || self.last_sync.elapsed() >= SYNC_TIME) {
                self.sync()?;
            }
            let mut contents = queue.lock();
            if taken.all && self.unsynced == 0 && !self.is_pending() {
                contents.synced = taken.appended;
            }
            queue.emptied.notify_all();
            if last {
                return Ok(());
            }
        }
    }

    /// Takes some of what is in the queue, as soon as something is there or a flush or sync is due.
    fn wait(&self, queue: &Queue) -> Taken {
        let due = if self.is_pending() {
            Some(self.last_flush + FLUSH_TIME)
        } else {
            // Without anything to write or to sync there is nothing to wake up for.
            let sync = (self.unsynced > 0).then(|| self.last_sync + SYNC_TIME);
            sync.into_iter().chain(self.under_way.due()).min()
        };
        let ready =
            |contents: &mut Waiting| !contents.entries.is_empty() || contents.closed || contents.urgent;
        let mut contents = wait_until(&queue.filled, queue.lock(), due, ready);
        let mut entries = Vec::new();
        let mut bytes = 0;
        while bytes < TAKEN_BYTES
            && let Some(entry) = contents.entries.pop_front()
        {
            bytes += entry.size();
            entries.push(entry);
        }
        contents.bytes -= bytes;
        let all = contents.entries.is_empty();
        let urgent = contents.urgent && all;
        contents.urgent &= !all;
        Taken { entries, all, appended: contents.appended, urgent, closed: contents.closed }
    }

    /// Something was taken that is not in the file.
    fn is_pending(&self) -> bool {
        !self.buffer.is_empty()
            || self.run.is_some()
            || !self.trace.rows.is_empty()
            || !self.events.is_empty()
    }

    fn add(&mut self, entry: Addition) -> io::Result<()> {
        match entry {
            Addition::Outcome(Piece { start, count, outcome: Ok(batch) }) => {
                if batch.needs_table() || batch.size() >= RECORD_BYTES {
                    self.close_run()?;
                    let layout = if batch.needs_table() { TABLE } else { 0 };
                    self.outcome(start, count, layout, &batch.to_wire().joined())
                } else {
                    self.extend_run(start, count, &batch.bytes())
                }
            }
            Addition::Outcome(Piece { start, count, outcome: Err(failure) }) => {
                self.close_run()?;
                self.failure(Kind::Failed, start, count, &failure)
            }
            Addition::Identity(named) => {
                self.record(Kind::Identity, 0, 0, 0, &named)?;
                Ok(())
            }
            Addition::Attempt { task, failure } => self.failure(Kind::Attempt, task, 1, &failure),
            Addition::Dispatched(dispatch) => {
                self.under_way.sent(dispatch);
                Ok(())
            }
            Addition::Event(line) => {
                self.events.extend_from_slice(&line);
                self.events.push(b'\n');
                Ok(())
            }
            Addition::Chunk { row, host } => {
                self.under_way.returned(row.rank, row.start);
                self.trace.push(row, &host);
                if self.trace.rows.len() >= TRACE_ROWS { self.close_trace() } else { Ok(()) }
            }
        }
    }

    /// Appends results of one size to the record that is being made, if they continue it.
    fn extend_run(&mut self, start: u64, count: u64, bytes: &[u8]) -> io::Result<()> {
        let size = bytes.len() / (count.max(1) as usize);
        match &mut self.run {
            Some(run)
                if run.start + run.count == start
                    && run.size == size
                    && run.payload.len() + bytes.len() <= RECORD_BYTES =>
            {
                run.count += count;
                run.payload.extend_from_slice(bytes);
            }
            _ => {
                self.close_run()?;
                self.run = Some(Stretch { start, count, size, payload: bytes.to_vec() });
            }
        }
        Ok(())
    }

    fn close_run(&mut self) -> io::Result<()> {
        match self.run.take() {
            Some(run) => self.outcome(run.start, run.count, 0, &run.payload),
            None => Ok(()),
        }
    }

    fn close_trace(&mut self) -> io::Result<()> {
        if self.trace.rows.is_empty() {
            return Ok(());
        }
        let block = std::mem::take(&mut self.trace);
        let payload = encode(&block).map_err(io::Error::other)?;
        let (offset, size) = self.record(Kind::Trace, 0, block.rows.len() as u64, SLOTS, &payload)?;
        self.index.trace.push((offset, size));
        Ok(())
    }

    fn close_events(&mut self) -> io::Result<()> {
        if self.events.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.events);
        let place = self.record(Kind::Events, 0, 0, 0, &lines)?;
        self.index.events.push(place);
        Ok(())
    }

    fn outcome(&mut self, start: u64, count: u64, layout: u8, payload: &[u8]) -> io::Result<()> {
        let (offset, size) = self.record(Kind::Values, start, count, layout, payload)?;
        self.index.insert(start, Located { count, offset, size, skip: 0, failed: false });
        Ok(())
    }

    fn failure(&mut self, kind: Kind, task: u64, count: u64, failure: &Failure) -> io::Result<()> {
        let payload = encode(failure).map_err(io::Error::other)?;
        let (offset, size) = self.record(kind, task, count, VALUE, &payload)?;
        if kind == Kind::Failed {
            self.index.insert(task, Located { count, offset, size, skip: 0, failed: true });
        }
        self.index.attempts.insert((task, failure.attempt()), (offset, size));
        Ok(())
    }

    /// Appends a record; tells where it lies and how long it is.
    fn record(
        &mut self,
        kind: Kind,
        start: u64,
        count: u64,
        layout: u8,
        payload: &[u8],
    ) -> io::Result<(u64, u64)> {
        let header =
            Header { kind, layout, identity: self.identity, start, count, length: payload.len() as u64 };
        let place = (self.end, header.size());
        if payload.len() >= WRITE_BYTES {
            self.write_buffer()?;
            self.file.write_all(&header.to_bytes())?;
            self.file.write_all(payload)?;
            self.file.write_all(&record::checksum(&header, payload))?;
            self.written += header.size();
        } else {
            record::append(&mut self.buffer, header, payload);
        }
        self.end += header.size();
        self.unsynced += header.size();
        if self.buffer.len() >= WRITE_BYTES {
            self.write_buffer()?;
        }
        if self.unsynced >= SYNC_BYTES {
            self.write_buffer()?;
            self.sync()?;
        }
        Ok(place)
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.close_run()?;
        self.close_trace()?;
        self.close_events()?;
        self.write_buffer()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.unsynced = 0;
        self.last_sync = Instant::now();
        Ok(())
    }

    /// After an error: leaves no half record behind, if that is still possible.
    fn cut_back(&mut self) {
        let _ = self.file.set_len(self.written);
        let _ = self.file.sync_data();
    }
}
