//! Where the memory of arrays comes from that arrive on rank 0.

/// Has all threads allocate from the heap of the first one, which keeps what is freed.
///
/// Arrays arrive on a thread of the library and are freed on Python's. glibc gives each thread heaps of its own, of
/// 64 MiB at most, and such a heap goes back to the kernel when it is free: the next arrays would come to lie in pages
/// that have to be cleared first, which takes four times as long as to fill them. Threads of an interpreter take turns,
/// so they seldom wait for one another at the heap.
pub(crate) fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt may be called at any time. Threads that have a heap of their own keep it.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
