//! A function that is called for a chunk at a time, and takes its tasks one after another.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use super::{
    ChunkRun,
    program::{Function, Marker, Numbering, not_decoded, not_set_up},
    sink::Sink,
    unwind::catch,
};
use crate::{
    error::{Failure, FailureKind},
    function::conjure,
    wire::CodecError,
};

/// The tasks of a chunk, for a function that is called once a chunk: of
/// [`call_chunks`](crate::Executor::call_chunks) and [`call_chunks_with`](crate::Executor::call_chunks_with).
///
/// Each task that is [taken](Tasks::take) is to be ended before the next one is taken and before the function returns: by its
/// [value](Tasks::give), or by its [failure](Tasks::fail). One that is not fails. A panic is the failure of the task that
/// is under way, else of the next one. The function is called again for tasks that are left; if it takes none then, the
/// next one fails.
///
/// While a task is under way, [`Task::current`](crate::Task::current) is that task, and its time counts from when it
/// was taken.
#[derive(Debug)]
pub struct Tasks<'c, A, R> {
    chunk: &'c mut dyn Chunk<A, R>,
}

impl<A, R> Tasks<'_, A, R> {
    /// The item of the next task, whose time begins; `None` when there is no further one for this function.
    pub fn take(&mut self) -> Option<A> {
        loop {
            self.chunk.begin().then_some(())?;
            match catch(|| self.chunk.item()) {
                Ok(Ok(item)) => return Some(item),
                Ok(Err(error)) => self.chunk.end(Err(not_decoded(error))),
                Err(failure) => self.chunk.end(Err(failure)),
            }
        }
    }

    /// Ends the task that was taken last, with its value. Does nothing if it has been ended.
    pub fn give(&mut self, value: R) {
        self.chunk.end(Ok(value));
    }

    /// Ends the task that was taken last, with a failure of this text. Does nothing if it has been ended.
    pub fn fail(&mut self, message: impl Into<String>) {
        self.chunk.end(Err(Failure::new(FailureKind::Failed, message)));
    }

    /// As [`fail`](Tasks::fail), with bytes beside the text: [`TaskError::details`](crate::TaskError::details) has them on
    /// rank 0.
    pub fn fail_with(&mut self, message: impl Into<String>, details: Vec<u8>) {
        let failure = Failure { value: Some(details), ..Failure::new(FailureKind::Failed, message) };
        self.chunk.end(Err(failure));
    }
}

/// A chunk, whatever code names it and wherever its values go.
trait Chunk<A, R>: std::fmt::Debug {
    /// The next task begins, if there is one.
    fn begin(&mut self) -> bool;
    /// The item of the task that has begun.
    fn item(&mut self) -> Result<A, CodecError>;
    /// Ends the task that has begun, if one has.
    fn end(&mut self, outcome: Result<R, Failure>);
}

/// How far a chunk is.
struct Course<'c, 'r, N, K> {
    run: &'c mut ChunkRun<'r>,
    sink: K,
    numbering: PhantomData<N>,
    /// Tasks that have ended.
    ended: usize,
    /// A task is under way.
    open: bool,
    /// Those behind it are another worker's.
    revoked: bool,
}

impl<N, K> Course<'_, '_, N, K> {
    fn is_over(&self) -> bool {
        self.revoked || self.ended == self.run.len()
    }
}

impl<N, K> std::fmt::Debug for Course<'_, '_, N, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} tasks", self.ended, self.run.len())
    }
}

impl<A: DeserializeOwned, R, N: Numbering, K: Sink<R>> Chunk<A, R> for Course<'_, '_, N, K> {
    fn begin(&mut self) -> bool {
        if self.open {
            Chunk::<A, R>::end(self, Err(forgotten()));
        }
        if self.is_over() {
            return false;
        }
        self.run.enter(N::index(self.run, self.ended));
        self.run.begin(self.ended);
        self.open = true;
        true
    }

    fn item(&mut self) -> Result<A, CodecError> {
        let item = N::item(self.run, self.ended);
        self.run.item_is_taken(self.ended);
        item
    }

    fn end(&mut self, outcome: Result<R, Failure>) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        self.sink.take(self.run.first() + self.ended as u64, outcome, &mut self.run.reply);
        self.ended += 1;
        self.revoked = !self.run.goes_on(self.ended as u64);
    }
}

/// `f(&mut tasks)`
pub struct Chunks<F, A, R>(Marker<(F, A, R)>);

impl<F, A, R> Function for Chunks<F, A, R>
where
    F: Fn(&mut Tasks<'_, A, R>) + Copy + 'static,
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    type Item = A;
    type Value = R;
    type State = ();

    fn run_chunk<N: Numbering, K: Sink<R>>(run: &mut ChunkRun<'_>) {
        run_whole::<N, K, A, R>(run, |tasks| {
            conjure::<F>()(tasks);
            Ok(())
        });
    }
}

/// `f(&shared, &mut tasks)`
pub struct ChunksWith<F, S, A, R>(Marker<(F, S, A, R)>);

impl<F, S, A, R> Function for ChunksWith<F, S, A, R>
where
    F: Fn(&S, &mut Tasks<'_, A, R>) + Copy + 'static,
    S: DeserializeOwned + Send + Sync + 'static,
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    type Item = A;
    type Value = R;
    type State = ();

    fn run_chunk<N: Numbering, K: Sink<R>>(run: &mut ChunkRun<'_>) {
        run.enter(N::index(run, 0)); // It is the first task that needs it.
        let shared = run.build(|| run.shared::<S>()).and_then(|shared| shared).map_err(not_set_up);
        run_whole::<N, K, A, R>(run, |tasks| {
            conjure::<F>()(shared.as_ref().map_err(Failure::clone)?, tasks);
            Ok(())
        });
    }
}

/// Calls `f` until the chunk is over: again after a panic.
fn run_whole<N: Numbering, K: Sink<R>, A: DeserializeOwned, R>(
    run: &mut ChunkRun<'_>,
    f: impl Fn(&mut Tasks<'_, A, R>) -> Result<(), Failure>,
) {
    let mut course = Course {
        run,
        sink: K::default(),
        numbering: PhantomData::<N>,
        ended: 0,
        open: false,
        revoked: false,
    };
    while !course.is_over() {
        let before = course.ended;
        let called = catch(|| f(&mut Tasks { chunk: &mut course }));
        let failure = match called.and_then(|done| done) {
            Ok(()) if course.open => forgotten(),
            Ok(()) if course.ended > before => continue,
            Ok(()) => Failure::new(FailureKind::Failed, "the function returned and took no task"),
            Err(failure) => failure,
        };
        if course.open || Chunk::<A, R>::begin(&mut course) {
            Chunk::<A, R>::end(&mut course, Err(failure));
        }
    }
    course.run.leave();
    course.sink.close(&mut course.run.reply);
}

fn forgotten() -> Failure {
    Failure::new(FailureKind::Failed, "the function took this task and gave it neither a value nor a failure")
}
