//! The living workers, by their numbers.

use std::{collections::VecDeque, sync::Arc};

use super::{CallId, Dispatch, MOST_AHEAD, WorkerId};

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) slots: usize,
    /// Tasks of one chunk that run at a time: more than one at a leader.
    pub(super) width: u32,
    pub(super) host: Arc<str>,
    outstanding: VecDeque<Dispatch>,
    /// Of these, those that are not known to be short.
    long: usize,
    /// Of these, those that nothing may wait behind from their beginning.
    alone: usize,
    /// What they are expected to take, one after the other.
    ahead_nanos: u64,
    pub(super) asked: bool,
    pub(super) in_idle: bool,
    pub(super) in_eager: bool,
}

impl Worker {
    pub(super) fn new(slots: u32, host: String) -> Worker {
        Worker {
            slots: slots as usize,
            width: 1,
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

    pub(super) fn is_idle(&self) -> bool {
        self.outstanding.len() < self.slots
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
        next && few(2) || self.long == 0 && few(MOST_AHEAD) && !self.is_far_ahead()
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

/// Their numbers are ranks: there are few gaps, but those of the lost.
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
