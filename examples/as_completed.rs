//! Handles each result as it comes: in the order of the items, and in the order in which tasks end.
//! Run it with `cargo run --example as_completed`, or `mpiexec -n 3 target/debug/examples/as_completed`.

use std::{thread, time::Duration};

use rankpool::{Error, Executor, as_completed};

const NAPS: [u64; 4] = [200, 50, 100, 20];

fn nap(millis: u64) -> u64 {
    thread::sleep(Duration::from_millis(millis));
    millis
}

fn main() -> Result<(), Error> {
    let pool = Executor::builder().from_env().start()?;

    for millis in pool.call(nap).stream(NAPS)? {
        println!("in order: {} ms", millis?);
    }

    let mut naps = [0; NAPS.len()];
    for (ended, result) in (1..).zip(pool.call(nap).unordered(NAPS)?) {
        let (index, millis) = result?;
        naps[index as usize] = millis;
        println!("unordered: {ended} of {} have ended", NAPS.len());
    }
    println!("unordered, by index: {naps:?}");

    let futures = NAPS.into_iter().map(|millis| pool.submit(nap, millis)).collect::<Result<Vec<_>, _>>()?;
    let mut longest = 0;
    for future in as_completed(&futures, None) {
        longest = longest.max(future?.wait()?);
    }
    println!("as completed: the longest took {longest} ms");
    pool.shutdown()
}
