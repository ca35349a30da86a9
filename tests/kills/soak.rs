//! A soak: random small maps, submits, cancels and kills for a while. No result may be wrong, no memory and no descriptor
//! be kept. RANKPOOL_TEST_SOAK_SECONDS says for how long, for all modes together; RANKPOOL_TEST_SOAK_SEED repeats one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use rankpool::{
    Block, Error, Executor, FailureKind, Future, Mode,
    rand_chacha::{
        ChaCha8Rng,
        rand_core::{Rng, SeedableRng},
    },
};

use crate::{
    deaths::Death,
    support::{self, LIMIT, Stack, program, stack, start, under},
};

pub const TESTS: &[(&str, fn())] = &[
    ("soak: comm with leaders, 6 ranks", comm_with_leaders),
    ("soak: pool with leaders, 6 ranks", pool_with_leaders),
    ("soak: pool, 6 ranks", pool),
];

/// For all of them.
const SECONDS: u64 = 60;
/// Between kills in a mode in which each of them costs a spawn.
const RARE: Duration = Duration::from_secs(3);
/// What Open MPI 4 keeps in rank 0 of each process that it has spawned is about 260 kB.
const KEPT_BY_MPI: u64 = 400;
/// Rounds of the largest kind, before anything is measured.
const WARM_UP: u64 = 30;

fn comm_with_leaders() {
    soak(6, &[], Mode::Comm, 2);
}

fn pool_with_leaders() {
    soak(1, &[], Mode::Pool, 2);
}

/// Here workers die, where their launcher lets the others live.
fn pool() {
    let Some(flags) = support::survive() else { return };
    soak(1, flags, Mode::Pool, 0);
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value}")))
}

fn soak(ranks: u32, launcher: &[&str], mode: Mode, children: u32) {
    let modes = if stack().survive().is_some() { 3 } else { 2 };
    let usual = if stack() == Stack::OpenMpi4 { SECONDS } else { SECONDS / 4 };
    let seconds = variable("RANKPOOL_TEST_SOAK_SECONDS").unwrap_or(usual).div_ceil(modes);
    let seed = variable("RANKPOOL_TEST_SOAK_SEED").unwrap_or_else(|| std::process::id().into());
    let folder = tempfile::tempdir().unwrap();
    let mut command = under(ranks, launcher, &program());
    let [mode, children, seed, time] =
        [mode.to_string(), children.to_string(), seed.to_string(), seconds.to_string()];
    command.args(["inside", &mode, &children, &seed, &time]).arg(folder.path());
    let ended = start(&mut command).end_within(LIMIT + Duration::from_secs(seconds)).expect(0);
    let figures = ended.stdout.lines().find(|line| line.starts_with("soak: ")).expect("figures");
    // Past the capture of the harness: the figures are what a soak is for.
    eprintln!("{figures}");
}

/// `MODE CHILDREN SEED SECONDS FOLDER`: the program that is soaked.
pub fn inside(arguments: &[String]) -> ExitCode {
    let [mode, children, seed, seconds, folder] = arguments else { panic!("{arguments:?}") };
    let number = |text: &String| text.parse::<u64>().expect("a number");
    rankpool::main(|| {
        let mode: Mode = mode.parse()?;
        let mut builder = Executor::builder().mode(mode).oversubscribe(mode == Mode::Pool);
        if mode == Mode::Pool {
            builder = builder.workers(5);
        }
        let children = number(children) as i64;
        if children > 0 {
            builder = builder.processes_per_worker(children);
        }
        let pool = builder.start()?;
        let seed = number(seed);
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let mut soak = Soak {
            pool: &pool,
            rng,
            folder: folder.into(),
            leaders: children > 0,
            rounds: 0,
            kills: 0,
            warm: false,
            last_kill: Instant::now(),
        };
        soak.run(Duration::from_secs(number(seconds)), seed)?;
        pool.shutdown()
    })
}

/// What a task makes of its number; after a while that depends on it.
fn made_of(n: u64) -> u64 {
    thread::sleep(Duration::from_micros(n % 7 * 100));
    expected(n)
}

fn expected(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17)
}

/// The same; the first one to come here with the file dies.
fn mortal((n, file): (u64, Option<PathBuf>)) -> u64 {
    if file.is_some_and(|file| fs::remove_file(file).is_ok()) {
        Death::Kill.die("");
    }
    made_of(n)
}

fn with_shared(shared: &Block<u64>, n: u64) -> u64 {
    made_of(n) ^ shared[n as usize % shared.len()]
}

fn large(block: Block<u64>) -> Block<u64> {
    block.iter().map(|number| expected(*number)).collect()
}

fn process((): ()) -> u32 {
    thread::sleep(Duration::from_millis(1));
    std::process::id()
}

/// What rank 0 and the leaders have.
#[derive(Clone, Copy)]
struct Held {
    kilobytes: u64,
    descriptors: usize,
    /// Processes that were spawned since the beginning.
    spawned: u64,
}

struct Soak<'p> {
    pool: &'p Executor,
    rng: ChaCha8Rng,
    folder: PathBuf,
    leaders: bool,
    rounds: u64,
    kills: u64,
    /// Rounds are of any size.
    warm: bool,
    last_kill: Instant,
}

impl Soak<'_> {
    fn run(&mut self, time: Duration, seed: u64) -> Result<(), Error> {
        while self.rounds < WARM_UP {
            self.round()?;
        }
        self.warm = true;
        let began = Instant::now();
        let mut quarter = None;
        while began.elapsed() < time {
            self.round()?;
            if quarter.is_none() && began.elapsed() > time / 4 {
                quarter = Some(self.held());
            }
        }
        let (quarter, end) = (quarter.expect("a quarter of the time"), self.held());
        let (before, after) = (quarter.kilobytes as f64 / 1e3, end.kilobytes as f64 / 1e3);
        println!(
            "soak: {}{}, seed {seed}, {} s: {} rounds, {} kills, {} lost; at a quarter {before:.1} MB and {} \
             descriptors, at the end {after:.1} MB and {}",
            self.pool.mode(),
            if self.leaders { " with leaders" } else { "" },
            time.as_secs(),
            self.rounds,
            self.kills,
            self.pool.progress().lost,
            quarter.descriptors,
            end.descriptors,
        );
        let kept = (KEPT_BY_MPI * (end.spawned - quarter.spawned)) as f64 / 1e3;
        assert!(after < 1.1 * before + kept, "memory has grown from {before:.1} to {after:.1} MB");
        assert!(end.descriptors <= quarter.descriptors, "descriptors were not closed");
        Ok(())
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.rng.next_u64() % end
    }

    /// A number from 1 to `most`; that itself at first, so that memory has grown to what it may need.
    fn size(&mut self, most: u64) -> u64 {
        if self.warm { 1 + self.below(most) } else { most }
    }

    fn numbers(&mut self, most: u64) -> Vec<u64> {
        let count = self.size(most);
        (0..count).map(|_| self.rng.next_u64()).collect()
    }

    /// Something small, while futures wait, of which some are cancelled; and now and then a kill at any point of it.
    fn round(&mut self) -> Result<(), Error> {
        self.rounds += 1;
        if self.may_kill() && self.below(4) == 0 {
            self.kill_somebody()?;
        }
        let tasks = self.numbers(20);
        let futures =
            tasks.iter().map(|n| self.pool.submit(made_of, *n)).collect::<Result<Vec<_>, Error>>()?;
        match self.below(6) {
            0 | 1 => self.map()?,
            2 => self.shared()?,
            3 => self.blocks()?,
            4 => self.half_a_stream()?,
            _ => self.deadly_map()?,
        }
        self.end(&tasks, &futures);
        Ok(())
    }

    /// Cancels some, and waits for all.
    fn end(&mut self, tasks: &[u64], futures: &[Future<u64>]) {
        let cancelled: Vec<bool> =
            futures.iter().map(|future| self.below(3) == 0 && future.cancel()).collect();
        for ((n, future), cancelled) in tasks.iter().zip(futures).zip(cancelled) {
            match future.wait_timeout(LIMIT).expect("an end") {
                Ok(value) => assert!(!cancelled && value == expected(*n), "task {n}"),
                Err(error) => {
                    assert!(cancelled && error.kind() == FailureKind::NotDone, "task {n}: {error}");
                }
            }
        }
    }

    fn map(&mut self) -> Result<(), Error> {
        let items = self.numbers(150);
        let found = self.pool.map(made_of, items.clone())?;
        assert!(found.iter().copied().eq(items.into_iter().map(expected)), "a map");
        Ok(())
    }

    fn shared(&mut self) -> Result<(), Error> {
        let items = self.numbers(50);
        let length = self.size(200_000);
        let shared: Block<u64> = (0..length).map(expected).collect();
        let found = self.pool.map_with(&shared, with_shared, items.clone())?;
        let wanted = items.into_iter().map(|n| expected(n) ^ shared[n as usize % shared.len()]);
        assert!(found.into_iter().eq(wanted), "a map with a shared value");
        Ok(())
    }

    fn blocks(&mut self) -> Result<(), Error> {
        let count = self.size(4);
        let lengths: Vec<u64> = (0..count).map(|_| self.size(200_000)).collect();
        let blocks = lengths.iter().map(|length| (0..*length).collect::<Block<u64>>());
        let found = self.pool.map(large, blocks)?;
        for (block, length) in found.iter().zip(&lengths) {
            let wanted = (0..*length).map(expected);
            assert!(block.iter().copied().eq(wanted), "a large value");
        }
        Ok(())
    }

    /// A map that nobody wants to the end.
    fn half_a_stream(&mut self) -> Result<(), Error> {
        let items = self.numbers(300);
        let wanted = self.below(items.len() as u64) as usize;
        let stream = self.pool.call(made_of).stream(items.clone())?;
        for (found, n) in stream.take(wanted).zip(items) {
            assert!(found? == expected(n), "a stream");
        }
        Ok(())
    }

    /// A map of which one task kills its process, once.
    fn deadly_map(&mut self) -> Result<(), Error> {
        let items = self.numbers(60);
        let fatal = if self.may_kill() { self.below(items.len() as u64) as usize } else { usize::MAX };
        let file = self.folder.join(self.rounds.to_string());
        if fatal != usize::MAX {
            fs::write(&file, "").expect("a file");
            self.count_kill();
        }
        let with_file = |(k, n): (usize, &u64)| (*n, (k == fatal).then(|| file.clone()));
        let found = self.pool.map(mortal, items.iter().enumerate().map(with_file).collect::<Vec<_>>())?;
        assert!(found.into_iter().eq(items.into_iter().map(expected)), "a map with a death");
        assert!(!file.exists(), "nobody has died");
        Ok(())
    }

    /// Kills a process that runs tasks; what it is at then is anybody's guess.
    fn kill_somebody(&mut self) -> Result<(), Error> {
        let process = self.pool.submit(process, ())?.wait()?;
        Death::Kill.strike(process);
        self.count_kill();
        Ok(())
    }

    fn may_kill(&self) -> bool {
        self.leaders || self.last_kill.elapsed() > RARE
    }

    fn count_kill(&mut self) {
        self.kills += 1;
        self.last_kill = Instant::now();
    }

    /// What rank 0 and the leaders hold, once nothing is going on. Workers without children come and go.
    fn held(&mut self) -> Held {
        // Children that were lost last are replaced, and what is over is forgotten.
        thread::sleep(Duration::from_secs(1));
        let leaders = self.pool.workers().iter().filter(|worker| !worker.children.is_empty());
        let mut pids: Vec<u32> = leaders.map(|leader| leader.pid).chain([std::process::id()]).collect();
        pids.sort_unstable();
        pids.dedup();
        let (kilobytes, descriptors): (Vec<u64>, Vec<usize>) = pids.into_iter().map(held_by).unzip();
        let spawned = if self.leaders { 0 } else { self.kills };
        Held { kilobytes: kilobytes.iter().sum(), descriptors: descriptors.iter().sum(), spawned }
    }
}

/// The memory of a process in kB, and its descriptors.
fn held_by(pid: u32) -> (u64, usize) {
    let folder = Path::new("/proc").join(pid.to_string());
    let status = fs::read_to_string(folder.join("status")).expect("a living process");
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kilobytes = memory.trim().trim_end_matches(" kB").parse().expect("a number");
    (kilobytes, fs::read_dir(folder.join("fd")).expect("descriptors").count())
}
