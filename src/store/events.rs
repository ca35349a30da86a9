//! What happened in a run beside its tasks: sessions, losses, joins and drains. A journal has it as lines of `--events`, a
//! result file as rows of `/events`.

use serde::{Deserialize, Serialize};

/// Rows of losses and joins that a table has. A run in which more happens has lost most of its work.
const MOST: usize = 10_000;

/// What happened. A session begins with `run_started`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum EventKind {
    RunStarted,
    WorkerJoined,
    WorkerLost,
    ChildJoined,
    ChildLost,
    DrainBegan,
}

impl EventKind {
    const NAMES: [(EventKind, &'static str); 6] = [
        (EventKind::RunStarted, "run_started"),
        (EventKind::WorkerJoined, "worker_joined"),
        (EventKind::WorkerLost, "worker_lost"),
        (EventKind::ChildJoined, "child_joined"),
        (EventKind::ChildLost, "child_lost"),
        (EventKind::DrainBegan, "drain_began"),
    ];

    /// As lines of `--events` name it.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[self as usize].1
    }

    /// What has this name; `None` for other events.
    pub(crate) fn of(name: &str) -> Option<EventKind> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    pub(crate) fn is_loss(self) -> bool {
        matches!(self, EventKind::WorkerLost | EventKind::ChildLost)
    }

    pub(crate) fn is_join(self) -> bool {
        matches!(self, EventKind::WorkerJoined | EventKind::ChildJoined)
    }
}

impl TryFrom<String> for EventKind {
    type Error = &'static str;

    fn try_from(name: String) -> Result<EventKind, &'static str> {
        EventKind::of(&name).ok_or("another event")
    }
}

/// A chunk that a worker had.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HeldChunk {
    pub(crate) start: u64,
    pub(crate) count: u64,
    /// When it was sent, in seconds since the run began.
    pub(crate) dispatched: f64,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct EventRow {
    /// Seconds since the run began.
    pub(crate) t: f64,
    #[serde(rename = "event")]
    pub(crate) kind: EventKind,
    /// The worker, or the leader of the child.
    pub(crate) rank: Option<u32>,
    /// The child's.
    pub(crate) slot: Option<u32>,
    /// The process that was lost or has joined, else 0.
    #[serde(default)]
    pub(crate) pid: u32,
    #[serde(default)]
    pub(crate) host: String,
    /// How a loss was noticed.
    #[serde(default)]
    pub(crate) reason: String,
    /// What a lost worker was at; nobody knows what a child was at.
    pub(crate) chunk: Option<HeldChunk>,
}

/// What happened, in order. All sessions and drains are here, and the first losses and joins.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct EventTable {
    pub(crate) rows: Vec<EventRow>,
    /// Losses and joins that have no row.
    pub(crate) left_out: u64,
}

impl EventTable {
    pub(crate) fn push(&mut self, row: EventRow) {
        let may_be_left_out = row.kind.is_loss() || row.kind.is_join();
        if may_be_left_out && self.rows.len() >= MOST {
            self.left_out += 1;
        } else {
            self.rows.push(row);
        }
    }

    /// How many rows are of this kind.
    pub(crate) fn count(&self, kind: EventKind) -> u64 {
        self.rows.iter().filter(|row| row.kind == kind).count() as u64
    }

    /// Takes lines of `--events`; other events, and what is no whole line, are passed over.
    pub(crate) fn take_lines(&mut self, lines: &[u8]) {
        let rows = lines.split(|byte| *byte == b'\n').map(serde_json::from_slice);
        rows.flatten().for_each(|row| self.push(row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_events_become_rows_and_other_lines_do_not() {
        let lines = br#"{"t":0.0,"event":"run_started","run":"a","time":"then","workers":[{"rank":1}]}
{"t":0.1,"event":"chunk_dispatched","rank":2,"start":0,"count":2,"attempt":1}
{"t":1.0,"event":"worker_lost","rank":2,"host":"n1","pid":7,"reason":"killed","chunk":{"start":2,"count":3,"dispatched":0.5}}
{"t":1.5,"event":"worker_joined","rank":3,"host":"n1","pid":8}
{"t":2.0,"event":"child_lost","rank":0,"slot":3,"host":"n2","pid":9,"reason":"gone"}
{"t":2.5,"event":"drain_began"}
{"t":3.0,"event":"run_en"#;
        let mut table = EventTable::default();
        table.take_lines(lines);
        let kinds: Vec<&str> = table.rows.iter().map(|row| row.kind.name()).collect();
        assert_eq!(kinds, ["run_started", "worker_lost", "worker_joined", "child_lost", "drain_began"]);
        let lost = EventRow {
            t: 1.0,
            kind: EventKind::WorkerLost,
            rank: Some(2),
            slot: None,
            pid: 7,
            host: "n1".into(),
            reason: "killed".into(),
            chunk: Some(HeldChunk { start: 2, count: 3, dispatched: 0.5 }),
        };
        assert_eq!(table.rows[1], lost);
        assert_eq!((table.rows[3].rank, table.rows[3].slot), (Some(0), Some(3)));
    }

    #[test]
    fn a_table_is_bounded_and_keeps_every_session_and_drain() {
        let lost = br#"{"t":1.0,"event":"worker_lost","rank":2,"host":"n","pid":7,"reason":"killed"}"#;
        let mut table = EventTable::default();
        (0..MOST + 3).for_each(|_| table.take_lines(lost));
        table.take_lines(br#"{"t":2.0,"event":"drain_began"}"#);
        table.take_lines(br#"{"t":9.0,"event":"run_started","run":"a"}"#);
        assert_eq!((table.rows.len(), table.left_out), (MOST + 2, 3));
        assert_eq!(table.rows[MOST + 1].kind, EventKind::RunStarted);
    }
}
