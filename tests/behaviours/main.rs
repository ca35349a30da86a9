//! What an executor must do, written once and run in every mode.
//!
//! The program is its own fixture: for each mode it starts itself behind the launcher that the
//! mode needs, with `inside` as first argument; there it runs every check of `checks` on one
//! executor and prints a line for each.

mod checks;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    process::ExitCode,
    sync::{Arc, OnceLock},
    time::Duration,
};

use libtest_mimic::Trial;
use rankpool::{Executor, Mode};

/// A mode with its launcher and its number of workers.
#[derive(Clone, Copy)]
struct Setting {
    name: &'static str,
    mode: Mode,
    /// Ranks started by mpiexec; 0 for no launcher.
    world: u32,
    workers: i64,
    threads: u32,
    /// Children of each rank, rank 0 included; 0 where ranks lead none.
    children: i64,
}

const fn setting(name: &'static str, mode: Mode, world: u32, workers: i64, threads: u32) -> Setting {
    Setting { name, mode, world, workers, threads, children: 0 }
}

const fn leaders(name: &'static str, mode: Mode, world: u32, workers: i64, children: i64) -> Setting {
    Setting { name, mode, world, workers, threads: 1, children }
}

const SETTINGS: [Setting; 17] = [
    setting("serial", Mode::Serial, 0, 1, 1),
    setting("threads-1", Mode::Threads, 0, 1, 1),
    setting("threads-3", Mode::Threads, 0, 3, 1),
    setting("processes-1", Mode::Processes, 0, 1, 1),
    setting("processes-3", Mode::Processes, 0, 3, 1),
    setting("processes-2x2", Mode::Processes, 0, 2, 2),
    setting("comm-2-ranks", Mode::Comm, 2, 1, 1),
    setting("comm-3-ranks", Mode::Comm, 3, 2, 1),
    setting("comm-4-ranks", Mode::Comm, 4, 3, 1),
    setting("comm-2x2", Mode::Comm, 2, 1, 2),
    setting("pool-1", Mode::Pool, 1, 1, 1),
    setting("pool-2", Mode::Pool, 1, 2, 1),
    setting("pool-1x2", Mode::Pool, 1, 1, 2),
    leaders("node-of-2", Mode::Comm, 0, 0, 2),
    leaders("comm-2-ranks-of-2", Mode::Comm, 2, 1, 2),
    leaders("comm-3-ranks-of-2", Mode::Comm, 3, 2, 2),
    leaders("pool-1-of-2", Mode::Pool, 1, 1, 2),
];

/// How long all checks of a mode may take.
const LIMIT: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == "inside") {
        inside(&arguments[2]);
        return ExitCode::SUCCESS;
    }
    let mut trials = Vec::new();
    for setting in SETTINGS {
        let lines: Arc<OnceLock<BTreeMap<String, String>>> = Arc::default();
        for (check, _) in checks::all() {
            let lines = lines.clone();
            let run = move || {
                let lines = lines.get_or_init(|| outside(setting));
                match lines.get(check) {
                    Some(verdict) if verdict == "ok" => Ok(()),
                    Some(verdict) => Err(verdict.clone().into()),
                    None => Err(format!("it did not come to an end: {}", lines["all"]).into()),
                }
            };
            trials.push(Trial::test(format!("{}::{check}", setting.name), run));
        }
        let ending = move || match lines.get_or_init(|| outside(setting))["all"].as_str() {
            "" => Ok(()),
            other => Err(other.into()),
        };
        trials.push(Trial::test(format!("{}::ends in order", setting.name), ending));
    }
    // The modes share two cores: one at a time.
    support::one_by_one(trials)
}

/// Runs all checks in one mode; each check's verdict, and under "all" what went wrong with the run.
fn outside(setting: Setting) -> BTreeMap<String, String> {
    let mut command = support::under(setting.world, &[], &support::program());
    command.args(["inside", setting.name]);
    let ended = std::panic::catch_unwind(AssertUnwindSafe(|| support::start(&mut command).end_within(LIMIT)));
    let (stdout, all) = match ended {
        Ok(ended) if ended.code == 0 => (ended.stdout, String::new()),
        Ok(ended) => (ended.stdout.clone(), format!("{ended:?}")),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().cloned().unwrap_or_default();
            (text.clone(), text)
        }
    };
    let mut verdicts = BTreeMap::from([("all".to_string(), all)]);
    for line in stdout.lines() {
        if let Some((check, verdict)) = line.strip_prefix("check ").and_then(|line| line.split_once(": ")) {
            verdicts.insert(check.to_string(), verdict.to_string());
        }
    }
    verdicts
}

/// Runs all checks on one executor of the named mode.
fn inside(name: &str) {
    let setting = SETTINGS.iter().find(|setting| setting.name == name).expect("a setting");
    let mut builder = Executor::builder().mode(setting.mode).seed(7);
    if setting.workers > 0 {
        builder = builder.workers(setting.workers);
    }
    let leads = setting.children > 0;
    if leads {
        builder = builder.processes_per_worker(setting.children);
    }
    if setting.threads > 1 {
        builder = builder.threads_per_worker(setting.threads);
    }
    let pool = match builder.start() {
        Ok(pool) => pool,
        Err(error) => {
            println!("the executor did not start: {error}");
            std::process::exit(1);
        }
    };
    assert_eq!(pool.num_workers() as i64, setting.workers + i64::from(leads));
    assert!(pool.workers().iter().all(|worker| worker.children.len() as i64 == setting.children));
    for (name, check) in checks::all() {
        let verdict = std::panic::catch_unwind(AssertUnwindSafe(|| check(&pool)));
        let verdict = match verdict {
            Ok(()) => "ok".to_string(),
            Err(payload) => payload
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string))
                .unwrap_or_default()
                .replace('\n', " | "),
        };
        println!("check {name}: {verdict}");
    }
    pool.shutdown().expect("an orderly end");
}
