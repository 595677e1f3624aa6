//! The filter of system calls that a configuration asks for, compiled to the kernel's instructions.
//!
//! Everything here is pure; loading is `linux::seccomp::load`. The program asks for the architecture, then walks a
//! balanced tree over ranges of numbers, and reads arguments only where a rule has conditions:
//!
//! ```text
//! arch = x86_64 ─ bit 30 set ─ tree of x32
//!               └ else ─────── tree of x86_64 ── number ≥ 157 ── … ── answer
//! arch = i386 ──────────────── tree of i386                     └─ conditions ── answer
//! else ─ kill the thread
//! ```
//!
//! It behaves as libseccomp and runc do, because that is what profiles are written for:
//! - a name that no architecture knows is skipped; a rule whose action is the default action is skipped;
//! - of several rules for one system call, the first without conditions decides; if all have conditions, the first
//!   whose conditions hold. Two conditions on the same argument make two rules;
//! - on 32-bit architectures, x32 included, the upper half of an argument is not looked at;
//! - when the default action refuses, a call whose number is above all those named in the profile answers ENOSYS: a
//!   program then falls back, as on a kernel that is older than the call.

use linux::seccomp::{Flags, Instruction};
use oci::runtime::Seccomp;

mod architecture;
mod assemble;
mod rules;
mod table;

#[cfg(test)]
pub(crate) mod tests;

pub use architecture::Architecture;
use rules::Filter;

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The instructions, at most 4096.
    pub instructions: Vec<Instruction>,
    /// How it is to be loaded; a listener is wanted when a rule notifies.
    pub flags: Flags,
}

/// A configuration that is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// An action that does not exist.
    #[error("seccomp action {0:?} is not known")]
    Action(String),
    /// An operator that does not exist.
    #[error("seccomp operator {0:?} is not known")]
    Operator(String),
    /// An architecture that does not exist, or that we have no numbers for.
    #[error("seccomp architecture {0:?} is not supported")]
    Architecture(String),
    /// A flag that does not exist.
    #[error("seccomp flag {0:?} is not known")]
    Flag(String),
    /// A rule about no system call.
    #[error("seccomp rule {0} names no system call")]
    Nameless(usize),
    /// An argument that no system call has.
    #[error("seccomp rule for {name:?} has a condition on argument {index}: there are only 0 to 5")]
    Argument {
        /// The system call.
        name: String,
        /// The argument's index.
        index: u32,
    },
    /// A value that does not fit into an answer.
    #[error("seccomp errnoRet {0} is too large: the most is 4095")]
    ErrorNumber(u32),
    /// Notifying by default, or about write(2), with which the listener itself is handed over.
    #[error("SCMP_ACT_NOTIFY cannot be used {0}")]
    Notify(&'static str),
    /// More rules than the kernel takes.
    #[error("the seccomp filter has {0} instructions: the kernel takes 4096")]
    TooLong(usize),
}

/// Compiles a configuration for the machine's own architecture and all those it lists.
pub fn compile(config: &Seccomp) -> Result<Program, Invalid> {
    compile_for(Architecture::NATIVE, config)
}

/// Compiles a configuration as on a machine whose own architecture is `native`.
pub fn compile_for(native: Architecture, config: &Seccomp) -> Result<Program, Invalid> {
    let filter = Filter::parse(native, config)?;
    let instructions = assemble::assemble(&filter)?;
    Ok(Program { instructions, flags: filter.flags })
}
