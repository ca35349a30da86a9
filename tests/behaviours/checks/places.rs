//! Where in a process tasks run.

use rankpool::{Executor, Mode};

use super::{checks, nap};

checks![a_process_that_runs_a_task_at_a_time_runs_it_on_its_first_thread];

fn a_process_that_runs_a_task_at_a_time_runs_it_on_its_first_thread(pool: &Executor) {
    let on_the_first = |_: u64| {
        nap(1);
        rustix::thread::gettid() == rustix::process::getpid()
    };
    let one_at_a_time =
        pool.workers().iter().all(|worker| worker.threads == 1 || !worker.children.is_empty());
    let expected = one_at_a_time && !matches!(pool.mode(), Mode::Serial | Mode::Threads);
    assert_eq!(pool.call(on_the_first).chunk(1).map(0..40).unwrap(), [expected; 40]);
}
