//! Results as they come.

use std::{marker::PhantomData, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{flow::Flow, outcome::value};
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
                value(batch, k, index).map(|value| (index, value)).map_err(Error::from)
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
fn advance<I, R>(flow: &mut Option<Flow<'_, I>>, current: &mut Current) -> Option<Indexed<R>>
where
    I: Iterator,
    I::Item: Serialize,
    R: DeserializeOwned,
{
    loop {
        let over = flow.as_mut()?;
        if let Some(result) = current.next() {
            if result.is_err() && !over.keep_going {
                *flow = None;
            }
            return Some(result);
        }
        match over.next_piece() {
            Ok(Some(piece)) => current.0 = Some(piece),
            Ok(None) => *flow = None,
            Err(error) => {
                *flow = None;
                return Some(Err(error));
            }
        }
    }
}

macro_rules! iterator {
    ($(#[$doc:meta])* $name:ident, $item:ty, $pick:expr) => {
        $(#[$doc])*
        #[must_use = "a stream pulls items and yields results only as it is iterated"]
        pub struct $name<'p, I, R> {
            flow: Option<Flow<'p, I>>,
            current: Current,
            label: Option<Arc<str>>,
            result: PhantomData<fn() -> R>,
        }

        impl<'p, I, R> $name<'p, I, R> {
            pub(super) fn new(flow: Flow<'p, I>, label: Option<Arc<str>>) -> Self {
                $name { flow: Some(flow), current: Current::default(), label, result: PhantomData }
            }
        }

        impl<I, R> std::fmt::Debug for $name<'_, I, R> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("over", &self.flow.is_none()).finish_non_exhaustive()
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
                let next = advance(&mut self.flow, &mut self.current)?;
                Some($pick(next.map_err(|error| error.labelled(self.label.as_ref()))))
            }
        }
    };
}

iterator!(
    /// Results in the order of the items, as they come; made by [`Call::stream`](super::Call::stream).
    ///
    /// Dropping it ends the map: what has not run does not run.
    Stream, Result<R, Error>, |result: Indexed<R>| result.map(|(_, value)| value)
);
iterator!(
    /// Results with their indices, in the order in which tasks end; made by
    /// [`Call::unordered`](super::Call::unordered). Dropping it ends the map.
    Unordered, Result<(u64, R), Error>, |result: Indexed<R>| result
);
