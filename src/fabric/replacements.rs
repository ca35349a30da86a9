//! Workers in the place of lost ones: when the next may be started, and what becomes of those that do not come up.

use std::time::{Duration, Instant};

use super::transport::{Replacement, Transport};
use crate::{error::Error, launch::Siblings};

/// After so many in a row that do not come up, none is started any more.
const MOST_FAILED: u32 = 3;
/// The next start waits this long for each of those in a row that did not come up.
const AFTER_A_FAILED_ONE: Duration = Duration::from_millis(500);
/// A start that takes this long may hang, as some do when the launcher has just seen a loss: another one is started
/// beside it.
const HANGS: Duration = Duration::from_secs(10);
/// How long a start that is not possible is put off, the first time; then twice as long each time.
const PUT_OFF: Duration = Duration::from_millis(500);
const LONGEST_PUT_OFF: Duration = Duration::from_secs(32);

pub(super) struct Replacements {
    /// Lost workers for which none has been started.
    lacking: usize,
    /// One that is being started: since when, and who sees it die meanwhile.
    spawning: Option<(Instant, Siblings)>,
    /// Those in a row that did not come up.
    failed: u32,
    /// None is started any more.
    given_up: bool,
    /// Starts in a row that were not possible.
    put_off: u32,
    /// When the launcher is ready for the next one.
    ready: Instant,
    /// How long one may take.
    limit: Duration,
}

impl Replacements {
    pub(super) fn new(limit: Duration) -> Replacements {
        Replacements {
            lacking: 0,
            spawning: None,
            failed: 0,
            given_up: false,
            put_off: 0,
            ready: Instant::now(),
            limit,
        }
    }

    /// One more worker is lost; its launcher is to be left alone for this long.
    pub(super) fn lack(&mut self, settling: Duration) {
        if self.given_up {
            return;
        }
        self.lacking += 1;
        self.ready = Instant::now() + settling + self.failed * AFTER_A_FAILED_ONE;
    }

    /// One has come up.
    pub(super) fn joined(&mut self) {
        self.failed = 0;
    }

    /// One has not come up.
    pub(super) fn failed(&mut self, why: &str) {
        if self.given_up {
            return;
        }
        tracing::warn!("a lost worker is not replaced yet: {why}");
        self.failed += 1;
        if self.failed >= MOST_FAILED {
            self.give_up();
            tracing::error!(
                "no more workers are started in the place of lost ones; the run goes on with the others"
            );
        }
    }

    /// The run ends, or the next one would not do better: only one that is being started may still come.
    pub(super) fn give_up(&mut self) {
        self.given_up = true;
        self.lacking = 0;
    }

    /// Those that may still be started, or are.
    pub(super) fn expected(&self) -> usize {
        // A start that is put off again and again is nothing to wait for when nobody else is left.
        let lacking = if self.put_off < MOST_FAILED { self.lacking } else { 0 };
        lacking + usize::from(self.spawning.is_some())
    }

    /// Starts those that are lacking, one after the other, once the launcher is ready for them; the ranks of those that
    /// were started.
    pub(super) fn start(&mut self, transport: &mut impl Transport) -> Vec<u32> {
        let mut started = Vec::new();
        if let Some(rank) = self.see_to_the_spawn(transport) {
            started.push(rank);
        }
        while self.lacking > 0 && self.spawning.is_none() && self.ready <= Instant::now() {
            self.lacking -= 1;
            match transport.replace() {
                Ok(Replacement::Started(rank)) => {
                    self.put_off = 0;
                    started.push(rank);
                }
                Ok(Replacement::Coming(siblings)) => {
                    self.put_off = 0;
                    self.spawning = Some((Instant::now(), siblings));
                }
                Ok(Replacement::Impossible) => {}
                Err(error) => self.put_off(&error),
            }
        }
        started
    }

    /// A start is not possible now.
    fn put_off(&mut self, error: &Error) {
        tracing::error!("a lost worker cannot be replaced now: {error}");
        let wait = PUT_OFF.saturating_mul(1 << self.put_off.min(16)).min(LONGEST_PUT_OFF);
        self.put_off += 1;
        self.lacking += 1;
        self.ready = Instant::now() + wait;
    }

    /// The rank of one that was being started, once it is there. Sees to another one when it is known to have died, or
    /// takes too long.
    fn see_to_the_spawn(&mut self, transport: &mut impl Transport) -> Option<u32> {
        let spawned = transport.replaced();
        if let Some(Ok(rank)) = spawned {
            // It may be one that was not expected any more.
            self.spawning = None;
            return Some(rank);
        }
        let (since, siblings) = self.spawning.as_mut()?;
        let last = self.failed + 1 >= MOST_FAILED;
        let limit = if last { self.limit } else { self.limit.min(HANGS) };
        let why = match spawned.and_then(Result::err) {
            Some(error) => error.to_string(),
            None => match siblings.gone() {
                Some(gone) => gone.to_string(),
                None if since.elapsed() > limit => format!("its start has not ended within {limit:?}"),
                None => return None,
            },
        };
        self.spawning = None;
        self.failed(&why);
        self.lack(transport.policy().settling());
        None
    }
}
