//! What is taken down while a job runs, on the engine's thread: for the journal, the result file, the
//! events and the closing words.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use super::{
    events::{Event, Events},
    tell,
};
use crate::{
    error::Error,
    executor::{Happening, Span, Watch},
    fabric::WorkerInfo,
    store::{
        Attempt, TraceBlock, TraceRow,
        events::EventTable,
        file::ResultFile,
        journal::{Addition, Dispatch, Queue},
    },
    sync::lock,
};

/// Notes that are kept in memory, about.
const MANY: usize = 1 << 13;

/// What was taken down so far.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Attempts that failed and were followed by another.
    pub(super) retried: u64,
    /// The time that workers spent in chunks.
    pub(super) busy: Duration,
    /// The task that took longest, and its time.
    pub(super) slowest: Option<(u64, Duration)>,
    /// Workers that were lost, and children of leaders.
    pub(super) lost_workers: u64,
    pub(super) lost_children: u64,
    /// For a result file that is written without a journal.
    pub(super) attempts: Vec<Attempt>,
    pub(super) trace: TraceBlock,
    pub(super) happened: EventTable,
}

impl Notes {
    /// Writes attempts and trace, and forgets them.
    pub(super) fn write_to(&mut self, file: &mut ResultFile) -> Result<(), Error> {
        self.attempts.drain(..).try_for_each(|attempt| file.attempt(&attempt))?;
        file.trace(&std::mem::take(&mut self.trace))
    }

    /// Does so once there are many.
    pub(super) fn write_full_to(&mut self, file: &mut ResultFile) -> Result<(), Error> {
        let many = self.attempts.len() + self.trace.rows.len() >= MANY;
        if many { self.write_to(file) } else { Ok(()) }
    }
}

#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Notes>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Notes> {
        lock(&self.0)
    }
}

/// Where attempts and the trace go.
pub(super) enum Trail {
    Nowhere,
    Journal(Arc<Queue>),
    /// Into the notes, for whoever writes the file.
    Notes,
}

pub(super) struct Recorder {
    notes: Shared,
    trail: Trail,
    /// Who is told of outcomes as they become known.
    told: Option<Arc<tell::Queue>>,
    events: Option<Events>,
    hosts: HashMap<u32, Arc<str>>,
    /// Seconds from the beginning of the run to that of this session.
    offset: f64,
}

impl Recorder {
    pub(super) fn new(
        notes: Shared,
        trail: Trail,
        told: Option<Arc<tell::Queue>>,
        events: Option<Events>,
        workers: &[WorkerInfo],
        offset: f64,
    ) -> Recorder {
        let hosts = workers.iter().map(|worker| (worker.rank, worker.host.as_str().into())).collect();
        Recorder { notes, trail, told, events, hosts, offset }
    }

    /// Keeps something for the result file, and for those who watch the journal.
    pub(super) fn keep(&self, t: f64, event: Event) {
        let Some(line) = event.line(t) else { return };
        match &self.trail {
            Trail::Nowhere => {}
            Trail::Journal(queue) => queue.push(Addition::Event(line)),
            Trail::Notes => self.notes.lock().happened.take_lines(&line),
        }
    }

    fn chunk(&mut self, span: &Span) {
        let mut notes = self.notes.lock();
        notes.busy += span.ended - span.started;
        if notes.slowest.is_none_or(|(_, time)| span.slowest_time > time) {
            notes.slowest = Some((span.slowest, span.slowest_time));
        }
        let host = self.hosts.get(&span.rank).cloned().unwrap_or_else(|| "".into());
        let row = row_of(span, self.offset);
        match &self.trail {
            Trail::Nowhere => {}
            Trail::Journal(queue) => queue.push(Addition::Chunk { row, host }),
            Trail::Notes => notes.trace.push(row, &host),
        }
    }

    fn failed(&mut self, attempt: Attempt, last: bool) {
        let mut notes = self.notes.lock();
        notes.retried += u64::from(!last);
        match &self.trail {
            Trail::Nowhere => {}
            // The last one is the task's outcome, and written as such.
            Trail::Journal(queue) if !last => {
                queue.push(Addition::Attempt { task: attempt.task, failure: attempt.failure });
            }
            Trail::Journal(_) => {}
            Trail::Notes => notes.attempts.push(attempt),
        }
    }
}

impl Watch for Recorder {
    fn happened(&mut self, at: Duration, happening: Happening<'_>) {
        let t = at.as_secs_f64() + self.offset;
        let event = || Event::of(&happening, self.offset);
        if let Some(events) = &self.events
            && let Some(event) = event()
        {
            events.tell(t, event);
        }
        if is_kept(&happening)
            && let Some(event) = event()
        {
            self.keep(t, event);
        }
        match happening {
            Happening::Joined(worker) => drop(self.hosts.insert(worker.rank, worker.host.as_str().into())),
            Happening::Dispatched { rank, start, count, attempt } => {
                if let Trail::Journal(queue) = &self.trail {
                    let sent = Instant::now();
                    queue.push(Addition::Dispatched(Dispatch { rank, start, count, attempt, t, sent }));
                }
            }
            Happening::Returned(span) => self.chunk(&span),
            Happening::Failed { task, failure, last } => {
                self.failed(Attempt { task, failure: failure.clone() }, last);
            }
            Happening::Known(piece) => {
                if let Some(told) = &self.told {
                    told.push(piece.clone());
                }
                if let Trail::Journal(queue) = &self.trail {
                    queue.push(Addition::Outcome(piece));
                }
            }
            Happening::Lost { .. } => self.notes.lock().lost_workers += 1,
            Happening::ChildLost { .. } => self.notes.lock().lost_children += 1,
            Happening::ChildJoined { .. } | Happening::Draining => {}
        }
    }
}

/// Whether it is of the workers or of the run: attempts, outcomes and chunks have places of their own.
fn is_kept(happening: &Happening<'_>) -> bool {
    match happening {
        Happening::Joined(_)
        | Happening::Lost { .. }
        | Happening::ChildJoined { .. }
        | Happening::ChildLost { .. }
        | Happening::Draining => true,
        Happening::Dispatched { .. }
        | Happening::Returned(_)
        | Happening::Failed { .. }
        | Happening::Known(_) => false,
    }
}

/// The row of a chunk, in a session that began `offset` seconds after the run.
fn row_of(span: &Span, offset: f64) -> TraceRow {
    TraceRow {
        start: span.start,
        count: span.count,
        rank: span.rank,
        slot: span.slot,
        pid: span.pid,
        host: 0,
        dispatched: offset + span.dispatched.as_secs_f64(),
        started: offset + span.started.as_secs_f64(),
        ended: offset + span.ended.as_secs_f64(),
        slowest: span.slowest,
        slowest_s: span.slowest_time.as_secs_f64(),
    }
}
