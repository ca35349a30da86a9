//! How long a map takes with each chunk policy, for tasks of every kind, beside the best of the row: a Markdown table.
//!
//! `cargo bench --bench policies -- 3` is with 3 worker processes. Tasks below 100 us spin, longer ones sleep: so
//! more workers than CPUs are no hindrance.

use std::time::{Duration, Instant};

use rankpool::{Chunk, Error, Executor, Mode, Task, rand_core::Rng};
use serde::{Deserialize, Serialize};

const POLICIES: [Chunk; 5] = [Chunk::Fixed(1), Chunk::Static, Chunk::Guided, Chunk::Factoring, Chunk::Auto];

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Kind {
    Constant,
    Exponential,
    Lognormal,
    Pareto,
    Ramp,
    Slow,
}

/// Tasks of one kind: how many, and their mean time in microseconds.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Tasks(Kind, u64, f64);

/// Takes its time; how much of it that was to be, in microseconds.
fn spend(&Tasks(kind, tasks, mean): &Tasks, task: u64) -> f64 {
    let mut rng = Task::current().rng();
    let mut uniform = || ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
    let micros = mean
        * match kind {
            Kind::Constant => 1.0,
            Kind::Exponential => -uniform().ln(),
            Kind::Lognormal => {
                let normal = (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
                (normal - 0.5).exp()
            }
            Kind::Pareto => 0.5 * uniform().powf(-0.5),
            Kind::Ramp => 2.0 * (1.0 - task as f64 / tasks as f64),
            Kind::Slow if Task::current().rank() % 3 == 1 => 3.0,
            Kind::Slow => 1.0,
        };
    let time = Duration::from_secs_f64(micros / 1e6);
    if mean < 100.0 {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
    } else {
        std::thread::sleep(time);
    }
    micros
}

fn main() -> Result<(), Error> {
    let workers = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(2);
    let pool = Executor::builder().mode(Mode::Processes).workers(workers).start()?;
    println!("| {workers} workers | {} | best, s |", POLICIES.map(|policy| policy.to_string()).join(" | "));
    println!("|---|---|---|---|---|---|---|");
    let share = workers as u64;
    for (name, tasks) in [
        ("constant, 1 us", Tasks(Kind::Constant, 1_000_000 * share, 1.0)),
        ("constant, 10 us", Tasks(Kind::Constant, 100_000 * share, 10.0)),
        ("constant, 1 ms", Tasks(Kind::Constant, 1_000 * share, 1e3)),
        ("exponential, 1 ms", Tasks(Kind::Exponential, 1_000 * share, 1e3)),
        ("lognormal, 1 ms, sigma 1", Tasks(Kind::Lognormal, 1_000 * share, 1e3)),
        ("Pareto, 1 ms, exponent 2", Tasks(Kind::Pareto, 1_000 * share, 1e3)),
        ("from 2 ms down to 0", Tasks(Kind::Ramp, 1_000 * share, 1e3)),
        ("1 ms, each third worker 3 ms", Tasks(Kind::Slow, 1_000 * share, 1e3)),
    ] {
        let mut best = [f64::INFINITY; POLICIES.len()];
        // The policies in turn, so that what else the machine does meets them all; the least of three counts.
        for _ in 0..3 {
            for (policy, best) in POLICIES.iter().zip(&mut best) {
                let began = Instant::now();
                pool.call_with(&tasks, spend).seed(1).chunk(*policy).map(0..tasks.1)?;
                *best = best.min(began.elapsed().as_secs_f64());
            }
        }
        let least = best.iter().copied().fold(f64::INFINITY, f64::min);
        let cells = best.map(|time| format!("{:+.1} %", 100.0 * (time / least - 1.0))).join(" | ");
        println!("| {name} | {cells} | {least:.3} |");
    }
    pool.shutdown()
}
