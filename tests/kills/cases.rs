//! A case of the table: a run, a death, and what is to be found afterwards.

use std::{
    path::Path,
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    deaths,
    job::Plan,
    support::{
        self, Ended, Running, Stack, program, stack, start, under, wait,
        ways::{Folder, SERIAL},
    },
    table::{Case, Moment, Outcome, Who},
    victims::victim,
};

/// How soon all processes are to be gone when a run ends by a death.
const SOON: Duration = Duration::from_secs(10);

/// Tasks, and numbers in each of their items and results: small ones, and some of 16 MB.
const SMALL: (&str, &str) = ("30", "3");
const LARGE: (&str, &str) = ("8", "2097152");

fn size(case: &Case) -> (&'static str, &'static str) {
    if case.moment == Moment::Large { LARGE } else { SMALL }
}

/// The job of a case, in its mode or serially.
fn run(way: &support::ways::Way, launcher: &[&str], (n, numbers): (&str, &str), out: &str) -> Command {
    let mut command = under(way.1, launcher, &program());
    command.args(["run", "mortal", "--n", n, "--numbers", numbers, "--seed", "5", "-o", out]).args(way.2);
    command.args(["--json", "--progress", "none"]);
    command
}

/// What a result file holds.
fn contents(out: &str, (_, numbers): (&str, &str)) -> Value {
    let rows = if numbers == LARGE.1 { "0" } else { "100" };
    let mut command = Command::new(program());
    let shown = start(command.args(["show", out, "--json", "--rows", rows])).end().expect(0).json();
    let report = ["results_digest", "done", "failed", "summary"].map(|name| shown["report"][name].clone());
    serde_json::json!([shown["rows"], report])
}

/// What a serial run finds, once for each size.
fn serial(size: (&'static str, &'static str)) -> &'static Value {
    static FOUND: [OnceLock<Value>; 2] = [const { OnceLock::new() }; 2];
    FOUND[usize::from(size == LARGE)].get_or_init(|| {
        let folder = Folder::new();
        let out = folder.file("serial.h5");
        start(&mut run(&SERIAL, &[], size, &out)).end().expect(0);
        contents(&out, size)
    })
}

/// Waits for the moment, and has the victim die; since when.
fn strike(case: &Case, plan: &Plan, running: &mut Running) -> Instant {
    let until_reached = |running: &mut Running| {
        wait(support::LIMIT, Duration::from_millis(1), "the moment", || {
            if plan.is_reached() {
                return Ok(());
            }
            assert!(running.lives(), "the run has ended before: {}", running.stderr_so_far());
            Err(running.stderr_so_far())
        });
    };
    if case.moment != Moment::Starting {
        until_reached(running);
    }
    if plan.death.is_some() {
        return Instant::now();
    }
    let victim = victim(running, case);
    if case.moment == Moment::Large {
        // Not always at the same point of a value's way.
        std::thread::sleep(Duration::from_millis(case.number as u64 * 7 % 40));
    }
    case.death.strike(victim);
    let struck = Instant::now();
    if case.moment != Moment::Ending || !plan.lasting {
        plan.go_on();
    }
    struck
}

pub fn try_out(case: &Case) {
    let expected = serial(size(case));
    let folder = Folder::new();
    let out = folder.file("out.h5");
    let launcher = if case.recovery { stack().survive().expect("a flag") } else { &[] };
    let plan = Plan {
        moment: case.moment,
        death: case.is_of_a_task().then_some(case.death),
        lasting: case.outcome == Outcome::Ends,
        folder: folder.path(""),
    };
    let mut command = run(&case.way, launcher, size(case), &out);
    plan.tell(&mut command);
    let mut running = start(&mut command);
    let struck = strike(case, &plan, &mut running);
    let ended = running.end();
    let took = struck.elapsed();
    deaths::clean_up(plan.name());
    match case.outcome {
        Outcome::GoesOn => {
            ended.expect(0);
        }
        Outcome::Ends => {
            // Before a worker is up nobody is there to make Open MPI 4's mpiexec fail, which returns 0 with recovery.
            let nobody = case.moment == Moment::Starting && case.who == Who::Rank0 && case.way.1 == 1;
            let unseen = nobody && case.recovery && stack() == Stack::OpenMpi4;
            assert!(ended.code != 0 || unseen, "{case}: {ended:?}");
            assert!(took < SOON, "{case}: {took:?} until all were gone: {ended:?}");
            resume(case, &out, &ended);
        }
    }
    assert_eq!(&contents(&out, size(case)), expected, "{case}");
    let left: Vec<String> = folder.names().into_iter().filter(|name| name.contains(".h5")).collect();
    assert_eq!(left, ["out.h5"], "{case}");
}

/// What the dead run has left is whole, and the rest is done.
fn resume(case: &Case, out: &str, dead: &Ended) {
    let had_begun = case.moment != Moment::Starting;
    let complete = Path::new(out).exists();
    // Open MPI 5 ends the world of the spawned, and rank 0 only when it comes upon that: it may complete the run before.
    let may_be = stack() == Stack::OpenMpi5 && case.way.1 == 1;
    assert!(!complete || may_be, "{case}: the run has come to its end: {dead:?}");
    let mut command = run(&case.way, &[], size(case), out);
    let resumed = start(command.arg("--resume")).end().expect(0);
    assert!(!resumed.stderr.contains("damaged"), "{case}: {resumed:?}");
    // Large results may have been on their way to the disk, too.
    if had_begun && !complete && case.moment != Moment::Large {
        let known = resumed.json()["resumed"].as_u64();
        assert!(known.is_some_and(|known| known > 0), "{case}: nothing was kept: {resumed:?}, {dead:?}");
    }
}
