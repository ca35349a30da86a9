//! The items of a run, on their way from the job.

use std::{cell::RefCell, rc::Rc};

use crate::error::Error;

/// Where an error waits that ended the items.
pub(super) type Broken = Rc<RefCell<Option<Error>>>;

/// Yields items up to the first error, and leaves the error for whoever looks when the items end.
pub(super) struct Items<I> {
    items: I,
    broken: Broken,
}

impl<I> Items<I> {
    pub(super) fn new(items: I, broken: Broken) -> Items<I> {
        Items { items, broken }
    }
}

impl<T, I: Iterator<Item = Result<T, Error>>> Iterator for Items<I> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self.items.next()? {
            Ok(item) => Some(item),
            Err(error) => {
                self.broken.borrow_mut().get_or_insert(error);
                None
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}
