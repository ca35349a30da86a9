//! Which chunk lies in which row of the timeline: a row is a slot.

use std::collections::{BTreeMap, HashMap};

use super::{
    marks::{Mark, What},
    subject::Subject,
};
use crate::store::TraceRow;

/// How a chunk ended; a worse end is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// All of its tasks gave a result.
    Done,
    /// It came back behind the beginning of a drain, which may have cut it short.
    Drained,
    /// A task of it failed, or an attempt at one.
    Failed,
    /// Its worker was lost.
    Lost,
}

impl State {
    pub(super) const ALL: [State; 4] = [State::Done, State::Drained, State::Failed, State::Lost];

    pub(super) fn name(self) -> &'static str {
        match self {
            State::Done => "done",
            State::Drained => "drained",
            State::Failed => "failed",
            State::Lost => "lost",
        }
    }
}

/// A chunk in its row; times in seconds since the run began.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) dispatched: f64,
    pub(super) started: f64,
    pub(super) ended: f64,
    pub(super) first: u64,
    /// Tasks that were attempted; 0 where they are not known, of a chunk that was lost.
    pub(super) count: u64,
    pub(super) state: State,
}

impl Bar {
    pub(super) fn seconds(&self) -> f64 {
        self.ended - self.started
    }
}

/// A row of the timeline: what a slot did, in order; no two chunks overlap.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) bars: Vec<Bar>,
}

impl Lane {
    fn free_from(&self) -> f64 {
        self.bars.last().map_or(0.0, |bar| bar.ended)
    }

    /// Puts a chunk behind the others. Its worker measured how long it took, and rank 0 when its results came: what seems
    /// to overlap was only on its way for longer.
    fn push(&mut self, bar: Bar) {
        let started = bar.started.max(self.free_from());
        self.bars.push(Bar { started, ended: bar.ended.max(started), ..bar });
    }
}

/// The rows, by rank and slot. A worker that replaces a lost one goes on in a row that has become free.
pub(super) fn of(subject: &Subject) -> Vec<Lane> {
    let failed = failed_tasks(subject);
    let turns: Vec<&Mark> = subject.marks.iter().filter(|mark| mark.what.is_turn()).collect();
    let mut slots: BTreeMap<(u32, u32), Vec<Bar>> = BTreeMap::new();
    let mut hosts: HashMap<u32, &str> = HashMap::new();
    for (row, host) in &subject.chunks {
        slots.entry((row.rank, row.slot)).or_default().push(bar(row, &failed, &turns));
        hosts.entry(row.rank).or_insert(host);
    }
    let led = slots.keys().any(|(_, slot)| *slot > 0);
    for bars in slots.values_mut() {
        bars.sort_by(|a, b| a.started.total_cmp(&b.started));
    }
    add_losses(subject, &mut slots);
    let mut lanes: Vec<Lane> = Vec::new();
    for ((rank, slot), bars) in slots {
        let Some(first) = bars.first() else { continue };
        let replaces = subject.last_first_rank.is_some_and(|last| rank > last);
        let free = lanes
            .iter_mut()
            .filter(|lane| replaces && lane.free_from() <= first.dispatched)
            .max_by(|a, b| a.free_from().total_cmp(&b.free_from()));
        if let Some(lane) = free {
            lane.name += &format!(", then rank {rank}");
            bars.into_iter().for_each(|bar| lane.push(bar));
            continue;
        }
        let host = hosts.get(&rank).map_or(String::new(), |host| format!(" on {host}"));
        let name = |place: usize| match (subject.width, led) {
            (1, false) => format!("rank {rank}{host}"),
            (1, true) => format!("rank {rank} slot {slot}{host}"),
            _ => format!("rank {rank} thread {place}{host}"),
        };
        let from = lanes.len();
        for bar in bars {
            let made = lanes.len() - from;
            let free = lanes[from..].iter().position(|lane| lane.free_from() <= bar.started);
            let at = free.unwrap_or_else(|| {
                if made < subject.width as usize {
                    lanes.push(Lane { name: name(made), bars: Vec::new() });
                    return made;
                }
                earliest(&lanes[from..])
            });
            lanes[from + at].push(bar);
        }
    }
    lanes
}

/// The row that is free before the others.
fn earliest(lanes: &[Lane]) -> usize {
    let order = (0..lanes.len()).min_by(|a, b| lanes[*a].free_from().total_cmp(&lanes[*b].free_from()));
    order.unwrap_or(0)
}

/// What a lost worker had. A chunk that was sent ahead began when the one before it had ended; what a leader's child had
/// is not known, and neither is when it began, if it was the first.
fn add_losses(subject: &Subject, slots: &mut BTreeMap<(u32, u32), Vec<Bar>>) {
    for mark in &subject.marks {
        let What::Lost { rank, slot, chunk } = mark.what else { continue };
        let bars = slots.entry((rank, slot.unwrap_or(0))).or_default();
        let at = bars.partition_point(|bar| bar.started < mark.at);
        let before = at.checked_sub(1).map(|before| bars[before].ended);
        let sent = chunk.map(|chunk| chunk.dispatched);
        let Some(started) = [before, sent].into_iter().flatten().reduce(f64::max) else { continue };
        if started < mark.at {
            let (first, count) = chunk.map_or((0, 0), |chunk| (chunk.start, chunk.count));
            let dispatched = sent.unwrap_or(started);
            bars.insert(at, Bar { dispatched, started, ended: mark.at, first, count, state: State::Lost });
        }
    }
}

/// The tasks of which an attempt failed, by rank, in order.
fn failed_tasks(subject: &Subject) -> HashMap<u32, Vec<u64>> {
    let mut failed: HashMap<u32, Vec<u64>> = HashMap::new();
    for attempt in &subject.attempts {
        if let Ok(rank) = u32::try_from(attempt.rank) {
            failed.entry(rank).or_default().push(attempt.task);
        }
    }
    failed.values_mut().for_each(|tasks| tasks.sort_unstable());
    failed
}

/// The bar of a chunk; `turns` are the beginnings of sessions and drains.
fn bar(row: &TraceRow, failed: &HashMap<u32, Vec<u64>>, turns: &[&Mark]) -> Bar {
    let before = turns.partition_point(|mark| mark.at <= row.ended);
    let last = before.checked_sub(1).map(|last| &turns[last].what);
    let state = match failed.get(&row.rank) {
        Some(tasks) if holds_one(tasks, row) => State::Failed,
        _ if last == Some(&What::Drained) => State::Drained,
        _ => State::Done,
    };
    Bar {
        dispatched: row.dispatched,
        started: row.started,
        ended: row.ended,
        first: row.start,
        count: row.count,
        state,
    }
}

fn holds_one(tasks: &[u64], row: &TraceRow) -> bool {
    let next = tasks.partition_point(|task| *task < row.start);
    tasks.get(next).is_some_and(|task| *task - row.start < row.count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{events::HeldChunk, file::ErrorEntry};

    /// Chunks of two tasks: rank, slot, first task, beginning and end.
    fn subject(chunks: &[(u32, u32, u64, f64, f64)]) -> Subject {
        let chunk = |&(rank, slot, start, started, ended): &(u32, u32, u64, f64, f64)| {
            let row = TraceRow {
                start,
                count: 2,
                rank,
                slot,
                pid: 0,
                host: 0,
                dispatched: started,
                started,
                ended,
                slowest: start,
                slowest_s: 0.0,
            };
            (row, "n".to_string())
        };
        Subject { chunks: chunks.iter().map(chunk).collect(), width: 1, ..Subject::default() }
    }

    fn lost(at: f64, rank: u32, chunk: Option<HeldChunk>) -> Mark {
        Mark { at, what: What::Lost { rank, slot: None, chunk }, text: String::new() }
    }

    fn names(lanes: &[Lane]) -> Vec<&str> {
        lanes.iter().map(|lane| lane.name.as_str()).collect()
    }

    #[test]
    fn a_row_is_a_rank_or_a_slot_of_a_leader_and_its_chunks_do_not_overlap() {
        let lanes = of(&subject(&[(2, 0, 4, 0.0, 1.0), (1, 0, 0, 0.0, 1.0), (1, 0, 2, 0.9, 2.0)]));
        assert_eq!(names(&lanes), ["rank 1 on n", "rank 2 on n"]);
        assert_eq!(lanes[0].bars.iter().map(|bar| bar.started).collect::<Vec<_>>(), [0.0, 1.0]);
        let lanes = of(&subject(&[(1, 1, 0, 0.0, 1.0), (1, 0, 2, 0.0, 1.0)]));
        assert_eq!(names(&lanes), ["rank 1 slot 0 on n", "rank 1 slot 1 on n"]);
    }

    #[test]
    fn threads_of_a_worker_have_a_row_each() {
        let chunks = [(1, 0, 0, 0.0, 4.0), (1, 0, 2, 0.0, 1.0), (1, 0, 4, 1.0, 3.0), (1, 0, 6, 2.0, 5.0)];
        let lanes = of(&Subject { width: 2, ..subject(&chunks) });
        assert_eq!(names(&lanes), ["rank 1 thread 0 on n", "rank 1 thread 1 on n"]);
        let firsts = |lane: &Lane| lane.bars.iter().map(|bar| bar.first).collect::<Vec<_>>();
        // The last one seems to overlap with both, and is behind the one that ended first.
        assert_eq!([firsts(&lanes[0]), firsts(&lanes[1])], [vec![0], vec![2, 4, 6]]);
    }

    #[test]
    fn a_worker_that_replaces_a_lost_one_goes_on_in_its_row() {
        let chunks = [(1, 0, 0, 0.0, 9.0), (2, 0, 2, 0.0, 1.0), (3, 0, 4, 3.0, 4.0)];
        let sent = HeldChunk { start: 4, count: 2, dispatched: 0.5 };
        let subject = Subject {
            last_first_rank: Some(2),
            marks: vec![lost(2.0, 2, Some(sent)), lost(5.0, 3, None)],
            ..subject(&chunks)
        };
        let lanes = of(&subject);
        assert_eq!(names(&lanes), ["rank 1 on n", "rank 2 on n, then rank 3"]);
        let bars = lanes[1].bars.iter().map(|bar| (bar.started, bar.ended, bar.first, bar.state));
        let expected = [
            (0.0, 1.0, 2, State::Done),
            (1.0, 2.0, 4, State::Lost),
            (3.0, 4.0, 4, State::Done),
            (4.0, 5.0, 0, State::Lost),
        ];
        assert_eq!(bars.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn chunks_are_failed_on_the_rank_where_a_task_failed_and_drained_behind_a_drain() {
        let entry = ErrorEntry {
            task: 3,
            attempt: 1,
            kind: "failed".into(),
            rank: 1,
            host: "n".into(),
            message: String::new(),
        };
        let turn = |at, what| Mark { at, what, text: String::new() };
        let chunks = [(1, 0, 2, 0.0, 1.0), (2, 0, 2, 0.0, 1.0), (1, 0, 4, 1.0, 3.0), (1, 0, 6, 5.0, 6.0)];
        let subject = Subject {
            attempts: vec![entry],
            marks: vec![turn(0.0, What::Began), turn(2.0, What::Drained), turn(4.0, What::Began)],
            ..subject(&chunks)
        };
        let states: Vec<Vec<State>> =
            of(&subject).iter().map(|lane| lane.bars.iter().map(|bar| bar.state).collect()).collect();
        assert_eq!(states, [vec![State::Failed, State::Drained, State::Done], vec![State::Done]]);
    }
}
