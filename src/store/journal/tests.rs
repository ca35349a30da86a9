//! The journal against cuts, flipped bytes, and runs that are not its own.

use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    error::{FailureKind, Place},
    store::TraceRow,
    wire::{BatchBuilder, encode},
};

/// A job with this name, parameter and type of a row.
fn job(name: &str, n: u64, row: &str) -> Subject {
    Subject::Job { job: name.into(), parameters: json!({"n": n}), row: json!(row) }
}

fn identity() -> Identity {
    Identity {
        subject: job("squares", 100, "u64"),
        seed: 1,
        tasks: Some(100),
        run: "a".into(),
        version: "0".into(),
        began: 1.0,
    }
}

fn map(label: Option<&str>, items: &str, values: &str) -> Subject {
    Subject::Map { label: label.map(Into::into), items: items.into(), values: values.into() }
}

fn values(start: u64, count: u64) -> Piece {
    let mut batch = BatchBuilder::default();
    (start..start + count).for_each(|task| batch.push(&(task * task)).unwrap());
    Piece { start, count, outcome: Ok(batch.finish()) }
}

fn texts(start: u64, count: u64) -> Piece {
    let mut batch = BatchBuilder::default();
    (start..start + count).for_each(|task| batch.push(&"x".repeat(task as usize)).unwrap());
    Piece { start, count, outcome: Ok(batch.finish()) }
}

fn failure(attempt: u16) -> Failure {
    let mut failure = Failure::new(FailureKind::Failed, "on purpose");
    failure.place = Some(Place { rank: 1, host: "here".into(), attempt });
    failure
}

fn row(start: u64) -> TraceRow {
    TraceRow {
        start,
        count: 2,
        rank: 1,
        slot: 3,
        pid: 4711,
        host: 0,
        dispatched: 0.5,
        started: 0.6,
        ended: 0.7,
        slowest: start,
        slowest_s: 0.1,
    }
}

fn entries() -> Vec<Addition> {
    vec![
        Addition::Outcome(values(10, 3)),
        Addition::Outcome(values(13, 2)),
        Addition::Attempt { task: 20, failure: failure(1) },
        Addition::Chunk { row: row(10), host: "node1".into() },
        Addition::Outcome(values(0, 5)),
        Addition::Outcome(Piece { start: 20, count: 1, outcome: Err(failure(2)) }),
        Addition::Outcome(texts(30, 4)),
        Addition::Chunk { row: row(30), host: "node2".into() },
    ]
}

/// A finished journal with these entries, and the folder that holds it.
fn written(entries: Vec<Addition>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.journal");
    let journal = open(&path, identity(), Existing::Refuse).unwrap();
    entries.into_iter().for_each(|entry| journal.queue().append(entry).unwrap());
    journal.finish().unwrap();
    (folder, path)
}

fn open(path: &Path, identity: Identity, existing: Existing) -> Result<Journal, Error> {
    Journal::open(&Named::new(path), identity, existing)
}

fn resume(path: &Path) -> Result<Journal, Error> {
    let mut opened = open(path, identity(), Existing::Resume);
    for _ in 0..20 {
        match &opened {
            // A test beside this one may be starting a process, which holds all locks up to its exec.
            Err(error) if error.to_string().contains("in use") => {
                std::thread::sleep(Duration::from_millis(5))
            }
            _ => break,
        }
        opened = open(path, identity(), Existing::Resume);
    }
    opened
}

#[test]
fn what_was_appended_is_read_back_in_order() {
    let (_folder, path) = written(entries());
    let journal = resume(&path).unwrap();
    assert_eq!(
        (journal.done.to_string(), journal.failed.to_string()),
        ("0-4,10-14,30-33".into(), "20".into())
    );
    assert!(journal.damage.is_empty());
    let mut complete = journal.finish().unwrap();
    let pieces: Vec<Piece> = complete.pieces().map(Result::unwrap).collect();
    let starts: Vec<_> = pieces.iter().map(|piece| (piece.start, piece.count)).collect();
    assert_eq!(starts, [(0, 5), (10, 5), (20, 1), (30, 4)], "neighbours are one record");
    assert_eq!(pieces[1].outcome.as_ref().unwrap().decode::<u64>(4).unwrap(), 14 * 14);
    assert_eq!(pieces[3].outcome.as_ref().unwrap().decode::<String>(1).unwrap().len(), 31);
    let attempts: Vec<_> =
        complete.attempts().map(Result::unwrap).map(|a| (a.task, a.failure.attempt())).collect();
    assert_eq!(attempts, [(20, 1), (20, 2)]);
    let trace: Vec<TraceBlock> = complete.trace().map(Result::unwrap).collect();
    assert_eq!(trace.len(), 1);
    assert_eq!(trace[0].hosts, ["node1", "node2"]);
    assert_eq!(trace[0].rows, [row(10), TraceRow { host: 1, ..row(30) }]);
}

#[test]
fn a_trace_without_slots_of_an_earlier_journal_is_read() {
    let (_folder, path) = written(entries());
    let Some(Found::Record { header, .. }) = Scan::new(File::open(&path).unwrap()).unwrap().next().unwrap()
    else {
        panic!("it has no first record")
    };
    let TraceRow { start, count, rank, host, dispatched, started, ended, slowest, slowest_s, .. } = row(50);
    let rows = vec![(start, count, rank, host, dispatched, started, ended, slowest, slowest_s)];
    let payload = encode(&(vec!["node3".to_string()], rows)).unwrap();
    let header = Header { kind: Kind::Trace, count: 1, length: payload.len() as u64, ..header };
    let mut earlier = Vec::new();
    record::append(&mut earlier, header, &payload);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(&earlier).unwrap();
    let complete = resume(&path).unwrap().finish().unwrap();
    let trace: Vec<TraceBlock> = complete.trace().map(Result::unwrap).collect();
    assert_eq!(trace[0].rows[0], row(10));
    assert_eq!(trace[1].hosts, ["node3"]);
    assert_eq!(trace[1].rows, [TraceRow { slot: 0, pid: 0, ..row(50) }]);
}

#[cfg(all(feature = "cli", feature = "hdf5"))]
#[test]
fn what_happened_in_each_session_is_told_when_the_run_is_over_and_before() {
    let line = |t: f64, event: &str| {
        Addition::Event(format!(r#"{{"t":{t},"event":"{event}","rank":2,"host":"n"}}"#).into())
    };
    let kinds = |table: &EventTable| table.rows.iter().map(|row| row.kind.name()).collect::<Vec<_>>();
    let (_folder, path) = written(vec![line(0.0, "run_started"), line(1.0, "worker_lost")]);
    let journal = resume(&path).unwrap();
    let again = [line(9.0, "run_started"), line(9.5, "chunk_dispatched"), line(10.0, "drain_began")];
    again.into_iter().for_each(|line| journal.queue().append(line).unwrap());
    let expected = ["run_started", "worker_lost", "run_started", "drain_began"];
    assert_eq!(kinds(&journal.finish().unwrap().events().unwrap()), expected);
    let history = History::of(&Named::new(&path)).unwrap().unwrap();
    assert_eq!(kinds(&history.events), expected);
}

/// What a follower tells, in short.
#[cfg(feature = "cli")]
fn follow(follower: &mut Follower) -> Vec<String> {
    let mut told = Vec::new();
    let mut take = |entry| {
        told.push(match entry {
            Entry::Identity(identity) => format!("identity of {:?} tasks", identity.tasks),
            Entry::Session(session) => format!("session of {}", session.pid),
            Entry::Done { start, count } => format!("done {start} and {count}"),
            Entry::Failed { attempt, last } => format!("failed {}, last {last}", attempt.task),
            Entry::Trace(block) => format!("trace of {} chunks", block.rows.len()),
            Entry::Events(lines) => String::from_utf8(lines).unwrap(),
        });
    };
    follower.read(&mut take).unwrap();
    told
}

#[cfg(feature = "cli")]
#[test]
fn a_journal_that_grows_byte_by_byte_is_followed_record_by_record() {
    let more = [Addition::Event(b"{\"t\":1}".to_vec())];
    let (folder, path) = written(entries().into_iter().chain(more).collect());
    let whole = std::fs::read(&path).unwrap();
    let at_once = follow(&mut Follower::open(&Named::new(&path)).unwrap());
    for expected in [
        "identity of Some(100) tasks",
        "done 10 and 5",
        "failed 20, last false",
        "failed 20, last true",
        "{\"t\":1}\n",
    ] {
        assert!(at_once.iter().any(|told| told == expected), "{expected} in {at_once:?}");
    }
    let growing = folder.path().join("growing.journal");
    let mut file = File::create(&growing).unwrap();
    let mut follower = Follower::open(&Named::new(&growing)).unwrap();
    let mut told = Vec::new();
    for byte in &whole {
        file.write_all(&[*byte]).unwrap();
        told.extend(follow(&mut follower));
    }
    assert_eq!(told, at_once);
    assert!(!follower.is_another());
    file.set_len(10).unwrap();
    assert!(follower.is_another(), "it was begun anew");
}

#[test]
fn a_task_that_is_run_again_has_its_last_outcome() {
    let (_folder, path) = written(entries());
    let journal = resume(&path).unwrap();
    journal.queue().append(Addition::Outcome(values(20, 1))).unwrap();
    let complete = journal.finish().unwrap();
    drop(complete);
    let journal = resume(&path).unwrap();
    assert!(journal.done.contains(20) && journal.failed.len() == 0);
}

#[test]
fn a_journal_that_is_cut_anywhere_keeps_what_is_whole() {
    let (folder, path) = written(entries());
    let whole = std::fs::read(&path).unwrap();
    let cut_path = folder.path().join("cut.journal");
    let mut known = 0;
    for cut in 0..=whole.len() {
        std::fs::write(&cut_path, &whole[..cut]).unwrap();
        let journal = resume(&cut_path).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert!(
            journal.damage.iter().all(|told| told.contains("is cut off")),
            "cut at {cut}: {:?}",
            journal.damage
        );
        let now = journal.done.len() + journal.failed.len();
        assert!(now >= known, "a longer journal knows less");
        known = now;
        // What is appended behind the cut is found again.
        journal.queue().append(Addition::Outcome(values(90, 2))).unwrap();
        let mut complete = journal.finish().unwrap();
        let tasks: u64 = complete.pieces().map(|piece| piece.unwrap().count).sum();
        assert_eq!(tasks, known + 2, "cut at {cut}");
        drop(complete);
        assert!(resume(&cut_path).unwrap().done.contains(91), "cut at {cut}");
    }
    assert_eq!(known, 15);
}

#[test]
fn a_flipped_byte_is_reported_with_its_place_and_costs_its_record_only() {
    let (folder, path) = written(entries());
    let whole = std::fs::read(&path).unwrap();
    let mut scan = Scan::new(io::Cursor::new(&whole)).unwrap();
    let mut records = Vec::new();
    while let Some(Found::Record { offset, header }) = scan.next().unwrap() {
        records.push((offset, header));
    }
    let bad_path = folder.path().join("bad.journal");
    let (last, _) = records[records.len() - 1];
    for at in records[1].0..last {
        let mut bad = whole.clone();
        bad[at as usize] ^= 0x10;
        std::fs::write(&bad_path, &bad).unwrap();
        let journal = resume(&bad_path).unwrap_or_else(|error| panic!("byte {at}: {error}"));
        let (from, header) = records.iter().rev().find(|(offset, _)| *offset <= at).unwrap();
        let place = format!("bytes {from} to {} are damaged", from + header.size());
        assert!(
            journal.damage.len() == 1 && journal.damage[0].contains(&place),
            "byte {at}: {:?}",
            journal.damage
        );
        let lost = if matches!(header.kind, Kind::Values | Kind::Failed) { header.count } else { 0 };
        assert_eq!(journal.done.len() + journal.failed.len(), 15 - lost, "byte {at}");
    }
    let mut bad = whole.clone();
    bad[50] ^= 1;
    std::fs::write(&bad_path, &bad).unwrap();
    let refused = resume(&bad_path).err().unwrap().to_string();
    assert!(refused.contains("damaged at byte 0"), "{refused}");
    assert_eq!(std::fs::read(&bad_path).unwrap(), bad, "it is left as it was");
}

#[test]
fn another_run_is_refused_with_both_values() {
    let (_folder, path) = written(entries());
    let refused = |change: &dyn Fn(&mut Identity)| {
        let mut other = identity();
        change(&mut other);
        let error = open(&path, other, Existing::Resume).err().expect("it is another run");
        assert_eq!(error.kind(), ErrorKind::Usage);
        error.to_string()
    };
    assert!(
        refused(&|other| other.subject = job("pi", 100, "u64"))
            .contains("job squares, and this run has job pi")
    );
    let parameters = refused(&|other| other.subject = job("squares", 7, "u64"));
    assert!(parameters.contains("{\"n\":100}") && parameters.contains("{\"n\":7}"), "{parameters}");
    assert!(refused(&|other| other.seed = 5).contains("seed 1, and this run has seed 5"));
    assert!(
        refused(&|other| other.tasks = Some(7)).contains("item count 100, and this run has item count 7")
    );
    assert!(refused(&|other| other.subject = job("squares", 100, "f64")).contains("row type \"u64\""));
    let map = refused(&|other| other.subject = map(Some("sweep"), "u64", "u64"));
    assert!(
        map.contains("it is of a run of the job squares, and this is a map with the label \"sweep\""),
        "{map}"
    );
    // The name of the run, its time and the version of the program may differ.
    let other = Identity { run: "b".into(), version: "1".into(), began: 2.0, ..identity() };
    assert_eq!(open(&path, other, Existing::Resume).unwrap().identity, identity());
}

/// The journal of a map over so many items, if that is known.
fn lasting(path: &Path, tasks: Option<u64>) -> Result<(Journal, Known), Error> {
    let identity = Identity { subject: map(Some("sweep"), "u32", "u64"), tasks, ..identity() };
    Journal::resume(&Named::new(path), identity)
}

#[test]
fn what_was_known_of_a_map_is_read_while_more_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.journal");
    let (journal, mut known) = lasting(&path, None).unwrap();
    assert!(known.next().unwrap().is_none());
    entries().into_iter().for_each(|entry| journal.queue().append(entry).unwrap());
    journal.finish().unwrap();
    drop(known);
    let (journal, mut known) = lasting(&path, None).unwrap();
    journal.queue().append(Addition::Outcome(values(0, 30))).unwrap();
    journal.queue().commit().unwrap();
    let mut found = Vec::new();
    while let Some(next) = known.next_task() {
        let piece = known.next().unwrap().unwrap();
        assert_eq!(piece.start, next);
        found.push((piece.start, piece.count, piece.outcome.is_ok()));
    }
    assert_eq!(found, [(0, 5, true), (10, 5, true), (20, 1, false), (30, 4, true)]);
    drop((journal, known));
    let (_journal, known) = lasting(&path, None).unwrap();
    assert!(known.first_failure_only().next().unwrap().is_none(), "it ended well in the end");
}

#[test]
fn the_number_of_items_is_kept_when_it_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.journal");
    let (mut journal, known) = lasting(&path, None).unwrap();
    journal.queue().append(Addition::Outcome(values(0, 7))).unwrap();
    journal.counted(7).unwrap();
    journal.finish().unwrap();
    drop(known);
    let (journal, known) = lasting(&path, None).unwrap();
    assert_eq!(journal.identity.tasks, Some(7));
    drop((journal, known));
    let refused = lasting(&path, Some(8)).err().unwrap().to_string();
    assert!(refused.contains("item count 7, and this call has item count 8"), "{refused}");
    assert!(refused.contains("remove this one") && !refused.contains("--force"), "{refused}");
    assert!(lasting(&path, Some(7)).is_ok());
}

#[test]
fn a_journal_is_not_overwritten_shared_or_taken_for_one() {
    let (folder, path) = written(entries());
    let refused = open(&path, identity(), Existing::Refuse).err().unwrap().to_string();
    assert!(refused.contains("--resume") && refused.contains("--force"), "{refused}");
    let journal = resume(&path).unwrap();
    let refused = resume(&path).err().unwrap().to_string();
    let holder = format!("process {} on {}", std::process::id(), launch::here().host);
    assert!(refused.contains(&holder), "{refused}");
    drop(journal.finish());
    assert_eq!(open(&path, identity(), Existing::Replace).unwrap().done.len(), 0);
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "my notes").unwrap();
    for existing in [Existing::Resume, Existing::Replace] {
        let refused = open(&text, identity(), existing).err().unwrap().to_string();
        assert!(refused.contains("is no journal"), "{refused}");
    }
    assert_eq!(std::fs::read(&text).unwrap(), b"my notes");
}

#[test]
fn a_journal_that_holds_nothing_is_no_obstacle() {
    let (folder, path) = written(Vec::new());
    let whole = std::fs::read(&path).unwrap();
    for cut in [0, 1, 7, whole.len() / 2, whole.len()] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let other = Identity { seed: 9, ..identity() };
        let journal = open(&path, other, Existing::Refuse).unwrap_or_else(|error| panic!("{cut}: {error}"));
        assert_eq!(journal.identity.seed, 9, "cut at {cut}");
        journal.finish().unwrap();
    }
    drop(folder);
}

#[test]
fn a_journal_that_is_in_use_is_told_to_be_in_use_and_stays_as_it_is() {
    let (_folder, path) = written(entries());
    let _journal = resume(&path).unwrap();
    let before = std::fs::read(&path).unwrap();
    for existing in [Existing::Refuse, Existing::Replace, Existing::Resume] {
        let refused = open(&path, identity(), existing).err().unwrap().to_string();
        assert!(refused.contains("is in use by process"), "{existing:?}: {refused}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn what_is_committed_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.journal");
    let journal = open(&path, identity(), Existing::Refuse).unwrap();
    entries().into_iter().for_each(|entry| journal.queue().append(entry).unwrap());
    journal.queue().commit().unwrap();
    let contents = read(&File::open(&path).unwrap()).unwrap();
    assert_eq!(contents.index.known().0.len(), 14);
    journal.finish().unwrap();
}

#[test]
fn a_record_that_changes_while_it_is_read_is_an_error() {
    let (_folder, path) = written(entries());
    let mut complete = resume(&path).unwrap().finish().unwrap();
    let length = std::fs::metadata(&path).unwrap().len();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    (0..length).for_each(|at| file.write_all_at(&[0xaa], at).unwrap());
    let error = complete.pieces().next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
}

proptest! {
    #[test]
    fn noise_in_the_file_never_panics(noise in prop::collection::vec(any::<u8>(), 0..400), at in 0usize..800) {
        let (_folder, path) = written(entries());
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.min(bytes.len());
        let end = (at + noise.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&noise[..end - at]);
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(journal) = resume(&path) {
            let mut complete = journal.finish().unwrap();
            for piece in complete.pieces() {
                prop_assert!(piece.is_ok());
            }
        }
    }
}

#[test]
fn an_encoded_failure_fits_the_record() {
    let bytes = encode(&failure(3)).unwrap();
    assert_eq!(decode::<Failure>(&bytes).unwrap(), failure(3));
}
