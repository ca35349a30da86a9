//! Rank 0, or a leader: the time that its messages take it.

pub(super) struct Post {
    /// What a message costs, in or out: half of a chunk.
    cost: f64,
    /// When it has done all that it was told so far.
    pub(super) free_at: f64,
    /// How long it was at work.
    pub(super) busy: f64,
    /// The tick that is foretold.
    pub(super) due: Option<f64>,
}

impl Post {
    pub(super) fn new(overhead: f64) -> Post {
        Post { cost: overhead / 2.0, free_at: 0.0, busy: 0.0, due: None }
    }

    /// Takes in a message that arrives at `now`, once those before it are done. Returns when it begins.
    pub(super) fn take_in(&mut self, now: f64) -> u64 {
        let begins = self.free_at.max(now);
        self.free_at = begins + self.cost;
        self.busy += self.cost;
        begins as u64
    }

    /// Sends a message. Returns when it leaves.
    pub(super) fn send(&mut self) -> f64 {
        self.free_at += self.cost;
        self.busy += self.cost;
        self.free_at
    }
}
