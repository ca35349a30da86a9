//! What our own code costs, in instructions: of the user's thread, of the engine and of a worker, counted by callgrind.
//!
//! A count hardly depends on what else the machine does, as a time does. It is taken without MPI, so that it is ours
//! alone. The program runs on one CPU, where nobody spins while he waits. What still differs from run to run (who finds
//! the other waiting) is a few percent: the least of several runs is taken.

#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};
use support::{skipped, start};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const ANEW: &str = "RANKPOOL_WRITE_COUNTS=1 cargo test --test counts";

/// What is counted, and how often it is done in one run.
const WORK: [(&str, u64); 4] = [("task", 30_000), ("submit", 10_000), ("chunk", 300), ("block", 60)];

/// The threads, in the order in which they are started.
const THREADS: [&str; 3] = ["user", "engine", "worker"];

/// How far a count may be above the one that is kept, and where the program was built by another compiler.
const RISE: f64 = 1.05;
const RISE_ELSEWHERE: f64 = 1.25;

/// How far it may be where a thread waits for longer than it works: on a busy machine it looks for news more often.
const RISE_OF_WAITING: f64 = 1.3;
const WAITING: [(&str, &str); 3] = [("chunk", "engine"), ("block", "engine"), ("submit", "worker")];

/// How far it may be where the clock decides how many results leave together: a slower machine sends more messages.
const RISE_BY_THE_CLOCK: f64 = 1.15;
const BY_THE_CLOCK: [(&str, &str); 3] = [("task", "engine"), ("task", "worker"), ("submit", "user")];

/// How many runs the least is taken of before a rise is believed.
const RUNS: usize = 4;

const BUILD_LIMIT: Duration = Duration::from_secs(600);

/// Instructions for each time that the work is done, by work and thread.
type Counts = BTreeMap<String, BTreeMap<String, u64>>;

#[derive(Serialize, Deserialize)]
struct Kept {
    compiler: String,
    instructions: Counts,
}

/// With RANKPOOL_WRITE_COUNTS set, the counts are written anew instead.
#[test]
fn nothing_costs_five_percent_more_instructions_than_was_written_down() {
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|answer| answer.status.success()) {
        skipped("instructions are not counted: there is no valgrind; `./setup.sh tests` installs it");
        return;
    }
    let file = Path::new(ROOT).join("tests/counts/counts.json");
    let program = build();
    stay_on_one_cpu();
    let compiler = compiler();
    if std::env::var_os("RANKPOOL_WRITE_COUNTS").is_some() {
        let instructions = (1..RUNS).fold(count(&program), |least, _| least_of(least, count(&program)));
        let kept = Kept { compiler, instructions };
        fs::write(&file, serde_json::to_string_pretty(&kept).unwrap() + "\n").unwrap();
        return;
    }
    let kept: Kept = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let rise = if kept.compiler == compiler { RISE } else { RISE_ELSEWHERE };
    let mut counts = count(&program);
    for _ in 1..RUNS {
        if risen(&kept.instructions, &counts, rise).is_empty() {
            break;
        }
        counts = least_of(counts, count(&program));
    }
    println!("{}", table(&kept.instructions, &counts));
    let risen = risen(&kept.instructions, &counts, rise);
    assert!(
        risen.is_empty(),
        "more instructions than in {} (counted with {}, here {compiler}): {}\n{}\nif that is the price of something, \
         write them anew: {ANEW}",
        file.display(),
        kept.compiler,
        risen.join(", "),
        table(&kept.instructions, &counts),
    );
}

/// Builds the program as a user's, optimised, and without MPI.
fn build() -> PathBuf {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "[package]\nname = \"counted\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[dependencies]\n\
         rankpool = {{ path = {ROOT:?}, default-features = false }}\n[workspace]\n"
    );
    fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    fs::copy(Path::new(ROOT).join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::copy(Path::new(ROOT).join("tests/counts/program.rs"), folder.path().join("src/main.rs")).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("counted");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--offline", "--color", "never", "--manifest-path"]);
    cargo.arg(folder.path().join("Cargo.toml")).arg("--target-dir").arg(&target).env_remove("RUSTFLAGS");
    start(&mut cargo).end_within(BUILD_LIMIT).expect(0);
    target.join("release/counted")
}

fn compiler() -> String {
    let answer = Command::new("rustc").arg("-vV").output().unwrap();
    let answer = String::from_utf8(answer.stdout).unwrap();
    let line = |start: &str| answer.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default();
    format!("rustc {} on {}", line("release: "), line("host: "))
}

/// What this thread starts from here on has one CPU.
fn stay_on_one_cpu() {
    let allowed = sched_getaffinity(None).unwrap();
    let first = (0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).unwrap();
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).unwrap();
}

fn count(program: &Path) -> Counts {
    let idle = run(program, "start", 0);
    let of_work = |(work, times): (&str, u64)| {
        let busy = run(program, work, times);
        let threads = THREADS.iter().zip(busy.iter().zip(&idle));
        let each =
            threads.map(|(thread, (busy, idle))| (thread.to_string(), busy.saturating_sub(*idle) / times));
        (work.to_string(), each.collect())
    };
    WORK.map(of_work).into_iter().collect()
}

/// The instructions of each thread in one run.
fn run(program: &Path, work: &str, times: u64) -> [u64; 3] {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--fair-sched=try", "--separate-threads=yes"]);
    valgrind.arg(format!("--callgrind-out-file={}", out.display()));
    start(valgrind.arg(program).arg(work).arg(times.to_string())).end().expect(0);
    [1, 2, 3].map(|thread| {
        let profile = fs::read_to_string(format!("{}-0{thread}", out.display())).unwrap();
        let total = profile.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap();
        total.trim().parse().unwrap()
    })
}

fn least_of(one: Counts, mut other: Counts) -> Counts {
    for (work, threads) in one {
        for (thread, count) in threads {
            let least = other.entry(work.clone()).or_default().entry(thread).or_insert(count);
            *least = count.min(*least);
        }
    }
    other
}

/// Each count, with the one that was kept, if there is one.
fn pairs<'c>(
    kept: &'c Counts,
    counts: &'c Counts,
) -> impl Iterator<Item = (&'c str, &'c str, Option<u64>, u64)> {
    counts.iter().flat_map(move |(work, threads)| {
        threads.iter().map(move |(thread, count)| {
            let before = kept.get(work).and_then(|threads| threads.get(thread)).copied();
            (work.as_str(), thread.as_str(), before, *count)
        })
    })
}

/// What has risen too far, or is not written down.
fn risen(kept: &Counts, counts: &Counts, rise: f64) -> Vec<String> {
    pairs(kept, counts)
        .filter(|(work, thread, before, count)| {
            before.is_none_or(|before| *count as f64 > before as f64 * rise.max(allowed(work, thread)))
        })
        .map(|(work, thread, ..)| format!("{thread} of a {work}"))
        .collect()
}

/// How far the count of this thread may be above the one that is kept.
fn allowed(work: &str, thread: &str) -> f64 {
    match (work, thread) {
        which if WAITING.contains(&which) => RISE_OF_WAITING,
        which if BY_THE_CLOCK.contains(&which) => RISE_BY_THE_CLOCK,
        _ => RISE,
    }
}

fn table(kept: &Counts, counts: &Counts) -> String {
    let mut table =
        format!("{:8} {:8} {:>12} {:>12} {:>8}\n", "work", "thread", "written", "counted", "change");
    for (work, thread, before, count) in pairs(kept, counts) {
        let before = before.unwrap_or(0);
        let change = 100.0 * (count as f64 / before.max(1) as f64 - 1.0);
        table += &format!("{work:8} {thread:8} {before:12} {count:12} {change:+7.1}%\n");
    }
    table
}
