//! Outcomes that come as they end, put into the order of their tasks.

use std::collections::BTreeMap;

use crate::{error::Error, task_set::TaskSet, wire::Piece};

/// Outcomes that wait for those before them.
#[derive(Debug)]
pub(super) struct InOrder {
    waiting: BTreeMap<u64, Piece>,
    /// Tasks that are not run: nobody waits for them.
    skip: TaskSet,
    /// The task that comes next.
    next: u64,
    /// No more come: what waits has nothing to wait for.
    over: bool,
}

impl InOrder {
    pub(super) fn new(skip: TaskSet) -> InOrder {
        InOrder { waiting: BTreeMap::new(), skip, next: 0, over: false }
    }

    /// The next one in order, of those that `source` gives in any order.
    ///
    /// # Errors
    /// Those of the source.
    pub(super) fn next(
        &mut self,
        mut source: impl FnMut() -> Result<Option<Piece>, Error>,
    ) -> Result<Option<Piece>, Error> {
        loop {
            if let Some((_, end)) = self.skip.run_at(self.next) {
                self.next = end;
            }
            if let Some(first) = self.waiting.first_entry()
                && (self.over || *first.key() <= self.next)
            {
                let piece = first.remove();
                self.next = piece.start + piece.count;
                return Ok(Some(piece));
            }
            if self.over {
                return Ok(None);
            }
            match source()? {
                Some(piece) => drop(self.waiting.insert(piece.start, piece)),
                None => self.over = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Failure, FailureKind};

    fn piece(start: u64) -> Piece {
        Piece { start, count: 1, outcome: Err(Failure::new(FailureKind::Failed, "")) }
    }

    #[test]
    fn outcomes_wait_for_those_before_them_and_at_the_end_for_none() {
        let mut skip = TaskSet::default();
        skip.insert(2, 4);
        let mut order = InOrder::new(skip);
        let mut source = [1, 0, 5, 4, 8, 7].map(piece).into_iter();
        let mut left = Vec::new();
        let mut found = Vec::new();
        while let Some(piece) = order.next(|| Ok(source.next())).unwrap() {
            found.push(piece.start);
            left.push(source.len());
        }
        assert_eq!(found, [0, 1, 4, 5, 7, 8], "tasks 2 and 3 are not run, and 6 never ended");
        assert_eq!(left, [4, 4, 2, 2, 0, 0], "none comes later than it can");
    }
}
