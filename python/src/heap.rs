//! The heap of rank 0, on which the arrays of results arrive.

/// Has all threads of rank 0 allocate from one heap, which keeps what is freed, unless the user has said otherwise.
///
/// Arrays arrive on a thread of the library and are freed on Python's. glibc gives each thread heaps of its own, of
/// 64 MiB at most, and such a heap goes back to the kernel when it is free: the next arrays would come to lie in pages
/// that have to be cleared first, which takes four times as long as to fill them. The price: threads of rank 0 that
/// allocate at the same time wait for one another.
pub(crate) fn share() {
    #[cfg(target_env = "gnu")]
    {
        let chosen =
            ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"].iter().any(|name| std::env::var_os(name).is_some());
        if !chosen && !rankpool::is_worker() {
            // SAFETY: mallopt may be called at any time. Threads that have a heap of their own keep it.
            unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
        }
    }
}
