//! Runs of programs that go on where they were, and the file that is the same in every mode.

use std::time::Duration;

use super::{
    assert_same, assert_told, column, command, fed, lines, run,
    victims::{Who, kill},
    write,
};
use crate::support::{
    LIMIT, start, wait,
    ways::{COMM, Folder, LEADERS, NODE, PROCESSES, SERIAL, Test, Way},
};

pub const TESTS: &[Test] = &[
    ("a run that was killed goes on, and its file is that of one run", &[SERIAL, COMM, LEADERS], killed),
    ("failed tasks are run again when asked, also into another file", &[SERIAL, COMM], failed),
    ("chosen tasks are run alone", &[SERIAL], only),
    ("another command, list or grid is refused, both told", &[SERIAL], refused),
    ("what a task may use may be changed", &[SERIAL], changed),
    ("inputs from standard input are kept, too", &[SERIAL, COMM], standard_input),
    ("the file is the serial one, but for what was measured", &[PROCESSES, COMM, LEADERS, NODE], same),
    ("a list that changes ends the run, which is kept", &[SERIAL, COMM], list_changes),
];

/// Text by which a task can be told from all others.
const WORK: [&str; 4] = ["--", "sh", "-c", "echo {} >> ran; sleep 0.02; echo of {} $RANKPOOL_SEED"];

/// Kills rank 0 of a run of 60 tasks, each of which writes a line into the file `ran`, when some have been begun; then
/// it is `resumed`, and what is known is not done again.
pub(super) fn killed_and_resumed(way: &Way, folder: &Folder, first: &[&str], resumed: &[&str]) {
    let mut running = start(&mut command(way, folder, first));
    wait(LIMIT, Duration::from_millis(5), "some tasks", || {
        let ran = std::fs::read_to_string(folder.path("ran")).unwrap_or_default().lines().count();
        if ran > 20 { Ok(()) } else { Err(running.stderr_so_far()) }
    });
    kill(&mut running, way, Who::Rank0);
    running.end();
    let before = lines(folder, "ran").len();
    let ended = run(way, folder, resumed).expect(0);
    let known = ended.json()["resumed"].as_u64().unwrap() as usize;
    assert!(known > 0, "{before} were begun, and none is known: {ended:?}");
    assert_eq!(lines(folder, "ran").len() - before, 60 - known, "what is known is not done again: {ended:?}");
}

fn killed(way: &Way) {
    let folder = Folder::new();
    let job =
        |out| [&["exec", "--array", "0-59", "--seed", "2", "-o", out], &["--chunk", "1"][..], &WORK].concat();
    let resumed = [&["exec", "--resume", "--report-json"], &job("o")[1..]].concat();
    killed_and_resumed(way, &folder, &job("o"), &resumed);
    run(&SERIAL, &folder, &job("whole")).expect(0);
    assert_same(&folder, "o", "whole");
}

fn failed(way: &Way) {
    let folder = Folder::new();
    let work =
        ["--", "sh", "-c", "echo {} >> ran; [ {} = 3 ] && [ ! -e mended ] && exit 7; echo of {}", ":::"];
    let job =
        |flags: &[&'static str]| [&["exec", "--report-json"], flags, &work, &["1", "2", "3", "4"]].concat();
    run(way, &folder, &job(&["-o", "o"])).expect(1);
    write(&folder, "mended", "");
    let report = run(way, &folder, &job(&["-o", "o", "--resume"])).expect(1).json();
    assert_eq!([&report["resumed"], &report["failed"]], [4, 1]);
    let report = run(way, &folder, &job(&["-o", "p", "--failed-from", "o"])).expect(0).json();
    assert_eq!([&report["resumed"], &report["done"]], [3, 4]);
    let report = run(way, &folder, &job(&["-o", "o", "--resume", "--retry-failed"])).expect(0).json();
    assert_eq!([&report["resumed"], &report["done"]], [3, 4]);
    assert_eq!(lines(&folder, "ran").len(), 4 + 1 + 1);
    run(way, &folder, &job(&["-o", "whole"])).expect(0);
    assert_same(&folder, "o", "whole");
    assert_same(&folder, "p", "whole");
}

fn only(way: &Way) {
    let folder = Folder::new();
    let job = ["exec", "-o", "o", "--array", "10-19"];
    run(way, &folder, &[&job[..], &["--only", "2,5-6"], &WORK].concat()).expect(0);
    assert_eq!(lines(&folder, "ran"), ["12", "15", "16"]);
    assert_eq!(column(&folder, "o", "status").iter().filter(|status| *status == "not_run").count(), 7);
    run(way, &folder, &[&job[..], &["--resume"], &WORK].concat()).expect(0);
    assert_eq!(lines(&folder, "ran").len(), 10);
    assert_eq!(column(&folder, "o", "status"), ["ok"; 10]);
}

fn refused(way: &Way) {
    let folder = Folder::new();
    write(&folder, "list", "a\nb\n");
    let fails = ["--", "sh", "-c", "exit 1"];
    let first: &[&[&str]] = &[
        &["-a", "list", "--", "sh", "-c", "exit 1"],
        &["--grid", "x=0:1:0.5", "--", "sh", "-c", "exit 1"],
        &["--workdir", "w{#}", "--", "sh", "-c", "exit 1", ":::", "a"],
    ];
    for (k, first) in first.iter().enumerate() {
        let out = k.to_string();
        run(way, &folder, &[&["exec", "-o", &out], *first].concat()).expect(1);
    }
    write(&folder, "list", "a\nc\n");
    for (out, other, told) in [
        ("0", [&["-a", "list"][..], &fails].concat(), ["digest", "digest"]),
        ("1", [&["--grid", "x=0:1:0.25"][..], &fails].concat(), ["x=0:1:0.5", "x=0:1:0.25"]),
        ("1", [&["--grid", "x=0:1:0.5", "--", "sh", "-c", "exit 2"][..]].concat(), ["exit 1", "exit 2"]),
        ("2", [&["--workdir", "v{#}"][..], &fails, &[":::", "a"]].concat(), ["w{#}", "v{#}"]),
        ("2", [&["--workdir", "w{#}"][..], &fails, &[":::", "b"]].concat(), ["\"a\"", "\"b\""]),
        (
            "2",
            [&["--workdir", "w{#}", "--parse", "json"][..], &fails, &[":::", "a"]].concat(),
            ["null", "Json"],
        ),
    ] {
        let ended = run(way, &folder, &[&["exec", "--resume", "-o", out], &other[..]].concat()).expect(2);
        let (before, now) =
            ended.stderr.split_once("and this run has").unwrap_or_else(|| panic!("{ended:?}"));
        assert!(before.contains(told[0]) && now.contains(told[1]), "{told:?} are not told: {ended:?}");
        assert!(!before.contains(told[1]) || told[0] == told[1], "{ended:?}");
    }
}

fn changed(way: &Way) {
    let folder = Folder::new();
    let job = ["exec", "-o", "o", "--resume", "--retry-failed"];
    let work = ["--", "sh", "-c", "ulimit -d; [ -e mended ]", ":::", "1", "2"];
    run(way, &folder, &[&job[..], &work].concat()).expect(1);
    write(&folder, "mended", "");
    let limits = ["--kill-after", "3s", "--mem-per-task", "1GiB", "--task-timeout", "1m"];
    run(way, &folder, &[&job[..], &limits, &work].concat()).expect(0);
    assert_eq!(column(&folder, "o", "stdout"), ["1048576\n"; 2]);
}

fn standard_input(way: &Way) {
    let folder = Folder::new();
    write(&folder, "list", "x,y\n1,a\n2,b\n3,c\n");
    let work = [
        "--colsep",
        ",",
        "--header",
        "--",
        "sh",
        "-c",
        "echo {y}{x}; [ {x} = 2 ] && [ ! -e mended ] && exit 1; true",
    ];
    fed(way, &folder, "list", &[&["exec", "-o", "o"], &work[..]].concat()).expect(1);
    assert_eq!(column(&folder, "o", "x"), ["1", "2", "3"]);
    assert_eq!(column(&folder, "o", "stdout"), ["a1\n", "b2\n", "c3\n"]);
    write(&folder, "mended", "");
    let again = [&["exec", "-o", "o", "--resume", "--retry-failed"], &work[..]].concat();
    write(&folder, "other", "x,y\n1,a\n2,b\n4,c\n");
    fed(way, &folder, "other", &again).expect(2);
    fed(way, &folder, "list", &again).expect(0);
    assert_eq!(column(&folder, "o", "status"), ["ok"; 3]);
}

fn same(way: &Way) {
    let folder = Folder::new();
    let script = "case {x} in 3) exit 2;; 5) kill -9 $$;; 7) sleep 600;; 9) echo nothing; exit;; esac; \
                  echo err >&2; [ $RANKPOOL_ATTEMPT = 2 ] && [ {x} = 1 ] || [ {x} != 1 ] || exit 1; \
                  echo $RANKPOOL_SEED; echo '{\"twice\": '$(( {x} * 2 ))', \"m\": \"{m}\"}'";
    let flags = ["exec", "--grid", "x=0:9", "--grid", "m=u", "--parse", "json", "--task-timeout", "1s"];
    let job = |out| {
        [&flags[..], &["--retries", "1", "--seed", "5", "-o", out, "--", "bash", "-c", script]].concat()
    };
    run(way, &folder, &job("o")).expect(1);
    run(&SERIAL, &folder, &job("serial")).expect(1);
    assert_same(&folder, "o", "serial");
    let found = column(&folder, "o", "status");
    let expected = ["ok", "ok", "ok", "failed", "ok", "failed", "ok", "timed_out", "ok", "failed"];
    assert_eq!(found, expected);
}

fn list_changes(way: &Way) {
    let folder = Folder::new();
    // The barrier is further from the end than what is read of the file ahead.
    let padding = "# and nothing else\n".repeat(10_000);
    let list = format!("[ -e mended ] || : > list; echo 1\n#DISBATCH BARRIER\n{padding}echo 2\n");
    write(&folder, "list", &list);
    let job = ["exec", "list", "-o", "o"];
    let ended = run(way, &folder, &job).expect(2);
    assert_told(&ended, &["list: has changed since the run began"]);
    assert!(folder.path("o.journal").exists() && !folder.path("o").exists(), "{ended:?}");
    write(&folder, "list", &list);
    write(&folder, "mended", "");
    let ended = run(way, &folder, &[&job[..], &["--resume", "--report-json"]].concat()).expect(0);
    assert_eq!(ended.json()["resumed"], 1, "{ended:?}");
    assert_eq!(column(&folder, "o", "stdout"), ["1\n", "2\n"]);
}
