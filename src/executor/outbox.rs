//! Outcomes gather here for a moment, so that whoever waits for them is woken once for many.

use crate::{scheduler::CallId, wire::Piece};

/// Pieces of one call, in the order in which they are to be delivered.
#[derive(Debug)]
pub(super) struct Outbox {
    call: CallId,
    pieces: Vec<Piece>,
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox { call: CallId(0), pieces: Vec::new() }
    }
}

impl Outbox {
    /// It has to be emptied before it can take a piece of this call.
    pub(super) fn is_of_another(&self, call: CallId) -> bool {
        self.call != call && !self.pieces.is_empty()
    }

    pub(super) fn put(&mut self, call: CallId, piece: Piece) {
        self.call = call;
        self.pieces.push(piece);
    }

    /// Has `deliver` take what is there.
    pub(super) fn empty(&mut self, deliver: impl FnOnce(CallId, &mut Vec<Piece>)) {
        if !self.pieces.is_empty() {
            deliver(self.call, &mut self.pieces);
            self.pieces.clear();
        }
    }
}
