//! What is written for people never ends or holds up a run, whoever reads it or does not.

use std::time::Duration;

use rustix::process::Signal;

use super::{ALL, Folder, HEARING, PROCESSES, SERIAL, THREADS, Test, Way, bash, command};
use crate::support::{Ended, start};

pub const TESTS: &[Test] = &[
    ("a run whose words cannot be written is a run all the same", ALL, broken_words),
    ("a reader who does not read holds no run up", &[SERIAL, THREADS, PROCESSES], full_pipe),
    ("every command ends as it would when nobody hears it", &[SERIAL], every_command),
    ("signals are obeyed though nobody hears of them", &[SERIAL, THREADS, PROCESSES], signals),
    ("words keep their order, and what does not fit is counted", &[SERIAL], order),
    ("a text of any length is said whole", &[SERIAL, PROCESSES], long_text),
    ("a hangup is a stop that can be resumed, and nohup keeps it out", &[SERIAL, PROCESSES], hangup),
];

/// Standard error that cannot be written: full, closed, and a pipe whose reader has gone.
const BROKEN: [&str; 3] = [
    r#""$@" 2>/dev/full"#,
    r#""$@" 2>&-"#,
    r#"set -o pipefail; { "$@" 2>&1 >&3 3>&- | exec 0<&-; } 3>&1; exit ${PIPESTATUS[0]}"#,
];

/// Standard error is a pipe that is full, and open to a reader that never reads.
const FULL: &str = r#"exec 2<>"$FULL"; head -c 65536 /dev/zero >&2; exec "$@""#;

/// Runs a command behind a full pipe; it may take little longer than without one.
fn behind_full_pipe(way: &Way, arguments: &[&str]) -> Ended {
    let folder = Folder::new();
    let mut shell = bash(FULL, &command(way, arguments));
    start(shell.env("FULL", folder.pipe("full"))).end_within(Duration::from_secs(20))
}

fn broken_words(way: &Way) {
    for line in BROKEN {
        let folder = Folder::new();
        let out = folder.file("out.h5");
        let flags = ["--json", "--output", &out, "--progress", "lines", "--log-dir", &folder.file("logs")];
        let talk = ["run", "talk", "--n", "200", "--sleep-ms", "2"];
        let whole = start(&mut bash(line, &command(way, &[&talk[..], &flags].concat()))).end().expect(0);
        assert_eq!(whole.json()["done"], 200, "{line}");
        let failing = ["--force", "--fail", "no\u{1b}[2J luck"];
        let some = start(&mut bash(line, &command(way, &[&talk[..], &flags, &failing].concat()))).end();
        assert_eq!(some.expect(1).json()["failed"], 1, "{line}");
        let told = start(&mut bash(line, &command(way, &talk))).end().expect(0);
        assert!(told.stdout.contains("digest"), "{line}: {told:?}");
    }
}

fn full_pipe(way: &Way) {
    let talk = ["run", "talk", "--n", "50", "--sleep-ms", "40"];
    let report = behind_full_pipe(way, &[&talk[..], &["--json", "--fail", "no"]].concat()).expect(1).json();
    assert_eq!(report["failed"], 1);
    assert!(report["wall_s"].as_f64().unwrap() < 8.0, "{report}");
    let bar = behind_full_pipe(way, &[&talk[..], &["--progress", "lines"]].concat()).expect(0);
    assert!(bar.stdout.contains("digest"), "{bar:?}");
}

fn every_command(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    start(&mut command(way, &["run", "talk", "--output", &out])).end().expect(0);
    let commands: [(&[&str], i32); 9] = [
        (&["list"], 0),
        (&["list", "--help"], 0),
        (&["show", &out], 0),
        (&["export", &out, "--csv"], 0),
        (&["slurm", "--", "run", "talk"], 0),
        (&["show", "/no/such/file"], 2),
        (&["run", "nothing"], 2),
        (&["run", "talk", "--workers", "x"], 2),
        (&["run", "talk", "--output", "/no/such/folder/x.h5"], 2),
    ];
    for (arguments, code) in commands {
        let plain = start(&mut command(way, arguments)).end().expect(code);
        for line in BROKEN {
            let ended = start(&mut bash(line, &command(way, arguments))).end().expect(code);
            assert_eq!(ended.stdout, plain.stdout, "{arguments:?} {line}");
        }
        assert_eq!(behind_full_pipe(way, arguments).expect(code).stdout, plain.stdout, "{arguments:?}");
    }
}

fn signals(way: &Way) {
    for signal in [Signal::TERM, Signal::USR1] {
        let folder = Folder::new();
        let (full, journal) = (folder.pipe("full"), folder.file("journal"));
        let flags = ["run", "talk", "--n", "500", "--sleep-ms", "50", "--fail", "no", "--progress", "lines"];
        let arguments = [&flags[..], &["--journal", &journal]].concat();
        let running = start(bash(FULL, &command(way, &arguments)).env("FULL", full));
        std::thread::sleep(Duration::from_millis(1500));
        running.signal(signal);
        let ended = running.end_within(Duration::from_secs(15)).expect(75);
        assert!(ended.took < Duration::from_secs(10), "{ended:?}");
        assert!(std::fs::metadata(&journal).unwrap().len() > 500);
    }
}

/// Retries of a task, each of which is told of with a long message, and takes a millisecond at least.
const RETRIES: usize = 3000;

fn order(way: &Way) {
    // The reader comes back after a while, in which more is said than has room, and before the end.
    let late = |seconds: u32, arguments: &[&str]| {
        let line = format!(r#"{{ "$@" 2>&1 >&3 3>&- | {{ sleep {seconds}; cat >&2; }}; }} 3>&1"#);
        bash(&line, &command(way, &[&["run", "talk", "--json"], arguments].concat()))
    };
    let (long, retries) = ("x".repeat(1000), RETRIES.to_string());
    let mut shell = late(2, &["--fail", &long, "--retries", &retries, "--sleep-ms", "1"]);
    let ended = start(shell.env("RANKPOOL_LOG", "rankpool=debug")).end();
    let told = ended.stderr.lines().filter(|line| line.contains("it will be tried again")).count();
    let counts = ended.stderr.lines().filter_map(|line| {
        let count = line.strip_prefix('(')?.strip_suffix(" messages were left out: nobody was reading)")?;
        Some(count.parse::<usize>().unwrap())
    });
    let left_out: usize = counts.sum();
    assert!(told < RETRIES, "all {told} messages had room");
    assert!(told + left_out >= RETRIES, "{told} were told, {left_out} left out");
    assert_eq!((&ended.json()["failed"], &ended.json()["retried"]), (&1.into(), &RETRIES.into()));
    let ended = start(late(3, &["--n", "30000"]).env("RANKPOOL_LOG", "rankpool=trace")).end();
    assert_eq!(ended.json()["done"], 30000, "{}", ended.stderr);
    let plain = start(&mut command(way, &["run", "talk", "--n", "3", "--fail", "x"])).end().expect(1);
    let at = |text: &str| plain.stderr.find(text).unwrap_or_else(|| panic!("{text}: {plain:?}"));
    assert!(at("task 1 failed") < at("2 tasks ok") && at("2 tasks ok") < at("  rank 0"), "{plain:?}");
}

fn long_text(way: &Way) {
    for bytes in [1000, 300_000, 3_000_000] {
        let command = command(way, &["run", "talk", "--refuse", &bytes.to_string()]);
        let plain = start(&mut bash(r#""$@""#, &command)).end().expect(2);
        let piped =
            start(&mut bash(r#"set -o pipefail; "$@" 2>&1 | { sleep 0.2; cat >&2; }"#, &command)).end();
        for ended in [plain, piped.expect(2)] {
            let text = format!("error: talk: {}\n", "x".repeat(bytes));
            let count = ended.stderr.matches(&text).count();
            assert_eq!(
                (count, ended.stderr.len() < bytes + 1000),
                (1, true),
                "{} of {bytes} bytes",
                ended.stderr.len()
            );
        }
    }
}

fn hangup(way: &Way) {
    let folder = Folder::new();
    let journal = folder.file("journal");
    let arguments = ["run", "talk", "--n", "60", "--sleep-ms", "50", "--journal", &journal];
    let running = start(&mut bash(HEARING, &command(way, &arguments)));
    std::thread::sleep(Duration::from_millis(900));
    running.signal(Signal::HUP);
    let ended = running.end().expect(75);
    assert!(ended.stderr.contains("SIGHUP"), "{ended:?}");
    let resumed = [&arguments[..], &["--resume"]].concat();
    let running = start(&mut bash(r#"trap "" HUP; exec "$@""#, &command(way, &resumed)));
    std::thread::sleep(Duration::from_millis(500));
    running.signal(Signal::HUP);
    assert!(running.end().expect(0).stderr.contains("resumed: the outcomes of"));
}
