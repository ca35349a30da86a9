//! Strangers on the lifelines' port, and too few descriptors for all.

use std::{
    io::Write,
    net::TcpStream,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rankpool::{Error, Executor, Mode};
use rustix::process::{Signal, getpid, kill_process};

use super::{
    inside::nap,
    rank_0,
    support::{self, Stack, program, start, under},
    told,
};

pub const TESTS: &[(&str, fn())] = &[
    ("a crowd on the port keeps no worker out, nor its replacement", crowd),
    ("with very few descriptors the run is done", few_descriptors),
    ("more workers than there are descriptors for are refused", too_many_workers),
    ("a replacement for which there is no descriptor is started later", replaced_later),
];

/// Runs the scenario if it is one of these.
pub fn inside(scenario: &str, mode: Mode, workers: i64) -> bool {
    let scenario = match scenario {
        "crowded" => crowded_inside,
        "hoarding" => hoarding_inside,
        "plain" => plain_inside,
        _ => return false,
    };
    let ended = Executor::builder().mode(mode).workers(workers).start().and_then(|pool| scenario(&pool));
    told(ended);
    true
}

/// A scenario, its mode and its workers, with a hard limit on open files, in a world of ranks as for [`under`].
fn limited(files: u32, world: u32, launcher: &[&str], scenario: &str) -> Command {
    let mut command = under(world, launcher, "sh");
    command.args(["-c", &format!("ulimit -n {files}; exec {} inside {scenario}", program())]);
    command
}

fn plain_inside(pool: &Executor) -> Result<(), Error> {
    pool.map(|_: u64| nap(10), 0..100)?;
    println!("100 are done, {} workers lost", pool.progress().lost);
    Ok(())
}

/// A worker dies while strangers hold the port; all tasks must be run, by others and by its replacement.
fn crowded_inside(pool: &Executor) -> Result<(), Error> {
    println!("rank 0 is {} now", std::process::id());
    nap(1_000);
    let first = pool.workers()[0].rank;
    let task = move |first: &u32, n: u64| {
        nap(20);
        if n >= 10 && rankpool::Task::current().rank() == *first {
            kill_process(getpid(), Signal::KILL).expect("a signal to oneself");
        }
    };
    pool.map_with(&first, task, 0..200)?;
    let progress = pool.progress();
    let came_later =
        progress.by_rank.iter().filter(|(rank, _)| !pool.workers().iter().any(|w| w.rank == **rank));
    let theirs: u64 = came_later.map(|(_, share)| share.tasks).sum();
    println!(
        "{} worker lost, {} by its replacement",
        progress.lost,
        if theirs > 0 { "tasks" } else { "nothing" }
    );
    Ok(())
}

fn crowd() {
    let mut running = start(&mut limited(64, 0, &[], "crowded processes 2"));
    let port = port_of(rank_0(&mut running));
    let over = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        // Silent ones, noise, a token that is wrong or does not end, and one byte after another.
        for words in [&b""[..], &[7; 200], &[7; 32], &[7; 20], &[7; 1]] {
            let over = &over;
            scope.spawn(move || {
                let mut held = std::collections::VecDeque::new();
                while !over.load(Ordering::Relaxed) {
                    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
                        let _ = stream.write_all(words);
                        held.push_back(stream);
                    }
                    if held.len() > 80 {
                        held.pop_front();
                    }
                    nap(1);
                }
            });
        }
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| running.end()));
        over.store(true, Ordering::Relaxed);
        ended
    });
    let ended = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).expect(0);
    assert!(ended.stdout.contains("1 worker lost, tasks by its replacement"), "{ended:?}");
}

/// The port on which a process listens.
fn port_of(pid: u32) -> u16 {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it is there").flatten();
    let sockets: Vec<String> = files
        .filter_map(|file| std::fs::read_link(file.path()).ok()?.to_str().map(String::from))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_string()))
        .collect();
    let tables =
        ["tcp", "tcp6"].map(|name| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default());
    let listens = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ours = fields.get(3) == Some(&"0A")
            && sockets.iter().any(|inode| fields.get(9) == Some(&inode.as_str()));
        ours.then(|| u16::from_str_radix(fields[1].rsplit(':').next()?, 16).ok()).flatten()
    };
    tables.iter().flat_map(|table| table.lines()).find_map(listens).expect("a listening socket")
}

/// MPI and some of the lifelines have room, whichever number of descriptors MPI takes itself.
fn few_descriptors() {
    let room = if support::stack() == Stack::Mpich { [41, 42] } else { [32, 33] };
    for files in room {
        let ended = start(&mut limited(files, 9, &[], "plain comm 8")).end().expect(0);
        assert!(ended.stdout.contains("100 are done, 0 workers lost"), "{files}: {ended:?}");
    }
}

fn too_many_workers() {
    let ended = start(&mut limited(40, 0, &[], "plain processes 30")).end().expect(2);
    assert!(ended.stderr.contains("the limit on open files (40) leaves room for"), "{ended:?}");
}

/// Rank 0's program has taken every descriptor when a worker dies, and gives them back later.
fn hoarding_inside(pool: &Executor) -> Result<(), Error> {
    let hoard: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let only = pool.workers()[0].pid;
    support::signal_process(only, Signal::KILL);
    while pool.progress().lost == 0 {
        nap(10);
    }
    nap(1_000);
    drop(hoard);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while pool.progress().by_rank.len() < 3 {
        assert!(std::time::Instant::now() < deadline, "{:?}", pool.progress());
        nap(10);
    }
    plain_inside(pool)
}

fn replaced_later() {
    let alone = limited(64, 0, &[], "hoarding processes 2");
    let spawning = support::survive().map(|survive| limited(64, 1, survive, "hoarding pool 2"));
    for mut command in [Some(alone), spawning].into_iter().flatten() {
        let ended = start(&mut command).end().expect(0);
        assert!(ended.stdout.contains("100 are done, 1 workers lost"), "{ended:?}");
    }
}
