//! The sessions of a run put behind one another: the time between them, in which there was no process, is left out.

use super::{marks::What, subject::Subject};

/// Takes the time between sessions out of all times; where no marks tell of sessions nothing changes.
pub(super) fn join(subject: &mut Subject) {
    let gaps = gaps(subject);
    let shift = |at: f64| at - gaps.iter().map(|(from, to)| (at.min(*to) - from).max(0.0)).sum::<f64>();
    for (row, _) in &mut subject.chunks {
        for time in [&mut row.dispatched, &mut row.started, &mut row.ended] {
            *time = shift(*time);
        }
    }
    for mark in &mut subject.marks {
        mark.at = shift(mark.at);
        if let What::Lost { chunk: Some(chunk), .. } = &mut mark.what {
            chunk.dispatched = shift(chunk.dispatched);
        }
    }
    subject.wall = shift(subject.wall);
}

/// From the last that is known of a session to the beginning of the next.
fn gaps(subject: &Subject) -> Vec<(f64, f64)> {
    let begins = subject.marks.iter().filter(|mark| mark.what == What::Began).skip(1);
    let end_before = |begin: f64| {
        let marks = subject.marks.iter().map(|mark| mark.at);
        let chunks = subject.chunks.iter().map(|(row, _)| row.ended);
        marks.chain(chunks).filter(|at| *at < begin).fold(0.0, f64::max)
    };
    begins.map(|begin| (end_before(begin.at), begin.at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::report::marks::Mark,
        store::{TraceRow, events::HeldChunk},
    };

    #[test]
    fn the_time_between_sessions_is_left_out() {
        let mark = |at, what| Mark { at, what, text: String::new() };
        let row = |dispatched, started, ended| {
            let row = TraceRow {
                start: 0,
                count: 1,
                rank: 1,
                slot: 0,
                pid: 0,
                host: 0,
                dispatched,
                started,
                ended,
                slowest: 0,
                slowest_s: 0.0,
            };
            (row, String::new())
        };
        let lost = |at, dispatched| {
            let chunk = Some(HeldChunk { start: 0, count: 1, dispatched });
            mark(at, What::Lost { rank: 1, slot: None, chunk })
        };
        let mut subject = Subject {
            wall: 1010.0,
            chunks: vec![row(0.0, 1.0, 9.0), row(1001.0, 1002.0, 1005.0)],
            marks: vec![
                mark(0.0, What::Began),
                mark(10.0, What::Drained),
                mark(1000.0, What::Began),
                lost(1006.0, 1005.0),
            ],
            ..Subject::default()
        };
        join(&mut subject);
        assert_eq!(subject.wall, 20.0);
        assert_eq!(subject.chunks, [row(0.0, 1.0, 9.0), row(11.0, 12.0, 15.0)]);
        assert_eq!(subject.marks.iter().map(|mark| mark.at).collect::<Vec<_>>(), [0.0, 10.0, 10.0, 16.0]);
        assert_eq!(subject.marks[3], lost(16.0, 15.0));
    }
}
