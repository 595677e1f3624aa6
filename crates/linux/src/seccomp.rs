//! Loading a system-call filter (seccomp(2)).

use std::os::fd::{FromRawFd, OwnedFd};

use crate::{Error, Result};

/// One instruction of classic BPF, as the kernel lays it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions skipped when the comparison holds.
    pub jump_true: u8,
    /// Instructions skipped when it does not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// Logs what the filter refuses.
pub const FLAG_LOG: u64 = 1 << 1;
/// Leaves speculative store bypass as it is.
pub const FLAG_SPEC_ALLOW: u64 = 1 << 2;
/// Answers with a listener.
pub const FLAG_NEW_LISTENER: u64 = 1 << 3;
/// Only fatal signals interrupt a call that the listener has taken.
pub const FLAG_WAIT_KILLABLE_RECV: u64 = 1 << 5;

#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

/// Adds a filter to the process; with [`FLAG_NEW_LISTENER`] the descriptor of its listener is returned.
pub fn load(instructions: &[Instruction], flags: u64) -> Result<Option<OwnedFd>> {
    const SET_MODE_FILTER: i32 = 1;
    let call =
        || format!("seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {} instructions)", instructions.len());
    let length = u16::try_from(instructions.len()).map_err(|_| Error::new(call(), libc::EINVAL))?;
    let program = Program { length, instructions: instructions.as_ptr() };
    // SAFETY: `program` describes a slice that lives through the call.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &raw const program) };
    match done {
        0 => Ok(None),
        // SAFETY: with NEW_LISTENER a positive answer is a new descriptor.
        fd @ 1.. if flags & FLAG_NEW_LISTENER != 0 => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) })),
        _ => Err(Error::last(call())),
    }
}
