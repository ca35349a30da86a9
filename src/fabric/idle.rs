//! What to do while there is nothing to do.
//!
//! Nothing blocks inside MPI, where Open MPI would burn a CPU: it is polled. After the last event a waiting thread
//! spins for at most [`SPIN`], where its host has a CPU for each rank; then it yields; then it sleeps, ever longer, up
//! to a bound that depends on whether work is in flight. Where events are rare it sleeps at once, and longer. A thread
//! that is [woken](Woken) sleeps longest.

use std::time::{Duration, Instant};

const SPIN: Duration = Duration::from_micros(100);
const YIELD: Duration = Duration::from_micros(200);
const LONGEST_IN_FLIGHT: Duration = Duration::from_micros(50);
const LONGEST: Duration = Duration::from_millis(1);
/// How long a thread sleeps that is woken when something happens. If a wake-up is missed, this is the delay.
const LONGEST_WHEN_WOKEN: Duration = Duration::from_millis(20);
/// A worker stays responsive for this long after the last message; then it sleeps longer, and rank 0 wakes it.
pub(crate) const ALERT: Duration = Duration::from_millis(100);
/// While work is in flight, a sleep may take this part of the time in which nothing has happened, if that is longer.
const PART: u32 = 16;
/// But no longer than this: a chunk of many tasks is followed by the next one only if its request is seen in time.
const LATEST: Duration = Duration::from_millis(2);
/// The same two where events are seldom and nobody waits for this thread.
const LONGEST_OF_THE_UNHURRIED: Duration = Duration::from_micros(200);
const PART_OF_THE_UNHURRIED: u32 = 4;
/// Events are seldom when the time between them is longer, on average: to be awake for the next one would cost much.
const SELDOM: Duration = Duration::from_millis(2);

/// The next thing to do while waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    Spin,
    Yield,
    Sleep(Duration),
}

/// When a sleeping thread is unparked because something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    Never,
    /// When nothing was in flight.
    FromDeepSleep,
    Always,
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expecting {
    Nothing,
    /// Something is in flight, and nobody waits until this thread has seen it.
    Unhurried,
    /// Something is in flight.
    Soon,
}

/// How long a thread has been idle.
#[derive(Debug)]
pub(crate) struct Idle {
    spin: bool,
    woken: Woken,
    since: Option<Instant>,
    sleep: Duration,
    /// The time between events, smoothed.
    usual: Duration,
}

impl Idle {
    /// `spin`: whether there is a CPU to burn.
    pub(crate) fn new(spin: bool) -> Idle {
        Idle {
            spin,
            woken: Woken::Never,
            since: None,
            sleep: Duration::from_micros(1),
            usual: Duration::ZERO,
        }
    }

    /// For a thread that is unparked when something happens.
    pub(crate) fn woken(self, woken: Woken) -> Idle {
        Idle { woken, ..self }
    }

    /// Something happened.
    pub(crate) fn reset(&mut self) {
        if self.since.is_some() {
            self.usual = (3 * self.usual + self.time()) / 4;
            self.since = None;
        }
    }

    /// How long nothing has happened.
    pub(crate) fn time(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Nothing happened.
    pub(crate) fn next(&mut self, expecting: Expecting) -> Pause {
        let Some(since) = self.since else {
            self.since = Some(Instant::now());
            self.sleep = Duration::from_micros(1);
            return if self.spin { Pause::Spin } else { Pause::Yield };
        };
        let idle = since.elapsed();
        let seldom = self.usual > SELDOM;
        if self.spin && idle < SPIN && !seldom {
            return Pause::Spin;
        }
        if idle < YIELD && !seldom {
            return Pause::Yield;
        }
        let longest = match self.woken {
            Woken::Always => return Pause::Sleep(LONGEST_WHEN_WOKEN),
            Woken::FromDeepSleep if expecting == Expecting::Nothing => LONGEST_WHEN_WOKEN,
            _ if expecting == Expecting::Nothing => LONGEST,
            _ if expecting == Expecting::Unhurried && seldom => {
                LONGEST_OF_THE_UNHURRIED.max(idle / PART_OF_THE_UNHURRIED).min(LATEST)
            }
            _ => LONGEST_IN_FLIGHT.max(idle / PART).min(LATEST),
        };
        let sleep = self.sleep.min(longest);
        self.sleep = (2 * sleep).min(longest);
        Pause::Sleep(sleep)
    }

    /// Waits a moment on this thread.
    pub(crate) fn pause(&mut self, expecting: Expecting) {
        match self.next(expecting) {
            Pause::Spin => std::hint::spin_loop(),
            Pause::Yield => std::thread::yield_now(),
            Pause::Sleep(time) => {
                let began = Instant::now();
                std::thread::park_timeout(time);
                if began.elapsed() < time {
                    // Woken. MPI may take several looks to find the message that it was for.
                    self.reset();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest_sleep(mut idle: Idle, expecting: Expecting, after: Duration) -> Duration {
        idle.since = Some(Instant::now() - after);
        let sleeps = (0..30).map(|_| match idle.next(expecting) {
            Pause::Sleep(time) => time,
            other => panic!("{other:?} after {after:?}"),
        });
        sleeps.max().unwrap()
    }

    #[test]
    fn it_spins_only_with_a_cpu_to_burn_and_then_sleeps_ever_longer() {
        assert_eq!(Idle::new(true).next(Expecting::Soon), Pause::Spin);
        assert_eq!(Idle::new(false).next(Expecting::Soon), Pause::Yield);
        let longest = |expecting, after| longest_sleep(Idle::new(false), expecting, after);
        assert_eq!(longest(Expecting::Soon, 2 * YIELD), LONGEST_IN_FLIGHT);
        assert_eq!(longest(Expecting::Nothing, 2 * YIELD), LONGEST);
        let second = Duration::from_secs(1);
        assert_eq!(
            (longest(Expecting::Soon, second), longest(Expecting::Nothing, second)),
            (LATEST, LONGEST)
        );
    }

    #[test]
    fn a_thread_that_is_woken_sleeps_at_once_for_long() {
        let mut idle = Idle::new(false).woken(Woken::Always);
        idle.since = Some(Instant::now() - 2 * YIELD);
        assert_eq!(idle.next(Expecting::Soon), Pause::Sleep(LONGEST_WHEN_WOKEN));
    }

    #[test]
    fn a_thread_that_is_woken_from_deep_sleep_sleeps_long_only_when_nothing_is_in_flight() {
        let second = Duration::from_secs(1);
        let longest =
            |expecting| longest_sleep(Idle::new(false).woken(Woken::FromDeepSleep), expecting, second);
        assert_eq!((longest(Expecting::Soon), longest(Expecting::Nothing)), (LATEST, LONGEST_WHEN_WOKEN));
    }

    #[test]
    fn a_thread_for_which_nobody_waits_is_in_no_hurry_where_events_are_seldom() {
        let longest = |expecting| {
            let mut idle = Idle::new(false);
            idle.usual = 2 * SELDOM;
            longest_sleep(idle, expecting, Duration::from_millis(4))
        };
        let (soon, unhurried) = (longest(Expecting::Soon), longest(Expecting::Unhurried));
        assert!(soon >= Duration::from_millis(4) / PART && soon < unhurried, "{soon:?}");
        assert!(unhurried >= Duration::from_millis(4) / PART_OF_THE_UNHURRIED, "{unhurried:?}");
    }

    #[test]
    fn who_was_woken_from_deep_sleep_looks_closely() {
        let mut idle = Idle::new(false).woken(Woken::FromDeepSleep);
        idle.since = Some(Instant::now() - Duration::from_secs(1));
        for _ in 0..30 {
            idle.next(Expecting::Nothing);
        }
        std::thread::current().unpark();
        idle.pause(Expecting::Nothing);
        idle.next(Expecting::Nothing);
        assert!(match idle.next(Expecting::Nothing) {
            Pause::Sleep(time) => time <= LONGEST_IN_FLIGHT,
            _ => true,
        });
    }

    #[test]
    fn where_events_are_seldom_it_sleeps_at_once_and_where_they_come_again_it_is_awake() {
        let mut idle = Idle::new(true);
        let mut event_after = |time| {
            idle.since = Some(Instant::now() - time);
            idle.reset();
            idle.next(Expecting::Soon);
            idle.next(Expecting::Soon)
        };
        assert_eq!(event_after(Duration::from_millis(1)), Pause::Spin);
        assert!(matches!(event_after(Duration::from_millis(20)), Pause::Sleep(_)));
        for _ in 0..20 {
            event_after(Duration::from_micros(5));
        }
        assert_eq!(event_after(Duration::from_micros(5)), Pause::Spin);
    }
}
