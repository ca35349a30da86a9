//! What a task costs: chunk 1, fixed and automatic chunks, single submits, blocks of 1 MiB.
//!
//! A program of its own, since it runs behind different launchers; `benches/run.sh` runs it in
//! every mode beside MPI itself and the peers. Prints a JSON object a line.

use std::time::Instant;

use rankpool::{Block, Chunk, Error, Executor, Mode};

fn same(n: u64) -> u64 {
    n
}

fn main() -> Result<(), Error> {
    let argument = |at: usize| std::env::args().filter(|argument| argument != "--bench").nth(at);
    let mode: Mode = argument(1).and_then(|name| name.parse().ok()).unwrap_or_default();
    let mut builder = Executor::builder().mode(mode);
    if let Some(workers) = argument(2).and_then(|count| count.parse().ok()) {
        builder = builder.workers(workers);
    }
    let began = Instant::now();
    let pool = builder.start()?;
    let place = format!("\"mode\":\"{}\",\"workers\":{}", pool.mode(), pool.num_workers());
    println!("{{\"what\":\"start\",{place},\"seconds\":{:.3}}}", began.elapsed().as_secs_f64());
    pool.map(same, 0..10_000)?;
    for (tasks, chunk) in [
        (200_000u64, Chunk::Fixed(1)),
        (2_000_000, Chunk::Fixed(100)),
        (5_000_000, Chunk::Fixed(1000)),
        (10_000_000, Chunk::Auto),
    ] {
        let began = Instant::now();
        let results = pool.call(same).chunk(chunk).map(0..tasks)?;
        let rate = tasks as f64 / began.elapsed().as_secs_f64();
        assert!(results.iter().enumerate().all(|(n, result)| *result == n as u64));
        println!("{{\"what\":\"map\",{place},\"chunk\":\"{chunk}\",\"tasks_per_s\":{rate:.0}}}");
    }
    let mut trips: Vec<f64> = Vec::new();
    for n in 0..2000 {
        let began = Instant::now();
        pool.submit(same, n)?.wait()?;
        trips.push(began.elapsed().as_secs_f64() * 1e6);
    }
    trips.sort_by(f64::total_cmp);
    println!("{{\"what\":\"submit\",{place},\"p50_us\":{:.1},\"p99_us\":{:.1}}}", trips[1000], trips[1980]);
    let block = Block::from(vec![0u8; 1 << 20]);
    let began = Instant::now();
    let mut count = 0;
    for back in pool.call(|block: Block<u8>| block).stream(std::iter::repeat_n(block, 400))? {
        count += back?.len() >> 20;
    }
    let rate = 2.0 * count as f64 / began.elapsed().as_secs_f64();
    println!("{{\"what\":\"map_1MiB\",{place},\"MiB_per_s\":{rate:.0}}}");
    pool.shutdown()
}
