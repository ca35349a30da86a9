//! Which task's outcome lies in which record.

use std::collections::BTreeMap;

use crate::task_set::TaskSet;

/// The outcomes of `count` tasks, from the `skip`th outcome of the record at `offset` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) count: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) skip: u64,
    pub(super) failed: bool,
}

/// Where the outcomes are; of several of one task, the last.
#[derive(Debug, Default)]
pub(super) struct Index {
    outcomes: BTreeMap<u64, Located>,
    /// The failed attempts, by task and attempt.
    pub(super) attempts: BTreeMap<(u64, u16), (u64, u64)>,
    /// The records of the trace: offset and size.
    pub(super) trace: Vec<(u64, u64)>,
    /// The records of events: offset and size.
    pub(super) events: Vec<(u64, u64)>,
}

impl Index {
    /// Tasks `start ..` have their outcomes in this place; what was known of them before is forgotten.
    pub(super) fn insert(&mut self, start: u64, located: Located) {
        let end = start + located.count;
        if let Some((&before, &first)) = self.outcomes.range(..start).next_back()
            && before + first.count > start
        {
            self.cut(before, first, start, end);
        }
        while let Some((&next, &other)) = self.outcomes.range(start..end).next() {
            self.outcomes.remove(&next);
            self.cut(next, other, start, end);
        }
        self.outcomes.insert(start, located);
    }

    /// Keeps of an entry what lies outside `start .. end`.
    fn cut(&mut self, at: u64, entry: Located, start: u64, end: u64) {
        if at < start {
            self.outcomes.insert(at, Located { count: start - at, ..entry });
        }
        if at + entry.count > end {
            let gone = end - at;
            let rest = Located { count: entry.count - gone, skip: entry.skip + gone, ..entry };
            self.outcomes.insert(end, rest);
        }
    }

    /// The tasks that ended well, and those that failed for good.
    pub(super) fn known(&self) -> (TaskSet, TaskSet) {
        let (mut done, mut failed) = (TaskSet::default(), TaskSet::default());
        for (&start, located) in &self.outcomes {
            let set = if located.failed { &mut failed } else { &mut done };
            set.insert(start, start + located.count);
        }
        (done, failed)
    }

    /// Everything, in the order of the tasks.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (u64, Located)> {
        self.outcomes.iter().map(|(&start, &located)| (start, located))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_last_outcome_of_a_task_counts(records in prop::collection::vec((0u64..30, 1u64..12, any::<bool>()), 0..15)) {
            let mut index = Index::default();
            let mut plain: Vec<Option<(u64, u64, bool)>> = vec![None; 50];
            for (offset, (start, count, failed)) in records.into_iter().enumerate() {
                let offset = offset as u64;
                index.insert(start, Located { count, offset, size: 0, skip: 0, failed });
                for k in 0..count {
                    plain[(start + k) as usize] = Some((offset, k, failed));
                }
            }
            let mut found = vec![None; 50];
            for (start, located) in index.in_order() {
                for k in 0..located.count {
                    let place = &mut found[(start + k) as usize];
                    prop_assert_eq!(*place, None, "a task is in two places");
                    *place = Some((located.offset, located.skip + k, located.failed));
                }
            }
            prop_assert_eq!(&found, &plain);
            let (done, failed) = index.known();
            for (task, outcome) in plain.iter().enumerate() {
                prop_assert_eq!(done.contains(task as u64), outcome.is_some_and(|(_, _, failed)| !failed));
                prop_assert_eq!(failed.contains(task as u64), outcome.is_some_and(|(_, _, failed)| failed));
            }
        }
    }
}
