//! A call whose most expensive tasks begin first.

use std::vec;

use super::{Call, Stream, Unordered, turns::most_expensive_first};
use crate::{
    error::{Error, TaskError},
    worker::{Function, Numbered},
};

/// A [`Call`] whose most expensive tasks begin first, as [`Call::cost`] makes it.
///
/// Only the order in which tasks begin is different: indices ([`Task::index`](crate::Task::index)), random numbers and
/// results are those of the call without costs, to the bit. What else differs:
///
/// - All items are pulled and kept before the first task begins: not for an endless iterator.
/// - [Automatic](crate::Chunk::Auto) chunks are shares of the cost that is left. The other chunk policies count tasks.
/// - A call that stops at a failure stops at the first that is known, whatever its place: tasks of earlier items may not
///   have begun by then. With [`keep_going`](Call::keep_going) all of them run, and there is no difference.
/// - Results that have come before their turn are kept here, and are not counted in the window.
///
/// Items of the same cost begin in their order. A cost below 0 is as good as 0, one that is infinite comes before all
/// others, and so does one that is not a number, since its task may be long.
///
/// There is neither `reduce`, for which workers fold neighbours, nor `submit`, which has one task: fold the results of
/// [`map`](LongestFirst::map) or [`stream`](LongestFirst::stream).
#[must_use = "a call does nothing until map, outcomes, stream or unordered is called on it"]
pub struct LongestFirst<'p, T, C> {
    call: Call<'p, Numbered<T>>,
    cost: C,
}

impl<T, C> std::fmt::Debug for LongestFirst<'_, T, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LongestFirst").finish_non_exhaustive()
    }
}

/// Items with their indices, in the order in which their tasks begin.
type Sorted<T> = vec::IntoIter<(u64, <T as Function>::Item)>;

impl<'p, T: Function, C: FnMut(&T::Item) -> f64> LongestFirst<'p, T, C> {
    pub(super) fn new(call: Call<'p, T>, cost: C) -> LongestFirst<'p, T, C> {
        LongestFirst { call: call.numbered(), cost }
    }

    /// As [`Call::map`].
    ///
    /// # Errors
    /// The first failure that is known; with [`keep_going`](Call::keep_going) that of the first task, in the order of
    /// the items, that failed.
    pub fn map(self, items: impl IntoIterator<Item = T::Item>) -> Result<Vec<T::Value>, Error> {
        let (call, items) = self.sorted(items);
        call.map(items)
    }

    /// As [`Call::outcomes`].
    ///
    /// # Errors
    /// When the map cannot be run; failed tasks are no error here.
    pub fn outcomes(
        self,
        items: impl IntoIterator<Item = T::Item>,
    ) -> Result<Vec<Result<T::Value, TaskError>>, Error> {
        let (call, items) = self.sorted(items);
        call.outcomes(items)
    }

    /// As [`Call::stream`]. The result of an item whose task is short comes late, and so do those behind it; if their
    /// order does not matter, use [`unordered`](LongestFirst::unordered).
    ///
    /// # Errors
    /// As [`Call::stream`]; and when there are more items than the [`window`](Call::window) has tasks, since the last of
    /// them may have to be run first.
    pub fn stream(
        self,
        items: impl IntoIterator<Item = T::Item>,
    ) -> Result<Stream<'p, Sorted<T>, T::Value>, Error> {
        let (call, items) = self.sorted(items);
        let (tasks, window) = (items.len() as u64, call.options.window);
        if tasks > window {
            let text = format!(
                "a window of {window} tasks does not let the longest of {tasks} go first when results are streamed in \
                 order: give a window of {tasks} or more, or use unordered or map"
            );
            return Err(call.options.refused(&text));
        }
        call.stream(items)
    }

    /// As [`Call::unordered`], with the indices of the items as they were given.
    ///
    /// # Errors
    /// As [`Call::stream`].
    pub fn unordered(
        self,
        items: impl IntoIterator<Item = T::Item>,
    ) -> Result<Unordered<'p, Sorted<T>, T::Value>, Error> {
        let (call, items) = self.sorted(items);
        call.unordered(items)
    }

    fn sorted(self, items: impl IntoIterator<Item = T::Item>) -> (Call<'p, Numbered<T>>, Sorted<T>) {
        let LongestFirst { mut call, cost } = self;
        let (order, items) = most_expensive_first(items.into_iter(), cost);
        call.options.order = Some(order);
        (call, items.into_iter())
    }
}
