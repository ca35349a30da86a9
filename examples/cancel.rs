//! Cancels tasks that no worker has yet, and hears of the end of each task by a callback.
//! Run it with `cargo run --example cancel`, or `mpiexec -n 3 target/debug/examples/cancel`.

use std::{thread, time::Duration};

use rankpool::{Error, Executor, Status};

fn main() -> Result<(), Error> {
    let pool = Executor::builder().from_env().start()?;

    // A nap for each worker: what is submitted next has to wait.
    for _ in 0..pool.num_workers() {
        pool.submit(|()| thread::sleep(Duration::from_secs(1)), ())?;
    }
    let squares = (1..=5).map(|n: u64| pool.submit(|n| n * n, n)).collect::<Result<Vec<_>, _>>()?;
    for (n, future) in (1..).zip(&squares) {
        future.on_done(move |outcome| match outcome {
            Ok(square) => println!("callback: the square of {n} is {square}"),
            Err(error) => println!("callback: the square of {n} {}: {}", error.kind(), error.message()),
        });
    }

    let cancelled = squares[1..].iter().filter(|future| future.cancel()).count();
    squares[0].wait()?;
    let cancelled_late = squares[0].cancel();

    pool.shutdown()?; // The callbacks have run when this returns.
    println!("{cancelled} were cancelled while pending; the first, when done: {cancelled_late}");
    let statuses: Vec<Status> = squares.iter().map(|future| future.status()).collect();
    println!("{statuses:?}");
    Ok(())
}
