//! A worker that only takes time.

use std::collections::VecDeque;

use crate::scheduler::WorkerId;

/// A worker asks for its next chunk when it expects to end within this time, and at the latest when one task is left.
const ASK_NANOS: f64 = 50_000.0;
/// It listens to its post no more often than this.
const LISTEN_NANOS: f64 = 1_000_000.0;

/// One chunk, as its worker is going to run it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assigned {
    pub(super) epoch: u64,
    pub(super) start: u64,
    pub(super) count: u64,
    arrives: f64,
    begins: f64,
    ends: f64,
    /// How often its end has changed.
    cuts: u32,
}

impl Assigned {
    pub(super) fn busy(&self) -> f64 {
        self.ends - self.begins
    }
}

pub(super) struct Planned {
    /// When the worker asks for the next chunk, if it does.
    pub(super) asks: Option<f64>,
    pub(super) ends: f64,
}

/// A chunk that ends earlier than it was planned to.
pub(super) struct Changed {
    pub(super) epoch: u64,
    pub(super) cuts: u32,
    pub(super) ends: f64,
}

pub(super) struct Hand {
    pub(super) post: usize,
    /// What its post calls it.
    pub(super) worker: WorkerId,
    /// How many times longer than others it takes.
    pub(super) slowness: f64,
    /// What it runs and what waits behind it.
    runs: VecDeque<Assigned>,
    free_at: f64,
    /// How long it ran tasks.
    pub(super) busy: f64,
    /// When it was lost.
    pub(super) gone: Option<f64>,
}

impl Hand {
    pub(super) fn new(post: usize, worker: WorkerId, slowness: f64) -> Hand {
        Hand { post, worker, slowness, runs: VecDeque::new(), free_at: 0.0, busy: 0.0, gone: None }
    }

    /// Takes a chunk that arrives at that moment behind those that it has; `None` when it is lost.
    pub(super) fn plan(
        &mut self,
        epoch: u64,
        start: u64,
        count: u64,
        arrives: f64,
        overhead: f64,
        mut time: impl FnMut(u64) -> f64,
    ) -> Option<Planned> {
        if self.gone.is_some() {
            return None;
        }
        let begins = self.free_at.max(arrives) + overhead;
        let mut last = 0.0;
        let mut ends = begins;
        for task in start..start + count {
            last = time(task) * self.slowness;
            ends += last;
        }
        let mean = (ends - begins) / count as f64;
        let early = ASK_NANOS.min(0.15 * (ends - begins));
        let asks = (count > 1).then_some(ends - if early > mean { early } else { last });
        self.runs.push_back(Assigned { epoch, start, count, arrives, begins, ends, cuts: 0 });
        self.free_at = ends;
        Some(Planned { asks, ends })
    }

    /// The chunk that this answer is for; `None` when it was cut or lost since the answer was foretold.
    pub(super) fn answered(&mut self, epoch: u64, cuts: u32) -> Option<Assigned> {
        let run = *self.runs.front().filter(|run| (run.epoch, run.cuts) == (epoch, cuts))?;
        self.runs.pop_front();
        self.busy += run.busy();
        Some(run)
    }

    /// Cuts a chunk short behind the task that runs when the worker next listens. What waits behind it begins earlier.
    pub(super) fn cut(
        &mut self,
        epoch: u64,
        arrives: f64,
        overhead: f64,
        mut time: impl FnMut(u64) -> f64,
    ) -> Vec<Changed> {
        let Some(at) = self.runs.iter().position(|run| run.epoch == epoch) else {
            return Vec::new();
        };
        let slowness = self.slowness;
        let run = &mut self.runs[at];
        let listens = run.begins + ((arrives - run.begins) / LISTEN_NANOS).ceil().max(0.0) * LISTEN_NANOS;
        let mut ends = run.begins;
        let mut ran = 0;
        while ran < run.count && ends < listens {
            ends += time(run.start + ran) * slowness;
            ran += 1;
        }
        if ran == run.count {
            return Vec::new();
        }
        (run.count, run.ends, run.cuts) = (ran, ends, run.cuts + 1);
        let mut changed = vec![Changed { epoch, cuts: run.cuts, ends }];
        for run in self.runs.range_mut(at + 1..) {
            let begins = ends.max(run.arrives) + overhead;
            (run.begins, run.ends, run.cuts) = (begins, begins + run.busy(), run.cuts + 1);
            ends = run.ends;
            changed.push(Changed { epoch: run.epoch, cuts: run.cuts, ends });
        }
        self.free_at = ends;
        changed
    }

    /// Is lost, with all that it has.
    pub(super) fn die(&mut self, now: f64) {
        self.gone = Some(now);
        self.busy += self.runs.iter().map(|run| (now.min(run.ends) - run.begins).max(0.0)).sum::<f64>();
        self.runs.clear();
    }
}
