//! The CPU time of rank 0 and of the workers on its host.

use std::{fs, time::Duration};

use crate::{executor::Executor, launch};

/// What Linux shows of the name of a worker that is a thread: 15 characters. And of rank 0's leader.
const WORKER_THREAD: &str = "rankpool-worker";
const LEADER_THREAD: &str = "rankpool-leader";

/// CPU time used so far.
pub(super) struct Used {
    pub(super) rank_0: Duration,
    /// Of all leaders on this host, and how many they are.
    pub(super) leaders: (Duration, u32),
    /// Of all workers on this host that run tasks, and how many they are.
    pub(super) workers: (Duration, u32),
}

/// What rank 0, the leaders and the workers have used; `None` where the system does not tell.
pub(super) fn used(pool: &Executor) -> Option<Used> {
    let own = std::process::id();
    let rank_0 = of_threads(own, |name| name != WORKER_THREAD && name != LEADER_THREAD)?;
    let mut used = Used { rank_0, leaders: Default::default(), workers: Default::default() };
    let add = |sum: &mut (Duration, u32), time: Duration| *sum = (sum.0 + time, sum.1 + 1);
    let mut threads = 0;
    for worker in pool.workers().iter().filter(|worker| worker.host == launch::here().host) {
        match (worker.pid == own, worker.children.is_empty()) {
            (true, true) => threads += 1,
            (false, true) => add(&mut used.workers, of_threads(worker.pid, |_| true)?),
            (true, false) => add(&mut used.leaders, of_threads(own, |name| name == LEADER_THREAD)?),
            (false, false) => add(&mut used.leaders, of_threads(worker.pid, |_| true)?),
        }
        for child in &worker.children {
            add(&mut used.workers, of_threads(child.pid, |_| true)?);
        }
    }
    if threads > 0 {
        used.workers = (of_threads(own, |name| name == WORKER_THREAD)?, threads);
    }
    Some(used)
}

/// The time of those threads of a process that have such a name.
fn of_threads(pid: u32, wanted: impl Fn(&str) -> bool) -> Option<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let mut nanos = 0;
    for thread in threads {
        // A thread may have ended meanwhile.
        let read = |file: &str| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        if wanted(read("comm").trim_end()) {
            nanos += read("schedstat").split(' ').next()?.parse::<u64>().unwrap_or(0);
        }
    }
    (nanos > 0).then(|| Duration::from_nanos(nanos))
}
