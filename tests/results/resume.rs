//! Runs that are interrupted, and go on.

use std::{
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use rustix::process::Signal;

use super::{COMM, Folder, LEADERS, POOL, SERIAL, Test, Way, assert_same, command, h5py, run, values};
use crate::support::{LIMIT, Running, signal_process, start, wait};

pub const TESTS: &[Test] = &[
    (
        "killed many times and resumed, the file is that of one run",
        &[SERIAL, COMM, POOL, LEADERS],
        many_kills,
    ),
    ("sessions in a chain lose nothing of each other", &[SERIAL], chained),
    ("a run that has ended is not run again", &[SERIAL, COMM, LEADERS], ended),
    ("a run stopped by a signal leaves all it knows", &[SERIAL, COMM, LEADERS], stopped),
    ("another run is refused, both values named", &[SERIAL, COMM], mismatch),
    ("a second run on one journal is refused and told who has it", &[SERIAL, COMM], in_use),
    ("failed tasks are run again only when asked", &[SERIAL, COMM, LEADERS], retry_failed),
    ("a damaged journal is told of, and its tasks run again", &[SERIAL], damaged),
    ("a journal alone keeps a run, too", &[SERIAL], journal_alone),
    ("show tells what a journal holds", &[SERIAL], shown),
];

/// The process of rank 0, once it has workers and runs.
#[track_caller]
pub fn rank_0(running: &mut Running) -> u32 {
    wait(LIMIT, Duration::from_millis(2), "rank 0", || {
        let told = running.stderr_so_far();
        match told.split("process ").nth(1).filter(|rest| rest.contains("workers")) {
            Some(rest) => Ok(rest.split_whitespace().next().unwrap().parse().unwrap()),
            None => Err(told),
        }
    })
}

fn begin(way: &Way, arguments: &[&str]) -> Running {
    let mut command = command(way, &[&["run"], arguments].concat());
    start(command.env("RANKPOOL_LOG", "info"))
}

/// Random numbers that differ from run to run; what was drawn is told when a test fails.
fn random() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

fn many_kills(way: &Way) {
    let folder = Folder::new();
    let [whole, out] = ["whole.h5", "out.h5"].map(|name| folder.file(name));
    let job = ["steady", "--n", "600", "--milliseconds", "8", "--seed", "4", "-o"];
    run(way, &[&job[..], &[&whole]].concat()).expect(0);
    let resumed = [&job[..], &[&out, "--resume"]].concat();
    let mut waits = Vec::new();
    // A sample, but where it costs little.
    let everything = std::env::var("RANKPOOL_TEST_KILLS").is_ok_and(|which| which == "all");
    let kills = if everything || way.1 == 0 { 20 } else { 8 };
    for _ in 0..kills {
        let mut running = begin(way, &resumed);
        let process = rank_0(&mut running);
        let wait = random() % 250_000;
        waits.push(wait);
        std::thread::sleep(Duration::from_micros(wait));
        signal_process(process, Signal::KILL);
        running.end();
    }
    let ended = run(way, &[&resumed[..], &["--json"]].concat());
    assert_eq!(ended.code, 0, "after waits of {waits:?} us: {ended:?}");
    let report = ended.json();
    assert!(report["resumed"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(folder.names(), ["out.h5", "whole.h5"], "after waits of {waits:?} us");
    assert_same(&h5py(&out), &h5py(&whole));
}

/// Sessions in a chain, of a job with a parameter that is hard to print: each knows what the others did.
fn chained(way: &Way) {
    for _ in 0..8 {
        let folder = Folder::new();
        let out = folder.file("out.h5");
        let factor = (random() as f64 / 3e17).to_string();
        let job = ["scaled", "--factor", &factor, "-o", &out, "--json", "--resume"];
        for (only, known) in [("0-9", 0), ("10-59", 10), ("60-69", 60), ("0-99", 70)] {
            let report = run(way, &[&job[..], &["--only", only]].concat()).expect(0).json();
            assert_eq!(report["resumed"], known, "factor {factor}");
        }
        assert_eq!(folder.names(), ["out.h5"]);
    }
}

fn ended(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let job = ["steady", "--n", "20", "--milliseconds", "1", "-o", &out, "--json"];
    let first = run(way, &job).expect(0).json();
    let before = std::fs::read(&out).unwrap();
    let resumed = [&job[..], &["--resume"]].concat();
    let again = run(way, &resumed).expect(0);
    assert!(again.stderr.contains("nothing is left to do"), "{again:?}");
    assert_eq!(again.json()["results_digest"], first["results_digest"]);
    assert_eq!(std::fs::read(&out).unwrap(), before, "the file is left as it was");
    let partial = folder.file("partial.h5");
    let some = ["steady", "--n", "20", "--milliseconds", "1", "-o", &partial, "--only", "0-9"];
    run(way, &[&some[..], &["--no-journal"]].concat()).expect(0);
    let refused =
        run(way, &["steady", "--n", "20", "--milliseconds", "1", "-o", &partial, "--resume"]).expect(2);
    assert!(refused.stderr.contains("10 of its tasks were not run"), "{refused:?}");
    let other = run(way, &[&resumed[..], &["--seed", "9"]].concat()).expect(2);
    assert!(other.stderr.contains("out.h5: it is of seed 0, and this run has seed 9"), "{other:?}");
    // Nothing to resume is no error: the first of a chain of jobs has nothing.
    let fresh = folder.file("fresh.h5");
    let report =
        run(way, &["steady", "--n", "20", "--milliseconds", "1", "-o", &fresh, "--resume", "--json"]);
    assert_eq!(report.expect(0).json()["results_digest"], first["results_digest"]);
}

fn stopped(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let job = ["steady", "--n", "400", "--milliseconds", "10", "--chunk", "1", "-o", &out];
    let mut running = begin(way, &job);
    let process = rank_0(&mut running);
    std::thread::sleep(Duration::from_millis(700));
    signal_process(process, Signal::TERM);
    let ended = running.end();
    assert_eq!(ended.code, 75, "{ended:?}");
    assert!(ended.stderr.contains("tasks are done; go on"), "{ended:?}");
    assert_eq!(folder.names().first().unwrap(), "out.h5.journal", "{:?}", folder.names());
    let report = run(way, &[&job[..], &["--resume", "--json"]].concat()).expect(0).json();
    let resumed = report["resumed"].as_u64().unwrap();
    assert!(resumed > 20, "of 700 ms work, {resumed} tasks were kept");
    assert_eq!(report["done"], 400);
    assert_eq!(folder.names(), ["out.h5"]);
    let shown = start(&mut command(way, &["show", &out, "--json"])).end().expect(0).json();
    let number = |name: &str| shown[name].as_f64().unwrap();
    assert!(number("earlier_chunks") >= resumed as f64 && number("earlier_busy_s") > 0.2, "{shown}");
    assert!(number("chunks") + number("earlier_chunks") >= 400.0, "{shown}");
    assert!(number("busy_s") <= 1.01 * number("wall_s") * number("slots"), "of this session alone: {shown}");
}

/// A journal that is not finished: the run's rank 0 was killed.
fn interrupted(way: &Way, job: &[&str]) {
    let mut running = begin(way, job);
    let process = rank_0(&mut running);
    std::thread::sleep(Duration::from_millis(1500));
    signal_process(process, Signal::KILL);
    running.end();
}

fn mismatch(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    interrupted(way, &["steady", "--n", "500", "-o", &out]);
    let journal = std::fs::read(folder.path("out.h5.journal")).unwrap();
    for (arguments, why) in [
        (&["plain", "--n", "500"][..], "it is of job steady, and this run has job plain"),
        (&["steady", "--n", "400"], "parameters {\"n\":500}, and this run has parameters {\"n\":400}"),
        (&["steady", "--n", "500", "--seed", "2"], "seed 0, and this run has seed 2"),
    ] {
        let refused = run(way, &[arguments, &["-o", &out, "--resume"]].concat()).expect(2);
        assert!(refused.stderr.contains(why) && refused.stderr.contains("--force"), "{refused:?}");
    }
    let refused = run(way, &["steady", "--n", "500", "-o", &out]).expect(2);
    assert!(refused.stderr.contains("--resume goes on from it, --force starts anew"), "{refused:?}");
    assert_eq!(std::fs::read(folder.path("out.h5.journal")).unwrap(), journal, "the journal is left alone");
    run(way, &["plain", "-o", &out, "--force"]).expect(0);
}

fn in_use(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let mut running = begin(way, &["steady", "--n", "1000", "-o", &out]);
    let process = rank_0(&mut running);
    std::thread::sleep(Duration::from_millis(200));
    for flag in ["--resume", "--force"] {
        let refused = run(&SERIAL, &["steady", "--n", "1000", "-o", &out, flag]).expect(2);
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let holder = format!("out.h5: is in use by process {process} on {host}");
        assert!(refused.stderr.contains(&holder), "{refused:?}");
    }
    signal_process(process, Signal::KILL);
    running.end();
}

fn retry_failed(way: &Way) {
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let mended = folder.file("mended");
    let job = ["trouble", "--bad", "3,7", "--unless", &mended, "-o", &out, "--json"];
    let resumed = [&job[..], &["--resume"]].concat();
    run(way, &job).expect(1);
    std::fs::write(&mended, "").unwrap();
    let report = run(way, &resumed).expect(1).json();
    assert_eq!([&report["failed"], &report["resumed"]], [2, 20]);
    let report = run(way, &[&resumed[..], &["--retry-failed"]].concat()).expect(0).json();
    assert_eq!([&report["done"], &report["failed"], &report["resumed"]], [20, 0, 18]);
    let file = h5py(&out);
    assert_eq!(values(&file, "status").as_array().unwrap().iter().filter(|status| **status != 0).count(), 0);
    assert_eq!(folder.names(), ["mended", "out.h5"]);
}

fn damaged(way: &Way) {
    let folder = Folder::new();
    let [whole, out] = ["whole.h5", "out.h5"].map(|name| folder.file(name));
    let job = ["steady", "--n", "500", "-o"];
    interrupted(way, &[&job[..], &[&out, "--chunk", "5"]].concat());
    let path = folder.path("out.h5.journal");
    let mut journal = std::fs::read(&path).unwrap();
    // Two thirds in, there are only records of results and of the trace.
    let at = journal.len() * 2 / 3;
    journal[at] ^= 1;
    std::fs::write(&path, &journal).unwrap();
    let ended = run(way, &[&job[..], &[&out, "--resume"]].concat()).expect(0);
    assert!(
        ended.stderr.contains("out.h5.journal: bytes ") && ended.stderr.contains(" are damaged"),
        "{ended:?}"
    );
    run(way, &[&job[..], &[&whole]].concat()).expect(0);
    assert_same(&h5py(&out), &h5py(&whole));
}

fn journal_alone(way: &Way) {
    let folder = Folder::new();
    let journal = folder.file("run.journal");
    let job = ["steady", "--n", "50", "--milliseconds", "1", "--journal", &journal, "--json"];
    let first = run(way, &job).expect(0).json();
    let again = run(way, &[&job[..], &["--resume"]].concat()).expect(0).json();
    assert_eq!(again["resumed"], 50);
    assert_eq!(again["summary"], first["summary"]);
    assert_eq!(again["results_digest"], first["results_digest"]);
}

fn shown(way: &Way) {
    let folder = Folder::new();
    let of_job = folder.file("run.journal");
    run(way, &["steady", "--n", "20", "--milliseconds", "0", "--journal", &of_job]).expect(0);
    let shown = start(&mut command(way, &["show", &of_job, "--json"])).end().expect(0).json();
    assert_eq!((&shown["of"]["job"], &shown["done_tasks"]), (&"steady".into(), &"0-19".into()), "{shown}");
    let refused = start(&mut command(way, &["export", &of_job, "--csv"])).end().expect(2);
    assert!(refused.stderr.contains("is a journal, and an export needs a result file"), "{refused:?}");
    let refused = start(&mut command(way, &["export", &of_job])).end().expect(2);
    assert!(refused.stderr.contains("--csv|--jsonl|--npy|--parquet"), "{refused:?}");
    let of_map = folder.file("map.journal");
    let pool = rankpool::Executor::builder().mode(rankpool::Mode::Serial).start().unwrap();
    let odd = |n: u64| if n == 3 { Err("it is odd") } else { Ok(n as f64) };
    let outcomes = pool.try_call(odd).label("sweep").seed(8).journal(&of_map).outcomes(0..5).unwrap();
    assert!(outcomes[3].is_err());
    let ended = start(&mut command(way, &["show", &of_map])).end().expect(0);
    for told in [
        "a journal: a map with the label \"sweep\", of items of type u64 and values of type f64",
        "seed             8",
        "tasks            5",
        "done             4 (0-2,4)",
        "failed           1 (3)",
        "now              4 of 5 done, 1 failed, nobody works at it",
        "task 3 attempt 1 on rank 0",
        "it is odd",
    ] {
        assert!(ended.stdout.contains(told), "{told}: {ended:?}");
    }
    let refused = start(&mut command(way, &["export", &of_map, "--csv"])).end().expect(2);
    assert!(refused.stderr.contains("the program whose map it is of has the results"), "{refused:?}");
    // A job does not go on from it.
    let refused = run(way, &["steady", "--n", "5", "--journal", &of_map, "--resume"]).expect(2);
    assert!(
        refused
            .stderr
            .contains("it is of a map with the label \"sweep\", and this is a run of the job steady")
    );
}
