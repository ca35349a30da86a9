//! A session: this process's part of a run, which may go on from an earlier one. It is watched from its beginning to
//! its end, and events report both.

use std::{
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use super::{
    Report,
    events::{Event, Events, EventsFile},
    keep::Kept,
    record::{Recorder, Shared, Trail},
    tell,
};
use crate::{
    error::Error,
    executor::{Executor, Watch},
    launch,
    store::now,
};

pub(super) struct Session<'p> {
    pool: &'p Executor,
    pub(super) notes: Shared,
    events: Option<Events>,
    /// Seconds from the beginning of the run to that of the session.
    offset: f64,
    pub(super) began: Instant,
    /// Dropped behind the events, whose end it waits for.
    _file: Option<EventsFile>,
}

impl<'p> Session<'p> {
    /// Begins to watch the pool; `tasks` are all, `to_run` those that are left.
    ///
    /// # Errors
    /// When the executor has ended.
    pub(super) fn begin(
        pool: &'p Executor,
        kept: &Kept,
        events: Option<(Events, EventsFile)>,
        told: Option<Arc<tell::Queue>>,
        (tasks, to_run): (Option<u64>, Option<u64>),
    ) -> Result<Session<'p>, Error> {
        let (events, file) = events.unzip();
        let trail = match (&kept.journal, &kept.target) {
            (Some(journal), _) => Trail::Journal(journal.queue()),
            (None, Some(_)) => Trail::Notes,
            (None, None) => Trail::Nowhere,
        };
        let offset = (now() - kept.identity.began).max(0.0);
        let session =
            Session { pool, notes: Shared::default(), events, offset, began: Instant::now(), _file: file };
        let started = Event::RunStarted {
            time: time_of_day(now()),
            run: kept.identity.run.clone(),
            job: kept.job.into(),
            parameters: kept.parameters.clone(),
            seed: kept.identity.seed,
            mode: pool.mode().to_string(),
            workers: pool.workers().to_vec(),
            allocation: launch::allocation(),
            tasks,
            to_run,
        };
        let recorder =
            Recorder::new(session.notes.clone(), trail, told, session.events.clone(), pool.workers(), offset);
        let t = session.at();
        recorder.keep(t, started.clone().for_the_journal());
        session.tell(t, started);
        let watch: Box<dyn Watch> = Box::new(recorder);
        pool.watch(Some(watch), session.began)?;
        Ok(session)
    }

    fn tell(&self, t: f64, event: Event) {
        if let Some(events) = &self.events {
            events.tell(t, event);
        }
    }

    /// Seconds since the run began.
    fn at(&self) -> f64 {
        self.offset + self.began.elapsed().as_secs_f64()
    }

    /// Tells how the run ended.
    pub(super) fn ended(&self, outcome: &Result<Report, Error>) {
        let report = outcome.as_ref().ok();
        let ended = Event::RunEnded {
            time: time_of_day(now()),
            done: report.map(|report| report.done),
            failed: report.map(|report| report.failed),
            not_run: report.map(|report| report.not_run),
            wall_s: self.began.elapsed().as_secs_f64(),
            error: outcome.as_ref().err().map(ToString::to_string),
        };
        self.tell(self.at(), ended);
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // An executor that has ended watches no more.
        let _ = self.pool.watch(None, self.began);
    }
}

/// A time in seconds since 1970, as in `2026-01-31T12:00:00.000Z`.
pub(super) fn time_of_day(seconds: f64) -> String {
    let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    humantime::format_rfc3339_millis(UNIX_EPOCH + time).to_string()
}
