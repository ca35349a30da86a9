//! Sets of tasks.

use std::{collections::BTreeMap, fmt, iter, ops::Bound, str::FromStr};

/// A set of task indices, kept as ranges: its size depends on how many gaps there are, and not on how many tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskSet {
    /// Start and end of each range; they neither overlap nor touch.
    ranges: BTreeMap<u64, u64>,
}

impl TaskSet {
    /// The range that the task lies in, from the task on.
    pub(crate) fn run_at(&self, task: u64) -> Option<(u64, u64)> {
        let (_, &end) = self.ranges.range(..=task).next_back()?;
        (task < end).then_some((task, end))
    }

    /// Adds the tasks `start .. end`.
    pub(crate) fn insert(&mut self, mut start: u64, mut end: u64) {
        if start >= end {
            return;
        }
        if let Some((&before, &stop)) = self.ranges.range(..=start).next_back()
            && stop >= start
        {
            (start, end) = (before, end.max(stop));
        }
        while let Some((&next, &stop)) = self.ranges.range(start..=end).next() {
            self.ranges.remove(&next);
            end = end.max(stop);
        }
        self.ranges.insert(start, end);
    }

    /// Takes the tasks `start .. end` out.
    #[cfg(feature = "cli")]
    pub(crate) fn remove(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        if let Some((&before, &stop)) = self.ranges.range(..start).next_back()
            && stop > start
        {
            self.ranges.insert(before, start);
            if stop > end {
                self.ranges.insert(end, stop);
            }
        }
        while let Some((&next, &stop)) = self.ranges.range(start..end).next() {
            self.ranges.remove(&next);
            if stop > end {
                self.ranges.insert(end, stop);
            }
        }
    }

    pub(crate) fn contains(&self, task: u64) -> bool {
        self.run_at(task).is_some()
    }

    /// Where each range starts and ends, in order.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ranges.iter().map(|(&start, &end)| (start, end))
    }

    /// The ranges, as far as they lie in `from .. to`, in order.
    pub(crate) fn ranges_in(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
        let first = self.run_at(from);
        let later = self.ranges.range((Bound::Excluded(from), Bound::Excluded(to.max(from + 1))));
        let later = later.map(|(&start, &end)| (start, end));
        first.into_iter().chain(later).map(move |(start, end)| (start, end.min(to)))
    }

    /// What lies in `from .. to` and is not in the set, in order.
    pub(crate) fn gaps_in(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
        let mut at = from;
        let ranges = self.ranges_in(from, to).chain(iter::once((to, to)));
        ranges.filter_map(move |(start, end)| {
            let gap = (std::mem::replace(&mut at, end), start);
            (gap.0 < gap.1).then_some(gap)
        })
    }

    /// How many tasks there are.
    pub(crate) fn len(&self) -> u64 {
        self.ranges().map(|(start, end)| end - start).sum()
    }

    /// One more than the last task; 0 for the empty set.
    pub(crate) fn end(&self) -> u64 {
        self.ranges.last_key_value().map_or(0, |(_, &end)| end)
    }

    /// The tasks of both.
    pub(crate) fn union(&self, other: &TaskSet) -> TaskSet {
        let mut both = self.clone();
        other.ranges().for_each(|(start, end)| both.insert(start, end));
        both
    }

    /// The tasks below `end` that are not in the set.
    pub(crate) fn missing_below(&self, end: u64) -> TaskSet {
        let mut gaps = TaskSet::default();
        let mut at = 0;
        for (start, stop) in self.ranges() {
            gaps.insert(at, start.min(end));
            at = stop;
        }
        gaps.insert(at, end);
        gaps
    }
}

/// As in `3,17,40-60`; both ends of a range belong to it.
impl FromStr for TaskSet {
    type Err = String;

    fn from_str(text: &str) -> Result<TaskSet, String> {
        let mut set = TaskSet::default();
        for part in text.split(',').map(str::trim) {
            let number = |text: &str| {
                let task = text.trim().parse::<u64>().ok().filter(|task| *task < u64::MAX);
                task.ok_or_else(|| {
                    format!("{text:?} is no task: expected numbers and ranges, as in 3,17,40-60")
                })
            };
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if first > last {
                return Err(format!("the range {part} ends before it starts"));
            }
            set.insert(first, last + 1);
        }
        Ok(set)
    }
}

impl fmt::Display for TaskSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (k, (start, end)) in self.ranges().enumerate() {
            let comma = if k > 0 { "," } else { "" };
            match end - start {
                1 => write!(f, "{comma}{start}")?,
                _ => write!(f, "{comma}{start}-{}", end - 1)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_list(inserted in prop::collection::vec((0u64..40, 0u64..6), 0..12)) {
            let mut set = TaskSet::default();
            let mut plain = [false; 50];
            for (start, count) in inserted {
                set.insert(start, start + count);
                plain[start as usize..(start + count) as usize].fill(true);
            }
            for task in 0..50 {
                prop_assert_eq!(set.contains(task), plain[task as usize]);
            }
            prop_assert_eq!(set.len(), plain.iter().filter(|task| **task).count() as u64);
            let gaps = set.missing_below(50);
            prop_assert_eq!(gaps.len() + set.len(), 50);
            prop_assert_eq!(gaps.union(&set), TaskSet::default().missing_below(50));
            for (from, to) in [(0, 50), (7, 21), (13, 13)] {
                let found: Vec<u64> = set.gaps_in(from, to).flat_map(|(start, end)| start..end).collect();
                let expected: Vec<u64> = (from..to).filter(|task| !plain[*task as usize]).collect();
                prop_assert_eq!(found, expected);
            }
            let ranges: Vec<_> = set.ranges().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", ranges);
            if set.len() > 0 {
                prop_assert_eq!(set.to_string().parse::<TaskSet>().unwrap(), set);
            }
        }
    }

    #[cfg(feature = "cli")]
    proptest! {
        #[test]
        fn what_is_taken_out_is_gone_and_nothing_else(
            changes in prop::collection::vec((0u64..40, 0u64..6, any::<bool>()), 0..16),
        ) {
            let mut set = TaskSet::default();
            let mut plain = [false; 50];
            for (start, count, added) in changes {
                match added {
                    true => set.insert(start, start + count),
                    false => set.remove(start, start + count),
                }
                plain[start as usize..(start + count) as usize].fill(added);
            }
            for task in 0..50 {
                prop_assert_eq!(set.contains(task), plain[task as usize]);
            }
            prop_assert_eq!(set.len(), plain.iter().filter(|task| **task).count() as u64);
        }
    }

    #[test]
    fn lists_of_tasks_are_read_and_nonsense_is_refused() {
        let set: TaskSet = "3, 17,40-60".parse().unwrap();
        assert_eq!((set.len(), set.to_string().as_str()), (23, "3,17,40-60"));
        for bad in ["", "x", "5-3", "1,,2", "-4", "18446744073709551615"] {
            assert!(bad.parse::<TaskSet>().is_err(), "{bad:?}");
        }
    }
}
