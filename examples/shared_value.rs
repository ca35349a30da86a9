//! Sends one data set to each worker once, and counts its events in bins of several widths.
//! Run it with `cargo run --example shared_value`, or `mpiexec -n 3 target/debug/examples/shared_value`.

use rankpool::{
    Block, Error, Executor,
    rand_chacha::{
        ChaCha8Rng,
        rand_core::{Rng, SeedableRng},
    },
};

const EVENTS: usize = 100_000;
const SPAN_MS: u32 = 60_000;

/// Times of independent events, in milliseconds.
fn event_times() -> Block<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    (0..EVENTS).map(|_| rng.next_u32() % SPAN_MS).collect()
}

/// The variance of the counts in bins over their mean: near 1 when events are independent.
fn dispersion(times: &Block<u32>, width_ms: u32) -> f64 {
    let mut counts = vec![0u32; SPAN_MS.div_ceil(width_ms) as usize];
    times.iter().for_each(|time| counts[(time / width_ms) as usize] += 1);
    let mean = EVENTS as f64 / counts.len() as f64;
    let squares: f64 = counts.iter().map(|count| (f64::from(*count) - mean).powi(2)).sum();
    squares / counts.len() as f64 / mean
}

fn main() -> Result<(), Error> {
    let pool = Executor::builder().from_env().start()?;

    let times = event_times();
    let widths = [1, 10, 100, 1000];
    let dispersions = pool.map_with(&times, dispersion, widths)?;
    for (width, dispersion) in widths.iter().zip(dispersions) {
        println!("bins of {width:4} ms: variance / mean = {dispersion:.3}");
    }
    pool.shutdown()
}
