//! What to do while there is nothing to do.
//!
//! Nothing blocks inside MPI, where Open MPI would burn a CPU: it is polled. After the last event
//! a waiting thread spins for at most [`SPIN`], where its host has a CPU for each rank; then it
//! yields; then it sleeps, ever longer, up to a bound that depends on whether work is in flight.

use std::time::{Duration, Instant};

const SPIN: Duration = Duration::from_micros(100);
const YIELD: Duration = Duration::from_micros(200);
const LONGEST_IN_FLIGHT: Duration = Duration::from_micros(50);
const LONGEST: Duration = Duration::from_millis(1);

/// The next thing to do while waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    Spin,
    Yield,
    Sleep(Duration),
}

/// How long a thread has been idle.
#[derive(Debug)]
pub(crate) struct Idle {
    spin: bool,
    since: Option<Instant>,
    sleep: Duration,
}

impl Idle {
    /// `spin`: whether there is a CPU to burn.
    pub(crate) fn new(spin: bool) -> Idle {
        Idle { spin, since: None, sleep: Duration::from_micros(1) }
    }

    /// Something happened.
    pub(crate) fn reset(&mut self) {
        self.since = None;
    }

    /// How long nothing has happened.
    pub(crate) fn time(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Nothing happened; `in_flight` when something should soon.
    pub(crate) fn next(&mut self, in_flight: bool) -> Pause {
        let Some(since) = self.since else {
            self.since = Some(Instant::now());
            self.sleep = Duration::from_micros(1);
            return if self.spin { Pause::Spin } else { Pause::Yield };
        };
        let idle = since.elapsed();
        if self.spin && idle < SPIN {
            return Pause::Spin;
        }
        if idle < YIELD {
            return Pause::Yield;
        }
        let sleep = self.sleep;
        self.sleep = (2 * sleep).min(if in_flight { LONGEST_IN_FLIGHT } else { LONGEST });
        Pause::Sleep(sleep)
    }

    /// Waits a moment on this thread.
    pub(crate) fn pause(&mut self, in_flight: bool) {
        match self.next(in_flight) {
            Pause::Spin => std::hint::spin_loop(),
            Pause::Yield => std::thread::yield_now(),
            Pause::Sleep(time) => std::thread::sleep(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest_sleep(in_flight: bool) -> Duration {
        let mut idle = Idle::new(false);
        idle.since = Some(Instant::now() - Duration::from_secs(1));
        let sleeps = (0..30).map(|_| match idle.next(in_flight) {
            Pause::Sleep(time) => time,
            other => panic!("{other:?} after a second"),
        });
        sleeps.max().unwrap()
    }

    #[test]
    fn it_spins_only_with_a_cpu_to_burn_and_then_sleeps_ever_longer() {
        assert_eq!(Idle::new(true).next(true), Pause::Spin);
        assert_eq!(Idle::new(false).next(true), Pause::Yield);
        assert_eq!(longest_sleep(true), LONGEST_IN_FLIGHT);
        assert_eq!(longest_sleep(false), LONGEST);
    }
}
