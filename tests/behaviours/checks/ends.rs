//! Tasks that are ended. Workers are lost by it: these checks come last.

use std::time::Duration;

use rankpool::{Executor, Mode, Status};

use super::{checks, nap, square};

checks![what_is_given_up_ends_where_it_has_a_process_of_its_own];

fn what_is_given_up_ends_where_it_has_a_process_of_its_own(pool: &Executor) {
    let leads = pool.workers().iter().any(|worker| !worker.children.is_empty());
    let kills = leads || pool.mode() == Mode::Processes;
    let millis = if kills { 600_000 } else { 300 };
    let futures: Vec<_> = (0..40).map(|_| pool.submit(nap, millis).unwrap()).collect();
    while futures[0].status() != Status::Running {
        std::thread::sleep(Duration::from_millis(1));
    }
    pool.give_up(Duration::ZERO);
    for future in futures {
        assert!(future.wait().is_err());
    }
    assert!(pool.give_up(Duration::from_secs(30)), "a task goes on");
    let squares: Vec<u64> = (0..100).map(|n| n * n).collect();
    assert_eq!(
        pool.map(square, 0..100).unwrap(),
        squares,
        "others take the places of those that were killed"
    );
}
