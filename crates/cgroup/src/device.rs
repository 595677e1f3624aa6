//! Rules about device nodes: what they say, and how either version of cgroups is told.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use linux::bpf::DeviceProgram;

use crate::group::text;
use crate::{Cgroup, Controller, Error, Result, Version};

mod exceptions;
pub mod program;

pub(crate) use exceptions::exceptions;
pub use exceptions::plan_v1;

#[cfg(test)]
mod tests;

/// A kind of device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Character and block devices.
    All,
    /// Character devices.
    Char,
    /// Block devices.
    Block,
}

/// A set of ways to use a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access(u8);

impl Access {
    /// Making the node (mknod(2)); the numbers are the kernel's BPF_DEVCG_ACC_*.
    pub const MAKE: Self = Self(1);
    /// Reading.
    pub const READ: Self = Self(2);
    /// Writing.
    pub const WRITE: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    /// Parses letters of `r`, `w` and `m`, at least one. An `a` beside them says nothing: configurations that have it
    /// come from the form of v1 (`a *:* rwm`), and runc passes over it.
    #[must_use]
    pub fn parse(letters: &str) -> Option<Self> {
        let bits = letters.chars().try_fold(0, |bits, letter| match letter {
            'm' => Some(bits | Self::MAKE.0),
            'r' => Some(bits | Self::READ.0),
            'w' => Some(bits | Self::WRITE.0),
            'a' => Some(bits),
            _ => None,
        })?;
        (bits != 0).then_some(Self(bits))
    }

    /// The bits as the kernel numbers them (BPF_DEVCG_ACC_*).
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (one, letter) in [(Self::READ, 'r'), (Self::WRITE, 'w'), (Self::MAKE, 'm')] {
            if self.0 & one.0 != 0 {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// One rule. Of several that fit, the last decides; what none fits is denied (runtime-spec, config-linux,
/// "Allowed Device list").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Whether access is granted.
    pub allow: bool,
    /// The kind of node it is about.
    pub kind: Kind,
    /// The major number; `None` for any.
    pub major: Option<u32>,
    /// The minor number; `None` for any.
    pub minor: Option<u32>,
    /// The kinds of access it is about.
    pub access: Access,
}

impl Rule {
    /// The rule for everything.
    #[must_use]
    pub const fn everything(allow: bool) -> Self {
        Self { allow, kind: Kind::All, major: None, minor: None, access: Access::ALL }
    }

    /// A rule that grants access to one character device, or to all with that major number.
    #[must_use]
    pub const fn character(major: u32, minor: Option<u32>) -> Self {
        Self { allow: true, kind: Kind::Char, major: Some(major), minor, access: Access::ALL }
    }

    /// Whether it is about every use of every device.
    fn is_everything(&self) -> bool {
        let any_number = self.major.is_none() && self.minor.is_none();
        self.kind == Kind::All && any_number && self.access == Access::ALL
    }
}

impl fmt::Display for Rule {
    /// The text of `devices.allow` and `devices.deny`: `c 1:3 rwm`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::All => 'a',
            Kind::Char => 'c',
            Kind::Block => 'b',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        write!(f, "{kind} {}:{} {}", number(self.major), number(self.minor), self.access)
    }
}

/// What every container may do with devices whatever its configuration says, to be put after its own rules: make any
/// node, and use null, zero, full, random, urandom, tty, console, the pseudo-terminals and ptmx
/// (runtime-spec, config-linux, "Default Devices").
pub const DEFAULT_RULES: &[Rule] = &[
    Rule { allow: true, kind: Kind::Char, major: None, minor: None, access: Access::MAKE },
    Rule { allow: true, kind: Kind::Block, major: None, minor: None, access: Access::MAKE },
    Rule::character(1, Some(3)),
    Rule::character(1, Some(5)),
    Rule::character(1, Some(7)),
    Rule::character(1, Some(8)),
    Rule::character(1, Some(9)),
    Rule::character(5, Some(0)),
    Rule::character(5, Some(1)),
    Rule::character(5, Some(2)),
    Rule::character(136, None),
];

impl Cgroup {
    /// Puts rules in force for the group and all groups below it, in the place of earlier ones.
    ///
    /// On v1 the writes of [`plan_v1`]; on v2 the program of [`program::generate`], which takes the place of the last
    /// program attached to the group itself.
    pub fn apply_devices(&self, rules: &[Rule]) -> Result<()> {
        let dir = self.dir(Controller::Devices);
        let dir = dir.ok_or_else(|| Error::no_controller("device rules", Controller::Devices))?;
        if self.version() == Version::V1 {
            let present = text(dir, "devices.list")?;
            for write in plan_v1(rules, &present)? {
                dir.write(&write.file, write.value.as_bytes())?;
            }
            return Ok(());
        }
        attach(rules, dir.as_fd())
    }
}

/// Loads the program for `rules` and attaches it to a v2 group, in the place of the last one attached there.
pub fn attach(rules: &[Rule], group: BorrowedFd<'_>) -> Result<()> {
    let attached = DeviceProgram::attached(group)?;
    let all_granted = rules.last().is_some_and(|rule| rule.allow && rule.is_everything());
    if all_granted && attached.is_empty() {
        return Ok(());
    }
    let program = DeviceProgram::load(&program::generate(rules)?)?;
    Ok(program.attach(group, attached.last())?)
}
