//! What a leader keeps: a chunk from rank 0 is to a leader what more tasks of a call are to rank 0.
//!
//! The leader's own scheduler has one call, without end, for a call of rank 0. A chunk that arrives feeds it; its
//! tasks have numbers of the leader's own, in the order of their arrival. When all tasks of a chunk are back, the
//! leader answers rank 0.

use std::collections::VecDeque;

use crate::scheduler::Dispatch;

/// A leader asks for its next chunk when fewer tasks of this one wait than its workers run at a time, or than this part.
const EARLY: f64 = 0.15;

/// A chunk of rank 0 that is not whole yet.
struct Part {
    dispatch: Dispatch,
    /// The leader's number of its first task.
    first: u64,
    left: u64,
    arrived: f64,
}

pub(super) struct Leader {
    /// Its first worker; the others are the next ones.
    pub(super) first_hand: usize,
    pub(super) workers: usize,
    parts: VecDeque<Part>,
    /// Tasks that have arrived so far.
    fed: u64,
    asked: bool,
    /// When a chunk of rank 0 was last whole.
    answered: f64,
}

impl Leader {
    pub(super) fn new(first_hand: usize, workers: usize) -> Leader {
        Leader { first_hand, workers, parts: VecDeque::new(), fed: 0, asked: false, answered: 0.0 }
    }

    /// A chunk from rank 0 is there.
    pub(super) fn take(&mut self, dispatch: Dispatch, now: f64) {
        self.parts.push_back(Part { dispatch, first: self.fed, left: dispatch.count, arrived: now });
        self.fed += dispatch.count;
        self.asked = false;
    }

    /// Rank 0's number of a task, by the leader's own.
    pub(super) fn task(&self, number: u64) -> u64 {
        let part = self.parts.iter().rev().find(|part| part.first <= number);
        part.map_or(number, |part| part.dispatch.start + number - part.first)
    }

    /// Tasks are done, by the leader's numbers. The chunks that are whole now, and how long each took by itself.
    pub(super) fn done(&mut self, start: u64, count: u64, now: f64) -> Vec<(Dispatch, f64)> {
        for part in &mut self.parts {
            let (from, to) = (start.max(part.first), (start + count).min(part.first + part.dispatch.count));
            part.left -= to.saturating_sub(from);
        }
        let mut whole = Vec::new();
        while let Some(at) = self.parts.iter().position(|part| part.left == 0)
            && let Some(part) = self.parts.remove(at)
        {
            whole.push((part.dispatch, now - part.arrived.max(self.answered)));
            self.answered = now;
        }
        whole
    }

    /// True once for a chunk, when so few of its tasks wait for a worker that the next one should come.
    pub(super) fn asks(&mut self, waiting: u64) -> bool {
        let Some(last) = self.parts.back() else {
            return false;
        };
        let few = (self.workers as f64).max(EARLY * last.dispatch.count as f64);
        waiting as f64 <= few && !std::mem::replace(&mut self.asked, true)
    }
}
