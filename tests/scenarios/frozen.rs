//! Processes that stand still: a worker, at the start, in a task and at the end; rank 0; all of them.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use rankpool::{Block, Error, Executor, FailureKind, Mode, Task};
use rustix::process::{Pid, Signal, getpid, kill_process};

use super::{
    Test, command,
    inside::{first, marker, nap},
    rank_0,
    support::{self, Ended, LIMIT, Running, program, start, under},
    told,
};

const PROCESSES: &[Mode] = &[Mode::Processes, Mode::Comm, Mode::Pool];

pub const TESTS: &[(&str, &[Mode], Test)] = &[
    ("a worker that stands still is given up and its tasks are run", PROCESSES, worker_freezes),
    ("a task whose worker stands still times out", PROCESSES, limited_task_freezes),
    (
        "of a chunk of several tasks none is blamed for a worker that stands still",
        &[Mode::Processes],
        limited_chunk,
    ),
    ("workers that compute are not given up on a host with too few CPUs", PROCESSES, busy_workers),
    ("nobody is given up for the time in which rank 0 was stopped", PROCESSES, rank_0_stops),
    ("when all processes are stopped and continued all goes on", PROCESSES, all_stop),
    ("large items for a worker that stands still do not hold up rank 0", PROCESSES, large_items),
    ("a worker that stands still at the end does not hold up the run", PROCESSES, worker_freezes_at_the_end),
    (
        "a worker that stands still at the start is not waited for",
        &[Mode::Processes, Mode::Comm],
        never_starts,
    ),
];

/// Without recovery mpiexec ends the run for a rank that is killed: a frozen one is left until the end.
pub const WITHOUT_RECOVERY: &[(&str, fn())] = &[
    ("a rank that stands still costs its chunk only, and the code of the run is left", || {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut command = without_recovery("worker_freezes");
        let ended = start(command.env("RANKPOOL_CODE_FILE", file.path())).end().expect(0);
        assert!(ended.stdout.contains("40 results, 1 worker lost"), "{ended:?}");
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "0\n", "{ended:?}");
    }),
    ("a rank that stands still is not left behind by a program that just returns", || {
        // mpiexec takes it for an error that ranks leave without MPI_Finalize.
        assert!(
            start(&mut without_recovery("limited_chunk"))
                .end()
                .stdout
                .contains("all are done, 1 worker lost")
        );
    }),
    ("a rank that is continued after it was given up does no harm", || {
        assert!(
            start(&mut without_recovery("continued"))
                .end()
                .expect(0)
                .stdout
                .contains("60 results, 1 worker lost")
        );
    }),
    ("large items for a rank that stands still do not hold up rank 0", || {
        assert!(start(&mut without_recovery("large_items")).end().expect(0).stdout.contains("1 worker lost"));
    }),
    ("a rank that stands still at the end does not hold up the run", || {
        start(&mut without_recovery("freezes_at_the_end")).end().expect(0);
    }),
    ("a rank that stands still at the start ends the run", || {
        refused_start(start(&mut without_recovery("never_starts")).end());
    }),
];

fn without_recovery(scenario: &str) -> Command {
    let mut command = under(3, &[], &program());
    command.args(["inside", scenario, "comm", "2"]);
    command
}

/// Runs the scenario if it is one of these.
pub fn inside(scenario: &str, mode: Mode, workers: i64) -> bool {
    let scenario = match scenario {
        "worker_freezes" => worker_freezes_inside,
        "limited_task" => limited_task_inside,
        "limited_chunk" => limited_chunk_inside,
        "busy_workers" => busy_workers_inside,
        "one_task_each" => one_task_each_inside,
        "continued" => continued_inside,
        "large_items" => large_items_inside,
        "freezes_at_the_end" => freezes_at_the_end_inside,
        "never_starts" => never_starts_inside,
        _ => return false,
    };
    told(scenario(mode, workers));
    true
}

fn freeze() {
    kill_process(getpid(), Signal::STOP).expect("a signal to oneself");
    nap(100); // Another thread may be stopped first.
}

fn started(mode: Mode, workers: i64, stall: impl Into<Option<Duration>>) -> Result<Executor, Error> {
    Executor::builder().mode(mode).workers(workers).stall(stall).start()
}

/// A square after a while; one process freezes at a task in the middle.
fn squares(pool: &Executor, tasks: u64) -> Result<(), Error> {
    let square = |marker: &String, n: u64| {
        nap(50);
        if n >= 10 && first(marker) {
            freeze();
        }
        n * n
    };
    let results = pool.map_with(&marker(), square, 0..tasks)?;
    assert!(results.iter().enumerate().all(|(n, square)| *square == (n * n) as u64));
    println!("{} results, {} worker lost", results.len(), pool.progress().lost);
    Ok(())
}

fn worker_freezes_inside(mode: Mode, workers: i64) -> Result<(), Error> {
    let pool = started(mode, workers, Duration::from_secs(2))?;
    let began = Instant::now();
    let done = squares(&pool, 40);
    std::fs::remove_file(marker()).expect("a worker has frozen");
    done?;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    pool.exit(0)
}

fn worker_freezes(mode: Mode) {
    let ended = start(&mut command("worker_freezes", mode, 2)).end().expect(0);
    assert!(ended.stdout.contains("40 results, 1 worker lost"), "{ended:?}");
}

const TASK_LIMIT: Duration = Duration::from_millis(800);

fn limited_task_inside(mode: Mode, workers: i64) -> Result<(), Error> {
    // With and without the general stall.
    let pool = started(mode, workers, (mode != Mode::Comm).then_some(Duration::from_secs(60)))?;
    let began = Instant::now();
    let task = |n: u64| {
        nap(5);
        if n == 3 || (n == 7 && Task::current().attempt() == 1) {
            freeze();
        }
    };
    let outcomes = pool.call(task).chunk(1).retries(1).task_timeout(TASK_LIMIT).outcomes(0..20)?;
    let took = began.elapsed();
    assert!(took > TASK_LIMIT && took < Duration::from_secs(30), "{took:?}");
    let failed: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!((failed[0].index(), failed[0].kind()), (3, FailureKind::TimedOut));
    println!("task 3 timed out, {} workers lost", pool.progress().lost);
    pool.exit(0)
}

fn limited_task_freezes(mode: Mode) {
    let ended = start(&mut command("limited_task", mode, 4)).end().expect(0);
    assert!(ended.stdout.contains("task 3 timed out, 3 workers lost"), "{ended:?}");
}

fn limited_chunk_inside(mode: Mode, workers: i64) -> Result<(), Error> {
    let pool = started(mode, workers, None)?;
    let task = |marker: &String, n: u64| {
        if n == 3 && first(marker) {
            freeze();
        }
    };
    let outcomes = pool.call_with(&marker(), task).chunk(10).task_timeout(TASK_LIMIT).outcomes(0..20);
    std::fs::remove_file(marker()).expect("a worker has frozen");
    assert!(outcomes?.iter().all(Result::is_ok));
    println!("all are done, {} worker lost", pool.progress().lost);
    Ok(())
}

fn limited_chunk(mode: Mode) {
    let ended = start(&mut command("limited_chunk", mode, 2)).end().expect(0);
    assert!(ended.stdout.contains("all are done, 1 worker lost"), "{ended:?}");
}

fn busy_workers_inside(mode: Mode, workers: i64) -> Result<(), Error> {
    let pool = started(mode, workers, Duration::from_secs(2))?;
    let spin = |()| {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            std::hint::spin_loop();
        }
    };
    pool.call(spin).chunk(1).map(vec![(); workers as usize])?;
    println!("{} workers lost", pool.progress().lost);
    Ok(())
}

fn busy_workers(mode: Mode) {
    let ended = start(&mut command("busy_workers", mode, 6)).end().expect(0);
    assert!(ended.stdout.contains("0 workers lost"), "{ended:?}");
}

/// Two tasks for each worker; each takes less than its limit, but not less than the test stops it for.
fn one_task_each_inside(mode: Mode, workers: i64) -> Result<(), Error> {
    let pool = started(mode, workers, Duration::from_secs(2))?;
    // It has most of its work before it when it is continued.
    let long = |()| (0..20).map(|_| nap(100)).for_each(drop);
    let stream = pool.call(long).chunk(1).task_timeout(Duration::from_millis(3_000)).stream(vec![(); 4])?;
    println!("rank 0 is {} now", std::process::id());
    for result in stream {
        result?;
    }
    println!("{} workers lost", pool.progress().lost);
    Ok(())
}

/// Starts the scenario, has it stopped and continued in its middle, and expects that nobody was lost.
fn disturbed(mode: Mode, disturb: impl Fn(&Running, u32)) {
    let mut running = start(&mut command("one_task_each", mode, 2));
    let rank_0 = rank_0(&mut running);
    nap(500);
    disturb(&running, rank_0);
    let ended = running.end().expect(0);
    assert!(ended.stdout.contains("0 workers lost"), "{ended:?}");
}

const LONGER_THAN_THE_STALL: u64 = 4_000;

fn rank_0_stops(mode: Mode) {
    disturbed(mode, |_, rank_0| {
        support::signal_process(rank_0, Signal::STOP);
        nap(LONGER_THAN_THE_STALL);
        support::signal_process(rank_0, Signal::CONT);
    });
}

/// Signals reach one process after another: rank 0 asks before it is stopped, and who is asked cannot answer.
fn all_stop(mode: Mode) {
    disturbed(mode, |running, rank_0| {
        running.signal_others(rank_0, Signal::STOP);
        nap(400);
        support::signal_process(rank_0, Signal::STOP);
        nap(LONGER_THAN_THE_STALL);
        support::signal_process(rank_0, Signal::CONT);
        nap(200);
        running.signal_others(rank_0, Signal::CONT);
    });
}

fn continued_inside(mode: Mode, workers: i64) -> Result<(), Error> {
    let pool = started(mode, workers, Duration::from_secs(1))?;
    let everybody: Vec<i32> = pool.workers().iter().map(|worker| worker.pid as i32).collect();
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            while pool.progress().lost == 0 {
                nap(10);
            }
            // The one that was given up goes on in the middle of its chunk.
            for pid in &everybody {
                kill_process(Pid::from_raw(*pid).expect("a process"), Signal::CONT).expect("it is there");
            }
        });
        squares(&pool, 60)
    });
    std::fs::remove_file(marker()).expect("a worker has frozen");
    done?;
    pool.exit(0)
}

fn large_items_inside(mode: Mode, workers: i64) -> Result<(), Error> {
    let pool = started(mode, workers, Duration::from_secs(2))?;
    stop_worker(&pool);
    let items = (0..20).map(|n| Block::from(vec![n; 8 << 20]));
    let back = pool.call(|block: Block<u8>| block).chunk(1).map(items)?;
    assert!(back.iter().enumerate().all(|(n, block)| block.len() == 8 << 20 && block[7] == n as u8));
    println!("{} worker lost", pool.progress().lost);
    pool.exit(0)
}

fn large_items(mode: Mode) {
    let ended = start(&mut command("large_items", mode, 2)).end().expect(0);
    assert!(ended.stdout.contains("1 worker lost"), "{ended:?}");
}

/// Stops a worker, and waits until it stands: its threads go on for a moment, and one of them may answer rank 0.
fn stop_worker(pool: &Executor) {
    let pid = pool.workers()[0].pid;
    kill_process(Pid::from_raw(pid as i32).expect("a process"), Signal::STOP).expect("it is there");
    support::wait(Duration::from_secs(10), Duration::from_millis(1), "a stop of all threads", || {
        let states = states(pid);
        if states.iter().all(|state| *state == 'T') { Ok(()) } else { Err(format!("{states:?}")) }
    });
}

/// The states of a process's threads.
fn states(pid: u32) -> Vec<char> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it is there").flatten();
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    stats.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next()).collect()
}

fn freezes_at_the_end_inside(mode: Mode, workers: i64) -> Result<(), Error> {
    let pool = started(mode, workers, Duration::from_secs(2))?;
    pool.map(|_: u64| nap(5), 0..20)?;
    stop_worker(&pool);
    pool.exit(0)
}

fn worker_freezes_at_the_end(mode: Mode) {
    let ended = start(&mut command("freezes_at_the_end", mode, 2)).end().expect(0);
    assert!(ended.took < Duration::from_secs(15), "{ended:?}");
}

fn never_starts_inside(mode: Mode, workers: i64) -> Result<(), Error> {
    let child = std::env::var_os("RANKPOOL_CHILD_OF").is_some();
    let rank_1 =
        ["OMPI_COMM_WORLD_RANK", "PMI_RANK"].map(|name| std::env::var(name).is_ok_and(|rank| rank == "1"));
    if child && first(&marker()) || rank_1.contains(&true) {
        freeze();
    }
    let limit = Duration::from_secs(2);
    let pool = Executor::builder().mode(mode).workers(workers).start_timeout(limit).start();
    let _ = std::fs::remove_file(marker());
    pool?.map(|_: u64| (), 0..20).map(drop)
}

fn refused_start(ended: Ended) {
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(ended.took < LIMIT / 2, "{ended:?}");
    let told = ["did not come up within", "did not start the workers within"];
    assert!(told.iter().any(|text| ended.stderr.contains(text)), "{ended:?}");
}

fn never_starts(mode: Mode) {
    refused_start(start(&mut command("never_starts", mode, 2)).end());
}
