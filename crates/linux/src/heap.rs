//! The memory of small processes that sleep most of the time: heap and stack (mallopt(3), malloc_trim(3), madvise(2)).

use crate::{Error, Result};

/// Makes the allocator return blocks of 32 KiB and more to the kernel as soon as they are freed, and use one arena.
pub fn keep_small() {
    // SAFETY: mallopt changes settings of the allocator and takes no pointers; an unknown setting is refused.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 * 1024);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 * 1024);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Returns all free memory of the heap to the kernel.
pub fn trim() {
    // SAFETY: malloc_trim walks the allocator's free memory and takes no pointers.
    unsafe { libc::malloc_trim(0) };
}

/// Below the current frame this much of the stack is left alone: the frames of the calls that follow here.
const STACK_MARGIN: usize = 4 * 1024;

/// Returns the part of the main thread's stack that deeper calls have used and left.
///
/// Only for the main thread of a process with one thread; another thread's stack is left alone.
pub fn trim_stack() -> Result<()> {
    let local = 0_u8;
    let here = std::ptr::from_ref(std::hint::black_box(&local)).addr();
    let Some(low) = stack_start(here) else { return Ok(()) };
    // SAFETY: sysconf takes a number and returns one.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(STACK_MARGIN);
    let high = here.saturating_sub(STACK_MARGIN) / page * page;
    if high <= low {
        return Ok(());
    }
    let start = std::ptr::with_exposed_provenance_mut::<libc::c_void>(low);
    // SAFETY: the range lies in this thread's own stack, well below every live frame: nothing in it is ever read again
    // before it is written.
    let result = unsafe { libc::madvise(start, high - low, libc::MADV_DONTNEED) };
    if result == 0 {
        Ok(())
    } else {
        Err(Error::last(format!("madvise({low:#x}, {}, MADV_DONTNEED)", high - low)))
    }
}

/// The lowest address of the main thread's stack, when `address` is in it (proc_pid_maps(5)).
fn stack_start(address: usize) -> Option<usize> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("[stack]"))?;
    let (low, high) = line.split_whitespace().next()?.split_once('-')?;
    let parse = |text| usize::from_str_radix(text, 16).ok();
    let (low, high) = (parse(low)?, parse(high)?);
    (low..high).contains(&address).then_some(low)
}
