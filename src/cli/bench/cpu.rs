//! The CPU time of rank 0 and of the workers on its host.

use std::{fs, time::Duration};

use crate::{executor::Executor, launch};

/// What Linux shows of the name of a worker that is a thread: 15 characters.
const WORKER_THREAD: &str = "rankpool-worker";

/// CPU time used so far.
pub(super) struct Used {
    pub(super) rank_0: Duration,
    /// Of all workers on this host, and how many they are.
    pub(super) workers: Duration,
    pub(super) count: u32,
}

/// What rank 0 and its workers have used; `None` where the system does not tell.
pub(super) fn used(pool: &Executor) -> Option<Used> {
    let own = std::process::id();
    let here = &launch::here().host;
    let mut used =
        Used { rank_0: of_threads(own, |name| name != WORKER_THREAD)?, workers: Duration::ZERO, count: 0 };
    let threads = pool.workers().iter().filter(|worker| worker.pid == own && worker.host == *here).count();
    if threads > 0 {
        used.workers = of_threads(own, |name| name == WORKER_THREAD)?;
        used.count = threads as u32;
    }
    for worker in pool.workers().iter().filter(|worker| worker.pid != own && worker.host == *here) {
        used.workers += of_threads(worker.pid, |_| true)?;
        used.count += 1;
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
