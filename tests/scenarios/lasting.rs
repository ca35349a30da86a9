//! Maps whose outcomes are kept in a journal, and programs that are killed in the middle of them.

use std::path::PathBuf;

use rankpool::{Error, Executor, Mode};
use rustix::process::Signal;

use super::{Test, command, inside::nap, rank_0, support, support::start, told};

const EVERYWHERE: &[Mode] = &[Mode::Serial, Mode::Processes, Mode::Comm, Mode::Pool];

pub const TESTS: &[(&str, &[Mode], Test)] = &[
    ("a program that is killed again and again goes on with its map", EVERYWHERE, killed),
    ("a panic and an exit leave a journal that goes on", EVERYWHERE, ended_early),
    ("a journal that another process has is refused", &[Mode::Serial, Mode::Comm], in_use),
];

/// The items of the map, each a task of some milliseconds.
const ITEMS: u64 = 400;

/// The journal, named by the environment.
fn journal() -> PathBuf {
    std::env::var_os("LASTING_JOURNAL").expect("the journal").into()
}

/// Runs the scenario if it is one of these.
pub fn inside(scenario: &str, mode: Mode, workers: i64) -> bool {
    let ended = match scenario {
        "lasting" => lasting(mode, workers, u64::MAX),
        "lasting_panic" => lasting(mode, workers, 30),
        _ => return false,
    };
    told(ended);
    true
}

fn lasting(mode: Mode, workers: i64, panic_at: u64) -> Result<(), Error> {
    let builder = Executor::builder().mode(mode);
    let pool = if mode == Mode::Serial { builder } else { builder.workers(workers) }.start()?;
    let task = |n: u64| {
        nap(4);
        (n, std::process::id(), "x".repeat((n % 7) as usize))
    };
    println!("rank 0 is {} now", std::process::id());
    let call = pool.call(task).label("naps").seed(5).chunk(2).journal(journal());
    let mut processes = Vec::new();
    for (n, result) in (0..).zip(call.stream(0..ITEMS)?) {
        let (index, process, text) = result?;
        assert_eq!((index, text.len() as u64), (n, n % 7));
        processes.push(process);
        assert!(n < panic_at, "a panic on purpose");
    }
    assert_eq!(processes.len() as u64, ITEMS);
    let here: Vec<u32> = pool.workers().iter().map(|worker| worker.pid).collect();
    let anew = processes.iter().filter(|process| here.contains(process)).count();
    println!("all are there, {anew} of this run");
    pool.shutdown()
}

/// How many tasks the last run has run, as it told.
fn anew(stdout: &str) -> u64 {
    let told = stdout.split("all are there, ").nth(1).and_then(|rest| rest.split(' ').next());
    told.unwrap_or_else(|| panic!("{stdout}")).parse().expect("a number")
}

fn killed(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("naps.journal");
    let mut lasting = command("lasting", mode, 2);
    lasting.env("LASTING_JOURNAL", &journal);
    let size = || std::fs::metadata(&journal).map_or(0, |about| about.len());
    for _ in 0..3 {
        let before = size();
        let mut running = start(&mut lasting);
        let process = rank_0(&mut running);
        support::wait(support::LIMIT, std::time::Duration::from_millis(2), "outcomes", || {
            if size() > before + 2_000 { Ok(()) } else { Err(format!("{} bytes", size())) }
        });
        support::signal_process(process, Signal::KILL);
        assert_ne!(running.end().code, 0);
    }
    let ended = start(&mut lasting).end().expect(0);
    let last = anew(&ended.stdout);
    assert!(last > 0 && last < ITEMS - 30, "{last} tasks were run in the last run");
    let ended = start(&mut lasting).end().expect(0);
    assert_eq!(anew(&ended.stdout), 0, "{ended:?}");
}

fn ended_early(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("naps.journal");
    let ended = start(command("lasting_panic", mode, 2).env("LASTING_JOURNAL", &journal)).end();
    assert!(ended.code != 0 && ended.stderr.contains("a panic on purpose"), "{ended:?}");
    let ended = start(command("lasting", mode, 2).env("LASTING_JOURNAL", &journal)).end().expect(0);
    assert!(anew(&ended.stdout) <= ITEMS - 30, "{ended:?}");
}

fn in_use(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("naps.journal");
    let mut lasting = command("lasting", mode, 2);
    lasting.env("LASTING_JOURNAL", &journal);
    let mut first = start(&mut lasting);
    let process = rank_0(&mut first);
    support::wait(support::LIMIT, std::time::Duration::from_millis(2), "the journal", || {
        let size = std::fs::metadata(&journal).map_or(0, |about| about.len());
        // It says who writes it.
        if size > 400 { Ok(()) } else { Err(format!("{size} bytes")) }
    });
    support::signal_process(process, Signal::STOP);
    let second = start(command("lasting", mode, 2).env("LASTING_JOURNAL", &journal)).end();
    support::signal_process(process, Signal::CONT);
    assert_ne!(second.code, 0, "{second:?}");
    assert!(second.stderr.contains(&format!("is in use by process {process} on ")), "{second:?}");
    first.end().expect(0);
}
