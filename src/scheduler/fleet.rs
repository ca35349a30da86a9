//! The living workers, by their numbers.

use std::{collections::VecDeque, sync::Arc};

use super::{CallId, Dispatch, MOST_AHEAD, WorkerId};

#[derive(Debug)]
pub(super) struct Worker {
    /// Chunks that run at a time.
    pub(super) slots: usize,
    /// Tasks of one chunk that run at a time: more than one at a leader.
    width: u32,
    /// Children of a leader that have nothing to do, as far as it has told.
    pub(super) free: u32,
    pub(super) host: Arc<str>,
    outstanding: VecDeque<Dispatch>,
    /// Of these, those that are not known to be short.
    long: usize,
    /// Of these, those behind which no chunk may wait from the beginning.
    alone: usize,
    /// What they are expected to take, one after the other.
    ahead_nanos: u64,
    asked: bool,
    pub(super) in_idle: bool,
    pub(super) in_eager: bool,
}

impl Worker {
    pub(super) fn new(slots: u32, width: u32, host: String) -> Worker {
        Worker {
            slots: slots as usize,
            width: width.max(1),
            free: 0,
            host: host.into(),
            outstanding: VecDeque::new(),
            long: 0,
            alone: 0,
            ahead_nanos: 0,
            asked: false,
            in_idle: false,
            in_eager: false,
        }
    }

    /// The chunks that it has, in the order in which it was sent them.
    pub(super) fn outstanding(&self) -> &VecDeque<Dispatch> {
        &self.outstanding
    }

    pub(super) fn push(&mut self, dispatch: Dispatch) {
        self.long += usize::from(!dispatch.is_short());
        self.alone += usize::from(!dispatch.precedes);
        self.ahead_nanos += dispatch.expected_nanos;
        self.asked = false;
        self.free = self.free.saturating_sub(u32::try_from(dispatch.count).unwrap_or(u32::MAX));
        self.outstanding.push_back(dispatch);
    }

    /// Takes the chunk of this number, if it is here.
    pub(super) fn take(&mut self, epoch: u64) -> Option<Dispatch> {
        let dispatch = match self.outstanding.front()? {
            first if first.epoch == epoch => self.outstanding.pop_front()?,
            _ => {
                let at = self.outstanding.iter().position(|dispatch| dispatch.epoch == epoch)?;
                self.outstanding.remove(at)?
            }
        };
        self.long -= usize::from(!dispatch.is_short());
        self.alone -= usize::from(!dispatch.precedes);
        self.ahead_nanos -= dispatch.expected_nanos;
        Some(dispatch)
    }

    /// Marks the chunk of this number as one to be cut short; returns its call.
    pub(super) fn cut(&mut self, epoch: u64) -> Option<CallId> {
        let dispatch = self.outstanding.iter_mut().find(|dispatch| dispatch.epoch == epoch)?;
        dispatch.cut = true;
        Some(dispatch.call)
    }

    /// It asks for its next chunk: `free` of its children have nothing to do, apart from what was sent after the
    /// dispatch `heard`.
    pub(super) fn asks(&mut self, free: u32, heard: u64) {
        let coming = self.outstanding.iter().rev().take_while(|dispatch| dispatch.epoch > heard);
        let coming: u64 = coming.map(|dispatch| dispatch.count).sum();
        self.free = free.saturating_sub(u32::try_from(coming).unwrap_or(u32::MAX));
        self.asked = true;
    }

    /// Tasks that it runs at a time.
    pub(super) fn places(&self) -> u64 {
        self.slots as u64 * u64::from(self.width)
    }

    /// How many tasks of its next chunk are to run at a time.
    pub(super) fn wants(&self) -> u32 {
        if self.free > 0 && !self.outstanding.is_empty() { self.free } else { self.width }
    }

    /// How long a task of a chunk that it has is expected to take.
    pub(super) fn task_nanos(&self, dispatch: &Dispatch) -> u64 {
        dispatch.expected_nanos / dispatch.count.div_ceil(u64::from(self.width))
    }

    /// The chunks that may be running: if the worker is lost now, nobody knows which of them was. The results of short
    /// chunks in a row leave together, and each chunk of a leader may be with a child.
    pub(super) fn suspects(&self) -> usize {
        let short = self.outstanding.iter().take_while(|dispatch| dispatch.is_short()).count();
        if self.width > 1 { self.outstanding.len() } else { short.max(self.slots) }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.outstanding.len() < self.slots || self.free > 0
    }

    /// At work, and nothing waits behind what runs.
    pub(super) fn runs_dry(&self) -> bool {
        (1..=self.slots).contains(&self.outstanding.len())
    }

    /// Has a chunk that may take long.
    pub(super) fn is_at_long(&self) -> bool {
        self.long > 0
    }

    /// Busy, and wants its next chunk before the present one ends.
    pub(super) fn is_eager(&self) -> bool {
        let few = |most| self.outstanding.len() < most * self.slots;
        let next = self.asked || self.alone == 0;
        // A leader asks while it has something to do for each child, and one long task must not hold up the others.
        next && few(1 + self.width as usize) || self.long == 0 && few(MOST_AHEAD) && !self.is_far_ahead()
    }

    /// Has short chunks for long enough.
    fn is_far_ahead(&self) -> bool {
        let Some(front) = self.outstanding.front() else { return false };
        self.ahead_nanos >= front.short_nanos * self.slots as u64
    }

    /// What its chunks are expected to take, one after the other.
    pub(super) fn ahead_nanos(&self) -> u64 {
        self.ahead_nanos
    }

    /// The chunks that it has, when it is lost.
    pub(super) fn into_outstanding(self) -> VecDeque<Dispatch> {
        self.outstanding
    }
}

/// Their numbers are ranks: only lost workers leave many gaps.
#[derive(Debug, Default)]
pub(super) struct Fleet(Vec<Option<Box<Worker>>>);

impl Fleet {
    pub(super) fn insert(&mut self, id: WorkerId, worker: Worker) {
        let place = id.0 as usize;
        if self.0.len() <= place {
            self.0.resize_with(place + 1, || None);
        }
        self.0[place] = Some(Box::new(worker));
    }

    pub(super) fn remove(&mut self, id: WorkerId) -> Option<Box<Worker>> {
        self.0.get_mut(id.0 as usize)?.take()
    }

    pub(super) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.0.get(id.0 as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.0.get_mut(id.0 as usize)?.as_deref_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        let living = self.0.iter().enumerate();
        living.filter_map(|(place, worker)| Some((WorkerId(place as u32), worker.as_deref()?)))
    }
}
