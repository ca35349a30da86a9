//! How long a worker has been silent, by a clock that stands still while nobody listens.

use std::time::{Duration, Instant};

/// How long a worker may be silent beyond the limit of its tasks; the longest delay that a busy host is
/// believed to cause.
const GRACE: Duration = Duration::from_secs(5);

/// A clock that runs only while a thread looks, which it does at least every `beat`.
///
/// While this process was stopped, or its host asleep, nobody looked: answers may be unread, or not even sent.
#[derive(Debug)]
pub(super) struct Clock {
    looked: Instant,
    now: Duration,
    beat: Duration,
}

impl Clock {
    pub(super) fn new(beat: Duration) -> Clock {
        Clock { looked: Instant::now(), now: Duration::ZERO, beat }
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// The thread looks now.
    pub(super) fn look(&mut self) -> Duration {
        let passed = self.looked.elapsed();
        self.looked = Instant::now();
        self.pass(passed)
    }

    fn pass(&mut self, passed: Duration) -> Duration {
        self.now += passed.min(2 * self.beat);
        self.now
    }
}

/// How long a worker may leave a ping unanswered; `None` for ever. `stall` is for all, `limit` is that of its tasks.
pub(super) fn patience(stall: Option<Duration>, limit: Option<Duration>) -> Option<Duration> {
    let limit = limit.map(|limit| limit.saturating_add(GRACE));
    [stall, limit].into_iter().flatten().min()
}

/// What a worker was asked, and has answered.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    pings: u64,
    answers: u64,
    /// Since when an answer is missing, as far as the watching thread knows.
    since: Option<Duration>,
}

impl Pulse {
    /// A ping has been sent, at this time if it is known.
    pub(super) fn asked(&mut self, now: Option<Duration>) {
        self.pings += 1;
        self.since = self.since.or(now);
    }

    /// An answer has come: pings are answered in their order.
    pub(super) fn answered(&mut self) {
        self.answers += 1;
        self.since = None;
    }

    /// It has answered at least once.
    pub(super) fn has_answered(&self) -> bool {
        self.answers > 0
    }

    /// A ping is still to be answered.
    pub(super) fn owes_an_answer(&self) -> bool {
        self.answers < self.pings
    }

    /// How long it has been silent since it was asked; `None` when it has answered everything.
    pub(super) fn silence(&mut self, now: Duration) -> Option<Duration> {
        self.owes_an_answer().then(|| now - *self.since.get_or_insert(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_in_which_nobody_looked_does_not_count() {
        let mut clock = Clock::new(SECOND);
        assert_eq!(clock.pass(SECOND), SECOND);
        assert_eq!(clock.pass(3600 * SECOND), 3 * SECOND);
    }

    #[test]
    fn a_worker_is_silent_from_the_ping_that_it_has_not_answered() {
        let mut pulse = Pulse::default();
        assert_eq!(pulse.silence(5 * SECOND), None);
        pulse.asked(Some(6 * SECOND));
        assert_eq!(pulse.silence(9 * SECOND), Some(3 * SECOND));
        pulse.asked(None);
        pulse.answered();
        assert!(pulse.has_answered() && pulse.owes_an_answer());
        assert_eq!(pulse.silence(10 * SECOND), Some(Duration::ZERO), "the second ping counts from here");
        pulse.answered();
        assert_eq!(pulse.silence(99 * SECOND), None);
    }

    #[test]
    fn patience_is_the_shorter_of_the_stall_and_the_tasks_limit_with_some_grace() {
        assert_eq!(patience(None, None), None);
        assert_eq!(patience(Some(60 * SECOND), None), Some(60 * SECOND));
        assert_eq!(patience(Some(60 * SECOND), Some(SECOND)), Some(SECOND + GRACE));
        assert_eq!(patience(Some(2 * SECOND), Some(SECOND)), Some(2 * SECOND));
        assert_eq!(patience(None, Some(SECOND)), Some(SECOND + GRACE));
        assert_eq!(patience(None, Some(Duration::MAX)), Some(Duration::MAX));
    }
}
