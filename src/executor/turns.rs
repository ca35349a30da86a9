//! Tasks that do not begin in the order of their items, and the way back to that order.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{scheduler::Costs, task_set::TaskSet, wire::Piece};

/// The order in which the tasks of a call begin.
#[derive(Debug)]
pub(crate) struct Order {
    /// The index of each task, by its position in this order.
    indices: Vec<u64>,
    /// What each task costs, by its position.
    pub(super) costs: Arc<Costs>,
}

impl Order {
    /// The index of the task at this position.
    pub(super) fn index(&self, position: u64) -> u64 {
        self.indices.get(position as usize).copied().unwrap_or(position)
    }

    /// The positions of these tasks.
    pub(super) fn positions(&self, tasks: &TaskSet) -> TaskSet {
        let mut positions = TaskSet::default();
        for (position, _) in (0..).zip(&self.indices).filter(|(_, index)| tasks.contains(**index)) {
            positions.insert(position, position + 1);
        }
        positions
    }

    /// Splits a piece, whose tasks are counted by position, into pieces of one task, which are counted by index.
    pub(super) fn by_index(&self, piece: &Piece) -> impl Iterator<Item = Piece> {
        (0..piece.count as usize).map(move |k| {
            let start = self.index(piece.start + k as u64);
            let outcome = piece.outcome.as_ref().map(|batch| batch.slice(k, k + 1));
            Piece { start, count: 1, outcome: outcome.map_err(Clone::clone) }
        })
    }
}

/// The order in which the tasks of these items begin, the most expensive first, and the items in it, with their indices.
/// Tasks of the same cost begin in the order in which they are given. A cost that is no number comes first, since its task
/// may be long.
pub(super) fn most_expensive_first<A>(
    items: impl Iterator<Item = A>,
    mut cost: impl FnMut(&A) -> f64,
) -> (Arc<Order>, Vec<(u64, A)>) {
    let mut tasks: Vec<(f64, (u64, A))> = (0..)
        .zip(items)
        .map(|(index, item)| {
            let cost = cost(&item);
            // The zeros are one number.
            (if cost.is_nan() { f64::INFINITY } else { cost + 0.0 }, (index, item))
        })
        .collect();
    tasks.sort_by(|one, other| other.0.total_cmp(&one.0));
    let costs = Arc::new(Costs::new(tasks.iter().map(|(cost, _)| *cost)));
    let items: Vec<(u64, A)> = tasks.into_iter().map(|(_, item)| item).collect();
    let indices = items.iter().map(|(index, _)| *index).collect();
    (Arc::new(Order { indices, costs }), items)
}

/// Turns pieces in the order in which tasks begin into pieces in the order of the items.
pub(super) struct Turns {
    order: Arc<Order>,
    /// Each piece waits for those before it.
    ordered: bool,
    /// But for a failure.
    stop_at_error: bool,
    /// The next task whose turn it is.
    next: u64,
    held: BTreeMap<u64, Piece>,
    ready: VecDeque<Piece>,
}

impl Turns {
    pub(super) fn new(order: Arc<Order>, ordered: bool, stop_at_error: bool) -> Turns {
        let (held, ready) = (BTreeMap::new(), VecDeque::new());
        Turns { order, ordered, stop_at_error, next: 0, held, ready }
    }

    /// Takes a piece whose tasks are counted by their positions.
    pub(super) fn put(&mut self, piece: &Piece) {
        for one in self.order.by_index(piece) {
            if self.ordered && !(self.stop_at_error && one.outcome.is_err()) {
                self.held.insert(one.start, one);
            } else {
                self.ready.push_back(one);
            }
        }
    }

    /// The next piece whose turn it is, of one task, which is counted by its index.
    pub(super) fn next(&mut self) -> Option<Piece> {
        self.ready.pop_front().or_else(|| self.held.remove(&self.next).inspect(|_| self.next += 1))
    }

    /// The tasks before this one have had their turns.
    pub(super) fn pass(&mut self, task: u64) {
        self.next = task;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        error::{Failure, FailureKind},
        wire::BatchBuilder,
    };

    fn order_of(costs: &[f64]) -> Vec<u64> {
        let (order, items) = most_expensive_first(costs.iter().copied(), |cost| *cost);
        assert!(items.iter().map(|(index, _)| index).eq(order.indices.iter()));
        order.indices.clone()
    }

    fn good(start: u64, values: &[u64]) -> Piece {
        let mut batch = BatchBuilder::default();
        values.iter().for_each(|value| batch.push(value).unwrap());
        Piece { start, count: values.len() as u64, outcome: Ok(batch.finish()) }
    }

    fn bad(start: u64) -> Piece {
        Piece { start, count: 1, outcome: Err(Failure::new(FailureKind::Failed, "on purpose")) }
    }

    /// The tasks that are ready, and their values.
    fn ready(turns: &mut Turns) -> Vec<(u64, Option<u64>)> {
        std::iter::from_fn(|| turns.next())
            .map(|piece| (piece.start, piece.outcome.ok().map(|batch| batch.decode(0).unwrap())))
            .collect()
    }

    #[test]
    fn the_most_expensive_come_first_and_equals_in_their_order() {
        assert_eq!(order_of(&[1.0, 5.0, 3.0, 5.0, 0.0]), [1, 3, 2, 0, 4]);
        assert_eq!(order_of(&[0.0, -0.0, -1.0, 0.0]), [0, 1, 3, 2]);
        assert_eq!(order_of(&[9.0, f64::NEG_INFINITY, -f64::NAN, f64::INFINITY, f64::NAN]), [2, 3, 4, 0, 1]);
        assert!(order_of(&[]).is_empty());
    }

    #[test]
    fn a_failure_does_not_wait_for_its_turn_where_it_ends_the_call() {
        let (order, _) = most_expensive_first([1.0, 2.0, 3.0].into_iter(), |cost| *cost);
        for (stop_at_error, expected) in [(true, vec![(1, None)]), (false, vec![])] {
            let mut turns = Turns::new(order.clone(), true, stop_at_error);
            turns.put(&good(0, &[7]));
            turns.put(&bad(1));
            assert_eq!(ready(&mut turns), expected);
        }
    }

    proptest! {
        #[test]
        fn pieces_come_back_in_the_order_of_the_items(
            costs in prop::collection::vec(0u8..9, 1..40),
            cuts in prop::collection::vec(1usize..9, 40),
            shuffle in prop::collection::vec(any::<u32>(), 40),
            ordered: bool,
        ) {
            let (order, items) = most_expensive_first(costs.iter(), |cost| f64::from(**cost));
            let mut pieces = Vec::new();
            let mut rest = items.as_slice();
            for (cut, place) in cuts.iter().zip(shuffle) {
                let (piece, left) = rest.split_at(*cut.min(&rest.len()));
                let values: Vec<u64> = piece.iter().map(|(index, _)| index * 10).collect();
                pieces.push((place, good((items.len() - rest.len()) as u64, &values)));
                rest = left;
            }
            pieces.sort_by_key(|(place, _)| *place);
            let mut turns = Turns::new(order, ordered, true);
            let mut found = Vec::new();
            for (_, piece) in pieces {
                turns.put(&piece);
                found.extend(ready(&mut turns));
            }
            if !ordered {
                found.sort_unstable();
            }
            let expected = (0..costs.len() as u64).map(|index| (index, Some(index * 10)));
            prop_assert_eq!(found, expected.collect::<Vec<_>>());
        }
    }
}
