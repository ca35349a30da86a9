//! A job's task as the function of a call.

use std::{error::Error as StdError, fmt, marker::PhantomData, sync::Arc, time::Duration};

use super::Job;
use crate::{
    error::{Failure, FailureKind},
    executor::{Call, Executor},
    wire::encode,
    worker::{ChunkRun, Numbering, PerTask, Task},
};

/// The error of a task that failed and has an output all the same. The output stands in the task's row of the result
/// file, and the status of the row says that the task failed.
///
/// ```
/// use rankpool::FailedWith;
/// fn task(code: i32) -> Result<i32, Box<dyn std::error::Error>> {
///     if code == 0 { Ok(code) } else { Err(FailedWith::new(code, format!("exit code {code}")).into()) }
/// }
/// assert_eq!(task(3).unwrap_err().to_string(), "exit code 3");
/// ```
pub struct FailedWith<T> {
    output: T,
    kind: FailureKind,
    message: String,
}

impl<T> FailedWith<T> {
    /// A task that failed with this output.
    pub fn new(output: T, message: impl Into<String>) -> FailedWith<T> {
        FailedWith { output, kind: FailureKind::Failed, message: message.into() }
    }

    /// A task that was over its time.
    pub fn timed_out(output: T, message: impl Into<String>) -> FailedWith<T> {
        FailedWith { kind: FailureKind::TimedOut, ..FailedWith::new(output, message) }
    }

    /// A task that is not tried again, because what ran it was lost too often.
    pub fn quarantined(output: T, message: impl Into<String>) -> FailedWith<T> {
        FailedWith { kind: FailureKind::Quarantined, ..FailedWith::new(output, message) }
    }

    /// The same failure with another output.
    pub fn with<U>(self, output: U) -> FailedWith<U> {
        FailedWith { output, kind: self.kind, message: self.message }
    }
}

impl<T> fmt::Debug for FailedWith<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<T> fmt::Display for FailedWith<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<T> StdError for FailedWith<T> {}

/// The job as it is sent to the workers, once, with the limit that its tasks keep to themselves.
type Sent<J> = (J, Option<Duration>);

/// Runs the tasks of a job that was sent.
pub(crate) struct JobTask<J>(PhantomData<fn(J)>);

impl<J: Job> JobTask<J> {
    /// The call of the job's task, whose tasks keep to `limit` themselves.
    pub(super) fn call<'p>(pool: &'p Executor, job: &J, limit: Option<Duration>) -> Call<'p, JobTask<J>> {
        Call::new(pool, pool.original("the job", &(job, limit)).map(Some))
    }
}

impl<J: Job> PerTask for JobTask<J> {
    type Item = J::Item;
    type Value = J::Output;
    type State = Arc<Sent<J>>;

    fn prepare(run: &ChunkRun<'_>) -> Result<Arc<Sent<J>>, Failure> {
        run.build(|| run.shared())?
    }

    fn ahead<N: Numbering>(sent: &mut Arc<Sent<J>>, run: &ChunkRun<'_>, k: usize) {
        let item = |at| Some((N::index(run, at), N::item(run, at).ok()?));
        sent.0.ahead((k + 1..run.len()).map_while(item));
    }

    fn run(sent: &mut Arc<Sent<J>>, item: J::Item) -> Result<J::Output, Failure> {
        let (job, limit) = &**sent;
        if let Some(limit) = limit {
            Task::keep_to(*limit);
        }
        job.task(item).map_err(|error| match error.downcast::<FailedWith<J::Output>>() {
            Ok(failed) => match encode(&failed.output) {
                Ok(value) => Failure { value: Some(value), ..Failure::new(failed.kind, failed.message) },
                Err(error) => {
                    Failure::new(FailureKind::Codec, format!("{}; its output {error}", failed.message))
                }
            },
            Err(error) => Failure::new(FailureKind::Failed, format!("{error:#}")),
        })
    }
}
