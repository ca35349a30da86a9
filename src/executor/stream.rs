//! Results as they come.

use std::{
    marker::PhantomData,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{Executor, flow::Flow, outcome::value};
use crate::{error::Error, wire::Piece};

/// The piece whose results are being yielded, and how many were.
#[derive(Default)]
struct Current(Option<Piece>, usize);

/// One result, with its task's index.
type Indexed<R> = Result<(u64, R), Error>;

impl Current {
    /// The next result of the current piece.
    fn next<R: DeserializeOwned>(&mut self) -> Option<Indexed<R>> {
        let piece = self.0.as_ref()?;
        let k = self.1;
        self.1 += 1;
        let index = piece.start + k as u64;
        let result = match &piece.outcome {
            Ok(batch) if k < batch.len() => {
                let result = value(batch, k, index).map(|value| (index, value)).map_err(Error::from);
                if k + 1 == batch.len() {
                    // The last result has the memory of the message to itself, if most of it is a block of its own.
                    *self = Current::default();
                }
                result
            }
            Err(failure) if k == 0 => Err(failure.clone().at_task(index).into()),
            _ => {
                *self = Current::default();
                return None;
            }
        };
        Some(result)
    }
}

/// Yields what the flow brings until it is over; an error that concerns no task ends it.
/// `Pending` where that takes longer than until `until`.
fn advance<I, R>(
    flow: &mut Option<Flow<I>>,
    current: &mut Current,
    until: Option<Instant>,
) -> Poll<Option<Indexed<R>>>
where
    I: Iterator,
    I::Item: Serialize,
    R: DeserializeOwned,
{
    loop {
        let Some(over) = flow else { return Poll::Ready(None) };
        if let Some(result) = current.next() {
            if result.is_err() && !over.keep_going {
                *flow = None;
            }
            return Poll::Ready(Some(result));
        }
        match over.poll_piece(until) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Some(piece))) => current.0 = Some(piece),
            Ok(Poll::Ready(None)) => *flow = None,
            Err(error) => {
                *flow = None;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

macro_rules! iterator {
    ($(#[$doc:meta])* $name:ident, $item:ty, $pick:expr, $example:expr) => {
        $(#[$doc])*
        #[must_use = "a stream pulls items and yields results only as it is iterated"]
        pub struct $name<'p, I, R> {
            flow: Option<Flow<I>>,
            current: Current,
            label: Option<Arc<str>>,
            result: PhantomData<fn() -> R>,
            pool: PhantomData<&'p Executor>,
        }

        impl<'p, I, R> $name<'p, I, R> {
            pub(super) fn new(flow: Flow<I>, label: Option<Arc<str>>) -> Self {
                let current = Current::default();
                $name { flow: Some(flow), current, label, result: PhantomData, pool: PhantomData }
            }

            /// The same, free of the executor's lifetime, for a program that keeps both in one place, such as a
            /// binding to another language. End it, or drop it, before the executor ends: an executor waits for its
            /// maps in the end, and this one goes on only as it is iterated.
            pub fn detached(self) -> $name<'static, I, R> {
                let $name { flow, current, label, .. } = self;
                $name { flow, current, label, result: PhantomData, pool: PhantomData }
            }
        }

        impl<I, R> std::fmt::Debug for $name<'_, I, R> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("over", &self.flow.is_none()).finish_non_exhaustive()
            }
        }

        impl<I, R> $name<'_, I, R>
        where
            I: Iterator,
            I::Item: Serialize,
            R: DeserializeOwned,
        {
            /// As `next`, but for a thread that has something else to look after: pulls no more than `ahead` items
            /// beyond the last result that was taken, also where the [window](super::Call::window) would allow it,
            /// and waits no longer than `limit`.
            ///
            /// ```
            /// use std::{task::Poll, time::Duration};
            /// let pool = rankpool::Executor::builder().mode(rankpool::Mode::Serial).start()?;
            /// let mut halves = pool.call(|n: f64| n / 2.0).stream([3.0])?;
            /// let half = loop {
            ///     match halves.poll(1, Duration::from_millis(100)) {
            ///         Poll::Ready(half) => break half.transpose()?,
            ///         Poll::Pending => println!("not yet"),
            ///     }
            /// };
            #[doc = $example]
            /// # Ok::<(), rankpool::Error>(())
            /// ```
            pub fn poll(&mut self, ahead: u64, limit: Duration) -> Poll<Option<$item>> {
                if let Some(flow) = &mut self.flow {
                    flow.pull_ahead(ahead);
                }
                let next = advance(&mut self.flow, &mut self.current, Instant::now().checked_add(limit));
                next.map(|next| next.map(|next| self.finished(next)))
            }

            fn finished(&self, next: Indexed<R>) -> $item {
                $pick(next.map_err(|error| error.labelled(self.label.as_ref())))
            }
        }

        impl<I, R> Iterator for $name<'_, I, R>
        where
            I: Iterator,
            I::Item: Serialize,
            R: DeserializeOwned,
        {
            type Item = $item;

            fn next(&mut self) -> Option<$item> {
                loop {
                    if let Poll::Ready(next) = advance(&mut self.flow, &mut self.current, None) {
                        return next.map(|next| self.finished(next));
                    }
                }
            }
        }
    };
}

iterator!(
    /// Results in the order of the items, as they come; made by [`Call::stream`](super::Call::stream).
    ///
    /// Dropping it ends the map: what has not run does not run.
    Stream, Result<R, Error>, |result: Indexed<R>| result.map(|(_, value)| value), "assert_eq!(half, Some(1.5));"
);
iterator!(
    /// Results with their indices, in the order in which tasks end; made by
    /// [`Call::unordered`](super::Call::unordered). Dropping it ends the map.
    Unordered, Result<(u64, R), Error>, |result: Indexed<R>| result, "assert!(half.is_some());"
);
