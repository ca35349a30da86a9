//! What a rank does that leads child processes: a task can die and the ranks live.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rankpool::{Block, Error, Executor, FailureKind, Mode, Scattered, Task};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::{
    inside::nap,
    support::{self, Ended, LIMIT, mpiexec, program, skipped, start, under},
    told,
};

/// Children of each rank.
const CHILDREN: i64 = 2;

/// Two ranks that lead children, without a flag of the launcher's.
fn command(scenario: &str) -> Command {
    let mut command = under(2, &[], &program());
    command.args(["inside", scenario, "comm", "1"]);
    command
}

fn run(scenario: &str) -> Ended {
    start(&mut command(scenario)).end_within(2 * LIMIT)
}

pub const TESTS: &[(&str, fn())] = &[
    ("a child that dies, however it does, costs its chunk on any MPI", children_die),
    ("a task that kills its children is quarantined and the rest is done", deadly_task),
    ("a task over its time is ended with all that it has started", stuck_task),
    ("a large shared value lies once in the memory of a node", shared_value),
    ("a scattered value does, too, and a child that replaces another one has it", scattered_value),
    ("a task may start an mpiexec of its own", nested_launch),
    ("an executor inside a child is local", nested_executor),
    ("libraries in children start threads for the children's share of the CPUs", library_threads),
    ("frozen children are replaced", frozen_child),
    ("children end with rank 0 and with their leader", orphans),
    ("a leader whose children cannot be started says why", no_children),
];

/// Runs the scenario, if it is one of these.
pub fn inside(scenario: &str) -> bool {
    let scenario: fn(&Executor) -> Result<(), Error> = match scenario {
        "children_die" => |pool| {
            // One way to die in each round; the task finds out by its index.
            let ways = 5u64;
            let outcomes = pool.call_with(&ways, die_once).chunk(1).map(0..40)?;
            assert_eq!(outcomes, (0..40).collect::<Vec<_>>());
            assert_eq!(pool.progress().lost, 0, "no rank was lost");
            println!("{} children were lost and no rank", pool.progress().children_lost);
            Ok(())
        },
        "leaders_deadly_task" => |pool| {
            let outcomes = pool
                .call(|n: u64| if n == 7 { std::process::abort() } else { n })
                .chunk(4)
                .outcomes(0..40)?;
            let failed: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
            assert_eq!((failed.len(), failed[0].index()), (1, 7));
            assert_eq!(failed[0].kind(), FailureKind::Quarantined);
            println!("{failed:?}");
            Ok(())
        },
        "leaders_library_threads" => |pool| {
            let told = |_: u64| {
                nap(10);
                (Task::current().rank(), std::env::var("OMP_NUM_THREADS").unwrap_or_default())
            };
            let told: BTreeSet<(u32, String)> = pool.call(told).chunk(1).map(0..40)?.into_iter().collect();
            let share = (pool.workers()[0].cpus.len() / (2 * CHILDREN as usize)).max(1).to_string();
            assert_eq!(told, [(0, share.clone()), (1, share)].into());
            println!("all are told the same");
            Ok(())
        },
        "leaders_stuck_task" => stuck,
        "shared_value" => share,
        "scattered_value" => scatter,
        "nested_launch" => |pool| {
            let ranks = pool.map(|_: u64| hostnames(), 0..4)?;
            assert_eq!(ranks, [2; 4], "each mpiexec has started two");
            println!("4 launches inside tasks");
            Ok(())
        },
        "nested_executor" => |pool| {
            let sums = pool.map(
                |n: u64| {
                    let inner = Executor::builder().mode(Mode::Processes).workers(2).start().unwrap();
                    inner.map(|n: u64| n * n, 0..n).unwrap().iter().sum::<u64>()
                },
                [3, 4],
            )?;
            assert_eq!(sums, [5, 14]);
            println!("two executors inside children");
            Ok(())
        },
        "frozen_child" => |pool| {
            let pids = pool.map(|_: u64| std::process::id(), 0..20)?;
            let frozen = Pid::from_raw(pids[0] as i32).unwrap();
            kill_process(frozen, Signal::STOP).unwrap();
            assert_eq!(pool.call(nap).chunk(1).map([5; 40])?, [5; 40]);
            assert_eq!(pool.progress().children_lost, 1);
            println!("a frozen child was replaced");
            Ok(())
        },
        "leaders_wait" => |pool| {
            let _busy: Vec<_> = (0..4).map(|_| pool.submit(nap, 600_000)).collect::<Result<_, _>>()?;
            std::thread::sleep(Duration::from_millis(300));
            let pids: Vec<String> = pool.workers().iter().map(|worker| worker.pid.to_string()).collect();
            println!("leaders are {} now", pids.join(" "));
            std::thread::sleep(Duration::from_secs(600));
            Ok(())
        },
        _ => return false,
    };
    let builder = Executor::builder().processes_per_worker(CHILDREN).stall(Duration::from_secs(2));
    let ended = builder.start().and_then(|pool| {
        scenario(&pool)?;
        pool.shutdown()
    });
    told(ended);
    true
}

/// Ends its process, in one of some ways, at the first attempt of some tasks. That it was begun is in a file.
fn die_once(ways: &u64, n: u64) -> u64 {
    let folder = std::env::var("MARKS").expect("a folder");
    let first = fs::File::create_new(format!("{folder}/{n}")).is_ok();
    if first && n.is_multiple_of(8) {
        let signal = |signal| kill_process(rustix::process::getpid(), signal).unwrap();
        match n / 8 % ways {
            0 => signal(Signal::KILL),
            // Rust's own handler takes the first one for a chance to tell of a stack overflow.
            1 => [Signal::SEGV; 2].into_iter().for_each(signal),
            2 => std::process::abort(),
            3 => std::process::exit(3),
            _ => out_of_memory(),
        }
        std::thread::sleep(Duration::from_secs(60));
    }
    n
}

/// Asks for more memory than it may have: Rust's answer is to abort.
fn out_of_memory() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::As);
    limit.current = Some(1 << 30);
    setrlimit(Resource::As, limit).unwrap();
    let much: Vec<u8> = vec![1; 2 << 30];
    println!("{}", much[much.len() - 1]);
}

fn children_die() {
    let marks = tempfile::tempdir().unwrap();
    let ended = start(command("children_die").env("MARKS", marks.path())).end_within(2 * LIMIT).expect(0);
    let lost: u64 = ended.stdout.split(' ').next().unwrap().parse().unwrap();
    assert!(lost >= 5, "{ended:?}");
}

fn deadly_task() {
    let ended = run("leaders_deadly_task").expect(0);
    assert!(ended.stdout.contains("it was in flight on 3 workers that were lost"), "{ended:?}");
}

/// A task that starts processes and does not end; rank 0 looks for them when it is told that the task has failed.
fn stuck(pool: &Executor) -> Result<(), Error> {
    let limit = Duration::from_millis(500);
    let stuck = |marks: &String, n: u64| {
        if n == 3 {
            let sleeping = |_| Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap().id();
            let pids: Vec<String> =
                (0..3).map(sleeping).chain([std::process::id()]).map(|pid| pid.to_string()).collect();
            fs::write(marks, pids.join(" ")).unwrap();
            nap(600_000);
        }
        nap(5)
    };
    let folder = tempfile::tempdir().unwrap();
    let marks = folder.path().join("pids").to_str().unwrap().to_string();
    let mut failed_after = None;
    let began = Instant::now();
    for outcome in pool.call_with(&marks, stuck).chunk(1).keep_going().task_timeout(limit).unordered(0..20)? {
        if let Err(error) = outcome {
            failed_after = Some(began.elapsed());
            let task = error.task().expect("a task's error");
            assert_eq!((task.index(), task.kind()), (3, FailureKind::TimedOut));
            let pids = fs::read_to_string(&marks).unwrap();
            let pids = pids.split(' ').map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap());
            let alive: Vec<Pid> =
                pids.filter(|pid| test_kill_process(*pid).is_ok() && !is_zombie(*pid)).collect();
            assert!(alive.is_empty(), "{alive:?} live on");
        }
    }
    assert_eq!(pool.progress().lost, 0, "no rank was lost");
    let late = failed_after.expect("a failure") - limit;
    assert!(late < Duration::from_secs(2), "{late:?} after its limit");
    println!("all of it has ended {} ms after its limit", late.as_millis());
    Ok(())
}

/// It has ended, and its parent has not asked yet.
fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

fn stuck_task() {
    let ended = run("leaders_stuck_task").expect(0);
    assert!(ended.stdout.contains("all of it has ended"), "{ended:?}");
}

const LARGE: usize = 256 << 20;

/// Kilobytes of memory that this process alone has, and its part of all that it shares.
fn memory() -> (u64, u64) {
    let smaps = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let sum = |name: &str| -> u64 {
        let lines = smaps.lines().filter_map(|line| line.strip_prefix(name));
        lines.map(|line| line.trim_end_matches("kB").trim().parse::<u64>().unwrap()).sum()
    };
    (sum("Private_Clean:") + sum("Private_Dirty:"), sum("Pss:"))
}

fn share(pool: &Executor) -> Result<(), Error> {
    let seen = pool.call_with(&large(), |block, _: u64| read(block)).chunk(1).map(0..40)?;
    all_have_read(&seen);
    Ok(())
}

/// In one call after another, and in that of a child that has come since.
fn scatter(pool: &Executor) -> Result<(), Error> {
    let block = pool.scatter(&large())?;
    let again =
        || pool.call(|block: Scattered<Block<u8>>| read(&block)).chunk(1).map(vec![block.clone(); 40]);
    again()?;
    let victim = pool.workers()[0].children[0].pid;
    kill_process(Pid::from_raw(victim as i32).unwrap(), Signal::KILL).unwrap();
    let began = Instant::now();
    while pool.progress().children_lost == 0
        || again()?.iter().map(slot_of).collect::<BTreeSet<_>>().len() < 4
    {
        assert!(began.elapsed() < LIMIT, "no other child has come");
    }
    all_have_read(&again()?);
    Ok(())
}

fn large() -> Block<u8> {
    Block::from((0..LARGE).map(|byte| byte as u8).collect::<Vec<_>>())
}

/// Rank, slot, a sum over the block, and the memory of the process's own.
type Seen = (u32, u32, u64, u64);

fn read(block: &Block<u8>) -> Seen {
    let sum: u64 = block.iter().step_by(64).map(|byte| u64::from(*byte)).sum();
    nap(20);
    (Task::current().rank(), Task::current().slot(), sum, memory().0)
}

fn slot_of(seen: &Seen) -> (u32, u32) {
    (seen.0, seen.1)
}

fn all_have_read(seen: &[Seen]) {
    let slots: BTreeSet<(u32, u32)> = seen.iter().map(slot_of).collect();
    assert_eq!(slots.len(), 4, "every child has read it");
    assert!(seen.iter().all(|(_, _, sum, _)| *sum == seen[0].2), "all have read the same");
    let most = seen.iter().map(|(.., private)| *private).max().unwrap_or(0);
    println!("a child has {} MB of its own", most >> 10);
}

fn shared_value() {
    let ended = run("shared_value").expect(0);
    let megabytes: usize = ended.stdout.split(' ').nth(3).unwrap().parse().unwrap();
    assert!(megabytes < LARGE >> 22, "{ended:?}");
}

fn scattered_value() {
    let ended = run("scattered_value").expect(0);
    let megabytes: usize = ended.stdout.split(' ').nth(3).unwrap().parse().unwrap();
    assert!(megabytes < LARGE >> 22, "{ended:?}");
}

/// The ranks of an mpiexec that a task starts.
fn hostnames() -> usize {
    let mut command = mpiexec(&["-n", "2", "uname", "-n"]);
    let output = command.stdin(Stdio::null()).output().expect("an mpiexec");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).lines().count()
}

fn nested_launch() {
    assert!(run("nested_launch").expect(0).stdout.contains("4 launches inside tasks"));
}

fn library_threads() {
    let mut command = under(2, &["--bind-to", "none"], &program());
    command.args(["inside", "leaders_library_threads", "comm", "1"]).env_remove("OMP_NUM_THREADS");
    assert!(start(&mut command).end().expect(0).stdout.contains("all are told the same"));
}

fn nested_executor() {
    assert!(run("nested_executor").expect(0).stdout.contains("two executors inside children"));
}

fn frozen_child() {
    assert!(run("frozen_child").expect(0).stdout.contains("a frozen child was replaced"));
}

/// Each leader in turn is killed; `end_within` fails when a process is left.
fn orphans() {
    for killed in [0, 1] {
        let mut running = start(&mut command("leaders_wait"));
        let out = running.wait_for(" now\n");
        let pids: Vec<u32> =
            out.split("leaders are ").nth(1).unwrap().split(' ').filter_map(|pid| pid.parse().ok()).collect();
        support::signal_process(pids[killed], Signal::KILL);
        running.end_within(LIMIT);
    }
}

fn no_children() {
    // So few open files that there is none for the children.
    let mut command = Command::new("sh");
    let run = format!("ulimit -n 12; exec {} inside leaders_wait comm 1", program());
    command.args(["-c", &run]);
    let ended = start(&mut command).end();
    if ended.code == 0 {
        return skipped("no limit on open files can be set here");
    }
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("limit on open files"), "{ended:?}");
}
