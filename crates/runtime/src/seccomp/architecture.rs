//! The architectures that a filter can be about, and their numbers of system calls.

use super::table::NAMES;

/// The bit in a number that marks it as x32's (`__X32_SYSCALL_BIT`).
pub(super) const X32_BIT: u32 = 1 << 30;

/// An architecture whose system calls we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    X86,
    /// 64-bit x86 with 32-bit pointers.
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM.
    Arm,
}

use Architecture::{Aarch64, Arm, X32, X86, X86_64};

impl Architecture {
    /// Every architecture, in the order of the table's columns.
    pub const ALL: [Self; 5] = [X86_64, X86, X32, Aarch64, Arm];

    /// The architecture this program runs on.
    pub const NATIVE: Self = if cfg!(target_arch = "aarch64") { Aarch64 } else { X86_64 };

    /// The architecture of a name in a configuration, such as `SCMP_ARCH_X86_64`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.name() == name)
    }

    /// The name in a configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            X86_64 => "SCMP_ARCH_X86_64",
            X86 => "SCMP_ARCH_X86",
            X32 => "SCMP_ARCH_X32",
            Aarch64 => "SCMP_ARCH_AARCH64",
            Arm => "SCMP_ARCH_ARM",
        }
    }

    /// What the kernel calls it (AUDIT_ARCH_*, linux/audit.h); x32 shares its value with x86_64.
    #[must_use]
    pub fn audit(self) -> u32 {
        match self {
            X86_64 | X32 => 0xc000_003e,
            X86 => 0x4000_0003,
            Aarch64 => 0xc000_00b7,
            Arm => 0x4000_0028,
        }
    }

    /// Whether the upper half of an argument means something.
    #[must_use]
    pub fn is_64_bit(self) -> bool {
        matches!(self, X86_64 | Aarch64)
    }

    /// The number of a system call as a filter sees it, with the bit that marks x32; `None` when there is none.
    #[must_use]
    pub fn number(self, name: &str) -> Option<u32> {
        Call::find(name)?.number(self)
    }
}

/// A system call that the table knows: looked up by name once, and asked for each architecture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call(usize);

impl Call {
    pub(super) fn find(name: &str) -> Option<Self> {
        NAMES.binary_search_by(|(known, _)| (*known).cmp(name)).ok().map(Self)
    }

    /// As [`Architecture::number`].
    pub(super) fn number(self, architecture: Architecture) -> Option<u32> {
        let number = u32::try_from(NAMES[self.0].1[architecture as usize]).ok()?;
        Some(if architecture == X32 { number | X32_BIT } else { number })
    }
}
