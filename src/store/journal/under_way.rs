//! What workers are at: chunks that were sent and have not come back. Those that take long get a line in the journal, for
//! those who watch; of the others the trace tells soon enough.

use std::{
    collections::HashMap,
    io::Write,
    time::{Duration, Instant},
};

/// A chunk that takes longer than this gets a line. So a run has no more such lines than its workers have seconds of
/// work.
const LONG: Duration = Duration::from_secs(1);

/// A chunk that was sent to a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dispatch {
    pub(crate) rank: u32,
    pub(crate) start: u64,
    pub(crate) count: u64,
    pub(crate) attempt: u16,
    /// Seconds since the run began.
    pub(crate) t: f64,
    pub(crate) sent: Instant,
}

/// Of each worker, the chunks that have no line yet, the first that was sent first.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    untold: HashMap<u32, Vec<Dispatch>>,
    /// When they are looked at again.
    due: Option<Instant>,
}

impl UnderWay {
    pub(super) fn sent(&mut self, dispatch: Dispatch) {
        self.due.get_or_insert(dispatch.sent + LONG);
        self.untold.entry(dispatch.rank).or_default().push(dispatch);
    }

    /// What a worker had of tasks from `start` on has come back, in whole or in part.
    pub(super) fn returned(&mut self, rank: u32, start: u64) {
        if let Some(chunks) = self.untold.get_mut(&rank) {
            chunks.retain(|chunk| !(chunk.start..chunk.start + chunk.count).contains(&start));
        }
    }

    /// When a chunk may have become old.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Appends the lines of chunks that take long.
    pub(super) fn tell_old(&mut self, now: Instant, lines: &mut Vec<u8>) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        self.untold.retain(|_, chunks| {
            chunks.retain(|chunk| {
                let old = now.saturating_duration_since(chunk.sent) >= LONG;
                if old {
                    tell(chunk, lines);
                }
                !old
            });
            !chunks.is_empty()
        });
        self.due = (!self.untold.is_empty()).then_some(now + LONG);
    }
}

/// The line of a chunk, as `--events` has it.
fn tell(chunk: &Dispatch, lines: &mut Vec<u8>) {
    let Dispatch { rank, start, count, attempt, t, .. } = chunk;
    let event = "chunk_dispatched";
    // Memory takes everything.
    let _ = writeln!(
        lines,
        r#"{{"t":{t:.6},"event":"{event}","rank":{rank},"start":{start},"count":{count},"attempt":{attempt}}}"#
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_chunks_that_take_long_get_a_line() {
        let began = Instant::now();
        let at = |milliseconds| began + Duration::from_millis(milliseconds);
        let dispatch =
            |rank, start, sent| Dispatch { rank, start, count: 4, attempt: 1, t: 0.5, sent: at(sent) };
        let mut under_way = UnderWay::default();
        assert_eq!(under_way.due(), None);
        under_way.sent(dispatch(1, 0, 0));
        under_way.sent(dispatch(2, 4, 100));
        under_way.sent(dispatch(1, 8, 200));
        under_way.returned(2, 6);
        let mut lines = Vec::new();
        under_way.tell_old(at(999), &mut lines);
        assert!(lines.is_empty());
        under_way.tell_old(at(1000), &mut lines);
        let told = String::from_utf8(std::mem::take(&mut lines)).unwrap();
        let expected =
            r#"{"t":0.500000,"event":"chunk_dispatched","rank":1,"start":0,"count":4,"attempt":1}"#;
        assert_eq!(told, format!("{expected}\n"));
        under_way.tell_old(at(2000), &mut lines);
        assert!(String::from_utf8_lossy(&lines).contains(r#""start":8"#));
        assert_eq!(under_way.due(), None, "nothing is under way");
    }
}
