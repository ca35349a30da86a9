//! One submitted task, and what becomes of it.

use std::{
    collections::VecDeque,
    hash::{Hash, Hasher},
    marker::PhantomData,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;

use super::{
    Shared,
    command::{Command, Recipient},
    outcome::{Outcome, STOPPED, not_done, value},
};
use crate::{
    error::{Failure, FailureKind, TaskError},
    scheduler::{CallId, End},
    sync::{lock, wait_until},
    wire::Piece,
};

/// Where a submitted task stands. It only ever moves down this list, in every mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Status {
    /// Not yet handed to a worker; it can be cancelled.
    Pending,
    /// A worker has it, or has had it: a task that waits for another worker, since the one before was lost, or for its
    /// next attempt, is not pending again, and cannot be cancelled. With leaders, it also waits for a free child of its
    /// leader.
    Running,
    /// Ended, well or not.
    Done,
    /// Cancelled before it ran.
    Cancelled,
}

type Callback = Box<dyn FnOnce(&Outcome) + Send>;

enum Stage {
    Pending,
    Running,
    Done(Arc<Outcome>),
    Cancelled(Arc<Outcome>),
}

struct State {
    stage: Stage,
    callbacks: Vec<Callback>,
    watchers: Vec<Watcher>,
}

/// Someone who waits for several futures: this one is number `number` among them.
struct Watcher {
    bell: Arc<Bell>,
    number: usize,
}

/// Rings when a watched future ends.
#[derive(Default)]
pub(super) struct Bell {
    ended: Mutex<VecDeque<usize>>,
    rung: Condvar,
}

impl Bell {
    fn ring(&self, number: usize) {
        lock(&self.ended).push_back(number);
        self.rung.notify_all();
    }

    /// The number of the next future that ended; `None` at the deadline.
    pub(super) fn next(&self, deadline: Option<Instant>) -> Option<usize> {
        wait_until(&self.rung, lock(&self.ended), deadline, |ended| !ended.is_empty()).pop_front()
    }
}

/// What a future and the engine's thread share.
pub(super) struct Cell {
    call: CallId,
    /// The task's number in the order of submission.
    index: u64,
    label: Option<Arc<str>>,
    state: Mutex<State>,
    ended: Condvar,
    shared: Arc<Shared>,
}

impl Cell {
    pub(super) fn new(shared: &Arc<Shared>, call: CallId, index: u64, label: Option<Arc<str>>) -> Arc<Cell> {
        Arc::new(Cell {
            call,
            index,
            label,
            state: Mutex::new(State { stage: Stage::Pending, callbacks: Vec::new(), watchers: Vec::new() }),
            ended: Condvar::new(),
            shared: shared.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Ends the task, once; later outcomes are dropped.
    pub(super) fn settle(&self, outcome: Outcome) {
        let state = self.lock();
        if matches!(state.stage, Stage::Pending | Stage::Running) {
            let outcome = Arc::new(outcome);
            self.end(state, Stage::Done(outcome.clone()), &outcome);
        }
    }

    fn end(&self, mut state: MutexGuard<'_, State>, stage: Stage, outcome: &Arc<Outcome>) {
        state.stage = stage;
        // Queued under the lock, so that a callback that is added late cannot overtake them.
        for callback in std::mem::take(&mut state.callbacks) {
            self.call_back(callback, outcome.clone());
        }
        let watchers = std::mem::take(&mut state.watchers);
        drop(state);
        self.ended.notify_all();
        watchers.into_iter().for_each(|watcher| watcher.bell.ring(watcher.number));
    }

    fn call_back(&self, callback: Callback, outcome: Arc<Outcome>) {
        self.shared.call_back(Box::new(move || callback(&outcome)));
    }
}

impl Recipient for Cell {
    fn try_start(&self) -> bool {
        let mut state = self.lock();
        if matches!(state.stage, Stage::Pending) {
            state.stage = Stage::Running;
        }
        matches!(state.stage, Stage::Running)
    }

    fn deliver(&self, pieces: &mut Vec<Piece>) {
        // It is one task.
        pieces.drain(..).for_each(|piece| self.settle(piece.outcome));
    }

    fn finish(&self, end: End) {
        let state = self.lock();
        let pending = matches!(state.stage, Stage::Pending);
        if !pending && !matches!(state.stage, Stage::Running) {
            return;
        }
        let reason = match end {
            End::Done | End::Stopped => return,
            End::Cancelled => "the executor was shut down before the task ran".to_string(),
            End::Deserted => self.shared.deserted().to_string(),
            End::Drained => STOPPED.to_string(),
        };
        let outcome = Arc::new(Err(Failure::new(FailureKind::NotDone, reason)));
        let cancelled = pending && end == End::Cancelled;
        let stage = if cancelled { Stage::Cancelled } else { Stage::Done };
        self.end(state, stage(outcome.clone()), &outcome);
    }
}

/// A task that was submitted; made by [`Executor::submit`](super::Executor::submit).
///
/// Dropping it does not cancel the task. It stays valid after the executor has ended. Two references are
/// equal when they are to the same task, so a map can have futures as its keys. (Clippy's `mutable_key_type`
/// cannot see that what is hashed does not change.)
///
/// ```
/// use rankpool::{Executor, Mode, Status};
/// let pool = Executor::builder().mode(Mode::Threads).workers(1).start()?;
/// let future = pool.submit(|n: u32| n + 1, 41)?;
/// assert_eq!(future.wait()?, 42);
/// assert_eq!(future.status(), Status::Done);
/// assert!(!future.cancel(), "it is too late");
/// # Ok::<(), rankpool::Error>(())
/// ```
pub struct Future<R> {
    cell: Arc<Cell>,
    result: PhantomData<fn() -> R>,
}

impl<R> std::fmt::Debug for Future<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Future")
            .field("index", &self.index())
            .field("label", &self.label())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl<R> PartialEq for Future<R> {
    fn eq(&self, other: &Future<R>) -> bool {
        Arc::ptr_eq(&self.cell, &other.cell)
    }
}

impl<R> Eq for Future<R> {}

impl<R> Hash for Future<R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.cell).hash(state);
    }
}

impl<R> Future<R> {
    pub(super) fn new(cell: Arc<Cell>) -> Future<R> {
        Future { cell, result: PhantomData }
    }

    /// The task's number in the order in which tasks were submitted to its executor, from 0. The task knows
    /// itself by it, as [`Task::index`](crate::Task::index), and so does its error, as [`TaskError::index`].
    ///
    /// ```
    /// let pool = rankpool::Executor::start()?;
    /// let futures = [pool.submit(|n: u32| 12 / n, 4)?, pool.call(|n: u32| 12 / n).label("nought").submit(0)?];
    /// assert_eq!(futures[0].wait()?, 3);
    /// let error = futures[1].wait().unwrap_err();
    /// assert_eq!((futures[1].index(), error.index()), (1, 1));
    /// assert!(error.to_string().starts_with("nought: task 1 panicked"));
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    pub fn index(&self) -> u64 {
        self.cell.index
    }

    /// The name that [`Call::label`](super::Call::label) gave the task.
    pub fn label(&self) -> Option<&str> {
        self.cell.label.as_deref()
    }

    /// Where the task stands.
    pub fn status(&self) -> Status {
        match self.cell.lock().stage {
            Stage::Pending => Status::Pending,
            Stage::Running => Status::Running,
            Stage::Done(_) => Status::Done,
            Stage::Cancelled(_) => Status::Cancelled,
        }
    }

    /// Cancels the task if no worker has it yet, and says whether it is cancelled. A thread
    /// that waits for it is answered at once.
    pub fn cancel(&self) -> bool {
        let state = self.cell.lock();
        match state.stage {
            Stage::Cancelled(_) => true,
            Stage::Running | Stage::Done(_) => false,
            Stage::Pending => {
                let outcome = Arc::new(Err(Failure::new(FailureKind::NotDone, "it was cancelled")));
                self.cell.end(state, Stage::Cancelled(outcome.clone()), &outcome);
                // An executor that has ended has nothing to cancel.
                let _ = self.cell.shared.command(Command::Cancel { call: self.cell.call });
                true
            }
        }
    }

    fn outcome(&self, deadline: Option<Instant>) -> Option<Arc<Outcome>> {
        let open = |state: &mut State| matches!(state.stage, Stage::Pending | Stage::Running);
        let state = wait_until(&self.cell.ended, self.cell.lock(), deadline, |state| !open(state));
        match &state.stage {
            Stage::Done(outcome) | Stage::Cancelled(outcome) => Some(outcome.clone()),
            Stage::Pending | Stage::Running => None,
        }
    }

    /// Whether the task failed; `None` while it has not ended.
    pub(super) fn failed(&self) -> Option<bool> {
        match &self.cell.lock().stage {
            Stage::Done(outcome) | Stage::Cancelled(outcome) => Some(outcome.is_err()),
            Stage::Pending | Stage::Running => None,
        }
    }

    /// Rings `bell` with `number` when the task ends; at once if it has.
    pub(super) fn watch(&self, bell: &Arc<Bell>, number: usize) {
        let mut state = self.cell.lock();
        if matches!(state.stage, Stage::Done(_) | Stage::Cancelled(_)) {
            bell.ring(number);
        } else {
            state.watchers.push(Watcher { bell: bell.clone(), number });
        }
    }

    /// Takes back what [`watch`](Future::watch) has hung up.
    pub(super) fn unwatch(&self, bell: &Arc<Bell>) {
        self.cell.lock().watchers.retain(|watcher| !Arc::ptr_eq(&watcher.bell, bell));
    }
}

/// A future's outcome as a value of its own; the task has this index and this label.
fn decoded<R: DeserializeOwned>(
    outcome: &Outcome,
    index: u64,
    label: Option<&Arc<str>>,
) -> Result<R, TaskError> {
    let decoded = match outcome {
        Ok(batch) => value(batch, 0, index),
        Err(failure) => Err(failure.clone().at_task(index)),
    };
    decoded.map_err(|error| error.labelled(label))
}

impl<R: DeserializeOwned> Future<R> {
    /// Waits for the task to end. It can be asked again.
    ///
    /// # Errors
    /// The task's failure; [`FailureKind::NotDone`] if it was cancelled.
    pub fn wait(&self) -> Result<R, TaskError> {
        self.outcome(None).map_or_else(
            || Err(not_done(self.index(), "it has no outcome")),
            |outcome| self.decoded(&outcome),
        )
    }

    /// Waits for the task to end, for at most `limit`; `None` when it has not. The future stays valid.
    ///
    /// # Errors
    /// As [`wait`](Future::wait).
    pub fn wait_timeout(&self, limit: Duration) -> Option<Result<R, TaskError>> {
        let outcome = self.outcome(Instant::now().checked_add(limit))?;
        Some(self.decoded(&outcome))
    }

    fn decoded(&self, outcome: &Outcome) -> Result<R, TaskError> {
        decoded(outcome, self.cell.index, self.cell.label.as_ref())
    }

    /// Calls `callback` with the outcome when the task has ended, also if it already has.
    ///
    /// Callbacks run one after the other on a thread that is for nothing else, those of one future
    /// in the order in which they were added. One that panics hurts nobody.
    pub fn on_done(&self, callback: impl FnOnce(Result<R, TaskError>) + Send + 'static) {
        let (index, label) = (self.cell.index, self.cell.label.clone());
        let callback: Callback = Box::new(move |outcome| callback(decoded(outcome, index, label.as_ref())));
        let mut state = self.cell.lock();
        match &state.stage {
            Stage::Done(outcome) | Stage::Cancelled(outcome) => {
                self.cell.call_back(callback, outcome.clone())
            }
            Stage::Pending | Stage::Running => state.callbacks.push(callback),
        }
    }
}
