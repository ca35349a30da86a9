//! Errors as values: of a task ([`TaskError`]), and of the run ([`Error`]).

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// Why a task has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FailureKind {
    /// The function returned an error.
    Failed,
    /// The function panicked.
    Panicked,
    /// The task ran longer than its time limit.
    TimedOut,
    /// The task was in flight on three workers that were lost, and is not tried again.
    Quarantined,
    /// The item or the result could not be encoded or decoded.
    Codec,
    /// The per-worker state (or the shared value) could not be built on the worker.
    Init,
    /// The map ended before the task did: its time was over, or it was cancelled.
    NotDone,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FailureKind::Failed => "failed",
            FailureKind::Panicked => "panicked",
            FailureKind::TimedOut => "timed out",
            FailureKind::Quarantined => "was quarantined",
            FailureKind::Codec => "could not be sent",
            FailureKind::Init => "could not be set up",
            FailureKind::NotDone => "was not done",
        })
    }
}

/// A failure as the worker saw it; rank 0 knows where and makes a [`TaskError`] of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
    /// Where it happened; filled in by rank 0.
    pub(crate) place: Option<Place>,
    /// What the task gave all the same, encoded as its output is; the last field, for journals that were written
    /// without it.
    pub(crate) value: Option<Vec<u8>>,
}

/// The worker and the attempt that a failure belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub(crate) rank: u32,
    pub(crate) host: String,
    pub(crate) attempt: u16,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure { kind, message: message.into(), place: None, value: None }
    }

    /// The task ran longer than it may.
    pub(crate) fn timed_out(limit: Duration) -> Failure {
        Failure::new(FailureKind::TimedOut, format!("it ran longer than {limit:?}"))
    }

    /// The attempt that failed, from 1; 0 if it never ran.
    pub(crate) fn attempt(&self) -> u16 {
        self.place.as_ref().map_or(0, |place| place.attempt)
    }

    pub(crate) fn at_task(self, index: u64) -> TaskError {
        TaskError { index, label: None, failure: self }
    }
}

/// One task that has no result: which, where, and why.
///
/// ```
/// let pool = rankpool::Executor::builder().mode(rankpool::Mode::Serial).start()?;
/// let outcomes = pool.call(|n: u32| 12 / n).outcomes([4, 0])?;
/// assert_eq!(outcomes[0].as_ref().unwrap(), &3);
/// let error = outcomes[1].as_ref().unwrap_err();
/// assert_eq!(error.index(), 1);
/// assert!(error.message().contains("divide by zero"));
/// # Ok::<(), rankpool::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct TaskError {
    index: u64,
    label: Option<Arc<str>>,
    failure: Failure,
}

impl TaskError {
    pub(crate) fn labelled(self, label: Option<&Arc<str>>) -> TaskError {
        TaskError { label: label.cloned(), ..self }
    }

    /// The task's absolute index in its map, from 0; of a submitted task its number in the order of submission,
    /// as [`Future::index`](crate::Future::index).
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The name that [`Call::label`](crate::Call::label) gave the task's call.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// What sort of failure it was.
    pub fn kind(&self) -> FailureKind {
        self.failure.kind
    }

    /// The error's text, or the panic's message with its source position.
    pub fn message(&self) -> &str {
        &self.failure.message
    }

    /// The bytes that the function gave beside the text, by [`Tasks::fail_with`](crate::Tasks::fail_with).
    pub fn details(&self) -> Option<&[u8]> {
        self.failure.value.as_deref()
    }

    /// The rank that ran the task, if it ran at all.
    pub fn rank(&self) -> Option<u32> {
        self.failure.place.as_ref().map(|place| place.rank)
    }

    /// The host that ran the task, if it ran at all.
    pub fn host(&self) -> Option<&str> {
        self.failure.place.as_ref().map(|place| place.host.as_str())
    }

    /// The attempt that failed last, from 1; 0 if the task never ran.
    pub fn attempt(&self) -> u16 {
        self.failure.attempt()
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(label) = &self.label {
            write!(f, "{label}: ")?;
        }
        write!(f, "task {} {}", self.index, self.failure.kind)?;
        if let Some(place) = &self.failure.place {
            write!(f, " on rank {} ({})", place.rank, place.host)?;
            if place.attempt > 1 {
                write!(f, " at attempt {}", place.attempt)?;
            }
        }
        write!(f, ": {}", self.failure.message)
    }
}

/// As [`Display`](fmt::Display): what `main` returns and what `unwrap` meets is printed in this form.
impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for TaskError {}

/// Says that a text could not be read as a value, such as a [`Mode`](crate::Mode) or a [`Chunk`](crate::Chunk).
///
/// ```
/// let error = "fast".parse::<rankpool::Mode>().unwrap_err();
/// assert!(error.to_string().starts_with("\"fast\" is no mode: expected auto, serial,"));
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: {expected}")]
pub struct ParseError {
    text: String,
    what: &'static str,
    expected: &'static str,
}

impl ParseError {
    pub(crate) fn new(text: &str, what: &'static str, expected: &'static str) -> ParseError {
        ParseError { text: text.into(), what, expected }
    }
}

/// As [`Display`](fmt::Display).
impl fmt::Debug for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Error {
        Error::usage(error.to_string())
    }
}

/// What went wrong with a run, a map or the executor itself.
///
/// [`kind`](Error::kind) tells the cases apart; the text says what happened, where, and what to do.
pub struct Error(Box<Inner>);

/// The cases of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A task failed; [`Error::task`] has it.
    Task,
    /// An option, a flag or an input that cannot be honoured. Exit code 2.
    Usage,
    /// The launcher and MPI disagree, or MPI could not be started.
    Launch,
    /// Workers could not be spawned.
    Spawn,
    /// A worker that does not fit was refused: another build, another protocol.
    Handshake,
    /// No worker is left to run the remaining tasks.
    NoWorkers,
    /// The time for the map or the wait was over.
    Timeout,
    /// The call was cancelled, or the executor was shut down.
    Cancelled,
    /// A journal or a result file cannot be written or read: a full disk, a lost file system.
    Storage,
    /// A run was stopped before its time was over, and can be resumed. Exit code 75.
    Stopped,
    /// Something failed that should not: an MPI call, a socket, the scheduler itself.
    Internal,
}

enum Inner {
    Task(TaskError),
    Message { kind: ErrorKind, text: String },
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Error {
        Error(Box::new(Inner::Message { kind, text: text.into() }))
    }

    pub(crate) fn not_done_in(limit: Duration, done: u64, not_done: u64) -> Error {
        let text = format!(
            "the map was not done within {limit:?}: {done} tasks are done, {not_done} are not; \
             `outcomes` returns those that are"
        );
        Error::new(ErrorKind::Timeout, text)
    }

    /// An error of your own in the words of this crate: what is wrong and what to do.
    /// The command line ends with exit code 2.
    ///
    /// ```
    /// let error = rankpool::Error::usage("--top must be 1 or more");
    /// assert_eq!(error.exit_code(), 2);
    /// ```
    pub fn usage(text: impl Into<String>) -> Error {
        Error::new(ErrorKind::Usage, text)
    }

    /// An error of your own for a file that cannot be written or read when the work is done, as in
    /// [`Job::summary`](crate::Job::summary). The command line ends with exit code 70, and says how to go on
    /// where there is a journal.
    ///
    /// ```
    /// let error = rankpool::Error::storage("out.png: cannot be written: the disk is full");
    /// assert_eq!(error.exit_code(), 70);
    /// ```
    pub fn storage(text: impl Into<String>) -> Error {
        Error::new(ErrorKind::Storage, text)
    }

    /// The same error; the error of a task gets the label of its call.
    pub(crate) fn labelled(self, label: Option<&Arc<str>>) -> Error {
        match *self.0 {
            Inner::Task(task) => task.labelled(label).into(),
            message => Error(Box::new(message)),
        }
    }

    /// Which case this is.
    pub fn kind(&self) -> ErrorKind {
        match &*self.0 {
            Inner::Task(_) => ErrorKind::Task,
            Inner::Message { kind, .. } => *kind,
        }
    }

    /// The task that failed, where one did.
    pub fn task(&self) -> Option<&TaskError> {
        match &*self.0 {
            Inner::Task(task) => Some(task),
            Inner::Message { .. } => None,
        }
    }

    /// The exit code that a program ends with for this error: 1 a task failed, 2 usage,
    /// 75 stopped early, 70 everything else.
    pub fn exit_code(&self) -> u8 {
        match self.kind() {
            ErrorKind::Task | ErrorKind::Timeout | ErrorKind::Cancelled => 1,
            ErrorKind::Usage => 2,
            ErrorKind::Stopped => 75,
            _ => 70,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Inner::Task(task) => task.fmt(f),
            Inner::Message { text, .. } => f.write_str(text),
        }
    }
}

/// As [`Display`](fmt::Display): what `main` returns and what `unwrap` meets is printed in this form.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

impl From<TaskError> for Error {
    fn from(task: TaskError) -> Error {
        Error(Box::new(Inner::Task(task)))
    }
}
