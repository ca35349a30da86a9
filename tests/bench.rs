//! `rankpool bench`: what it measures in each mode, and what it refuses.

mod support;

use std::{
    fs,
    process::Command,
    sync::{Mutex, PoisonError},
};

use serde_json::Value;
use support::{Ended, LIMIT, start};

const RANKPOOL: &str = env!("CARGO_BIN_EXE_rankpool");

/// What every mode tells.
const FIGURES: [&str; 19] = [
    "start",
    "chunk_1",
    "chunk_auto",
    "submit_p50",
    "submit_p99",
    "idle_submit_p50",
    "idle_submit_p99",
    "idle_cpu_rank_0",
    "idle_cpu_worker",
    "burst",
    "block_1KiB",
    "block_64KiB",
    "block_1MiB",
    "block_64MiB",
    "naps_utilisation",
    "naps_cpu_rank_0",
    "naps_cpu_worker",
    "job",
    "job_with_journal",
];

/// What has bare messages beside it, over MPI.
const BESIDE: [&str; 13] = [
    "frame_p50",
    "frame_p99",
    "frame_1KiB",
    "frame_64KiB",
    "frame_1MiB",
    "frame_64MiB",
    "chunk_1",
    "submit_p50",
    "submit_p99",
    "block_1KiB",
    "block_64KiB",
    "block_1MiB",
    "block_64MiB",
];

fn bench(ranks: u32, arguments: &[&str]) -> Ended {
    // Ranks that poll for one another want the cores.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let mut command: Command = support::under(ranks, &[], RANKPOOL);
    command.arg("bench").args(arguments).args(["--folder", folder.path().to_str().unwrap()]);
    let ended = start(&mut command).end_within(2 * LIMIT);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the journal is gone");
    ended
}

fn report(ranks: u32, flags: &[&str]) -> Value {
    let report = bench(ranks, &[&["--quick", "--json"], flags].concat()).expect(0).json();
    assert_eq!(report["quick"], true);
    for name in FIGURES {
        let value = report["figures"][name]["value"].as_f64();
        assert!(value.is_some_and(|value| value.is_finite() && value >= 0.0), "{name}: {report}");
    }
    report
}

fn is_without_messages(report: &Value) {
    assert_eq!(report["mpi"], Value::Null);
    for (name, figure) in report["figures"].as_object().unwrap() {
        assert!(
            !name.starts_with("frame") && figure["bare"].is_null() && figure["ratio"].is_null(),
            "{name}: {report}"
        );
    }
}

#[test]
fn without_mpi_there_are_figures_and_no_bare_messages() {
    let report = report(0, &["--mode", "serial"]);
    assert_eq!((&report["mode"], &report["workers"]), (&"serial".into(), &1.into()));
    is_without_messages(&report);
}

#[test]
fn workers_are_chosen_as_for_a_run() {
    let report = report(0, &["--mode", "threads", "--workers", "2"]);
    assert_eq!((&report["mode"], &report["workers"]), (&"threads".into(), &2.into()));
    is_without_messages(&report);
}

#[test]
fn workers_that_are_processes_are_measured_too() {
    let report = report(0, &["--mode", "processes", "--workers", "1"]);
    assert_eq!((&report["mode"], &report["workers"]), (&"processes".into(), &1.into()));
    is_without_messages(&report);
}

fn stands_beside_messages(report: &Value) {
    assert!(report["mpi"].as_str().is_some_and(|library| !library.is_empty()), "{report}");
    for name in BESIDE {
        let figure = &report["figures"][name];
        let number =
            |field: &str| figure[field].as_f64().unwrap_or_else(|| panic!("{name}, {field}: {report}"));
        let ratio = match figure["unit"].as_str() {
            Some("us") => number("bare") / number("value"),
            _ => number("value") / number("bare"),
        };
        assert!((ratio / number("ratio") - 1.0).abs() < 1e-9, "{name}: {report}");
    }
}

#[test]
fn the_ranks_of_a_launch_are_measured_beside_bare_messages() {
    let report = report(2, &[]);
    assert_eq!((&report["mode"], &report["workers"]), (&"comm".into(), &1.into()));
    stands_beside_messages(&report);
}

#[test]
fn of_several_workers_all_take_part() {
    let report = report(3, &[]);
    assert_eq!(report["workers"], 2);
    stands_beside_messages(&report);
}

#[test]
fn spawned_workers_are_measured_beside_bare_messages() {
    let report = report(1, &["--mode", "pool", "--workers", "1", "--oversubscribe"]);
    assert_eq!((&report["mode"], &report["workers"]), (&"pool".into(), &1.into()));
    stands_beside_messages(&report);
}

#[test]
fn a_table_for_people_says_what_there_is_to_compare_with() {
    let table = bench(2, &["--quick"]).expect(0).stdout;
    assert!(table.contains("bare MPI") && table.contains("ratio"), "{table}");
    let table = bench(0, &["--quick", "--mode", "serial"]).expect(0).stdout;
    assert!(table.contains("tasks, one in a chunk") && !table.contains("ratio\n"), "{table}");
    assert!(table.contains("there are no bare messages to compare with"), "{table}");
}

#[test]
fn bad_words_are_refused_before_anything_is_measured() {
    let refused = |ranks, arguments: &[&str], word: &str| {
        let ended = start(support::under(ranks, &[], RANKPOOL).arg("bench").args(arguments)).end();
        // Under a launcher its code is that of the first rank that ends with one.
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.matches(word).count(), 1, "{arguments:?}: {}", ended.stderr);
    };
    refused(0, &["--mode", "fast"], "\"fast\" is no mode");
    refused(0, &["--chunk", "1"], "unexpected argument '--chunk'");
    refused(0, &["squares"], "unexpected argument 'squares'");
    refused(0, &["--workers", "3", "--mode", "serial"], "the one serial rank");
    refused(0, &["--folder", "/no/such/folder"], "there is no such folder");
    refused(2, &["--folder", "/no/such/folder"], "there is no such folder");
}
