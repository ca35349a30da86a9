//! Failures as data: counted, tried again, limited, and run again on their own.

use std::time::Duration;

use serde_json::{Value, json};

use super::{COMM, Folder, LEADERS, POOL, PROCESSES, SERIAL, Test, Way, assert_same, h5py, run, values};

pub const TESTS: &[Test] = &[
    ("every way to fail is a status and rows of errors", &[PROCESSES, LEADERS], every_way),
    ("attempts are taken down one by one", &[SERIAL, COMM, POOL, LEADERS], attempts),
    (
        "a failed task waits before it is tried again, longer each time, and nobody waits with it",
        &[SERIAL, COMM],
        delays,
    ),
    (
        "more failures than are allowed end the run, and the rest was not run",
        &[SERIAL, COMM, LEADERS],
        max_failures,
    ),
    ("a failure does not wait for the tasks before it", &[PROCESSES, LEADERS], failures_do_not_wait),
    (
        "an item that cannot be sent has failed, in the file and in the journal",
        &[SERIAL, COMM, LEADERS],
        unsendable,
    ),
    ("the first failures are told, and all are counted by message", &[SERIAL], told),
    ("chosen tasks are run alone, as they would be among all", &[SERIAL, COMM], only),
    ("the failed tasks of an earlier run are run again and merged", &[SERIAL, COMM, LEADERS], failed_from),
];

fn every_way(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let flags = ["--bad", "2", "--stuck", "5", "--deadly", "7", "--task-timeout", "500ms", "--chunk", "1"];
    let ended = run(way, &[&["trouble", "--n", "12", "-o", &out], &flags[..]].concat()).expect(1);
    assert!(ended.stderr.contains("9 tasks ok, 3 failed"), "{ended:?}");
    let file = h5py(&out);
    assert_eq!(*values(&file, "status"), json!([0, 0, 1, 0, 0, 2, 0, 3, 0, 0, 0, 0]));
    let results = values(&file, "results").as_array().unwrap();
    assert_eq!((&results[8], &results[5]), (&2.0.into(), &"nan".into()));
    assert_eq!(file["data"]["results"]["attributes"]["units"], "mV");
    let errors = values(&file, "errors").as_array().unwrap();
    let kinds: Vec<_> = errors.iter().map(|row| (&row["task"], row["kind"].as_str().unwrap())).collect();
    assert_eq!(kinds, [(&2.into(), "failed"), (&5.into(), "timed out"), (&7.into(), "was quarantined")]);
    // Rank 0 leads children, too.
    let lowest = if way.0 == LEADERS.0 { 0 } else { 1 };
    assert!(errors.iter().all(|row| row["rank"].as_i64().unwrap() >= lowest && row["host"] != ""));
}

fn attempts(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let flags = ["--bad", "2", "--flaky", "4,9", "--retries", "2", "--json"];
    let report = run(way, &[&["trouble", "-o", &out], &flags[..]].concat()).expect(1).json();
    assert_eq!([&report["done"], &report["failed"], &report["retried"]], [19, 1, 4]);
    let file = h5py(&out);
    let rows = values(&file, "errors").as_array().unwrap();
    let rows: Vec<_> = rows.iter().map(|row| json!([row["task"], row["attempt"], row["message"]])).collect();
    let (bad, flaky) = ("bad on purpose", "flaky on purpose");
    assert_eq!(
        Value::from(rows),
        json!([[2, 1, bad], [2, 2, bad], [2, 3, bad], [4, 1, flaky], [9, 1, flaky]])
    );
}

fn delays(way: &Way) {
    let ended =
        run(way, &["trouble", "--bad", "2", "--retries", "3", "--retry-delay", "200ms", "--json"]).expect(1);
    // 200, 400 and 800 ms; the other 19 tasks are done in between.
    assert!(ended.took > Duration::from_millis(1400), "{ended:?}");
    let report = ended.json();
    assert!((1.4..4.0).contains(&report["wall_s"].as_f64().unwrap()), "{report}");
    assert_eq!(report["retried"], 3);
    let quick = run(way, &["trouble", "--flaky", "2", "--retries", "3", "--json"]).expect(0).json();
    assert!(quick["wall_s"].as_f64().unwrap() < 1.0, "{quick}");
}

fn max_failures(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let bad: Vec<String> = (100..200).map(|k| k.to_string()).collect();
    let bad = bad.join(",");
    let job = ["trouble", "--n", "2000", "--bad", &bad, "--chunk", "1", "-o", &out, "--json"];
    let ended = run(way, &[&job[..], &["--max-failures", "10"]].concat()).expect(1);
    assert!(ended.stderr.contains("11 tasks have failed, more than --max-failures allows"), "{ended:?}");
    let report = ended.json();
    assert!(report["not_run"].as_u64().unwrap() > 1000, "{report}");
    let file = h5py(&out);
    let statuses = values(&file, "status").as_array().unwrap();
    assert_eq!(statuses.len(), 2000);
    assert_eq!((&statuses[0], &statuses[1999]), (&0.into(), &4.into()));
    assert_eq!(folder.names(), ["out.h5", "out.h5.journal"], "the rest can still be run");
    let report = run(way, &[&job[..], &["--resume"]].concat()).expect(1).json();
    assert_eq!([&report["done"], &report["failed"], &report["not_run"]], [1900, 100, 0]);
    // 100 of 2000 are 5%.
    let again = [&job[..], &["--force"]].concat();
    let enough = run(way, &[&again[..], &["--max-failures", "5%"]].concat()).expect(1).json();
    assert_eq!(enough["failed"], 100);
    let stopped = run(way, &[&again[..], &["--max-failures", "4.9%"]].concat()).expect(1).json();
    assert!(stopped["not_run"].as_u64().unwrap() > 0, "{stopped}");
}

/// A failure is heard of at once, though a task before it has not ended.
fn failures_do_not_wait(way: &Way) {
    let folder = Folder::new();
    let bad: Vec<String> = (1..100).map(|k| k.to_string()).collect();
    let flags = ["--stuck", "0", "--bad", &bad.join(","), "--max-failures", "10", "--chunk", "1"];
    let ended = run(way, &[&["trouble", "--n", "100", "-o", &folder.file("out.h5")], &flags[..]].concat());
    assert!(
        ended.stderr.contains("11 tasks have failed") && ended.took < Duration::from_secs(20),
        "{ended:?}"
    );
}

fn unsendable(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let job = ["unsendable", "-o", &out];
    run(way, &job).expect(1);
    // What was sent in the item's place would have ended well.
    for again in 0..2 {
        let file = h5py(&out);
        assert_eq!(*values(&file, "status"), json!([0, 0, 1, 0, 0]), "resumed {again} times");
        assert!(values(&file, "errors")[0]["message"].as_str().unwrap().contains("too shy"), "{file}");
        run(way, &[&job[..], &["--resume"]].concat()).expect(1);
    }
}

fn told(way: &Way) {
    let bad: Vec<String> = (0..40).map(|k| k.to_string()).collect();
    let ended = run(way, &["trouble", "--n", "60", "--bad", &bad.join(","), "--flaky", "41,45"]).expect(1);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(
        lines[0].contains("trouble: task 0 failed on rank 0") && lines[0].ends_with("bad on purpose"),
        "{ended:?}"
    );
    assert_eq!(lines.iter().filter(|line| line.contains("failed on rank")).count(), 5);
    for part in [
        "trouble: 18 tasks ok, 42 failed in ",
        "utilisation ",
        "slowest task ",
        "40 failed (task 0, 1, 2, 3, 4, ...): bad on purpose",
        "2 failed (task 41, 45): flaky on purpose",
    ] {
        assert!(ended.stderr.contains(part), "{part:?} is not in {ended:?}");
    }
}

fn only(way: &Way) {
    let folder = Folder::new();
    let [all, some] = ["all.h5", "some.h5"].map(|name| folder.file(name));
    let job = ["steady", "--n", "70", "--milliseconds", "0"];
    run(way, &[&job[..], &["-o", &all]].concat()).expect(0);
    let flags = ["--only", "3,17,40-60", "-o", &some, "--json"];
    let report = run(way, &[&job[..], &flags].concat()).expect(0).json();
    assert_eq!([&report["tasks"], &report["done"], &report["not_run"]], [70, 23, 47]);
    let (whole, part) = (h5py(&all), h5py(&some));
    for task in 0..70 {
        let wanted = matches!(task, 3 | 17 | 40..=60);
        assert_eq!(values(&part, "status")[task], if wanted { 0 } else { 4 });
        let expected = if wanted { values(&whole, "results/0")[task].clone() } else { 0.into() };
        assert_eq!(values(&part, "results/0")[task], expected, "task {task}");
    }
    // The rest, from the journal that was kept.
    run(way, &[&job[..], &["-o", &some, "--resume"]].concat()).expect(0);
    assert_same(&h5py(&some), &whole);
}

fn failed_from(way: &Way) {
    let folder = Folder::new();
    let [first, second, clean] = ["first.h5", "second.h5", "clean.h5"].map(|name| folder.file(name));
    let mended = folder.file("mended");
    let job = ["trouble", "--n", "50", "--bad", "3,20,49", "--unless", &mended];
    run(way, &[&job[..], &["-o", &first]].concat()).expect(1);
    let before = std::fs::read(&first).unwrap();
    std::fs::write(&mended, "").unwrap();
    let flags = ["--failed-from", &first, "-o", &second, "--json"];
    let report = run(way, &[&job[..], &flags].concat()).expect(0).json();
    assert_eq!([&report["done"], &report["failed"], &report["resumed"]], [50, 0, 47]);
    run(way, &[&job[..], &["-o", &clean]].concat()).expect(0);
    assert_same(&h5py(&second), &h5py(&clean));
    assert_eq!(std::fs::read(&first).unwrap(), before, "the earlier file is left alone");
    let trace = h5py(&second);
    let ran: u64 =
        values(&trace, "trace").as_array().unwrap().iter().map(|row| row["count"].as_u64().unwrap()).sum();
    assert_eq!(ran, 3, "only the failed ones were run");
    let other = ["trouble", "--n", "51", "--failed-from", &first, "-o", &folder.file("other.h5")];
    let refused = run(way, &other).expect(2);
    assert!(refused.stderr.contains("first.h5: it is of parameters"), "{refused:?}");
}
