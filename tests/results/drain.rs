//! Runs that stop in time, because they are asked to or because their time is nearly over, and go on.

use std::{process::Command, time::Duration};

use rustix::process::Signal;
use serde_json::Value;

use super::resume::rank_0;
use super::{
    COMM, Folder, LEADERS, POOL, PROCESSES, SERIAL, Test, Way, assert_same, command, events_of as events,
    h5py, run, values,
};
use crate::support::{LIMIT, Running, signal_process, start, wait};

pub const TESTS: &[Test] = &[
    (
        "asked to stop at any rank and twice, a run goes on later",
        &[SERIAL, PROCESSES, COMM, POOL, LEADERS],
        asked,
    ),
    ("a run longer than its time ends over several sessions", &[SERIAL, COMM, LEADERS], sessions),
    ("a task that would not end in time is not begun", &[SERIAL, COMM], not_begun),
    ("what runs when a drain begins is kept", &[SERIAL, COMM, LEADERS], kept),
    ("a signal to every rank is one to the run", &[PROCESSES, COMM, POOL, LEADERS], to_every_rank),
    ("the exit code is left in a file", &[SERIAL, COMM], code_file),
];

fn session(way: &Way, arguments: &[&str]) -> Command {
    command(way, &[&["run"], arguments].concat())
}

#[track_caller]
fn wait_for_events(running: &mut Running, path: &str, event: &str, count: usize) -> Vec<Value> {
    wait(LIMIT, Duration::from_millis(10), &format!("{count} {event}"), || {
        let found = events(path, event);
        if found.len() >= count { Ok(found) } else { Err(running.stderr_so_far()) }
    })
}

/// The processes of the workers, each with its children.
fn processes(started: &Value) -> Vec<u32> {
    let pids = |list: &Value| {
        let pid = |worker: &Value| worker["pid"].as_u64().unwrap() as u32;
        list.as_array().unwrap().iter().map(pid).collect::<Vec<_>>()
    };
    let workers = started["workers"].as_array().unwrap();
    let children = workers.iter().flat_map(|worker| pids(&worker["children"]));
    pids(&started["workers"]).into_iter().chain(children).collect()
}

fn asked(way: &Way) {
    let folder = Folder::new();
    let [whole, out, log] = ["whole.h5", "out.h5", "log.jsonl"].map(|name| folder.file(name));
    let job = ["steady", "--n", "400", "--milliseconds", "10", "--chunk", "2"];
    run(way, &[&job[..], &["-o", &whole]].concat()).expect(0);
    let job = [&job[..], &["-o", &out, "--events", &log]].concat();
    for times in 1..3 {
        // A job that Slurm has started again resumes by itself.
        let mut command = session(way, &job);
        command.env("SLURM_JOB_ID", "1").env("SLURM_RESTART_COUNT", (times - 1).to_string());
        let done = events(&log, "chunk_done").len();
        let mut running = start(&mut command);
        let started = wait_for_events(&mut running, &log, "run_started", times).pop().unwrap();
        wait_for_events(&mut running, &log, "chunk_done", done + 10);
        for _ in 0..2 {
            signal_process(*processes(&started).last().unwrap(), Signal::USR1);
            std::thread::sleep(Duration::from_millis(1));
        }
        let ended = running.end();
        assert_eq!(ended.code, 75, "{ended:?}");
        assert!(ended.stderr.contains("SIGUSR1: nothing more is begun"), "{ended:?}");
        assert!(ended.stderr.contains("out.h5.journal: go on with --resume"), "{ended:?}");
        assert_eq!(folder.names(), ["log.jsonl", "out.h5.journal", "whole.h5"]);
    }
    let report = run(way, &[&job[..], &["--resume", "--json"]].concat()).expect(0).json();
    let resumed = report["resumed"].as_u64().unwrap();
    assert!((40..400).contains(&resumed), "{report}");
    assert_same(&h5py(&out), &h5py(&whole));
}

fn sessions(way: &Way) {
    let folder = Folder::new();
    let [whole, out] = ["whole.h5", "out.h5"].map(|name| folder.file(name));
    let job = ["steady", "--n", "200", "--milliseconds", "40", "-o"];
    run(way, &[&job[..], &[&whole]].concat()).expect(0);
    let limits = ["--walltime", "2s", "--grace", "0.8s", "--resume"];
    let mut sessions = 1;
    while let ended = run(way, &[&job[..], &[&out], &limits].concat())
        && ended.code != 0
    {
        assert_eq!(ended.code, 75, "{ended:?}");
        assert!(ended.stderr.contains("time is"), "{ended:?}");
        sessions += 1;
        assert!(sessions < 40, "it gets nowhere: {ended:?}");
    }
    assert!(sessions > 2, "{sessions} sessions");
    assert_eq!(folder.names(), ["out.h5", "whole.h5"]);
    let file = h5py(&out);
    assert_same(&file, &h5py(&whole));
    let rows = values(&file, "events").as_array().unwrap();
    let events: Vec<_> = rows.iter().map(|row| &row["event"]).collect();
    let expected = [["run_started", "drain_began"]].repeat(sessions).concat();
    assert_eq!(events, expected[..2 * sessions - 1], "the last session was not drained");
}

fn not_begun(way: &Way) {
    let folder = Folder::new();
    let [out, log] = ["out.h5", "log.jsonl"].map(|name| folder.file(name));
    let job = ["steady", "--n", "20", "--milliseconds", "1500", "-o", &out, "--events", &log];
    let limits = ["--walltime", "4s", "--grace", "0.4s"];
    let ended = run(way, &[&job[..], &limits].concat()).expect(75);
    assert!(!ended.stderr.contains("nothing more is begun"), "it ends before its grace: {ended:?}");
    let rounds = if way.0 == COMM.0 { 2 * 2 } else { 2 };
    assert_eq!(events(&log, "chunk_dispatched").len(), rounds, "{ended:?}");
    assert_eq!(events(&log, "chunk_done").len(), rounds, "{ended:?}");
}

fn kept(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    // One chunk for each worker, which would take a minute.
    let job = ["steady", "--n", "4000", "--milliseconds", "15", "--chunk", "static", "-o", &out];
    let ended = run(way, &[&job[..], &["--walltime", "6s", "--grace", "4s"]].concat()).expect(75);
    assert!(ended.took < Duration::from_secs(30), "it was cut short: {:?}", ended.took);
    let some = ["--only", "0", "--resume", "--json"];
    let report = run(way, &[&job[..], &some].concat()).expect(0).json();
    assert!(report["resumed"].as_u64().unwrap() > 20, "{report}");
}

fn to_every_rank(way: &Way) {
    let folder = Folder::new();
    let [out, log] = ["out.h5", "log.jsonl"].map(|name| folder.file(name));
    let job = ["steady", "--n", "4000", "--milliseconds", "10", "-o", &out, "--events", &log];
    let mut command = session(way, &job);
    let mut running = start(command.env("RANKPOOL_LOG", "info"));
    let started = wait_for_events(&mut running, &log, "run_started", 1).pop().unwrap();
    wait_for_events(&mut running, &log, "chunk_done", 10);
    // As Slurm and mpirun do it: twice, and the workers may have it first.
    for _ in 0..2 {
        for process in processes(&started) {
            signal_process(process, Signal::TERM);
        }
        std::thread::sleep(Duration::from_millis(100));
        signal_process(rank_0(&mut running), Signal::TERM);
    }
    let ended = running.end();
    assert_eq!(ended.code, 75, "{ended:?}");
    assert!(
        !ended.stderr.contains("was lost") && ended.stderr.contains("tasks are done; go on"),
        "{ended:?}"
    );
    assert!(ended.took < Duration::from_secs(20), "{ended:?}");
}

fn code_file(way: &Way) {
    let folder = Folder::new();
    let [code, out] = ["code", "out.h5"].map(|name| folder.file(name));
    let left = || std::fs::read_to_string(&code).unwrap_or_default();
    for (arguments, expected) in [
        (&["plain"][..], 0),
        (&["trouble", "--bad", "3"], 1),
        (&["plain", "--mode", "nonsense"], 2),
        (&["plain", "--resume"], 2),
        (&["steady", "--n", "1000", "--walltime", "1s", "-o", &out], 75),
    ] {
        let _ = std::fs::remove_file(&code);
        let mut command = session(way, arguments);
        start(command.env("RANKPOOL_CODE_FILE", &code)).end().expect(expected);
        assert_eq!(left(), format!("{expected}\n"), "{arguments:?}");
    }
}
