//! Uses one pool for several maps: of other functions and types, with a state on each worker, after an error.
//! Run it with `cargo run --example reuse`, or `mpiexec -n 3 target/debug/examples/reuse`.

use rankpool::{Error, Executor};

/// How many primes there are up to `n`; the worker keeps those it has found for its next tasks.
fn count_primes(primes: &mut Vec<u64>, n: u64) -> usize {
    for candidate in primes.last().map_or(2, |last| last + 1)..=n {
        if primes.iter().all(|prime| !candidate.is_multiple_of(*prime)) {
            primes.push(candidate);
        }
    }
    primes.partition_point(|prime| *prime <= n)
}

fn main() -> Result<(), Error> {
    let pool = Executor::builder().from_env().start()?;

    // The items of each map depend on the results of the one before.
    let (mut total, mut maps) = (0.0, 0);
    while total < 1000.0 {
        let roots = pool.map(f64::sqrt, (0..5).map(|n| total + f64::from(n * n)))?;
        total += roots.iter().sum::<f64>();
        maps += 1;
    }
    println!("{total:.3} after {maps} maps");

    let words = ["rank", "chunk", "task"].map(String::from);
    println!("{:?}", pool.map(|word: String| word.to_uppercase(), words)?);

    println!("{:?}", pool.map_init(Vec::new, count_primes, [10, 1000, 100])?);

    let numbers = ["7", "seven"].map(String::from);
    if let Err(error) = pool.try_map(|text: String| text.parse::<i32>(), numbers)
        && let Some(task) = error.task()
    {
        println!("task {} {}: {}", task.index(), task.kind(), task.message());
    }
    println!("{:?}", pool.map(|n: i32| -n, [7])?);
    pool.shutdown()
}
