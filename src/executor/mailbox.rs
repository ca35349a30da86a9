//! Where the engine's thread leaves the outcomes of a map, and the user's thread finds them.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard},
    time::Instant,
};

use super::command::Recipient;
use crate::{
    scheduler::End,
    sync::{lock, wait_until},
    wire::{Amount, Piece},
};

#[derive(Default)]
struct Arrivals {
    pieces: VecDeque<Piece>,
    amount: Amount,
    end: Option<End>,
    /// The tasks or bytes for which the user is woken, whichever come first: waking a thread for every task would cost
    /// more than the task.
    wanted: Amount,
}

impl Arrivals {
    fn is_worth_it(&self) -> bool {
        self.end.is_some()
            || (!self.pieces.is_empty()
                && (self.amount.tasks >= self.wanted.tasks || self.amount.bytes >= self.wanted.bytes))
    }
}

#[derive(Default)]
pub(super) struct Mailbox {
    contents: Mutex<Arrivals>,
    worth_it: Condvar,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Arrivals> {
        lock(&self.contents)
    }

    pub(super) fn is_empty(&self) -> bool {
        let contents = self.lock();
        contents.pieces.is_empty() && contents.end.is_none()
    }

    /// Waits until `wanted` has arrived, or the end, or the deadline; takes all that is there.
    pub(super) fn take(&self, wanted: Amount, deadline: Option<Instant>) -> (VecDeque<Piece>, Option<End>) {
        let mut contents = self.lock();
        contents.wanted = wanted;
        contents = wait_until(&self.worth_it, contents, deadline, |contents| contents.is_worth_it());
        contents.wanted = Amount { tasks: u64::MAX, bytes: u64::MAX };
        contents.amount = Amount::default();
        (std::mem::take(&mut contents.pieces), contents.end)
    }
}

impl Recipient for Mailbox {
    fn deliver(&self, pieces: &mut Vec<Piece>) {
        let mut contents = self.lock();
        pieces.iter().for_each(|piece| contents.amount += piece.amount());
        contents.pieces.extend(pieces.drain(..));
        if contents.is_worth_it() {
            self.worth_it.notify_one();
        }
    }

    fn finish(&self, end: End) {
        let mut contents = self.lock();
        if contents.end.is_none() {
            contents.end = Some(end);
            self.worth_it.notify_one();
        }
    }
}
