//! Submits tasks, looks at their status, waits for a result and for an error.
//! Run it with `cargo run --example submit`, or `mpiexec -n 3 target/debug/examples/submit`.

use std::{thread, time::Duration};

use rankpool::{Error, Executor, Status};

fn slow_square(n: u64) -> Result<u64, String> {
    let square = n.checked_mul(n).ok_or_else(|| format!("the square of {n} is too large"))?;
    thread::sleep(Duration::from_secs(1));
    Ok(square)
}

fn main() -> Result<(), Error> {
    let pool = Executor::builder().from_env().start()?;

    let future = pool.try_submit(slow_square, 12)?;
    while future.status() == Status::Pending {
        thread::sleep(Duration::from_millis(1));
    }
    println!("status: {:?}", future.status());
    if future.wait_timeout(Duration::from_millis(10)).is_none() {
        println!("not done after 10 ms");
    }
    println!("the square is {}", future.wait()?);
    println!("status: {:?}", future.status());

    match pool.try_submit(slow_square, u64::MAX)?.wait() {
        Ok(square) => println!("the square is {square}"),
        Err(error) => println!("the task {}: {}", error.kind(), error.message()),
    }
    pool.shutdown()
}
