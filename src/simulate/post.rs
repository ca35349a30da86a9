//! Rank 0, or a leader: a scheduler, and the time that its messages take it.

use crate::scheduler::{Action, Event, Scheduler, WorkerId};

pub(super) struct Post {
    scheduler: Scheduler,
    /// What a message costs, in or out: half of a chunk.
    cost: f64,
    /// When it has done all that it was told so far.
    pub(super) free_at: f64,
    /// How long it was at work.
    pub(super) busy: f64,
    /// The tick that is foretold.
    pub(super) due: Option<f64>,
    /// Kept from one message to the next, empty between them.
    pub(super) actions: Vec<Action>,
}

impl Post {
    pub(super) fn new(overhead: f64) -> Post {
        let mut scheduler = Scheduler::new();
        scheduler.set_cost(overhead);
        Post { scheduler, cost: overhead / 2.0, free_at: 0.0, busy: 0.0, due: None, actions: Vec::new() }
    }

    /// A worker is there; it is a leader if it runs more than one task at a time.
    pub(super) fn join(&mut self, worker: WorkerId, width: u32) {
        let mut actions = std::mem::take(&mut self.actions);
        self.hear(Event::Joined { worker, slots: 1, width, host: String::new() }, &mut actions);
        self.actions = actions;
    }

    /// Takes in a message that arrives now, when those before it are done.
    pub(super) fn take_in(&mut self, now: f64, event: Event) -> Vec<Action> {
        let begins = self.free_at.max(now);
        self.free_at = begins + self.cost;
        self.busy += self.cost;
        self.scheduler.set_now(begins as u64);
        let mut actions = std::mem::take(&mut self.actions);
        self.scheduler.handle(event, &mut actions);
        actions
    }

    /// Takes in what costs nothing.
    pub(super) fn hear(&mut self, event: Event, actions: &mut Vec<Action>) {
        self.scheduler.handle(event, actions);
    }

    /// Sends a message; when it leaves.
    pub(super) fn send(&mut self) -> f64 {
        self.free_at += self.cost;
        self.busy += self.cost;
        self.free_at
    }

    /// Tasks that no worker has been given yet.
    pub(super) fn waiting(&self) -> u64 {
        self.scheduler.waiting()
    }

    /// When a tick is due.
    pub(super) fn next_due(&self) -> Option<f64> {
        self.scheduler.next_due().map(|due| due as f64)
    }
}
