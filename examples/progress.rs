//! Shows how far a map is: a bar on a terminal, lines in a log.
//! Run it with `cargo run --example progress`, or `mpiexec -n 3 target/debug/examples/progress`.

use std::{thread, time::Duration};

use rankpool::{Error, Executor};

fn nap(millis: u64) -> u64 {
    thread::sleep(Duration::from_millis(millis));
    millis
}

fn main() -> Result<(), Error> {
    let pool = Executor::builder().from_env().start()?;
    let naps = pool.call(nap).label("naps").progress().map(vec![150; 20])?;
    println!("slept {} ms", naps.iter().sum::<u64>());
    pool.shutdown()
}
