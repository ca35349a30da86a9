//! Locks that outlive a panic, and waiting for what is behind them.
//!
//! When a thread panics while it holds a lock, others need not panic as well: what the locks of this crate guard is
//! whole between any two statements, and a panic in a task must cost that task only.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// Takes the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until `done`, which is asked now and at each signal, or until the deadline if there is one.
pub(crate) fn wait_until<'a, T>(
    signal: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
    mut done: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    let more = |state: &mut T| !done(state);
    match deadline {
        None => signal.wait_while(guard, more).unwrap_or_else(PoisonError::into_inner),
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            signal.wait_timeout_while(guard, left, more).unwrap_or_else(PoisonError::into_inner).0
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread, time::Duration};

    use super::*;

    #[test]
    fn a_wait_ends_with_what_it_waits_for_or_at_its_deadline_also_after_a_panic() {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let other = shared.clone();
        let panicked = thread::spawn(move || {
            let mut count = lock(&other.0);
            *count += 1;
            other.1.notify_all();
            panic!("with the lock held");
        });
        let (count, signal) = &*shared;
        assert_eq!(*wait_until(signal, lock(count), None, |count| *count == 1), 1);
        assert!(panicked.join().is_err() && count.is_poisoned());
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(*wait_until(signal, lock(count), Some(soon), |count| *count == 2), 1);
        assert!(Instant::now() >= soon);
    }
}
