//! The list of a run's inputs: taken down as the items are pulled, for the result file.

use std::{cell::RefCell, path::Path, rc::Rc};

use super::Job;
use crate::{
    store::{file::Inputs, schema::Schema},
    worker::catch,
};

/// The items of a job, which are taken down as they are pulled. Whoever has a clone may pull what another has left.
pub(super) struct Listed<'j, J, I>(Rc<RefCell<Pulled<'j, J, I>>>);

struct Pulled<'j, J, I> {
    job: &'j J,
    items: I,
    list: List,
}

enum List {
    /// No item has been pulled; the list is to be kept in this folder.
    Unknown(Rc<Path>),
    Items(Inputs),
    /// What [`Job::input`] says of the items.
    Records(Inputs),
    /// There is no file, or the type of the items does not say what they are.
    Nothing,
}

impl<'j, J: Job, I: Iterator<Item = J::Item>> Listed<'j, J, I> {
    /// The items, to be listed in a file that is made in this folder, if there is one.
    pub(super) fn new(job: &'j J, items: I, folder: Option<Rc<Path>>) -> Listed<'j, J, I> {
        let list = folder.map_or(List::Nothing, List::Unknown);
        Listed(Rc::new(RefCell::new(Pulled { job, items, list })))
    }

    /// The same items.
    pub(super) fn share(&self) -> Listed<'j, J, I> {
        Listed(self.0.clone())
    }

    /// The list. With `all` it has the items that nobody has pulled, too.
    pub(super) fn finish(mut self, all: bool) -> Option<Inputs> {
        if all && !matches!(self.0.borrow().list, List::Nothing) {
            self.by_ref().for_each(drop);
        }
        let mut pulled = self.0.borrow_mut();
        if let List::Unknown(folder) = &pulled.list {
            pulled.list = List::of_items::<J>(folder.clone());
        }
        match std::mem::replace(&mut pulled.list, List::Nothing) {
            List::Items(inputs) | List::Records(inputs) => Some(inputs),
            List::Unknown(_) | List::Nothing => None,
        }
    }
}

impl<J: Job, I: Iterator<Item = J::Item>> Iterator for Listed<'_, J, I> {
    type Item = J::Item;

    #[inline]
    fn next(&mut self) -> Option<J::Item> {
        let mut pulled = self.0.borrow_mut();
        let item = pulled.items.next()?;
        let Pulled { job, list, .. } = &mut *pulled;
        if let List::Unknown(folder) = list {
            *list = match job.input(&item) {
                Some(_) => List::Records(Inputs::new(Schema::Record, folder.clone())),
                None => List::of_items::<J>(folder.clone()),
            };
        }
        match list {
            List::Items(inputs) => inputs.push(&item),
            List::Records(inputs) => inputs.push(&job.input(&item).unwrap_or_default()),
            List::Unknown(_) | List::Nothing => {}
        }
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.borrow().items.size_hint()
    }
}

impl List {
    /// A list of the items themselves, if their type is one that a file can hold: no numbers in bulk, and not nothing.
    fn of_items<J: Job>(folder: Rc<Path>) -> List {
        // The type may panic on these made-up values, which must not end the run.
        let schema = catch(|| {
            let schema = Schema::of::<J::Item>().map_err(|why| why.to_string())?;
            schema.try_out::<J::Item>()?;
            schema.check_names()?;
            schema.check_records()?;
            let listed = !schema.holds_blocks() && schema.fixed_size() != Some(0);
            listed.then_some(schema).ok_or_else(|| "it is in bulk, or nothing".to_string())
        });
        match schema {
            Ok(Ok(schema)) => List::Items(Inputs::new(schema, folder)),
            Ok(Err(why)) => {
                tracing::debug!("the inputs of {} are not listed: {why}", J::NAME);
                List::Nothing
            }
            Err(_) => List::Nothing,
        }
    }
}
