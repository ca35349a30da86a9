//! The items of a call, as rank 0 keeps them until their outcomes are known.

use std::collections::VecDeque;

use crate::wire::Batch;

/// The items of a call that may still be sent.
#[derive(Default)]
pub(super) struct Items {
    blocks: VecDeque<Fed>,
    fed: u64,
}

/// Items that came together.
struct Fed {
    start: u64,
    count: u64,
    items: Batch,
    /// Tasks whose outcome is not known.
    open: u64,
}

impl Fed {
    fn end(&self) -> u64 {
        self.start + self.count
    }
}

impl Items {
    /// Those of a call whose one task has this index.
    pub(super) fn single(task: u64, item: Batch) -> Items {
        // A queue grows by several places at a time, and there may be very many such calls.
        let mut items = Items { blocks: VecDeque::with_capacity(1), fed: task };
        items.feed(item);
        items
    }

    pub(super) fn feed(&mut self, items: Batch) {
        let count = items.len() as u64;
        self.blocks.push_back(Fed { start: self.fed, count, items, open: count });
        self.fed += count;
    }

    /// The next tasks have no items.
    pub(super) fn skip(&mut self, count: u64) {
        self.fed += count;
    }

    pub(super) fn slice(&self, start: u64, count: u64) -> Batch {
        let end = start + count;
        let first = self.first_at(start);
        if let Some(block) = self.blocks.get(first)
            && block.start <= start
            && end <= block.end()
        {
            return block.items.slice((start - block.start) as usize, (end - block.start) as usize);
        }
        let parts: Vec<Batch> = self
            .blocks
            .range(first..)
            .take_while(|block| block.start < end)
            .map(|block| {
                let from = start.saturating_sub(block.start);
                block.items.slice(from as usize, (end - block.start).min(block.count) as usize)
            })
            .collect();
        Batch::join(&parts)
    }

    /// The first block that does not end before this task. Often the very first.
    fn first_at(&self, task: u64) -> usize {
        match self.blocks.front() {
            Some(front) if task < front.end() => 0,
            _ => self.blocks.partition_point(|block| block.end() <= task),
        }
    }

    /// The outcomes of these tasks are known. A block whose outcomes are all known gives its memory back, wherever it
    /// lies.
    pub(super) fn settled(&mut self, start: u64, count: u64) {
        let end = start + count;
        let first = self.first_at(start);
        for block in self.blocks.range_mut(first..).take_while(|block| block.start < end) {
            block.open -= end.min(block.end()) - start.max(block.start);
            if block.open == 0 {
                block.items = Batch::join(&[]);
            }
        }
        while self.blocks.front().is_some_and(|block| block.open == 0) {
            self.blocks.pop_front();
        }
    }
}
