//! How runs end, and what they survive: kills, panics, stuck tasks, large values, long streams.
//!
//! Like `behaviours`, the program is its own fixture: `inside SCENARIO MODE` runs one scenario.

mod frozen;
mod inside;
mod lasting;
mod leaders;
mod programs;
mod sessions;
mod strangers;
#[path = "../support/mod.rs"]
mod support;

use std::{
    process::{Command, ExitCode},
    time::Duration,
};

use libtest_mimic::Trial;
use rankpool::Mode;
use rustix::process::Signal;
use support::{Ended, LIMIT, Running, program, start, under};

/// The scenario in a mode: without a launcher, or with ranks enough for `workers`.
fn command(scenario: &str, mode: Mode, workers: u32) -> Command {
    let world = match mode {
        Mode::Comm => workers + 1,
        Mode::Pool => 1,
        _ => 0,
    };
    let mut command = under(world, support::stack().survive().unwrap_or_default(), &program());
    command.args(["inside", scenario, &mode.to_string(), &workers.to_string()]);
    command
}

/// The same for a scenario that loses workers; `None`, and a word, where the launcher ends the run for it.
#[track_caller]
fn losing(scenario: &str, mode: Mode, workers: u32) -> Option<Command> {
    if matches!(mode, Mode::Comm | Mode::Pool) {
        support::survive()?;
    }
    Some(command(scenario, mode, workers))
}

fn run(scenario: &str, mode: Mode, workers: u32) -> Ended {
    start(&mut command(scenario, mode, workers)).end_within(2 * LIMIT)
}

type Test = fn(Mode);

/// Tests, and the modes each is for.
const TESTS: &[(&str, &[Mode], Test)] = {
    use Mode::{Comm, Pool, Processes, Serial, Threads};
    const EVERYWHERE: &[Mode] = &[Serial, Threads, Processes, Comm, Pool];
    const PROCESSES: &[Mode] = &[Processes, Comm, Pool];
    &[
        ("a panic in main ends every worker", EVERYWHERE, panic_in_main),
        ("an error in main ends every worker with a code", EVERYWHERE, error_in_main),
        (
            "an error of the body is said once, and its code is the program's",
            &[Threads, Processes, Comm],
            ended_by_main,
        ),
        ("a program that ends by an exit code of its own keeps it", EVERYWHERE, own_code),
        ("dropping waits for what was submitted", EVERYWHERE, drop_waits),
        ("shutdown_now cancels what has not started", EVERYWHERE, shutdown_now),
        ("a worker that dies costs nothing but time", PROCESSES, worker_dies),
        ("a worker in the place of one that died gets the scattered values", PROCESSES, scattered_again),
        ("a task that kills its workers is quarantined and the rest is done", PROCESSES, deadly_task),
        ("a stuck task times out within a second and the others go on", PROCESSES, stuck_task),
        ("workers end when rank 0 is killed", PROCESSES, rank_0_dies),
        ("numerical libraries are told how many threads to use", PROCESSES, library_threads),
        ("spawned workers have the environment and the folder of rank 0", &[Pool], surroundings),
        ("an executor inside a task is local, and other modes are the task's error", EVERYWHERE, nested),
        ("a 3 GiB item and a 3 GiB result go through", &[Comm, Pool], huge),
        ("a burst of pending tasks gives its memory back", &[Threads, Processes], burst),
        ("a hundred million tasks stream through a bounded window", &[Threads, Comm], long_stream),
    ]
};

/// Says what a scenario has ended with, and ends the program if that is an error.
fn told(ended: Result<(), rankpool::Error>) {
    if let Err(error) = ended {
        eprintln!("error: {error}");
        std::process::exit(error.exit_code().into());
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == "inside") {
        let (scenario, mode) = (&arguments[2], arguments[3].parse().expect("a mode"));
        let workers = arguments[4].parse().expect("workers");
        if scenario == "ended_by_main" {
            return inside::ended_by_main(mode, workers);
        }
        if leaders::inside(scenario) {
            return ExitCode::SUCCESS;
        }
        let elsewhere =
            [frozen::inside, lasting::inside, programs::inside, sessions::inside, strangers::inside];
        if !elsewhere.iter().any(|inside| inside(scenario, mode, workers)) {
            inside::run(scenario, mode, workers);
        }
        return ExitCode::SUCCESS;
    }
    let mut trials = Vec::new();
    let elsewhere = [frozen::TESTS, lasting::TESTS, programs::TESTS, sessions::TESTS];
    for (name, modes, test) in TESTS.iter().chain(elsewhere.into_iter().flatten()) {
        for mode in *modes {
            trials.push(Trial::test(format!("{mode}: {name}"), || support::caught(|| test(*mode))));
        }
    }
    trials.push(Trial::test("comm: a worker of another build is refused by name", || {
        support::caught(another_build)
    }));
    trials.push(Trial::test("comm: without recovery a stuck task costs its time only", || {
        support::caught(stuck_for_good)
    }));
    for (name, test) in frozen::WITHOUT_RECOVERY {
        trials.push(Trial::test(format!("comm without recovery: {name}"), move || support::caught(test)));
    }
    for (name, test) in leaders::TESTS {
        trials.push(Trial::test(format!("leaders: {name}"), move || support::caught(test)));
    }
    for (name, test) in strangers::TESTS {
        trials.push(Trial::test(format!("strangers: {name}"), move || support::caught(test)));
    }
    support::one_by_one(trials)
}

/// The process of rank 0, once its scenario tells of it.
#[track_caller]
fn rank_0(running: &mut Running) -> u32 {
    let out = running.wait_for(" now\n");
    let told = out.split("rank 0 is ").nth(1).and_then(|rest| rest.split(' ').next());
    told.expect("a process").parse().expect("a number")
}

/// How long after the line `marker` the process ended.
fn since(mut running: Running, marker: &str, then: impl FnOnce(&Running)) -> (Duration, Ended) {
    running.wait_for(marker);
    let began = std::time::Instant::now();
    then(&running);
    let ended = running.end();
    (began.elapsed(), ended)
}

fn panic_in_main(mode: Mode) {
    let (took, ended) = since(start(&mut command("panic_in_main", mode, 2)), "about to panic", |_| {});
    assert!(ended.code != 0, "{ended:?}");
    assert!(ended.stderr.contains("the user's main panics"), "{ended:?}");
    assert!(took < Duration::from_secs(3), "{took:?} to end");
}

fn error_in_main(mode: Mode) {
    let ended = run("error_in_main", mode, 2);
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("task 4 panicked"), "{ended:?}");
}

fn ended_by_main(mode: Mode) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let ended =
        start(command("ended_by_main", mode, 2).env("RANKPOOL_CODE_FILE", file.path())).end().expect(1);
    assert_eq!(ended.stderr.matches("error: task 4 panicked").count(), 1, "{ended:?}");
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "1\n");
    if mode != Mode::Comm {
        let refused = run("ended_by_main", mode, 0).expect(2);
        assert!(refused.stderr.contains("error: 0 workers cannot run anything"), "{refused:?}");
    }
}

fn own_code(mode: Mode) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = command("own_code", mode, 2);
    let ended = start(command.env("RANKPOOL_CODE_FILE", file.path())).end();
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "3\n", "{ended:?}");
    if matches!(mode, Mode::Comm | Mode::Pool) {
        assert_ne!(ended.code, 0, "{ended:?}");
    } else {
        ended.expect(3);
    }
}

fn drop_waits(mode: Mode) {
    let ended = run("drop_waits", mode, 2).expect(0);
    assert!(ended.stdout.contains("all 50 have ended"), "{ended:?}");
}

fn shutdown_now(mode: Mode) {
    let ended = run("shutdown_now", mode, 2).expect(0);
    assert!(ended.stdout.contains("some ran, the rest was cancelled"), "{ended:?}");
}

fn worker_dies(mode: Mode) {
    let Some(mut command) = losing("worker_dies", mode, 2) else { return };
    let ended = start(&mut command).end_within(2 * LIMIT).expect(0);
    assert!(ended.stdout.contains("200 results, 1 worker lost"), "{ended:?}");
}

fn scattered_again(mode: Mode) {
    let Some(mut command) = losing("scattered_again", mode, 2) else { return };
    let ended = start(&mut command).end_within(2 * LIMIT).expect(0);
    assert!(ended.stdout.contains("all workers have read it, 1 lost"), "{ended:?}");
}

fn deadly_task(mode: Mode) {
    // Three workers die of it; comm cannot replace them.
    let Some(mut command) = losing("deadly_task", mode, 4) else { return };
    let ended = start(&mut command).end_within(2 * LIMIT).expect(0);
    assert!(ended.stdout.contains("task 11 was quarantined, 39 others are done"), "{ended:?}");
}

fn stuck_task(mode: Mode) {
    let ended = run("stuck_task", mode, 2).expect(0);
    assert!(ended.stdout.contains("task 3 timed out, 19 others are done"), "{ended:?}");
}

fn rank_0_dies(mode: Mode) {
    let mut running = start(&mut command("wait_for_ever", mode, 2));
    support::signal_process(rank_0(&mut running), Signal::KILL);
    running.end_within(LIMIT); // Fails when a worker is left two seconds later.
}

fn library_threads(mode: Mode) {
    let ended = start(command("library_threads", mode, 2).env("MKL_NUM_THREADS", "77")).end();
    assert!(ended.expect(0).stdout.contains("told"));
}

fn surroundings(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    // The launcher itself has none of it.
    let shell = format!(
        "cd {} && SEEN_BY_WORKERS='a value' exec {} inside surroundings {mode} 1",
        folder.path().display(),
        program()
    );
    let ended = start(support::mpiexec(&["-n", "1", "sh", "-c"]).arg(&shell)).end().expect(0);
    let expected = format!("a worker sees a value in {}, and a rank of its own", folder.path().display());
    assert!(ended.stdout.contains(&expected), "{ended:?}");
}

fn nested(mode: Mode) {
    let ended = run("nested", mode, 2).expect(0);
    assert!(ended.stdout.contains("executors inside tasks, and no worker lost"), "{ended:?}");
}

fn huge(mode: Mode) {
    let ended = start(&mut command("huge", mode, 1)).end_within(Duration::from_secs(240)).expect(0);
    assert!(ended.stdout.contains("3 GiB there and 3 GiB back"), "{ended:?}");
}

fn burst(mode: Mode) {
    let ended = run("burst", mode, 2).expect(0);
    assert!(ended.stdout.contains("the memory is back"), "{ended:?}");
}

fn long_stream(mode: Mode) {
    let ended = start(&mut command("long_stream", mode, 1)).end_within(Duration::from_secs(240)).expect(0);
    let kilobytes: u64 =
        ended.stdout.split("peak ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(kilobytes < 200_000, "rank 0 held {kilobytes} kB");
}

/// A program of another build in the same world.
fn another_build() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("another");
    let builds = support::another_build(program().as_ref(), &copy);
    let arguments = ["inside", "error_in_main", "comm", "1"];
    let mut command = support::mpiexec(&["-n", "1", &program()]);
    command.args(arguments).args([":", "-n", "1"]).arg(&copy).args(arguments);
    let ended = start(&mut command).end();
    assert_ne!(ended.code, 0, "{ended:?}");
    for build in builds {
        assert!(ended.stderr.contains(&build), "build {build} is not named: {ended:?}");
    }
}

/// An mpiexec that ends the run when a worker dies: a stuck worker is left alone until the end.
fn stuck_for_good() {
    let mut command = under(3, &[], &program());
    command.args(["inside", "stuck_task", "comm", "2"]);
    let ended = start(&mut command).end().expect(0);
    assert!(ended.stdout.contains("task 3 timed out, 19 others are done"), "{ended:?}");
}
