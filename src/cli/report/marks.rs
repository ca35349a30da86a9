//! What happened to a run beside its chunks: sessions, losses and drains, from the lines of `--events`.

use std::{collections::HashMap, fs::File, io::Read};

use serde_json::Value;

use crate::{error::Error, paths::Named};

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
        chunk: Option<Sent>,
    },
    /// A session ended, early where the text says why.
    Ended,
}

/// A chunk that was sent to a worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sent {
    pub(super) at: f64,
    pub(super) first: u64,
    pub(super) count: u64,
}

/// Something that happened, in seconds since the run began.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mark {
    pub(super) at: f64,
    pub(super) what: What,
    pub(super) text: String,
}

/// The marks in a file of events, of the run with this name.
///
/// # Errors
/// When it cannot be read.
pub(super) fn of_file(path: &Named, run: Option<&str>) -> Result<Vec<Mark>, Error> {
    let site = path.site()?;
    if !site.exists {
        return Err(Error::usage(format!("{path}: there is no such file")));
    }
    let mut bytes = Vec::new();
    File::open(&site.path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(|error| Error::usage(format!("{path}: {error}")))?;
    let marks = of_lines(&String::from_utf8_lossy(&bytes), run);
    if marks.is_empty() {
        let name = run.map_or(String::new(), |run| format!(" of the run {run}"));
        return Err(Error::usage(format!("{path}: holds no events{name}; --events of `run` writes them")));
    }
    Ok(marks)
}

/// The marks in lines of events. Other lines, and those of other runs, are passed over.
pub(super) fn of_lines(lines: &str, run: Option<&str>) -> Vec<Mark> {
    let mut ours = true;
    let mut marks = Vec::new();
    // What workers have, in the order in which it was sent.
    let mut sent: HashMap<u32, Vec<Sent>> = HashMap::new();
    for line in lines.lines() {
        // The last line of a live run may be a half one.
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        if event["event"] == "run_started" {
            ours = run.is_none_or(|run| event["run"] == run);
        }
        if ours {
            follow(&event, &mut sent);
            marks.extend(mark(&event, &mut sent));
        }
    }
    marks
}

/// Takes down what a worker has been sent, and what has come back.
fn follow(event: &Value, sent: &mut HashMap<u32, Vec<Sent>>) -> Option<()> {
    let number = |name: &str| event[name].as_u64();
    match event["event"].as_str()? {
        "run_started" => sent.clear(),
        "chunk_dispatched" => {
            let chunk = Sent { at: event["t"].as_f64()?, first: number("start")?, count: number("count")? };
            sent.entry(u32::try_from(number("rank")?).ok()?).or_default().push(chunk);
        }
        "chunk_done" => {
            let first = number("start")?;
            sent.get_mut(&u32::try_from(number("rank")?).ok()?)?.retain(|chunk| chunk.first != first);
        }
        _ => {}
    }
    Some(())
}

fn mark(event: &Value, sent: &mut HashMap<u32, Vec<Sent>>) -> Option<Mark> {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let number = |name: &str| event[name].as_u64().and_then(|number| u32::try_from(number).ok());
    let (what, text) = match event["event"].as_str()? {
        "run_started" => (What::Began, format!("began at {}", text("time"))),
        "drain_began" => (What::Drained, "nothing more is begun".into()),
        "worker_lost" => {
            let rank = number("rank")?;
            let told = format!("rank {rank} on {} was lost: {}", text("host"), text("reason"));
            let chunk = sent.remove(&rank).and_then(|chunks| chunks.first().copied());
            (What::Lost { rank, slot: None, chunk }, told)
        }
        "child_lost" => {
            let (rank, slot) = (number("rank")?, number("slot")?);
            let told = format!("slot {slot} of rank {rank} on {} was lost: {}", text("host"), text("reason"));
            (What::Lost { rank, slot: Some(slot), chunk: None }, told)
        }
        "run_ended" => (What::Ended, text("error").into()),
        _ => return None,
    };
    Some(Mark { at: event["t"].as_f64()?, what, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_events_tell_the_losses_of_one_run_and_what_was_lost() {
        let lines = r#"{"t":0.0,"event":"run_started","run":"a","time":"then"}
{"t":0.1,"event":"chunk_dispatched","rank":2,"start":0,"count":2}
{"t":0.2,"event":"chunk_dispatched","rank":2,"start":2,"count":3}
{"t":0.5,"event":"chunk_done","rank":2,"start":0,"count":2}
{"t":1.0,"event":"worker_lost","rank":2,"host":"n1","reason":"killed"}
{"t":1.5,"event":"chunk_done","rank":1}
{"t":0.0,"event":"run_started","run":"b","time":"later"}
{"t":2.0,"event":"child_lost","rank":0,"slot":3,"host":"n2","reason":"gone"}
{"t":3.0,"event":"run_en"#;
        let whats = |run| of_lines(lines, run).into_iter().map(|mark| mark.what).collect::<Vec<_>>();
        let had = Sent { at: 0.2, first: 2, count: 3 };
        assert_eq!(whats(Some("a")), [What::Began, What::Lost { rank: 2, slot: None, chunk: Some(had) }]);
        assert_eq!(whats(Some("b")), [What::Began, What::Lost { rank: 0, slot: Some(3), chunk: None }]);
        assert_eq!(whats(None).len(), 4);
    }
}
