//! What happens in a run, as lines of JSON in a file, for tools that watch; docs/events.md has the schema.

use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, Read, Write},
    sync::mpsc,
    thread,
};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind},
    executor::{Happening, Held},
    fabric::WorkerInfo,
    launch::Allocation,
    paths::{Named, explain},
    store::events::HeldChunk,
};

/// One line, but for its time.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    RunStarted {
        time: String,
        run: String,
        job: String,
        parameters: Value,
        seed: u64,
        mode: String,
        workers: Vec<WorkerInfo>,
        /// What Slurm has allotted; null outside of its jobs.
        allocation: Option<&'static Allocation>,
        /// All tasks, and those that this run has to do; null while that is not known.
        tasks: Option<u64>,
        to_run: Option<u64>,
    },
    ChunkDispatched {
        rank: u32,
        start: u64,
        count: u64,
        attempt: u16,
    },
    ChunkDone {
        rank: u32,
        slot: u32,
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
        /// The task will not be tried again.
        last: bool,
    },
    WorkerJoined {
        rank: u32,
        host: String,
        pid: u32,
    },
    WorkerLost {
        rank: u32,
        host: String,
        pid: u32,
        reason: String,
        /// The chunk that it was at; null if it had none.
        chunk: Option<HeldChunk>,
    },
    ChildJoined {
        rank: u32,
        slot: u32,
        host: String,
        pid: u32,
    },
    ChildLost {
        rank: u32,
        slot: u32,
        host: String,
        pid: u32,
        reason: String,
    },
    DrainBegan {},
    RunEnded {
        time: String,
        /// Null when the run could not be summed up.
        done: Option<u64>,
        failed: Option<u64>,
        not_run: Option<u64>,
        wall_s: f64,
        /// Why the run ended early, if it did.
        error: Option<String>,
    },
}

impl Event {
    /// What is told of a happening, in a session that began `offset` seconds after the run.
    pub(super) fn of(happening: &Happening<'_>, offset: f64) -> Option<Event> {
        Some(match happening {
            Happening::Known(_) => return None,
            Happening::Joined(worker) => {
                Event::WorkerJoined { rank: worker.rank, host: worker.host.clone(), pid: worker.pid }
            }
            Happening::Lost { worker, reason, chunk } => Event::WorkerLost {
                rank: worker.rank,
                host: worker.host.clone(),
                pid: worker.pid,
                reason: reason.to_string(),
                chunk: chunk.map(|Held { start, count, dispatched }| HeldChunk {
                    start,
                    count,
                    dispatched: offset + dispatched.as_secs_f64(),
                }),
            },
            Happening::ChildJoined { leader, child } => Event::ChildJoined {
                rank: leader.rank,
                slot: child.slot,
                host: leader.host.clone(),
                pid: child.pid,
            },
            Happening::ChildLost { leader, slot, pid, reason } => Event::ChildLost {
                rank: leader.rank,
                slot: *slot,
                host: leader.host.clone(),
                pid: *pid,
                reason: reason.to_string(),
            },
            &Happening::Dispatched { rank, start, count, attempt } => {
                Event::ChunkDispatched { rank, start, count, attempt }
            }
            Happening::Returned(span) => Event::ChunkDone {
                rank: span.rank,
                slot: span.slot,
                start: span.start,
                count: span.count,
                busy_s: (span.ended - span.started).as_secs_f64(),
            },
            Happening::Failed { task, failure, last } => Event::TaskFailed {
                task: *task,
                attempt: failure.attempt(),
                kind: failure.kind.to_string(),
                rank: failure.place.as_ref().map(|place| place.rank),
                host: failure.place.as_ref().map(|place| place.host.clone()),
                message: failure.message.clone(),
                last: *last,
            },
            Happening::Draining => Event::DrainBegan {},
        })
    }
}

impl Event {
    /// This beginning of a run without what the journal has elsewhere, or would have of thousands of workers for nobody.
    pub(super) fn for_the_journal(mut self) -> Event {
        if let Event::RunStarted { parameters, workers, .. } = &mut self {
            *parameters = Value::Null;
            for worker in workers {
                worker.cpus.clear();
                worker.children.iter_mut().for_each(|child| child.cpus.clear());
            }
        }
        self
    }

    /// The line of this event, without its end.
    pub(super) fn line(self, t: f64) -> Option<Vec<u8>> {
        serde_json::to_vec(&Timed { t, event: self }).ok()
    }
}

/// How each line begins.
const BEGINNING: &[u8] = b"{\"t\":";

#[derive(Serialize)]
struct Timed {
    /// Seconds since the run began.
    t: f64,
    #[serde(flatten)]
    event: Event,
}

/// The file, behind a thread: whoever tells something does not wait for it.
#[derive(Clone)]
pub(super) struct Events(mpsc::Sender<Timed>);

/// The thread that writes the file; its end is waited for when this is dropped, after every [`Events`].
pub(super) struct EventsFile(Option<thread::JoinHandle<()>>);

impl Drop for EventsFile {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            let _ = thread.join();
        }
    }
}

impl Events {
    /// Appends to the file, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be opened, or holds something else than events.
    pub(super) fn open(path: &Named) -> Result<(Events, EventsFile), Error> {
        let refused = |error: std::io::Error| Error::usage(format!("{path}: {error}"));
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path.site()?.path)
            .map_err(refused)?;
        let mut beginning = Vec::new();
        Read::by_ref(&mut file).take(BEGINNING.len() as u64).read_to_end(&mut beginning).map_err(refused)?;
        if !beginning.is_empty() && beginning != BEGINNING {
            return Err(Error::usage(format!(
                "{path}: holds something else than events, and is left alone; name another file"
            )));
        }
        // So that nobody replaces the file meanwhile; where another run appends to it, too, that one has the lock.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        let (lines, told) = mpsc::channel();
        let name = path.to_string();
        let thread = thread::Builder::new()
            .name("rankpool-events".into())
            .spawn(move || {
                if let Err(error) = write(file, &told) {
                    tracing::error!("{name}: {}: no more events are written", explain(&error));
                }
            })
            .map_err(|error| Error::new(ErrorKind::Internal, format!("no thread for events: {error}")))?;
        Ok((Events(lines), EventsFile(Some(thread))))
    }

    pub(super) fn tell(&self, t: f64, event: Event) {
        // The thread has ended when the file is broken, and has said so.
        let _ = self.0.send(Timed { t, event });
    }
}

/// Writes whole lines, and as soon as nothing more is there, all of them.
fn write(file: File, told: &mpsc::Receiver<Timed>) -> std::io::Result<()> {
    let mut out = BufWriter::new(file);
    while let Ok(line) = told.recv() {
        let mut next = Some(line);
        while let Some(line) = next {
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
            next = told.try_recv().ok();
        }
        out.flush()?;
    }
    Ok(())
}
