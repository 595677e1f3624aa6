//! The allocator's memory, for small processes that sleep most of the time (mallopt(3), malloc_trim(3)).

/// Makes the allocator return blocks of 32 KiB and more to the kernel as soon as they are freed, and use one arena.
pub fn keep_small() {
    // SAFETY: mallopt changes settings of the allocator and takes no pointers; an unknown setting is refused.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 * 1024);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 * 1024);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Returns all free memory to the kernel.
pub fn trim() {
    // SAFETY: malloc_trim walks the allocator's free memory and takes no pointers.
    unsafe { libc::malloc_trim(0) };
}
