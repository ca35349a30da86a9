//! Where the values of a chunk go: each into the reply, or folded along the tree.

use std::marker::PhantomData;

use serde::Serialize;

use super::unwind::catch;
use crate::{
    error::{Failure, FailureKind},
    function::conjure,
    wire::ReplyBuilder,
};

/// Takes the values of consecutive tasks; [`close`](Sink::close) comes before a gap and at the end.
pub trait Sink<T>: Default {
    fn push(&mut self, task: u64, value: T, reply: &mut ReplyBuilder);
    fn close(&mut self, reply: &mut ReplyBuilder);

    /// Takes what came of the next task: its value, or the gap that its failure leaves.
    #[inline]
    fn take(&mut self, task: u64, outcome: Result<T, Failure>, reply: &mut ReplyBuilder) {
        match outcome {
            Ok(value) => self.push(task, value, reply),
            Err(failure) => {
                self.close(reply);
                reply.failed(failure);
            }
        }
    }
}

fn not_encoded(error: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Codec, format!("the result {error}"))
}

/// Every value is a result.
pub(crate) struct Collect;

impl Default for Collect {
    fn default() -> Collect {
        Collect
    }
}

impl<T: Serialize> Sink<T> for Collect {
    #[inline]
    fn push(&mut self, _: u64, value: T, reply: &mut ReplyBuilder) {
        // The user's Serialize may panic as well as refuse; so may Drop, when all is done.
        let encoded = catch(|| reply.value(&value));
        let _ = catch(|| drop(value));
        let failure = match encoded {
            Ok(Ok(())) => return,
            Ok(Err(error)) => not_encoded(error),
            Err(failure) => failure,
        };
        reply.failed(failure);
    }

    fn close(&mut self, _: &mut ReplyBuilder) {}
}

/// A node of the reduction tree: the tasks `start .. start + 2^level`, `start` a multiple of
/// `2^level`, folded into one value.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Node<T> {
    pub(crate) level: u8,
    pub(crate) start: u64,
    pub(crate) value: T,
}

impl<T> Node<T> {
    pub(crate) fn leaf(task: u64, value: T) -> Node<T> {
        Node { level: 0, start: task, value }
    }

    fn is_left_of(&self, right: &Node<T>) -> bool {
        self.level == right.level
            && self.start.is_multiple_of(2 << self.level)
            && self.start + (1 << self.level) == right.start
    }
}

/// Appends a node and combines what has become complete.
///
/// The tree is fixed by the task indices alone: a node of level l+1 is the combination of its two
/// halves of level l, left before right, wherever it is computed. So a floating-point sum has the
/// same bits at any mode, worker count and chunk size (pairwise summation; Higham, 1993).
pub(crate) fn append<T>(nodes: &mut Vec<Node<T>>, mut node: Node<T>, combine: impl Fn(T, T) -> T) {
    while let Some(left) = nodes.pop() {
        if !left.is_left_of(&node) {
            nodes.push(left);
            break;
        }
        node = Node { level: left.level + 1, start: left.start, value: combine(left.value, node.value) };
    }
    nodes.push(node);
}

/// The values are folded with `C`; only the nodes at the ends of the chunk are sent, at most
/// 2 log2(n) of them for n tasks.
pub(crate) struct Fold<T, C> {
    nodes: Vec<Node<T>>,
    combine: PhantomData<fn(C)>,
}

impl<T, C> Default for Fold<T, C> {
    fn default() -> Fold<T, C> {
        Fold { nodes: Vec::new(), combine: PhantomData }
    }
}

impl<T: Serialize, C: Fn(T, T) -> T + Copy + 'static> Sink<T> for Fold<T, C> {
    fn push(&mut self, task: u64, value: T, reply: &mut ReplyBuilder) {
        reply.covered();
        if let Err(failure) = catch(|| append(&mut self.nodes, Node::leaf(task, value), conjure::<C>())) {
            // The failed combination took its values with it: the tasks folded so far have no result.
            self.nodes.clear();
            reply.fail_open_segment(&failure);
        }
    }

    fn close(&mut self, reply: &mut ReplyBuilder) {
        for node in std::mem::take(&mut self.nodes) {
            let encoded = catch(|| reply.covering(&node));
            let _ = catch(|| drop(node));
            let failure = match encoded {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => not_encoded(error),
                Err(failure) => failure,
            };
            reply.fail_open_segment(&failure);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Folds `values` in chunks that end at `cuts`, as workers and rank 0 would.
    fn fold(values: &[f64], cuts: &[usize]) -> u64 {
        let mut top = Vec::new();
        let mut start = 0;
        for end in cuts.iter().copied().chain([values.len()]) {
            let end = end.clamp(start, values.len());
            let mut nodes = Vec::new();
            for (task, value) in values.iter().enumerate().take(end).skip(start) {
                append(&mut nodes, Node::leaf(task as u64, *value), |a, b| a + b);
            }
            nodes.into_iter().for_each(|node| append(&mut top, node, |a, b| a + b));
            start = end;
        }
        assert!(top.len() <= 64);
        top.into_iter()
            .map(|node| node.value)
            .rev()
            .reduce(|right, left| left + right)
            .unwrap_or(0.0)
            .to_bits()
    }

    proptest! {
        #[test]
        fn a_sum_has_the_same_bits_however_it_is_cut(
            values in prop::collection::vec(-1e6f64..1e6, 0..200),
            mut cuts in prop::collection::vec(0usize..200, 0..12),
        ) {
            cuts.sort_unstable();
            prop_assert_eq!(fold(&values, &cuts), fold(&values, &[]));
        }
    }

    #[test]
    fn a_chunk_leaves_few_nodes() {
        let mut nodes = Vec::new();
        (3..100_003u64).for_each(|task| append(&mut nodes, Node::leaf(task, task), |a, b| a + b));
        assert!(nodes.len() <= 2 * 17, "{}", nodes.len());
        assert_eq!(nodes.iter().map(|node| node.value).sum::<u64>(), (3..100_003u64).sum::<u64>());
    }
}
