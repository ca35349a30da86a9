//! What happened to a run beside its chunks, as the page marks and tells it.

use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

use crate::store::events::{EventKind, EventRow, HeldChunk};

/// Marks that are drawn.
pub(super) const MARKS: usize = 1000;

/// What happened; a slot is that of a leader's child.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// A session began: the first one, or one that goes on from it.
    Began,
    /// Nothing more is begun, and what runs is cut short.
    Drained,
    Lost {
        rank: u32,
        slot: Option<u32>,
        /// What a worker had, where that is known.
        chunk: Option<HeldChunk>,
    },
    /// A worker or a child is there in the place of one that was lost.
    Joined,
}

impl What {
    /// It divides the chunks: they are of another session, or behind a drain.
    pub(super) fn is_turn(&self) -> bool {
        matches!(self, What::Began | What::Drained)
    }
}

/// Something that happened, in seconds since the run began.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mark {
    pub(super) at: f64,
    pub(super) what: What,
    pub(super) text: String,
}

/// The marks of these events, of a run that began at this time. What is told of a worker without its rank is no mark.
pub(super) fn of(events: &[EventRow], began: SystemTime) -> Vec<Mark> {
    let what = |row: &EventRow| {
        Some(match row.kind {
            EventKind::RunStarted => What::Began,
            EventKind::DrainBegan => What::Drained,
            EventKind::WorkerLost => What::Lost { rank: row.rank?, slot: None, chunk: row.chunk },
            EventKind::ChildLost => What::Lost { rank: row.rank?, slot: Some(row.slot?), chunk: None },
            EventKind::WorkerJoined | EventKind::ChildJoined => What::Joined,
        })
    };
    let mark = |row: &EventRow| Some(Mark { at: row.t, what: what(row)?, text: told(row, began) });
    events.iter().filter_map(mark).collect()
}

/// An event in words.
fn told(row: &EventRow, began: SystemTime) -> String {
    match row.kind {
        EventKind::RunStarted => {
            let after = Duration::try_from_secs_f64(row.t).unwrap_or_default();
            let mut text = "began".to_string();
            if let Some(at) = began.checked_add(after) {
                // No time of a real run is beyond the year 9999, where it has no form.
                let _ = write!(text, " at {}", humantime::format_rfc3339_millis(at));
            }
            text
        }
        EventKind::DrainBegan => "nothing more is begun".into(),
        EventKind::WorkerLost | EventKind::ChildLost => format!("{} was lost: {}", who(row), row.reason),
        EventKind::WorkerJoined | EventKind::ChildJoined => format!("{} has joined", who(row)),
    }
}

/// The worker or the child, in words.
fn who(row: &EventRow) -> String {
    let slot = row.slot.map_or(String::new(), |slot| format!("slot {slot} of "));
    let rank = row.rank.map_or(String::new(), |rank| format!("rank {rank} "));
    format!("{slot}{rank}on {}", row.host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::events::EventTable;

    #[test]
    fn events_are_marked_and_told_in_words() {
        let mut events = EventTable::default();
        events.take_lines(
            br#"{"t":0.0,"event":"run_started"}
{"t":1.0,"event":"worker_lost","rank":2,"host":"n1","reason":"killed","chunk":{"start":2,"count":3,"dispatched":0.2}}
{"t":1.5,"event":"worker_joined","rank":3,"host":"n1","pid":8}
{"t":2.0,"event":"child_lost","rank":0,"slot":3,"host":"n2","reason":"gone"}
{"t":2.5,"event":"drain_began"}
{"t":9.0,"event":"run_started"}"#,
        );
        let marks = of(&events.rows, SystemTime::UNIX_EPOCH);
        let had = HeldChunk { start: 2, count: 3, dispatched: 0.2 };
        let whats = [
            What::Began,
            What::Lost { rank: 2, slot: None, chunk: Some(had) },
            What::Joined,
            What::Lost { rank: 0, slot: Some(3), chunk: None },
            What::Drained,
            What::Began,
        ];
        assert_eq!(marks.iter().map(|mark| mark.what.clone()).collect::<Vec<_>>(), whats);
        let texts = [
            "began at 1970-01-01T00:00:00.000Z",
            "rank 2 on n1 was lost: killed",
            "rank 3 on n1 has joined",
            "slot 3 of rank 0 on n2 was lost: gone",
            "nothing more is begun",
            "began at 1970-01-01T00:00:09.000Z",
        ];
        assert_eq!(marks.iter().map(|mark| mark.text.as_str()).collect::<Vec<_>>(), texts);
    }
}
