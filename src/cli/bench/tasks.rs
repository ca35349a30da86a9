//! What is measured, one after the other.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::{
    cpu,
    figures::{Figure, both_ways, micros, percentile, size},
    journal::time_of_job,
};
use crate::{
    error::Error,
    executor::{Executor, Future},
    fabric::timing::Found,
    scheduler::Chunk,
    wire::Block,
};

/// How long each of those tasks takes that only keep the workers busy.
const NAP: Duration = Duration::from_millis(10);
/// After this long, waiting is as cheap as it gets.
const IDLE: Duration = Duration::from_secs(1);
/// Bytes of blocks that are sent in one measurement at most.
const MOST_BYTES: u64 = 4 << 30;

/// How much is measured.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) block_sizes: Vec<usize>,
    /// How long each kind of bare message is sent.
    pub(super) message_time: Duration,
    /// How long each kind of task is run, and how often; the median counts.
    time: Duration,
    runs: usize,
    submits: u64,
    /// Submits after a second of idleness.
    idle_submits: usize,
    burst: u64,
}

impl Plan {
    pub(super) fn new(quick: bool) -> Plan {
        let block_sizes = vec![1 << 10, 64 << 10, 1 << 20, 64 << 20];
        if quick {
            let (message_time, time) = (Duration::from_millis(30), Duration::from_millis(100));
            Plan { block_sizes, message_time, time, runs: 1, submits: 500, idle_submits: 1, burst: 5_000 }
        } else {
            let (message_time, time) = (Duration::from_millis(300), Duration::from_millis(500));
            Plan {
                block_sizes,
                message_time,
                time,
                runs: 3,
                submits: 10_000,
                idle_submits: 10,
                burst: 100_000,
            }
        }
    }
}

pub(super) struct Bench<'p> {
    pub(super) plan: Plan,
    pub(super) pool: &'p Executor,
    /// What bare messages take, and frames, where they go over MPI.
    pub(super) found: Option<Found>,
    pub(super) folder: PathBuf,
}

fn same(n: u64) -> u64 {
    n
}

fn same_block(block: Block<u8>) -> Block<u8> {
    block
}

fn nap(_: u64) {
    thread::sleep(NAP);
}

impl Bench<'_> {
    /// Everything; `start` is how long the workers took to come up.
    pub(super) fn run(&self, start: Duration) -> Result<Vec<Figure>, Error> {
        let mut figures = vec![Figure::new("start", "start of the workers", start.as_secs_f64(), "s")];
        // The first tasks are slower: caches are cold.
        self.pool.map(same, 0..1000)?;
        figures.extend(self.frames());
        figures.extend(self.rates()?);
        figures.extend(self.submits()?);
        figures.extend(self.idleness()?);
        figures.push(self.burst()?);
        figures.extend(self.blocks()?);
        figures.extend(self.naps()?);
        figures.extend(self.journal()?);
        Ok(figures)
    }

    fn bare(&self, value: impl Fn(&Found) -> f64) -> Option<f64> {
        self.found.as_ref().map(value)
    }

    fn bare_trip(&self, part: f64) -> Option<f64> {
        self.bare(|found| micros(percentile(&found.message_trips, part)))
    }

    /// A frame with a number in it, there and back.
    fn frames(&self) -> Vec<Figure> {
        let Some(found) = &self.found else { return Vec::new() };
        let figure = |name, what, part| {
            Figure::micros(name, what, percentile(&found.frame_trips, part)).beside(self.bare_trip(part))
        };
        vec![
            figure("frame_p50", "frame there and back, median", 0.5),
            figure("frame_p99", "frame there and back, 99 of 100", 0.99),
        ]
    }

    fn rates(&self) -> Result<Vec<Figure>, Error> {
        let rate = |chunk: Chunk, most| {
            self.rate(1000, most, &|tasks| self.pool.call(same).chunk(chunk).map(0..tasks).map(drop))
        };
        Ok(vec![
            Figure::new("chunk_1", "tasks, one in a chunk", rate(Chunk::Fixed(1), 4_000_000)?, "tasks/s")
                .beside(self.bare(|found| found.messages_per_second)),
            Figure::new("chunk_auto", "tasks, automatic chunks", rate(Chunk::Auto, 10_000_000)?, "tasks/s"),
        ])
    }

    fn submits(&self) -> Result<Vec<Figure>, Error> {
        let trips: Vec<Duration> =
            (0..self.plan.submits).map(|n| self.submit(n)).collect::<Result<_, _>>()?;
        let figure = |name, what, part| {
            Figure::micros(name, what, percentile(&trips, part)).beside(self.bare_trip(part))
        };
        Ok(vec![
            figure("submit_p50", "submit to result, median", 0.5),
            figure("submit_p99", "submit to result, 99 of 100", 0.99),
        ])
    }

    fn submit(&self, n: u64) -> Result<Duration, Error> {
        let began = Instant::now();
        self.pool.submit(same, n)?.wait()?;
        Ok(began.elapsed())
    }

    /// What waiting costs, and how long the first result takes after it.
    fn idleness(&self) -> Result<Vec<Figure>, Error> {
        let mut trips = Vec::new();
        let mut shares = Shares::default();
        for n in 0..self.plan.idle_submits {
            shares.add(self.pool, || {
                thread::sleep(IDLE);
                Ok(())
            })?;
            trips.push(self.submit(n as u64)?);
        }
        let mut figures = vec![
            Figure::micros("idle_submit_p50", "the same after 1 s idle, median", percentile(&trips, 0.5)),
            Figure::micros("idle_submit_p99", "the same after 1 s idle, 99 of 100", percentile(&trips, 0.99)),
        ];
        figures.extend(shares.figures("idle", "idle"));
        Ok(figures)
    }

    fn burst(&self) -> Result<Figure, Error> {
        let began = Instant::now();
        let futures = (0..self.plan.burst).map(|n| self.pool.submit(same, n));
        let futures: Vec<Future<u64>> = futures.collect::<Result<_, _>>()?;
        futures.into_iter().try_for_each(|future| future.wait().map(drop))?;
        let rate = self.plan.burst as f64 / began.elapsed().as_secs_f64();
        Ok(Figure::new("burst", format!("{} submits at once", self.plan.burst), rate, "tasks/s"))
    }

    fn blocks(&self) -> Result<Vec<Figure>, Error> {
        let mut figures = Vec::new();
        for (at, bytes) in self.plan.block_sizes.iter().copied().enumerate() {
            let (what, name) = (size(bytes), size(bytes).replace(' ', ""));
            let bare = self.bare(|found| both_ways(bytes, found.message_blocks[at]));
            if let Some(found) = &self.found {
                let rate = both_ways(bytes, found.frame_blocks[at]);
                let figure = Figure::new(
                    format!("frame_{name}"),
                    format!("frame of {what}, both ways"),
                    rate,
                    "MiB/s",
                );
                figures.push(figure.beside(bare));
            }
            let block = Block::from(vec![1; bytes]);
            let blocks = self.rate(4, MOST_BYTES / bytes as u64, &|count| {
                let blocks = std::iter::repeat_n(block.clone(), count as usize);
                self.pool.call(same_block).chunk(1).stream(blocks)?.try_for_each(|back| back.map(drop))
            })?;
            let rate = both_ways(bytes, Duration::from_secs_f64(1.0 / blocks));
            let figure =
                Figure::new(format!("block_{name}"), format!("block of {what}, both ways"), rate, "MiB/s");
            figures.push(figure.beside(bare));
        }
        Ok(figures)
    }

    /// What it costs to have the workers work.
    fn naps(&self) -> Result<Vec<Figure>, Error> {
        let slots: u32 = self.pool.workers().iter().map(|worker| worker.threads).sum();
        let tasks = (2.0 * self.plan.time.as_secs_f64() / NAP.as_secs_f64()) as u64 * u64::from(slots);
        let mut shares = Shares::default();
        let began = Instant::now();
        shares.add(self.pool, || self.pool.map(nap, 0..tasks).map(drop))?;
        let best = NAP.as_secs_f64() * tasks as f64 / f64::from(slots);
        let used = 100.0 * best / began.elapsed().as_secs_f64();
        let mut figures = vec![Figure::new("naps_utilisation", "tasks of 10 ms: workers at work", used, "%")];
        figures.extend(shares.figures("naps", "tasks of 10 ms"));
        Ok(figures)
    }

    fn journal(&self) -> Result<Vec<Figure>, Error> {
        let rate = |folder| self.rate_of(1000, 10_000_000, &|tasks| time_of_job(self.pool, tasks, folder));
        let (without, with) = (rate(None)?, rate(Some(self.folder.as_path()))?);
        Ok(vec![
            Figure::new("job", "tasks of a job", without, "tasks/s"),
            Figure::new("job_with_journal", "tasks of a job with a journal", with, "tasks/s"),
        ])
    }

    fn rate(&self, least: u64, most: u64, run: &dyn Fn(u64) -> Result<(), Error>) -> Result<f64, Error> {
        self.rate_of(least, most, &|count| {
            let began = Instant::now();
            run(count).map(|()| began.elapsed())
        })
    }

    /// How many in a second. `run` is given more and more to do until it takes as long as planned; it returns the time.
    fn rate_of(
        &self,
        least: u64,
        most: u64,
        run: &dyn Fn(u64) -> Result<Duration, Error>,
    ) -> Result<f64, Error> {
        let mut count = least.min(most);
        let mut took = run(count)?;
        while took < self.plan.time / 2 && count < most {
            let more = (self.plan.time.as_secs_f64() / took.as_secs_f64()).clamp(2.0, 20.0);
            count = most.min((count as f64 * more) as u64);
            took = run(count)?;
        }
        let mut times = vec![took];
        for _ in 1..self.plan.runs {
            times.push(run(count)?);
        }
        Ok(count as f64 / percentile(&times, 0.5).as_secs_f64())
    }
}

/// The CPU time of rank 0, of a leader and of a worker, over the time that passes.
#[derive(Default)]
struct Shares {
    passed: Duration,
    rank_0: Duration,
    /// The mean of the leaders and of the workers on this host, if there are any.
    leader: Option<Duration>,
    worker: Option<Duration>,
    /// The system does not tell it.
    unknown: bool,
}

impl Shares {
    /// Adds what is used while `run` runs.
    fn add(&mut self, pool: &Executor, run: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let before = cpu::used(pool);
        let began = Instant::now();
        run()?;
        self.passed += began.elapsed();
        let (Some(before), Some(after)) = (before, cpu::used(pool)) else {
            self.unknown = true;
            return Ok(());
        };
        self.rank_0 += after.rank_0.saturating_sub(before.rank_0);
        for (sum, after, before) in [
            (&mut self.leader, after.leaders, before.leaders),
            (&mut self.worker, after.workers, before.workers),
        ] {
            if let Some(used) = after.0.saturating_sub(before.0).checked_div(after.1) {
                *sum.get_or_insert_default() += used;
            }
        }
        Ok(())
    }

    fn figures(&self, name: &str, what: &str) -> Vec<Figure> {
        let figure = |who: &str, label: &str, used: Duration| {
            let share = 100.0 * used.as_secs_f64() / self.passed.as_secs_f64();
            Figure::new(format!("{name}_cpu_{who}"), format!("{what}: CPU of {label}"), share, "% of a core")
        };
        if self.unknown {
            return Vec::new();
        }
        let mut figures = vec![figure("rank_0", "rank 0", self.rank_0)];
        figures.extend(self.leader.map(|used| figure("leader", "a leader", used)));
        figures.extend(self.worker.map(|used| figure("worker", "a worker", used)));
        figures
    }
}
