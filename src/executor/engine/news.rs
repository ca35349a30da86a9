//! What the fabric tells of workers, and of the chunks that they had.

use std::time::Duration;

use super::Engine;
use crate::{
    error::Failure,
    executor::{
        progress::Share,
        watch::{Happening, Held, Span},
    },
    fabric::{News, WorkerInfo},
    scheduler::{Dispatch, Event, WorkerId},
    sync::lock,
    wire::{Pieces, ResultMessage, SlotRun, TeamNews},
};

impl Engine {
    pub(super) fn on_news(&mut self, news: News) {
        match news {
            News::Joined(info) => self.joined(info),
            News::Requested { rank, free, heard } => {
                self.tell(Event::Requested { worker: WorkerId(rank), free, heard });
            }
            News::Returned { rank, result } => self.returned(WorkerId(rank), result, true),
            News::Partial { rank, result } => self.returned(WorkerId(rank), result, false),
            News::Lost { rank, reason } => {
                if let Some(info) = self.workers.remove(&rank) {
                    tracing::warn!("worker {rank} on {} (pid {}) was lost: {reason}", info.host, info.pid);
                    self.lost(&info, &reason);
                    self.tell(Event::Lost { worker: WorkerId(rank) });
                }
            }
            News::Team { rank, news } => self.on_team(rank, news),
            News::Overdue { rank, dispatch, task, limit } => {
                if let Some(info) = self.workers.remove(&rank) {
                    let call = self.scheduler.call_of(WorkerId(rank), dispatch);
                    let index = call.map_or(task, |call| self.index(call, task));
                    let reason = format!("given up: task {index} runs longer than {limit:?}");
                    tracing::warn!("worker {rank} is {reason}");
                    self.lost(&info, &reason);
                    self.fabric.give_up(rank);
                    let failure = Failure::timed_out(limit);
                    self.tell(Event::TimedOut { worker: WorkerId(rank), dispatch, task, failure });
                }
            }
        }
    }

    pub(super) fn lost(&mut self, worker: &WorkerInfo, reason: &str) {
        for known_to in self.shared.values_mut() {
            known_to.remove(&worker.rank);
        }
        lock(&self.progress).lost += 1;
        let first = self.scheduler.first_of(WorkerId(worker.rank));
        if let Some(watching) = &mut self.watching {
            let held = |dispatch: &Dispatch| {
                let dispatched = *self.sent.get(&dispatch.epoch)? - watching.since;
                Some(Held { start: dispatch.start, count: dispatch.count, dispatched })
            };
            let chunk = first.and_then(held);
            watching.tell(Happening::Lost { worker, reason, chunk });
        }
    }

    pub(super) fn joined(&mut self, info: WorkerInfo) {
        if let Some(watching) = &mut self.watching {
            watching.tell(Happening::Joined(&info));
        }
        lock(&self.progress).by_rank.insert(info.rank, Share::of(&info));
        let worker = WorkerId(info.rank);
        let (slots, width) =
            if info.children.is_empty() { (info.threads, 1) } else { (1, info.children.len() as u32) };
        let event = Event::Joined { worker, slots, width, host: info.host.clone() };
        self.workers.insert(info.rank, info);
        self.tell(event);
    }

    /// A chunk is back, as a `whole` or a part of it.
    fn returned(&mut self, worker: WorkerId, result: ResultMessage, whole: bool) {
        self.returned += 1;
        self.watch_returned(worker, &result, whole);
        let ResultMessage { dispatch, count, busy_nanos, overhead_nanos, .. } = result;
        let pieces = result.pieces.unwrap_or_else(|| {
            tracing::error!("worker {} sent a result that contradicts itself; it is run again", worker.0);
            Pieces::new()
        });
        if !pieces.is_empty() {
            self.tally.ran(worker.0, count);
        }
        self.tell(if whole {
            Event::Returned { worker, dispatch, pieces, busy_nanos, overhead_nanos }
        } else {
            Event::Partial { worker, dispatch, pieces, busy_nanos, overhead_nanos }
        });
    }

    fn watch_returned(&mut self, worker: WorkerId, result: &ResultMessage, whole: bool) {
        let dispatch = &result.dispatch;
        let sent = if whole { self.sent.remove(dispatch) } else { self.sent.get(dispatch).copied() };
        if let Some(watching) = &mut self.watching
            && let Some(sent) = sent
            && let Some(info) = self.workers.get(&worker.0)
        {
            spans_of(result, info, sent - watching.since, watching.since.elapsed())
                .for_each(|span| watching.tell(Happening::Returned(span)));
        }
    }

    /// Something has happened to the children of a leader.
    fn on_team(&mut self, rank: u32, news: TeamNews) {
        let Some(leader) = self.workers.get_mut(&rank) else { return };
        match news {
            TeamNews::Joined(child) => {
                if let Some(watching) = &mut self.watching {
                    watching.tell(Happening::ChildJoined { leader, child: &child });
                }
                leader.children.retain(|known| known.slot != child.slot);
                leader.children.push(child);
            }
            TeamNews::Lost { slot, pid, reason } => {
                let host = &leader.host;
                tracing::warn!("child {slot} of worker {rank} on {host} (pid {pid}) was lost: {reason}");
                lock(&self.progress).children_lost += 1;
                if let Some(watching) = &mut self.watching {
                    watching.tell(Happening::ChildLost { leader, slot, pid, reason: &reason });
                }
            }
            // It is lost as a worker.
            TeamNews::Disbanded { reason } => self.on_news(News::Lost { rank, reason }),
        }
    }

    pub(super) fn check_deserted(&mut self) {
        let none_comes = || self.broken.is_some() || self.fabric.expected() == 0;
        if self.workers.is_empty() && !self.scheduler.is_done() && none_comes() {
            self.tell(Event::Deserted);
        }
    }
}

/// When and where the tasks of a result were run: of a leader's, by each of its children.
fn spans_of<'r>(
    result: &'r ResultMessage,
    worker: &'r WorkerInfo,
    dispatched: Duration,
    ended: Duration,
) -> impl Iterator<Item = Span> + 'r {
    let own = SlotRun {
        slot: 0,
        pid: worker.pid,
        start: result.start,
        count: result.count,
        sent_ago: (ended - dispatched).as_nanos() as u64,
        ended_ago: 0,
        busy_nanos: result.busy_nanos,
        slowest: result.slowest,
        slowest_nanos: result.slowest_nanos,
    };
    let own = worker.children.is_empty().then_some(own);
    let ago = move |nanos| ended.saturating_sub(Duration::from_nanos(nanos));
    own.into_iter().chain(result.runs.iter().copied()).map(move |run| {
        let (dispatched, ended) = (ago(run.sent_ago), ago(run.ended_ago));
        Span {
            start: run.start,
            count: run.count,
            rank: worker.rank,
            slot: run.slot,
            pid: run.pid,
            dispatched,
            started: ended.saturating_sub(Duration::from_nanos(run.busy_nanos)).max(dispatched),
            ended,
            slowest: run.slowest,
            slowest_time: Duration::from_nanos(run.slowest_nanos),
        }
    })
}
