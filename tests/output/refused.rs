//! What a run can be refused for is refused before any work, and named.

use std::time::Duration;

use rustix::process::Signal;

use super::{ALL, COMM, Folder, PROCESSES, SERIAL, Test, Way, command, run};
use crate::support::{Ended, start};

pub const TESTS: &[Test] = &[
    ("rows that leave a field out are refused before any work", ALL, sparse_rows),
    ("rows that cannot be sent, or named in a file, are refused before any work", ALL, unsendable_rows),
    ("numbers that would be kept as null are refused by their names", ALL, null_parameters),
    ("a resumed run hears of a row that does not fit at that row", &[SERIAL, PROCESSES], uneven_rows),
    ("a variable that is wrong is named, and an empty one is none", &[SERIAL, COMM], wrong_variables),
    (
        "variables and log directives that nobody knows are told of",
        &[SERIAL, PROCESSES, COMM],
        unknown_variables,
    ),
];

fn sparse_rows(way: &Way) {
    let folder = Folder::new();
    let (out, traces) = (folder.file("out.h5"), folder.file("traces"));
    for flags in [&["--output", out.as_str()][..], &["--journal", &out], &[]] {
        let ended = run(way, &[&["sparse", "--traces", &traces], flags].concat()).expect(2);
        assert!(ended.stderr.contains("the field `maybe`"), "{ended:?}");
        assert!(ended.stderr.contains("skip_serializing_if"), "{ended:?}");
    }
    assert_eq!(folder.names(), [""; 0], "no task has run, and no file is left");
}

fn unsendable_rows(way: &Way) {
    let folder = Folder::new();
    let (out, traces) = (folder.file("out.h5"), folder.file("traces"));
    let ended = run(way, &["loose", "--traces", &traces]).expect(2);
    assert!(ended.stderr.contains("cannot be sent") && ended.stderr.contains("untagged"), "{ended:?}");
    let ended = run(way, &["nameless", "--traces", &traces, "--output", &out]).expect(2);
    assert!(ended.stderr.contains("a field cannot be named \"\""), "{ended:?}");
    assert_eq!(folder.names(), [""; 0], "no task has run, and no file is left");
}

fn null_parameters(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    for (flag, value, told) in [
        ("--radius", "nan", "radius: NaN is no finite number"),
        ("--radius=-inf", "", "radius: -inf is no finite number"),
        ("--points", "1,inf", "points.1: inf is no finite number"),
        ("--points", "1e300", "points.0: inf is no finite number"),
    ] {
        for files in [&[][..], &["--output", &out]] {
            let value = if value.is_empty() { &[][..] } else { &[value] };
            let ended = run(way, &[&["aim", flag], value, files].concat()).expect(2);
            assert!(ended.stderr.contains(told), "{ended:?}");
        }
    }
    assert_eq!(folder.names(), [""; 0]);
}

fn uneven_rows(way: &Way) {
    let folder = Folder::new();
    let (out, journal) = (folder.file("out.h5"), folder.file("out.h5.journal"));
    let arguments = ["uneven", "--output", &out];
    let told = |ended: &Ended| {
        assert!(ended.stderr.contains("the row of task 3 cannot be written: it has 3 values"), "{ended:?}");
        assert!(ended.took < Duration::from_secs(6), "at the row, and not after all: {ended:?}");
    };
    told(&run(way, &arguments).expect(70));
    // A run that goes on writes its file at its end.
    let running =
        start(&mut command(way, &[&["run"], &arguments[..], &["--force", "--only", "0-2,4-399"]].concat()));
    std::thread::sleep(Duration::from_millis(1200));
    running.signal(Signal::TERM);
    running.end().expect(75);
    assert!(std::path::Path::new(&journal).exists());
    told(&run(way, &[&arguments[..], &["--resume", "--chunk", "1"]].concat()).expect(70));
}

fn with(way: &Way, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let way = (way.0, way.1, &[][..]);
    start(command(&way, &[&["run"], arguments].concat()).envs(variables.iter().copied())).end()
}

fn wrong_variables(way: &Way) {
    for (name, value) in [
        ("RANKPOOL_WORKERS", "many"),
        ("RANKPOOL_WORKERS", "0"),
        ("RANKPOOL_MODE", "fast"),
        ("RANKPOOL_CHUNK", "0"),
        ("RANKPOOL_RETRY_DELAY", "soon"),
        ("RANKPOOL_MAX_FAILURES", "101%"),
        ("RANKPOOL_THREADS_PER_WORKER", "0"),
        ("RANKPOOL_LOG", "rankpool=loud"),
    ] {
        let ended = with(way, &[(name, value)], &["talk"]).expect(2);
        assert!(ended.stderr.contains(&format!("{name}={value}")), "{name}={value}: {ended:?}");
        let empty = with(way, &[(name, "")], &["talk", "--json"]).expect(0);
        assert!(!empty.stderr.contains(name), "{empty:?}");
        assert_eq!(empty.json()["done"], 6, "{name}");
    }
    with(way, &[("RANKPOOL_CODE_FILE", ""), ("RANKPOOL_LOG_DIR", "")], &["talk"]).expect(0);
}

fn unknown_variables(way: &Way) {
    let variables = [("RANKPOOL_WORKER", "4"), ("RANKPOOL_COLOUR", "red"), ("RANKPOOL_LOG", "warn,debgu")];
    let ended = with(way, &variables, &["talk"]).expect(0);
    let once = |text: &str| assert_eq!(ended.stderr.matches(text).count(), 1, "{text}: {ended:?}");
    once("nothing reads the variable RANKPOOL_WORKER; is RANKPOOL_WORKERS meant?");
    once("nothing reads the variable RANKPOOL_COLOUR\n");
    once("RANKPOOL_LOG: nothing is called debgu; is debug meant?");
    assert!(!with(way, &[("RANKPOOL_LOG", "info")], &["talk"]).stderr.contains("nothing"));
}
