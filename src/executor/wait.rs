//! Waiting for several futures.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Future, future::Bell};
use crate::error::{Error, ErrorKind};

/// When [`wait`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitFor {
    /// When one has ended.
    First,
    /// When one has failed or was cancelled, or all have ended.
    FirstError,
    /// When all have ended.
    All,
}

/// Positions, in the list given to [`wait`], of the futures that have ended and of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waited {
    /// Those that have ended.
    pub done: Vec<usize>,
    /// Those that have not.
    pub not_done: Vec<usize>,
}

/// Waits for some or all of `futures`, for at most `limit` where one is given.
///
/// ```
/// use rankpool::{Executor, Mode, WaitFor, wait};
/// let pool = Executor::builder().mode(Mode::Threads).workers(2).start()?;
/// let futures = [pool.submit(|n: u32| n, 1)?, pool.submit(|n: u32| n, 2)?];
/// let waited = wait(&futures, WaitFor::All, None);
/// assert_eq!(waited.done, [0, 1]);
/// # Ok::<(), rankpool::Error>(())
/// ```
pub fn wait<R>(futures: &[Future<R>], until: WaitFor, limit: Option<Duration>) -> Waited {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let bell = Arc::new(Bell::default());
    futures.iter().enumerate().for_each(|(number, future)| future.watch(&bell, number));
    let mut ended = 0;
    while ended < futures.len() {
        let Some(number) = bell.next(deadline) else {
            break;
        };
        ended += 1;
        let enough = match until {
            WaitFor::First => true,
            WaitFor::FirstError => futures[number].failed() == Some(true),
            WaitFor::All => false,
        };
        if enough {
            break;
        }
    }
    futures.iter().for_each(|future| future.unwatch(&bell));
    let (done, not_done) = (0..futures.len()).partition(|number| futures[*number].failed().is_some());
    Waited { done, not_done }
}

/// Yields each of `futures` as it ends, a future that is named twice once.
///
/// With a `limit`, the last item is an [`ErrorKind::Timeout`] if some have not ended by then; those
/// that have are yielded even with a limit of zero.
///
/// ```
/// use rankpool::{Executor, Mode, as_completed};
/// let pool = Executor::builder().mode(Mode::Threads).workers(2).start()?;
/// let futures = [pool.submit(|n: u32| n, 1)?, pool.submit(|n: u32| n, 2)?];
/// let mut sum = 0;
/// for future in as_completed(&futures, None) {
///     sum += future?.wait()?;
/// }
/// assert_eq!(sum, 3);
/// # Ok::<(), rankpool::Error>(())
/// ```
pub fn as_completed<'f, R: 'f>(
    futures: impl IntoIterator<Item = &'f Future<R>>,
    limit: Option<Duration>,
) -> impl Iterator<Item = Result<&'f Future<R>, Error>> {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    #[expect(clippy::mutable_key_type, reason = "what is hashed, the task's identity, does not change")]
    let mut seen = HashSet::new();
    let futures: Vec<&Future<R>> = futures.into_iter().filter(|future| seen.insert(*future)).collect();
    let bell = Arc::new(Bell::default());
    futures.iter().enumerate().for_each(|(number, future)| future.watch(&bell, number));
    AsCompleted { left: futures.len(), futures, bell, deadline }
}

struct AsCompleted<'f, R> {
    futures: Vec<&'f Future<R>>,
    bell: Arc<Bell>,
    deadline: Option<Instant>,
    left: usize,
}

impl<'f, R> Iterator for AsCompleted<'f, R> {
    type Item = Result<&'f Future<R>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        if let Some(number) = self.bell.next(self.deadline) {
            self.left -= 1;
            return Some(Ok(self.futures[number]));
        }
        let text = format!("{} of {} futures were not done in time", self.left, self.futures.len());
        self.left = 0;
        Some(Err(Error::new(ErrorKind::Timeout, text)))
    }
}

impl<R> Drop for AsCompleted<'_, R> {
    fn drop(&mut self) {
        self.futures.iter().for_each(|future| future.unwatch(&self.bell));
    }
}
