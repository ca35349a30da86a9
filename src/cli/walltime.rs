//! The end of a run's time: rank 0 stops before it comes, so that the run can be resumed.
//!
//! It stops when SIGUSR1 comes, which Slurm sends ahead of the end or of a preemption, to any rank and more than once;
//! or when less time is left than the grace.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::settings::Settings;
use crate::{
    error::{Error, ErrorKind},
    executor::{Drain, Executor},
    launch, progress,
};

/// Between two looks at the clock and at the signal.
const LOOK: Duration = Duration::from_millis(50);
/// The most that is kept for the journal and for leaving the workers.
const RESERVE: Duration = Duration::from_secs(15);

/// Watches the time of a run that began at `began`. One that cannot be resumed only ends early when it is asked
/// to: it may yet be done in time, and has nothing to lose.
///
/// # Errors
/// When the thread cannot be started.
pub(super) fn watch(
    pool: &Executor,
    job: &'static str,
    began: Instant,
    settings: &Settings,
    resumable: bool,
) -> Result<(), Error> {
    let watch = Alarm {
        drain: pool.drain(),
        job,
        walltime: settings.walltime.and_then(|walltime| began.checked_add(walltime)),
        grace: settings.grace,
        resumable,
    };
    thread::Builder::new()
        .name("rankpool-walltime".into())
        .spawn(move || watch.run())
        .map(drop)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("no thread for the walltime: {error}")))
}

struct Alarm {
    drain: Drain,
    job: &'static str,
    /// When the run must have ended, as the user says.
    walltime: Option<Instant>,
    grace: Duration,
    resumable: bool,
}

impl Alarm {
    fn run(self) {
        let mut end = if self.resumable { self.limit() } else { None };
        loop {
            thread::sleep(LOOK);
            if launch::drain_asked() {
                // At once: Slurm may take seconds to answer.
                self.stop("SIGUSR1", end.unwrap_or_else(|| Instant::now() + self.grace));
                if let Some(end) = self.limit() {
                    self.drain.begin(self.without_reserve(end));
                }
                return;
            }
            if end.is_some_and(|end| self.is_late(end)) {
                // It may have been moved since, for a job that was given more time.
                end = self.limit();
                if let Some(end) = end.filter(|end| self.is_late(*end)) {
                    return self.stop("the time is nearly over", end);
                }
            }
        }
    }

    fn is_late(&self, end: Instant) -> bool {
        end.saturating_duration_since(Instant::now()) <= self.grace
    }

    /// When the time is over, if that is known; nothing that would end later is begun.
    fn limit(&self) -> Option<Instant> {
        let allotted = || {
            let left = launch::allocation()?.time_left()?;
            Instant::now().checked_add(left)
        };
        let end = self.walltime.or_else(allotted)?;
        self.drain.limit(self.without_reserve(end));
        Some(end)
    }

    fn without_reserve(&self, end: Instant) -> Instant {
        end.checked_sub((self.grace / 4).min(RESERVE)).unwrap_or(end)
    }

    fn stop(&self, why: &str, end: Instant) {
        let left = end.saturating_duration_since(Instant::now()).as_secs_f64();
        progress::print(&format!("{}: {why}: nothing more is begun, {left:.0} s are left", self.job));
        self.drain.begin(self.without_reserve(end));
    }
}
