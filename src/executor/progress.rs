//! What an executor has done so far, and how far a call is.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use super::Shared;
use crate::{
    fabric::WorkerInfo,
    progress::{Form, Shown, Standing},
    sync::lock,
    wire::Piece,
};

/// What has been done so far, for those who watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Tasks that ended well.
    pub done: u64,
    /// Tasks that failed for good.
    pub failed: u64,
    /// Workers that have a chunk now.
    pub busy: usize,
    /// Workers that were lost.
    pub lost: usize,
    /// Children of leaders that were lost.
    pub children_lost: usize,
    /// What each worker did, by rank.
    pub by_rank: BTreeMap<u32, Share>,
}

/// One worker's share of the work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Share {
    /// The worker's host.
    pub host: String,
    /// Tasks that it ran to an end.
    pub tasks: u64,
}

impl Share {
    /// That of a worker that has done nothing yet.
    pub(super) fn of(worker: &WorkerInfo) -> Share {
        Share { host: worker.host.clone(), tasks: 0 }
    }
}

impl Progress {
    /// That of an executor that has these workers, and has done nothing yet.
    pub(super) fn of(workers: &[WorkerInfo]) -> Progress {
        let by_rank = workers.iter().map(|worker| (worker.rank, Share::of(worker))).collect();
        Progress { by_rank, ..Progress::default() }
    }
}

/// Outcomes of a call that have been handed out.
#[derive(Debug, Default)]
pub(super) struct Passed {
    done: AtomicU64,
    failed: AtomicU64,
}

impl Passed {
    pub(super) fn count(&self, piece: &Piece) {
        let place = if piece.outcome.is_ok() { &self.done } else { &self.failed };
        place.fetch_add(piece.count, Ordering::Relaxed);
    }
}

/// Shows how far a call is that has so many tasks to run, if that is known.
pub(super) fn shown(shared: &Shared, name: &str, total: Option<u64>, passed: Arc<Passed>) -> Shown {
    let told = shared.progress.clone();
    Shown::start(name, Form::that_fits(), move || {
        let told = lock(&told);
        Standing {
            done: passed.done.load(Ordering::Relaxed),
            failed: passed.failed.load(Ordering::Relaxed),
            total: total.unwrap_or(0),
            busy: told.busy,
            workers: told.by_rank.len().saturating_sub(told.lost),
            lost: told.lost,
            children_lost: told.children_lost,
        }
    })
}

/// What was done since it was last published: a lock for each task would cost more than many a task.
#[derive(Debug, Default)]
pub(super) struct Tally {
    done: u64,
    failed: u64,
    by_rank: Vec<(u32, u64)>,
}

impl Tally {
    /// A worker ran this many tasks to an end.
    pub(super) fn ran(&mut self, rank: u32, tasks: u64) {
        match self.by_rank.last_mut() {
            Some((last, sum)) if *last == rank => *sum += tasks,
            _ => self.by_rank.push((rank, tasks)),
        }
    }

    /// So many tasks have their outcome.
    pub(super) fn ended(&mut self, tasks: u64, well: bool) {
        *(if well { &mut self.done } else { &mut self.failed }) += tasks;
    }

    pub(super) fn publish(&mut self, progress: &Mutex<Progress>) {
        if self.by_rank.is_empty() && self.done + self.failed == 0 {
            return;
        }
        let mut progress = lock(progress);
        progress.done += std::mem::take(&mut self.done);
        progress.failed += std::mem::take(&mut self.failed);
        for (rank, tasks) in self.by_rank.drain(..) {
            progress.by_rank.entry(rank).or_default().tasks += tasks;
        }
    }
}
