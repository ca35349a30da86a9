//! The scenarios themselves, each a user's program.

use std::{
    collections::BTreeSet,
    process::ExitCode,
    time::{Duration, Instant},
};

use rankpool::{Block, Error, Executor, FailureKind, Mode, Scattered, Task};

pub fn run(scenario: &str, mode: Mode, workers: i64) {
    let mut builder = Executor::builder().mode(mode);
    if mode != Mode::Serial {
        builder = builder.workers(workers);
    }
    let pool = match builder.start() {
        Ok(pool) => pool,
        Err(error) => {
            eprintln!("the executor did not start: {error}");
            std::process::exit(error.exit_code().into());
        }
    };
    let ended = match scenario {
        "panic_in_main" => panic_in_main(&pool),
        "error_in_main" => error_in_main(&pool),
        "own_code" => own_code(&pool),
        "drop_waits" => drop_waits(pool),
        "shutdown_now" => shutdown_now(pool),
        "worker_dies" => worker_dies(&pool),
        "scattered_again" => scattered_again(&pool),
        "deadly_task" => deadly_task(&pool),
        "stuck_task" => return stuck_task(pool),
        "wait_for_ever" => wait_for_ever(&pool),
        "library_threads" => library_threads(&pool),
        "surroundings" => surroundings(&pool),
        "nested" => nested(&pool),
        "huge" => huge(&pool),
        "long_stream" => long_stream(&pool),
        "burst" => burst(&pool),
        other => panic!("there is no scenario {other}"),
    };
    if let Err(error) = ended {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

pub fn ended_by_main(mode: Mode, workers: i64) -> ExitCode {
    rankpool::main(|| {
        let pool = Executor::builder().mode(mode).workers(workers).start()?;
        pool.map(|n: u64| 10 / (4 - n), 0..10)?;
        pool.shutdown()
    })
}

/// Sleeps, and returns for how long.
pub fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

fn panic_in_main(pool: &Executor) -> Result<(), Error> {
    let _busy = pool.submit(nap, 600_000)?;
    std::thread::sleep(Duration::from_millis(100));
    println!("about to panic");
    panic!("the user's main panics");
}

/// The executor is dropped by the caller's `?`, as in a main that returns its error.
fn error_in_main(pool: &Executor) -> Result<(), Error> {
    pool.map(|n: u64| 10 / (4 - n), 0..10)?;
    Ok(())
}

/// The executor lives, and its workers work.
fn own_code(pool: &Executor) -> Result<(), Error> {
    pool.map(nap, [10; 4])?;
    let _busy = pool.submit(nap, 600_000)?;
    std::process::exit(3)
}

fn drop_waits(pool: Executor) -> Result<(), Error> {
    let futures: Vec<_> = (0..50).map(|_| pool.submit(nap, 10)).collect::<Result<_, _>>()?;
    drop(pool);
    assert!(futures.iter().all(|future| future.wait_timeout(Duration::ZERO) == Some(Ok(10))));
    println!("all 50 have ended");
    Ok(())
}

fn shutdown_now(pool: Executor) -> Result<(), Error> {
    let futures: Vec<_> = (0..50).map(|_| pool.submit(nap, 200)).collect::<Result<_, _>>()?;
    std::thread::sleep(Duration::from_millis(50));
    pool.shutdown_now()?;
    let outcomes: Vec<_> = futures.iter().map(|future| future.wait()).collect();
    assert!(outcomes.contains(&Ok(200)), "those that ran have ended");
    let cancelled = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(cancelled.map(|error| error.kind()).filter(|kind| *kind == FailureKind::NotDone).count() > 40);
    println!("some ran, the rest was cancelled");
    Ok(())
}

/// A path that all processes of this run share, and no other run.
pub fn marker() -> String {
    let mark = std::env::var("RANKPOOL_TEST_MARK").expect("started by the tests");
    std::env::temp_dir().join(format!("rankpool-scenario-{mark}")).to_str().expect("UTF-8").to_string()
}

/// True for the first process that asks.
pub fn first(marker: &str) -> bool {
    std::fs::File::create_new(marker).is_ok()
}

fn worker_dies(pool: &Executor) -> Result<(), Error> {
    let results = pool.map_with(
        &marker(),
        |marker, n: u64| {
            nap(5);
            // The first to come here dies in the middle of its chunk.
            if n >= 60 && first(marker) {
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
                    .expect("a signal to oneself");
                nap(60_000);
            }
            n * n
        },
        0..200,
    );
    std::fs::remove_file(marker()).expect("a worker has died");
    let results = results?;
    assert!(results.iter().enumerate().all(|(n, square)| *square == (n * n) as u64));
    println!("{} results, {} worker lost", results.len(), pool.progress().lost);
    Ok(())
}

fn scattered_again(pool: &Executor) -> Result<(), Error> {
    let numbers = pool.scatter(&Block::from((0..100_000).collect::<Vec<u64>>()))?;
    let factor = pool.scatter(&2u64)?;
    let read = |(numbers, factor, n): (Scattered<Block<u64>>, Scattered<u64>, u64)| {
        nap(5);
        (*factor * numbers[n as usize], std::process::id())
    };
    let mut pids = BTreeSet::new();
    let mut check = || {
        let items = (0..60).map(|n| (numbers.clone(), factor.clone(), n));
        for (n, (number, pid)) in (0..).zip(pool.call(read).chunk(1).map(items)?) {
            assert_eq!(number, 2 * n);
            pids.insert(pid);
        }
        Ok::<_, Error>(pids.clone())
    };
    let before = check()?;
    let victim =
        before.first().and_then(|pid| rustix::process::Pid::from_raw(*pid as i32)).expect("a worker");
    rustix::process::kill_process(victim, rustix::process::Signal::KILL).expect("a signal to a worker");
    let began = Instant::now();
    // Where none comes, the other one does it.
    let replaced = if pool.mode() == Mode::Comm { 0 } else { 1 };
    while check()?.len() < before.len() + replaced || pool.progress().lost == 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "no other worker has come");
    }
    check()?;
    println!("all workers have read it, {} lost", pool.progress().lost);
    Ok(())
}

fn deadly_task(pool: &Executor) -> Result<(), Error> {
    let outcomes = pool
        .call(|n: u64| if n == 11 { std::process::exit(5) } else { nap(2) + n })
        .chunk(10)
        .outcomes(0..40)?;
    let failed: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].kind(), FailureKind::Quarantined);
    println!("task {} was quarantined, {} others are done", failed[0].index(), outcomes.len() - 1);
    Ok(())
}

fn stuck_task(pool: Executor) {
    let limit = Duration::from_millis(500);
    let began = Instant::now();
    let outcomes = pool
        .call(|n: u64| if n == 3 { nap(600_000) } else { nap(5) })
        .chunk(5)
        .task_timeout(limit)
        .outcomes(0..20)
        .expect("a map");
    let took = began.elapsed();
    assert!(took >= limit && took < limit + Duration::from_millis(1500), "{took:?}");
    let failed: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].kind(), FailureKind::TimedOut);
    println!("task {} timed out, {} others are done", failed[0].index(), outcomes.len() - 1);
    pool.exit(0)
}

fn wait_for_ever(pool: &Executor) -> Result<(), Error> {
    let futures: Vec<_> = (0..2).map(|_| pool.submit(nap, 600_000)).collect::<Result<_, _>>()?;
    while futures.iter().any(|future| future.status() != rankpool::Status::Running) {
        nap(1);
    }
    println!("rank 0 is {} now", std::process::id());
    futures[0].wait()?;
    Ok(())
}

fn library_threads(pool: &Executor) -> Result<(), Error> {
    let variable = |name: String| std::env::var(name).unwrap_or_default();
    let names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "MKL_NUM_THREADS"];
    let values = pool.map(variable, names.map(String::from))?;
    let expected = (pool.workers()[0].cpus.len() / 2).max(1).to_string();
    assert_eq!(values[..3], [expected.clone(), expected.clone(), expected]);
    assert_eq!(values[3], "77", "what the user has set stays");
    if pool.mode() == Mode::Processes {
        // Libraries that are linked in read it before `main` begins.
        let at_start = |name: String| {
            let variables = std::fs::read_to_string("/proc/self/environ").unwrap_or_default();
            variables.split('\0').any(|variable| variable.starts_with(&name))
        };
        assert_eq!(pool.map(at_start, names.map(String::from))?, [true; 4]);
    }
    println!("told");
    Ok(())
}

fn surroundings(pool: &Executor) -> Result<(), Error> {
    let look = |()| {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let identity = variable("OMPI_PARENT_PORT") + &variable("PMI_SPAWNED");
        let folder = std::env::current_dir().expect("a folder").display().to_string();
        (variable("SEEN_BY_WORKERS"), folder, !identity.is_empty())
    };
    let (value, folder, spawned) = pool.map(look, [()])?.remove(0);
    println!(
        "a worker sees {value} in {folder}, and {} of its own",
        if spawned { "a rank" } else { "nothing" }
    );
    Ok(())
}

/// What an executor inside a task gives.
fn inner(mode: String) -> Result<u64, String> {
    let mut builder = Executor::builder().mode(mode.parse().expect("a mode"));
    if mode == "threads" || mode == "processes" {
        builder = builder.workers(2);
    }
    let pool = builder.start().map_err(|error| format!("{}: {error}", error.exit_code()))?;
    let sum = pool.map(|n: u64| n * n, 1..=10).map_err(|error| error.to_string())?.iter().sum();
    pool.shutdown().map_err(|error| error.to_string())?;
    Ok(sum)
}

fn nested(pool: &Executor) -> Result<(), Error> {
    let modes = ["auto", "serial", "threads", "processes", "comm", "pool"];
    let outcomes = pool.try_call(inner).chunk(1).outcomes(modes.iter().map(ToString::to_string))?;
    for (mode, outcome) in modes.iter().zip(&outcomes) {
        match outcome {
            Ok(sum) => assert_eq!((*sum, ["comm", "pool"].contains(mode)), (385, false), "{mode}"),
            Err(error) => {
                assert!(["comm", "pool"].contains(mode), "{mode}: {error}");
                assert!(
                    error.message().starts_with("2: ") && error.message().contains("inside a task"),
                    "{error}"
                );
            }
        }
    }
    assert_eq!(pool.progress().lost, 0);
    println!("{} executors inside tasks, and no worker lost", outcomes.len());
    Ok(())
}

const HUGE: usize = 3 << 30;

fn huge_block() -> Block<u8> {
    let mut block = vec![0u8; HUGE];
    block.iter_mut().step_by(1 << 20).enumerate().for_each(|(k, byte)| *byte = k as u8);
    block.into()
}

fn is_huge_block(block: &Block<u8>) -> bool {
    block.len() == HUGE && block.iter().step_by(1 << 20).enumerate().all(|(k, byte)| *byte == k as u8)
}

fn huge(pool: &Executor) -> Result<(), Error> {
    let there = pool.map(|block: Block<u8>| is_huge_block(&block), std::iter::once_with(huge_block))?;
    assert_eq!(there, [true]);
    let back = pool.map(|()| huge_block(), [()])?;
    assert!(is_huge_block(&back[0]));
    println!("3 GiB there and 3 GiB back");
    Ok(())
}

fn long_stream(pool: &Executor) -> Result<(), Error> {
    let mut next = 0u64;
    for result in pool.call(|n: u64| n ^ 0x5555).stream(0..100_000_000)? {
        assert_eq!(result?, next ^ 0x5555);
        next += 1;
    }
    assert_eq!(next, 100_000_000);
    println!("peak {} kB", memory("VmHWM:"));
    assert!(Task::try_current().is_none());
    Ok(())
}

/// A line of this process's status, in kB.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("that line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn burst(pool: &Executor) -> Result<(), Error> {
    const TASKS: u64 = 100_000;
    // The first keeps a worker, and so the rest of them pending, for a moment.
    pool.submit(nap, 50)?;
    let before = memory("VmRSS:");
    let futures = (0..TASKS).map(|n| pool.submit(|n: u64| n, n)).collect::<Result<Vec<_>, _>>()?;
    for (n, future) in (0..).zip(&futures) {
        assert_eq!(future.wait()?, n);
    }
    drop(futures);
    let taken = memory("VmHWM:") - before;
    // It is 1 kB.
    let each = 1024 * taken / TASKS;
    assert!(each < 2048, "{each} bytes for a pending task");
    let deadline = Instant::now() + Duration::from_secs(20);
    while memory("VmRSS:") > before + taken / 4 {
        assert!(Instant::now() < deadline, "{} kB are kept of {taken}", memory("VmRSS:") - before);
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("the memory is back");
    Ok(())
}
