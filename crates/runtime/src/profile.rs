//! Which system calls a container may make when nobody says otherwise, and Docker's own format for saying otherwise.
//!
//! [`default_seccomp`] is our own table of what Docker's default profile lets through (moby/profiles, May 2026), and
//! [`parse`] reads a profile in that project's format (`--security-opt seccomp=FILE`).

use oci::runtime::{Seccomp, SeccompArg, SeccompRule};

use crate::seccomp::Architecture;

mod docker;
#[cfg(test)]
mod fuzz;
mod table;

#[cfg(test)]
mod tests;

pub use docker::{Invalid, parse};

/// The machine a profile is resolved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Its own architecture.
    pub architecture: Architecture,
    /// Version and patch level of its kernel: 6 and 18 for Linux 6.18.
    pub kernel: (u32, u32),
}

/// The default filter for a container whose bounding set holds `capabilities` (`CAP_SYS_ADMIN`, …).
///
/// What is not let through answers EPERM, and clone3(2) ENOSYS, so that a C library falls back to clone(2), whose flags
/// a filter can see.
#[must_use]
pub fn default_seccomp<S: AsRef<str>>(capabilities: &[S], architecture: Architecture) -> Seccomp {
    let has = |name: &str| capabilities.iter().any(|capability| capability.as_ref() == name);
    let mut syscalls = vec![allow(table::ALWAYS)];
    syscalls.extend(table::SOCKET_FAMILIES.iter().map(|arg| allow_when("socket", arg)));
    syscalls.extend(table::PERSONALITIES.iter().map(|value| allow_when("personality", &("EQ", *value, 0))));
    let here = |(architectures, _): &&(&[Architecture], &str)| architectures.contains(&architecture);
    syscalls.extend(table::BY_ARCHITECTURE.iter().filter(here).map(|(_, names)| allow(names)));
    let granted = |(capability, _): &&(&str, &str)| has(capability);
    syscalls.extend(table::BY_CAPABILITY.iter().filter(granted).map(|(_, names)| allow(names)));
    if !has("CAP_SYS_ADMIN") {
        syscalls.push(allow_when("clone", &("MASKED_EQ", table::NEW_NAMESPACES, 0)));
        let (names, action) = (vec!["clone3".to_owned()], "SCMP_ACT_ERRNO".to_owned());
        syscalls.push(SeccompRule { names, action, errno_ret: Some(table::ENOSYS), args: Vec::new() });
    }
    Seccomp {
        default_action: "SCMP_ACT_ERRNO".to_owned(),
        default_errno_ret: Some(table::EPERM),
        architectures: table::family(architecture).iter().map(|member| member.name().to_owned()).collect(),
        syscalls,
        ..Seccomp::default()
    }
}

/// A rule that lets through all calls named in a text.
fn allow(names: &str) -> SeccompRule {
    let names = names.split_whitespace().map(str::to_owned).collect();
    SeccompRule { names, action: "SCMP_ACT_ALLOW".to_owned(), ..SeccompRule::default() }
}

/// A rule that lets a call through when its first argument compares: an operator without its prefix, and two values.
fn allow_when(name: &str, (operator, value, value_two): &(&str, u64, u64)) -> SeccompRule {
    let op = format!("SCMP_CMP_{operator}");
    let args = vec![SeccompArg { index: 0, value: *value, value_two: *value_two, op }];
    SeccompRule { args, ..allow(name) }
}
