//! Runs two maps over one pool at the same time, each from a thread of its own and with its own chunk size.
//! Run it with `cargo run --example async_maps`, or `mpiexec -n 3 target/debug/examples/async_maps`.

use std::thread;

use rankpool::{Error, Executor};

type Pair = (i64, i64);

const PAIRS: [Pair; 5] = [(1, 6), (2, 7), (3, 8), (4, 9), (5, 10)];

fn main() -> Result<(), Error> {
    let pool = Executor::builder().from_env().start()?;

    let mut sums = Ok(Vec::new());
    let mut differences = Ok(Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| sums = pool.call(|(a, b): Pair| a + b).chunk(2).map(PAIRS));
        scope.spawn(|| differences = pool.call(|(a, b): Pair| a - b).chunk(3).map(PAIRS));
    });
    let (sums, differences) = (sums?, differences?);

    println!("sums {sums:?}, in total {}", sums.iter().sum::<i64>());
    println!("differences {differences:?}, in total {}", differences.iter().sum::<i64>());
    pool.shutdown()
}
