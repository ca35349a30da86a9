//! What the lines of `--events` tell, be they in a file of their own or in a journal.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    time::UNIX_EPOCH,
};

use serde::Deserialize;
use serde_json::Value;

use super::state::{Chunk, Ended, Failed, Loss, NewWorker, News, Run, Standing};
use crate::{
    error::{Error, ErrorKind},
    paths::{Named, explain},
    store::journal::is_written_from,
};

/// How a file of events begins.
pub(super) const BEGINNING: &[u8] = b"{\"t\":";
/// The file is read in pieces of this many bytes.
const PIECE_BYTES: u64 = 1 << 20;

#[derive(Deserialize)]
struct Line {
    t: f64,
    #[serde(flatten)]
    event: Event,
}

/// What is wanted of docs/events.md.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    RunStarted {
        time: String,
        run: String,
        job: String,
        parameters: Value,
        mode: String,
        workers: Vec<Worker>,
        tasks: Option<u64>,
        to_run: Option<u64>,
    },
    ChunkDispatched {
        rank: u32,
        start: u64,
        count: u64,
    },
    ChunkDone {
        rank: u32,
        start: u64,
        count: u64,
        busy_s: f64,
    },
    TaskFailed {
        task: u64,
        attempt: u16,
        kind: String,
        rank: Option<u32>,
        host: Option<String>,
        message: String,
        last: bool,
    },
    WorkerJoined(Worker),
    WorkerLost(Gone),
    ChildLost(Gone),
    RunEnded {
        done: Option<u64>,
        failed: Option<u64>,
        not_run: Option<u64>,
        wall_s: f64,
        error: Option<String>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Worker {
    rank: u32,
    host: String,
    pid: u32,
    /// One that joins later does not tell.
    #[serde(default = "one")]
    threads: u32,
    #[serde(default)]
    children: Vec<Value>,
}

fn one() -> u32 {
    1
}

#[derive(Deserialize)]
struct Gone {
    rank: u32,
    slot: Option<u32>,
    host: String,
    pid: u32,
    reason: String,
}

/// Tells what a line says; one that cannot be read says nothing. A line within a journal leaves out what the journal's
/// own records tell.
pub(super) fn tell(line: &[u8], in_journal: bool, take: &mut dyn FnMut(News)) {
    let Ok(Line { t, event }) = serde_json::from_slice(line) else { return };
    match event {
        Event::RunStarted { time, run, job, parameters, mode, workers, tasks, to_run } => {
            if !in_journal {
                let since = humantime::parse_rfc3339(&time).ok();
                let since = since.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                let began = since.map_or(0.0, |time| time.as_secs_f64()) - t;
                let (what, parameters) = (job, parameters.to_string());
                take(News::Run(Run { run, what, parameters, tasks, began }));
                take(News::Session { t, host: None });
            }
            take(News::ToRun(to_run));
            take(News::Mode(mode));
            workers.into_iter().for_each(|worker| take(News::Joined(worker.at(t))));
        }
        Event::ChunkDispatched { rank, start, count } => take(News::Dispatched { t, rank, start, count }),
        Event::ChunkDone { rank, start, count, busy_s } => {
            take(News::Done { start, count, t: None });
            take(News::Chunk(Chunk { t, rank, host: None, pid: 0, start, count, busy_s }));
        }
        Event::TaskFailed { task, attempt, kind, rank, host, message, last } => {
            take(News::Failed(Failed { task, attempt, kind, place: rank.zip(host), message, last }));
        }
        Event::WorkerJoined(worker) => take(News::Joined(worker.at(t))),
        Event::WorkerLost(gone) | Event::ChildLost(gone) => {
            let Gone { rank, slot, host, pid, reason } = gone;
            take(News::Lost(Loss { t, rank, slot, host, pid, reason }));
        }
        Event::RunEnded { done, failed, not_run, wall_s, error } => {
            let counts = match (done, failed, not_run) {
                (Some(done), Some(failed), Some(not_run)) => Some([done, failed, not_run]),
                _ => None,
            };
            take(News::Standing(Standing::Ended(Ended { counts, wall_s: Some(wall_s), error })));
        }
        Event::Other => {}
    }
}

impl Worker {
    fn at(self, t: f64) -> NewWorker {
        let Worker { rank, host, pid, threads, children } = self;
        NewWorker { t, rank, host, pid, slots: threads.max(1), children: children.len() as u32 }
    }
}

/// A file of events, read up to some line.
pub(super) struct EventsFile {
    path: Named,
    file: File,
    at: u64,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
}

impl EventsFile {
    pub(super) fn open(path: &Named) -> Result<EventsFile, Error> {
        let refused = |error: std::io::Error| Error::usage(format!("{path}: {}", explain(&error)));
        let file = File::open(path.site()?.path).map_err(refused)?;
        Ok(EventsFile { path: path.clone(), file, at: 0, rest: Vec::new() })
    }

    /// Reads what has come since it was last read. A line that is half there is left for the next time.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(&mut self, take: &mut dyn FnMut(News)) -> Result<(), Error> {
        let path = self.path.clone();
        self.read_on(take)
            .map_err(|error| Error::new(ErrorKind::Storage, format!("{path}: {}", explain(&error))))
    }

    fn read_on(&mut self, take: &mut dyn FnMut(News)) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(self.at))?;
        loop {
            let read = Read::by_ref(&mut self.file).take(PIECE_BYTES).read_to_end(&mut self.rest)?;
            self.at += read as u64;
            let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let lines = self.rest[..whole].split(|byte| *byte == b'\n');
            lines.for_each(|line| tell(line, false, take));
            self.rest.drain(..whole);
            if read == 0 {
                return Ok(());
            }
        }
    }

    /// Whether a run writes it now.
    pub(super) fn is_written(&self) -> bool {
        is_written_from(&self.path, None)
    }
}
