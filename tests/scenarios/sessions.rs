//! Executors one after another, whose workers wait in between.

use rankpool::{Builder, Error, Executor, Mode, Task};
use rustix::process::{Pid, Signal, kill_process};

use super::{Test, command, inside::nap, losing, rank_0, support, support::start, told};

const EVERYWHERE: &[Mode] = &[Mode::Serial, Mode::Threads, Mode::Processes, Mode::Comm, Mode::Pool];
const MPI: &[Mode] = &[Mode::Comm, Mode::Pool];

pub const TESTS: &[(&str, &[Mode], Test)] = &[
    ("executors may come one after another", EVERYWHERE, one_after_another),
    ("two executors at a time are refused where they would share ranks", MPI, two_at_a_time),
    ("a later executor with other settings is refused", MPI, other_settings),
    ("a worker that dies between two executors costs nothing", MPI, dies_in_between),
    ("workers that wait end with rank 0, and its code is kept", MPI, own_code),
    ("workers that wait end when rank 0 is killed", MPI, killed),
];

/// Runs the scenario if it is one of these.
pub fn inside(scenario: &str, mode: Mode, workers: i64) -> bool {
    let ended = match scenario {
        "one_after_another" => several(mode, workers),
        "two_at_a_time" => two(mode, workers),
        "other_settings" => others(mode, workers),
        "dies_in_between" => death(mode, workers),
        "code_after_executor" => used(mode, workers).and_then(|()| std::process::exit(3)),
        "waits_for_a_kill" => used(mode, workers).map(|()| {
            println!("rank 0 is {} now", std::process::id());
            nap(600_000);
        }),
        _ => return false,
    };
    told(ended);
    true
}

fn builder(mode: Mode, workers: i64) -> Builder {
    let builder = Executor::builder().mode(mode);
    if mode == Mode::Serial { builder } else { builder.workers(workers) }
}

/// An executor that has been used, and dropped.
fn used(mode: Mode, workers: i64) -> Result<(), Error> {
    assert_eq!(builder(mode, workers).start()?.map(|n: u64| n * n, 0..4)?, [0, 1, 4, 9]);
    Ok(())
}

fn several(mode: Mode, workers: i64) -> Result<(), Error> {
    let mut pids = Vec::new();
    for round in 0..6u64 {
        let pool = builder(mode, workers).seed(round).start()?;
        assert_eq!(pool.progress().done, 0);
        let told = |factor: &u64, n: u64| (factor * n, Task::current().index(), Task::current().seed());
        let results = pool.map_with(&round, told, 0..500)?;
        assert!((0..).zip(results).all(|(n, (product, index, _))| product == round * n && index == n));
        let state =
            pool.map_init(|| Task::current().index(), |first: &mut u64, n: u64| *first <= n, 0..100)?;
        assert!(state.iter().all(|built_anew| *built_anew));
        let future = pool.submit(nap, 10)?;
        assert_eq!(pool.progress().done, 600, "of this executor alone");
        assert_eq!(pool.num_workers(), if mode == Mode::Serial { 1 } else { workers as usize });
        pids.push(pool.workers().iter().map(|worker| worker.pid).collect::<Vec<_>>());
        match round % 3 {
            0 => drop(pool),
            1 => pool.shutdown()?,
            _ => pool.shutdown_now()?,
        }
        assert!(round % 3 == 2 || future.wait() == Ok(10));
    }
    if MPI.contains(&mode) {
        assert!(pids.iter().all(|of_round| *of_round == pids[0]), "{pids:?}");
    }
    println!("all have ended");
    Ok(())
}

fn one_after_another(mode: Mode) {
    let ended = start(&mut command("one_after_another", mode, 2)).end().expect(0);
    assert_eq!(ended.stdout, "all have ended\n", "{ended:?}");
}

fn two(mode: Mode, workers: i64) -> Result<(), Error> {
    let first = builder(mode, workers).start()?;
    let error = builder(mode, workers).start().unwrap_err();
    assert_eq!(error.exit_code(), 2);
    println!("{error}");
    assert_eq!(first.map(|n: u64| n + 1, [1])?, [2]);
    Ok(())
}

fn two_at_a_time(mode: Mode) {
    let ended = start(&mut command("two_at_a_time", mode, 2)).end().expect(0);
    assert!(ended.stdout.starts_with("another executor of this program has the MPI ranks"), "{ended:?}");
}

fn others(mode: Mode, workers: i64) -> Result<(), Error> {
    used(mode, workers)?;
    let error = builder(mode, workers).threads_per_worker(2).start().unwrap_err();
    assert_eq!(error.exit_code(), 2);
    println!("{error}");
    let error = builder(mode, workers).workers(workers + 1).start().unwrap_err();
    println!("{error}");
    if mode == Mode::Comm {
        assert_eq!(Executor::builder().mode(mode).start()?.num_workers(), workers as usize);
    }
    used(mode, workers)
}

fn other_settings(mode: Mode) {
    let ended = start(&mut command("other_settings", mode, 2)).end().expect(0);
    assert!(ended.stdout.contains("the number of threads in each is another one now"), "{ended:?}");
    assert!(ended.stdout.contains("the number of workers is another one now"), "{ended:?}");
}

fn death(mode: Mode, workers: i64) -> Result<(), Error> {
    let pool = builder(mode, workers).start()?;
    let victim = pool.workers()[0].pid;
    drop(pool);
    kill_process(Pid::from_raw(victim as i32).expect("a process"), Signal::KILL).expect("it is there");
    nap(300);
    for _ in 0..3 {
        let pool = builder(mode, workers).start()?;
        let pids = pool.call(|()| std::process::id()).chunk(1).map(vec![(); 50])?;
        assert!(!pids.contains(&victim));
    }
    println!("nothing was lost");
    Ok(())
}

fn dies_in_between(mode: Mode) {
    if let Some(mut command) = losing("dies_in_between", mode, 2) {
        assert!(start(&mut command).end().expect(0).stdout.contains("nothing was lost"));
    }
}

fn own_code(mode: Mode) {
    let ended = start(&mut command("code_after_executor", mode, 2)).end();
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(!ended.stderr.contains("killed"), "{ended:?}");
}

fn killed(mode: Mode) {
    let mut running = start(&mut command("waits_for_a_kill", mode, 2));
    let rank_0 = rank_0(&mut running);
    support::signal_process(rank_0, Signal::KILL);
    let ended = running.end();
    assert_ne!(ended.code, 0, "{ended:?}");
}
