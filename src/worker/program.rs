//! The code of a call: one monomorphic function that decodes, runs and encodes a whole chunk.
//!
//! [`run_chunk::<P, K>`](run_chunk) is what travels, as an offset into the executable (see
//! [`crate::function`]). The user's function is a type parameter of it, so the compiler inlines
//! it into the loop; it needs no memory, so a worker makes it out of nothing.

use std::{fmt::Display, marker::PhantomData, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{ChunkRun, sink::Sink, unwind::catch};
use crate::{
    error::{Failure, FailureKind},
    function::conjure,
    wire::CodecError,
};

/// Code that can travel to a worker: what [`Executor::call`](crate::Executor::call) and its
/// relatives make of a function. There is nothing to implement.
pub trait Function: 'static {
    /// What a task is given.
    type Item: Serialize + DeserializeOwned + 'static;
    /// What a task that ends well gives.
    type Value: Serialize + DeserializeOwned + 'static;
    /// What is built once for each task thread of a worker.
    #[doc(hidden)]
    type State: Send + 'static;

    /// The entry: runs the tasks of a chunk, whose values go to `K`.
    #[doc(hidden)]
    fn run_chunk<N: Numbering, K: Sink<Self::Value>>(run: &mut ChunkRun<'_>);
}

/// The entry of function `P` whose values go to `K`.
pub(crate) fn run_chunk<P: Function, K: Sink<P::Value>>(run: &mut ChunkRun<'_>) {
    P::run_chunk::<InOrder, K>(run);
}

/// How the items of a chunk name their tasks.
pub trait Numbering {
    /// The index of task `k` of a chunk.
    fn index(run: &ChunkRun<'_>, k: usize) -> u64;
    fn item<A: DeserializeOwned>(run: &ChunkRun<'_>, k: usize) -> Result<A, CodecError>;
}

/// One task follows another.
pub struct InOrder;

impl Numbering for InOrder {
    #[inline]
    fn index(run: &ChunkRun<'_>, k: usize) -> u64 {
        run.first() + k as u64
    }

    #[inline]
    fn item<A: DeserializeOwned>(run: &ChunkRun<'_>, k: usize) -> Result<A, CodecError> {
        run.items.decode(k)
    }
}

/// Items come with the indices of their tasks: they are handed out in another order.
pub struct ByNumber;

impl Numbering for ByNumber {
    fn index(run: &ChunkRun<'_>, k: usize) -> u64 {
        // An item that could not be encoded is empty, and what comes of it is not seen.
        run.items.first_number(k).unwrap_or_default()
    }

    fn item<A: DeserializeOwned>(run: &ChunkRun<'_>, k: usize) -> Result<A, CodecError> {
        let numbered = run.items.decode::<(u64, A)>(k);
        // An error names the item's type, without the index.
        numbered.map(|(_, item)| item).map_err(CodecError::of_type::<A>)
    }
}

/// `P` on items that come with the indices of their tasks.
pub struct Numbered<P>(Marker<P>);

impl<P: Function> Function for Numbered<P> {
    type Item = (u64, P::Item);
    type Value = P::Value;
    type State = P::State;

    fn run_chunk<N: Numbering, K: Sink<P::Value>>(run: &mut ChunkRun<'_>) {
        P::run_chunk::<ByNumber, K>(run);
    }
}

/// A function that is called for one task at a time.
pub trait PerTask: 'static {
    type Item: Serialize + DeserializeOwned + 'static;
    type Value: Serialize + DeserializeOwned + 'static;
    type State: Send + 'static;

    /// Builds the state; what is not this library's code in it runs in [`ChunkRun::build`].
    fn prepare(run: &ChunkRun<'_>) -> Result<Self::State, Failure>;
    fn run(state: &mut Self::State, item: Self::Item) -> Result<Self::Value, Failure>;

    /// Task `k` of the chunk is about to run: those behind it may be looked at.
    #[inline]
    fn ahead<N: Numbering>(_: &mut Self::State, _: &ChunkRun<'_>, _: usize) {}
}

impl<P: PerTask> Function for P {
    type Item = P::Item;
    type Value = P::Value;
    type State = P::State;

    fn run_chunk<N: Numbering, K: Sink<P::Value>>(run: &mut ChunkRun<'_>) {
        let mut state = run.take_state::<P::State>();
        let mut sink = K::default();
        for k in 0..run.items.len() {
            run.enter(N::index(run, k));
            let mut prepared = match state.take() {
                Some(state) => Ok(state),
                None => P::prepare(run).map_err(not_set_up),
            };
            run.begin(k);
            let outcome = match &mut prepared {
                Ok(state) => catch(|| {
                    let item = N::item(run, k).map_err(not_decoded)?;
                    P::ahead::<N>(state, run, k);
                    P::run(state, item)
                }),
                Err(failure) => Ok(Err(failure.clone())),
            };
            // State that a panic has gone through is not trusted: the next task builds it anew.
            let panicked = outcome.is_err();
            sink.take(run.first() + k as u64, outcome.and_then(|outcome| outcome), &mut run.reply);
            state = match prepared {
                Ok(state) if panicked => {
                    // Its Drop may panic too; the task has failed already.
                    let _ = catch(|| drop(state));
                    None
                }
                other => other.ok(),
            };
            if !run.goes_on(k as u64 + 1) {
                break;
            }
        }
        run.leave();
        sink.close(&mut run.reply);
        if let Some(state) = state {
            run.keep_state(state);
        }
    }
}

/// The failure of a task whose state or shared value could not be had.
pub(super) fn not_set_up(failure: Failure) -> Failure {
    Failure { kind: FailureKind::Init, ..failure }
}

pub(super) fn not_decoded(error: CodecError) -> Failure {
    Failure::new(FailureKind::Codec, format!("the item {error}"))
}

/// What a user's function returns, as the value of the task or its failure.
pub trait Verdict<R>: Copy + Send + 'static {
    /// The value of a task that ended well.
    type Value: Serialize + DeserializeOwned + 'static;
    #[doc(hidden)]
    fn settle(returned: R) -> Result<Self::Value, String>;
}

/// How a plain call takes what its function returns: as it is.
#[diagnostic::on_unimplemented(
    message = "a task cannot return `{R}` here: a `Result` belongs to `try_call`, `try_map` and their relatives",
    label = "this function returns a `Result`",
    note = "with `try_call` or `try_map` an `Err` is its task's failure, which can be tried again; here it would \
            count as success",
    note = "with `try_call` and its relatives the error needs `Display` only"
)]
pub trait AsItIs<R>: Verdict<R, Value = R> {}

#[diagnostic::do_not_recommend]
impl<R: Serialize + DeserializeOwned + 'static> AsItIs<R> for Plain {}

/// What a plain function may return: every value that serde can write and read, but no `Result`.
///
/// A function that returns a `Result` belongs to [`Executor::try_call`](crate::Executor::try_call),
/// [`try_map`](crate::Executor::try_map) and their relatives, where an `Err` is its task's failure. In a plain call it
/// would count as success, and would not be tried again, so such a call does not compile:
///
/// ```compile_fail
/// let pool = rankpool::Executor::start()?;
/// pool.map(|text: String| text.parse::<f64>().map_err(|error| error.to_string()), ["1".into()])?;
/// # Ok::<(), rankpool::Error>(())
/// ```
///
/// A `Result` inside of another value, such as a `Vec<Result<f64, String>>`, is a value like any other.
/// There is nothing to implement, and the parameter `How` is found out by the compiler.
// Rust cannot say "no Result". It can say two things of a Result, and then `How` cannot be found out: the message
// shows the impls below and the name of the methods' parameter, `UseTryCall`. A Result that serde does not know has
// only the second impl, and then the message is that of `AsItIs`.
#[diagnostic::on_unimplemented(
    message = "a task cannot return `{Self}`: it is no value that serde can write and read",
    label = "what this function returns does not implement `Serialize` and `DeserializeOwned`",
    note = "derive `serde::Serialize` and `serde::Deserialize`",
    note = "a function that returns a `Result` belongs to `try_call`, `try_map` and their relatives"
)]
pub trait Returned<How> {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> Returned<Plain> for T {}

#[diagnostic::do_not_recommend]
impl<T, E> Returned<a_Result_belongs_to_try_call_or_try_map> for Result<T, E> {}

/// Is seen in the compiler's message only.
#[allow(non_camel_case_types)]
#[derive(Debug)]
pub struct a_Result_belongs_to_try_call_or_try_map;

/// The function returns its value.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

/// The function returns a `Result`; an `Err` is the task's failure.
#[derive(Clone, Copy, Debug)]
pub struct Fallible;

impl<R: Serialize + DeserializeOwned + 'static> Verdict<R> for Plain {
    type Value = R;
    fn settle(returned: R) -> Result<R, String> {
        Ok(returned)
    }
}

impl<R: Serialize + DeserializeOwned + 'static, E: Display> Verdict<Result<R, E>> for Fallible {
    type Value = R;
    fn settle(returned: Result<R, E>) -> Result<R, String> {
        returned.map_err(|error| format!("{error:#}"))
    }
}

fn settle<V: Verdict<R>, R>(returned: R) -> Result<V::Value, Failure> {
    V::settle(returned).map_err(|message| Failure::new(FailureKind::Failed, message))
}

/// Types without values.
pub(super) type Marker<T> = PhantomData<fn(T)>;

/// `f(item)`
pub struct Each<V, F, A, R>(Marker<(V, F, A, R)>);

impl<V, F, A, R> PerTask for Each<V, F, A, R>
where
    V: Verdict<R>,
    F: Fn(A) -> R + Copy + 'static,
    A: Serialize + DeserializeOwned + 'static,
    R: 'static,
{
    type Item = A;
    type Value = V::Value;
    type State = ();

    fn prepare(_: &ChunkRun<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn run((): &mut (), item: A) -> Result<V::Value, Failure> {
        settle::<V, R>(conjure::<F>()(item))
    }
}

/// `f(&shared, item)`
pub struct With<V, F, S, A, R>(Marker<(V, F, S, A, R)>);

impl<V, F, S, A, R> PerTask for With<V, F, S, A, R>
where
    V: Verdict<R>,
    F: Fn(&S, A) -> R + Copy + 'static,
    S: DeserializeOwned + Send + Sync + 'static,
    A: Serialize + DeserializeOwned + 'static,
    R: 'static,
{
    type Item = A;
    type Value = V::Value;
    type State = Arc<S>;

    fn prepare(run: &ChunkRun<'_>) -> Result<Arc<S>, Failure> {
        run.build(|| run.shared())?
    }

    fn run(shared: &mut Arc<S>, item: A) -> Result<V::Value, Failure> {
        settle::<V, R>(conjure::<F>()(shared, item))
    }
}

/// `f(&mut state, item)`, with `state` from `init()`
pub struct Init<V, I, F, S, A, R>(Marker<(V, I, F, S, A, R)>);

impl<V, I, F, S, A, R> PerTask for Init<V, I, F, S, A, R>
where
    V: Verdict<R>,
    I: Fn() -> S + Copy + 'static,
    F: Fn(&mut S, A) -> R + Copy + 'static,
    S: Send + 'static,
    A: Serialize + DeserializeOwned + 'static,
    R: 'static,
{
    type Item = A;
    type Value = V::Value;
    type State = S;

    fn prepare(run: &ChunkRun<'_>) -> Result<S, Failure> {
        run.build(conjure::<I>())
    }

    fn run(state: &mut S, item: A) -> Result<V::Value, Failure> {
        settle::<V, R>(conjure::<F>()(state, item))
    }
}
