//! Files that a run is to write: what may stand in their place, whose they are, and where they are.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
    time::Duration,
};

use rustix::process::Signal;

use super::{ALL, COMM, Folder, HEARING, PROCESSES, SERIAL, THREADS, Test, Way, bash, command, run};
use crate::support::{LIMIT, start, wait};

pub const TESTS: &[Test] = &[
    ("what is no regular file is refused before any work", &[SERIAL, COMM], no_regular_file),
    ("a link is followed to what it means", &[SERIAL], links),
    ("an output that was made meanwhile is not replaced, and nothing is lost", &[SERIAL], made_meanwhile),
    ("an output in use is told to be in use, and is not destroyed", &[SERIAL, PROCESSES], in_use),
    ("a task that goes to another folder takes no file along", ALL, wandering),
    ("a file that grows beyond ulimit -f is an error that names the limit", &[SERIAL, PROCESSES], file_limit),
    ("a journal that holds nothing is no obstacle", &[SERIAL], empty_journal),
    ("what is no name of a file is refused before any work", &[SERIAL], no_names),
    ("a file that another run writes is not replaced", &[SERIAL], written_by_another),
    ("a full disk leaves nothing behind of a run that could not begin", &[SERIAL], full_at_the_start),
    ("a journal that is gone is no success of a run that has nothing else", &[SERIAL], gone_journal),
    ("more threads than a process can have are refused", &[THREADS, PROCESSES], many_threads),
    ("an export that fails leaves the file that was there", &[SERIAL], exports),
    ("an export that is ended by a signal leaves nothing behind", &[SERIAL], ended_export),
];

/// Between two looks at a folder.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until a journal or a lock says whose it is. It has been locked before.
#[track_caller]
pub fn wait_for_words(file: &str) {
    wait(LIMIT, PAUSE, file, || match fs::metadata(file) {
        Ok(data) if data.len() > 0 => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// Whatever is no file: its name, and what it is called.
pub fn odd_places(folder: &Folder) -> Vec<(String, &'static str)> {
    fs::create_dir(folder.path("folder")).unwrap();
    symlink("/dev/null", folder.path("link")).unwrap();
    drop(UnixListener::bind(folder.path("socket")).unwrap());
    vec![
        (folder.pipe("pipe"), "is a pipe"),
        (folder.file("folder"), "is a folder"),
        (folder.file("link"), "is a device"),
        (folder.file("socket"), "is a socket"),
        ("/dev/null".into(), "is a device"),
    ]
}

fn no_regular_file(way: &Way) {
    let folder = Folder::new();
    let kinds = |folder: &Folder| {
        let entry =
            |name: &String| format!("{:?}", fs::symlink_metadata(folder.path(name)).unwrap().file_type());
        folder.names().iter().map(entry).collect::<Vec<_>>()
    };
    let mut places = odd_places(&folder);
    // Launching takes its time.
    places.truncate(if way.1 > 0 { 1 } else { places.len() });
    let before = kinds(&folder);
    let out = folder.file("out.h5");
    for (place, what) in &places {
        for flags in [
            &["--output", place.as_str()][..],
            &["--output", place, "--force", "--no-journal"],
            &["--journal", place],
            &["--journal", place, "--force"],
            &["--journal", place, "--resume"],
            &["--events", place],
            &["--failed-from", place, "--output", &out],
        ] {
            let ended = run(way, &[&["talk", "--print", "worked"], flags].concat()).expect(2);
            assert!(
                ended.stderr.contains(what) && ended.stderr.contains(place.as_str()),
                "{flags:?}: {ended:?}"
            );
            assert!(!ended.stdout.contains("worked"), "{flags:?}: {ended:?}");
        }
        if *what != "is a folder" {
            let ended = run(way, &["talk", "--log-dir", place]).expect(2);
            assert!(ended.stderr.contains(what), "{ended:?}");
        }
        assert_eq!(kinds(&folder), before, "{place}");
    }
    let logs = folder.path("logs");
    fs::create_dir(&logs).unwrap();
    folder.pipe("logs/rank-1.log");
    let ended = run(way, &["talk", "--log-dir", logs.to_str().unwrap()]).expect(2);
    assert!(ended.stderr.contains("rank-1.log: is a pipe"), "{ended:?}");
    if way.1 > 0 {
        return;
    }
    run(way, &["talk", "--output", &out]).expect(0);
    for (place, what) in &places {
        for arguments in [
            &["export", &out, "--csv", "--to", place][..],
            &["export", &out, "--csv", "--to", place, "--force"],
            &["show", place],
            &["slurm", "--output-script", place, "--", "run", "talk"],
        ] {
            let ended = start(&mut command(way, arguments)).end().expect(2);
            assert!(ended.stderr.contains(what), "{arguments:?}: {ended:?}");
        }
    }
}

fn links(way: &Way) {
    let folder = Folder::new();
    fs::create_dir(folder.path("elsewhere")).unwrap();
    symlink("elsewhere/out.h5", folder.path("link.h5")).unwrap();
    let (link, real) = (folder.file("link.h5"), folder.file("elsewhere/out.h5"));
    let show = |file: &str| start(&mut command(way, &["show", file, "--json"])).end().expect(0).json();
    run(way, &["talk", "--n", "3", "--output", &link]).expect(0);
    assert_eq!(show(&real)["tasks"], 3, "a link to nothing: the file is where it points");
    let refused = run(way, &["talk", "--output", &link]).expect(2);
    assert!(refused.stderr.contains("exists already"), "{refused:?}");
    run(way, &["talk", "--n", "4", "--output", &link, "--force"]).expect(0);
    assert_eq!(show(&real)["tasks"], 4);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "the link stays");
    assert_eq!(folder.names(), ["elsewhere", "link.h5"]);
    assert_eq!(fs::read_dir(folder.path("elsewhere")).unwrap().count(), 1);
}

fn made_meanwhile(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let arguments = ["run", "talk", "--n", "30", "--sleep-ms", "50", "--no-journal", "--output", &out];
    let running = start(&mut command(way, &arguments));
    wait(LIMIT, PAUSE, "a partial file", || {
        let names = folder.names();
        if names.iter().any(|name| name.ends_with(".partial")) { Ok(()) } else { Err(format!("{names:?}")) }
    });
    fs::write(&out, "made by somebody else").unwrap();
    let ended = running.end().expect(70);
    assert_eq!(fs::read_to_string(&out).unwrap(), "made by somebody else");
    let partial = folder.names().into_iter().find(|name| name.ends_with(".partial")).unwrap();
    assert!(
        ended.stderr.contains(&partial) && ended.stderr.contains("what this one has made is complete"),
        "{ended:?}"
    );
    let kept = start(&mut command(way, &["show", &folder.file(&partial), "--json"])).end().expect(0).json();
    assert_eq!(kept["done"], 30);
}

fn in_use(way: &Way) {
    let folder = Folder::new();
    let (out, other) = (folder.file("out.h5"), folder.file("other.journal"));
    for mine in [&["--output", out.as_str()][..], &["--output", &out, "--no-journal"], &["--journal", &out]] {
        let slow = ["run", "talk", "--n", "900", "--sleep-ms", "60"];
        let running = start(&mut command(way, &[&slow[..], mine].concat()));
        wait_for_words(&if mine[0] == "--journal" { out.clone() } else { format!("{out}.lock") });
        let theirs: &[&[&str]] = if mine[0] == "--journal" {
            &[&["--journal", &out], &["--journal", &out, "--force"], &["--journal", &out, "--resume"]]
        } else {
            &[
                &["--output", &out],
                &["--output", &out, "--force"],
                &["--output", &out, "--resume"],
                &["--output", &out, "--journal", &other],
                &["--output", &out, "--no-journal", "--force"],
            ]
        };
        for flags in theirs {
            let refused = run(way, &[&["talk"], *flags].concat()).expect(2);
            let told = format!("is in use by process {}", running.pid());
            assert!(refused.stderr.contains(&told), "{flags:?}: {refused:?}");
            assert!(!refused.stderr.contains("--force"), "{flags:?}: {refused:?}");
        }
        running.signal(Signal::TERM);
        running.end().expect(75);
        folder.names().iter().for_each(|name| fs::remove_file(folder.path(name)).unwrap());
    }
}

fn wandering(way: &Way) {
    let (here, there) = (Folder::new(), Folder::new());
    let names = ["out.h5", "out.h5.journal", "events", "logs", "code"];
    let mut command = command(way, &["run", "wander", there.0.path().to_str().unwrap(), "--json"]);
    command.args(["--output", "out.h5", "--events", "events", "--log-dir", "logs"]);
    command.env("RANKPOOL_CODE_FILE", "code").env("RANKPOOL_LOG", "debug").current_dir(here.0.path());
    let report = start(&mut command).end().expect(1).json();
    assert_eq!(report["files"], serde_json::json!(["out.h5", "out.h5.journal"]), "as they were typed");
    assert_eq!(fs::read_to_string(here.path("code")).unwrap(), "1\n");
    let mut expected = names.map(str::to_string);
    expected.sort();
    assert_eq!(here.names(), expected);
    assert_eq!(there.names(), [""; 0]);
}

fn file_limit(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let limited = |flags: &[&str]| {
        let command = command(way, &[&["run", "bulky", "--output", &out], flags].concat());
        start(&mut bash(r#"ulimit -f 1000; exec "$@""#, &command)).end().expect(70)
    };
    for flags in [&["--no-journal"][..], &[]] {
        let ended = limited(flags);
        assert!(ended.stderr.contains("ulimit -f") && ended.stderr.contains("1024000 bytes"), "{ended:?}");
    }
    assert_eq!(folder.names(), ["out.h5.journal"]);
    let resumed = run(way, &["bulky", "--output", &out, "--resume", "--json"]).expect(0).json();
    assert_eq!(resumed["done"], 50);
    assert_eq!(folder.names(), ["out.h5"]);
}

fn empty_journal(way: &Way) {
    let folder = Folder::new();
    let (out, journal) = (folder.file("out.h5"), folder.file("out.h5.journal"));
    fs::write(&journal, "").unwrap();
    run(way, &["talk", "--output", &out]).expect(0);
    assert_eq!(folder.names(), ["out.h5"]);
    // One that holds outcomes is one.
    run(way, &["talk", "--output", &out, "--force", "--fail", "no"]).expect(1);
    assert!(Path::new(&journal).exists());
    fs::remove_file(&out).unwrap();
    assert!(run(way, &["talk", "--output", &out]).expect(2).stderr.contains("--resume goes on from it"));
}

fn exports(way: &Way) {
    let folder = Folder::new();
    let (out, csv) = (folder.file("out.h5"), folder.file("out.csv"));
    run(way, &["bulky", "--output", &out]).expect(0);
    fs::write(&csv, "precious").unwrap();
    let export = |line: &str, flags: &[&str]| {
        let arguments = [&["export", &out, "--csv", "--to", &csv], flags].concat();
        start(&mut bash(line, &command(way, &arguments))).end()
    };
    assert!(export(r#""$@""#, &[]).expect(2).stderr.contains("--force replaces it"));
    let full = export(r#"ulimit -f 100; exec "$@""#, &["--force"]).expect(70);
    assert!(full.stderr.contains("ulimit -f"), "{full:?}");
    assert_eq!(fs::read_to_string(&csv).unwrap(), "precious");
    export(r#""$@""#, &["--force"]).expect(0);
    assert!(fs::read_to_string(&csv).unwrap().starts_with("task,status,input,value"));
    start(&mut command(way, &["export", &out, "--csv", "--to", &out, "--force"])).end().expect(2);
    start(&mut command(way, &["show", &out])).end().expect(0);
    assert_eq!(folder.names(), ["out.csv", "out.h5"]);
}

fn no_names(way: &Way) {
    let folder = Folder::new();
    for (name, why) in [(String::new(), "an empty path names no file"), (folder.file("new/"), "of a folder")]
    {
        for flags in [
            &["--output", name.as_str()][..],
            &["--output", &name, "--force", "--no-journal"],
            &["--journal", &name],
            &["--events", &name],
        ] {
            let mut command = command(way, &[&["run", "talk", "--print", "worked"], flags].concat());
            let ended = start(command.current_dir(folder.path(""))).end().expect(2);
            assert!(ended.stderr.contains(why) && !ended.stdout.contains("worked"), "{flags:?}: {ended:?}");
            assert_eq!(folder.names(), [""; 0], "{flags:?}");
        }
        let script = ["slurm", "--output-script", name.as_str(), "--", "run", "talk"];
        let ended = start(&mut command(way, &script)).end().expect(2);
        assert!(ended.stderr.contains(why), "{ended:?}");
    }
    let out = folder.file("out.h5");
    run(way, &["talk", "--output", &out]).expect(0);
    start(&mut command(way, &["export", &out, "--csv", "--to", ""])).end().expect(2);
}

fn written_by_another(way: &Way) {
    let folder = Folder::new();
    let [journal, out, events, result] =
        ["journal", "out.h5", "events", "result.h5"].map(|name| folder.file(name));
    run(way, &["talk", "--output", &result]).expect(0);
    let slow = ["run", "talk", "--n", "900", "--sleep-ms", "60", "--journal", &journal, "--events", &events];
    let running = start(&mut command(way, &slow));
    wait_for_words(&journal);
    wait_for_words(&events);
    let in_use = "is in use by another process";
    for (arguments, told) in [
        (&["run", "talk", "--output", &journal, "--force"][..], in_use),
        (&["run", "talk", "--output", &events, "--force"], in_use),
        (&["run", "talk", "--output", &out, "--events", &journal], "holds something else than events"),
        (&["export", &result, "--csv", "--to", &journal, "--force"], in_use),
        (&["export", &result, "--csv", "--to", &events, "--force"], in_use),
    ] {
        let refused = start(&mut command(way, arguments)).end().expect(2);
        assert!(refused.stderr.contains(told), "{arguments:?}: {refused:?}");
        assert_eq!(folder.names(), ["events", "journal", "result.h5"], "{arguments:?}");
    }
    running.signal(Signal::TERM);
    running.end().expect(75);
    let resumed =
        ["talk", "--n", "900", "--sleep-ms", "60", "--only", "0-3", "--journal", &journal, "--resume"];
    run(way, &resumed).expect(0);
}

fn full_at_the_start(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    // No byte may be written, as on a full disk.
    // What a test says goes to a file, too, so it is handed on by somebody else.
    let line = r#"(ulimit -f 0; exec "$@") 2>&1 | cat; exit ${PIPESTATUS[0]}"#;
    let ended = start(&mut bash(line, &command(way, &["run", "talk", "--output", &out]))).end().expect(70);
    assert!(ended.stdout.contains("cannot be made") && ended.stdout.contains("`ulimit -f`"), "{ended:?}");
    assert_eq!(folder.names(), [""; 0]);
}

fn gone_journal(way: &Way) {
    let folder = Folder::new();
    let (out, journal) = (folder.file("out.h5"), folder.file("gone/journal"));
    for (flags, code) in
        [(&["--journal", journal.as_str()][..], 70), (&["--journal", &journal, "--output", &out], 0)]
    {
        fs::create_dir(folder.path("gone")).unwrap();
        let slow = ["run", "talk", "--n", "30", "--sleep-ms", "40"];
        let running = start(&mut command(way, &[&slow[..], flags].concat()));
        wait_for_words(&journal);
        fs::remove_dir_all(folder.path("gone")).unwrap();
        let ended = running.end().expect(code);
        assert_eq!(ended.stderr.contains("is not there any more"), code == 70, "{ended:?}");
    }
    start(&mut command(way, &["show", &out])).end().expect(0);
}

fn many_threads(way: &Way) {
    let flag = if way.0 == "threads" { "--workers" } else { "--threads-per-worker" };
    let ended = run(&(way.0, 0, &[]), &["talk", "--mode", way.0, flag, "4000000000"]).expect(2);
    assert!(ended.stderr.contains("4096 at most"), "{ended:?}");
}

fn ended_export(way: &Way) {
    let folder = Folder::new();
    let (out, csv) = (folder.file("out.h5"), folder.file("out.csv"));
    run(way, &["talk", "--n", "3000000", "--output", &out]).expect(0);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let export = command(way, &["export", &out, "--csv", "--to", &csv]);
        let running = start(&mut bash(HEARING, &export));
        wait(LIMIT, PAUSE, "a partial file", || {
            let partial = folder.names().into_iter().find(|name| name.ends_with(".partial"));
            let length =
                partial.and_then(|name| fs::metadata(folder.path(&name)).ok()).map(|data| data.len());
            if length > Some(0) { Ok(()) } else { Err(format!("{length:?}")) }
        });
        running.signal(signal);
        running.end().expect(128 + signal.as_raw());
        assert_eq!(folder.names(), ["out.h5"], "{signal:?}");
    }
}
