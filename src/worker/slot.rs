//! What one thread is doing, for another thread to read at any moment: a seqlock, which makes neither of them wait.
//!
//! The writer takes the mark away, changes the words and sets a new mark. A reader that finds the same mark before and
//! behind the words has words that belong together, and to the mark:
//! - A reader that sees a changed word saw it after the writer's fence, and its own fence comes behind the word. So its
//!   second look at the mark finds it taken away, or a later one (C++20, atomics.fences, paragraph 2).
//! - A reader whose first look finds a mark sees the words that were there when it was set, or later ones: the mark is
//!   released, and that look acquires it.
//!
//! `tests/interleavings.rs` runs this file through every order that the memory model allows.

use super::atomics::{AtomicU64, Ordering, fence};

/// A mark, and words that belong to it.
pub(super) struct Slot {
    /// 0 while there is nothing to read. No two marks are the same.
    mark: AtomicU64,
    words: [AtomicU64; 3],
}

impl Slot {
    pub(super) fn new() -> Slot {
        Slot { mark: AtomicU64::new(0), words: [0; 3].map(AtomicU64::new) }
    }

    /// Sets the words; to be called by one thread only.
    pub(super) fn set(&self, mark: u64, words: [u64; 3]) {
        self.mark.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        for (to, word) in self.words.iter().zip(words) {
            to.store(word, Ordering::Relaxed);
        }
        self.mark.store(mark, Ordering::Release);
    }

    /// Takes the mark away.
    pub(super) fn clear(&self) {
        self.mark.store(0, Ordering::Release);
    }

    /// The mark and its words; `None` when there are none, or they are just being changed.
    pub(super) fn read(&self) -> Option<(u64, [u64; 3])> {
        let mark = self.mark.load(Ordering::Acquire);
        let words = [0, 1, 2].map(|k: usize| self.words[k].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let same = self.mark.load(Ordering::Relaxed) == mark;
        (same && mark != 0).then_some((mark, words))
    }
}
