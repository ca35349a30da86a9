//! When a thread that sleeps runs again.

use std::num::NonZeroU64;

/// Nanoseconds by which the system may put off the end of a sleep, so that it can wake several threads at a time.
const SLACK: u64 = 1_000;

/// The shortest slice of CPU time that Linux grants, in nanoseconds.
const SHORTEST_SLICE: u64 = 100_000;

/// Makes the sleeps of this thread end on time.
pub(crate) fn sleep_exactly() {
    #[cfg(target_os = "linux")]
    {
        // Without it they are longer.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(SLACK));
    }
}

/// Has this thread run as soon as it wakes, though busy workers hold every CPU of its host.
///
/// From Linux 6.12 on, a thread whose slice is short takes the CPU from one whose slice is long. Without that it waits
/// until the slice of the other is over: with a worker on each CPU and tasks of 1 ms, one worker in two had to wait
/// a millisecond for its next task. Threads and processes that this thread starts have slices of the usual length.
pub(crate) fn run_promptly() {
    #[cfg(target_os = "linux")]
    {
        let size = size_of::<libc::sched_attr>() as u32;
        // SAFETY: zeros are a valid value of its numbers.
        let mut known: libc::sched_attr = unsafe { std::mem::zeroed() };
        // SAFETY: 0 is this thread; the kernel writes no more than `size` bytes, and `known` has as many.
        let code = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut known, size, 0) };
        // Real-time and batch threads stay as their user wants them.
        if code == 0 && known.sched_policy == libc::SCHED_OTHER as u32 {
            let wanted = libc::sched_attr {
                size,
                sched_flags: known.sched_flags | libc::SCHED_FLAG_RESET_ON_FORK as u64,
                sched_runtime: SHORTEST_SLICE,
                ..known
            };
            // SAFETY: 0 is this thread; the kernel only reads from `wanted`. Older kernels ignore the slice.
            let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_runs_promptly_keeps_its_policy_and_what_it_starts_does_not_inherit_it() {
        let stat = || {
            let text = std::fs::read_to_string("/proc/thread-self/sched").unwrap_or_default();
            let slice = text.lines().find(|line| line.starts_with("se.slice"));
            slice.and_then(|line| line.split(':').nth(1)?.trim().parse::<u64>().ok())
        };
        std::thread::spawn(move || {
            let Some(usual) = stat() else {
                println!("skipped: this kernel does not tell the slice of a thread");
                return;
            };
            run_promptly();
            let short = stat().unwrap();
            assert!(short == SHORTEST_SLICE || short == usual, "{short} of {usual}");
            assert_eq!(std::thread::spawn(stat).join().unwrap(), Some(usual));
        })
        .join()
        .unwrap();
    }
}
