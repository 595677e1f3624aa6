//! Profiles in Docker's format: rules that depend on capabilities, architecture and kernel.

use oci::runtime::{Seccomp, SeccompArg, SeccompRule};
use serde::Deserialize;

use super::Host;
use crate::seccomp::Architecture;

/// The longest profile taken, in bytes; Docker's own has 14 thousand.
const LONGEST: usize = 1 << 20;

/// A profile that cannot be used. The words are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// Not of the format.
    #[error("Decoding seccomp profile failed: {0}")]
    Format(#[from] serde_json::Error),
    /// Larger than any profile.
    #[error("Decoding seccomp profile failed: it has {0} bytes, more than {LONGEST}")]
    TooLong(usize),
    /// Two fields that exclude each other.
    #[error("both '{0}' and '{1}' are specified in the seccomp profile, use either '{0}' or '{1}'")]
    Both(&'static str, &'static str),
    /// A kernel version that is none.
    #[error("Decoding seccomp profile failed: invalid kernel version: {0:?}, expected \"<kernel>.<major>\"")]
    Kernel(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    #[serde(default)]
    default_action: String,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<Family>>,
    flags: Option<Vec<String>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Rule>>,
}

/// An architecture with those that its kernel can run as well.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Family {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: String,
    names: Option<Vec<String>>,
    #[serde(default)]
    action: String,
    errno_ret: Option<u32>,
    args: Option<Vec<SeccompArg>>,
    includes: Option<Circumstances>,
    excludes: Option<Circumstances>,
}

/// Circumstances under which a rule applies, or does not.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Circumstances {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// Reads a profile and resolves it for a container with these capabilities in its bounding set, on this machine.
///
/// `None` stands for a profile that asks for no filter at all: it has neither a default action nor rules.
pub fn parse<S: AsRef<str>>(json: &[u8], capabilities: &[S], host: Host) -> Result<Option<Seccomp>, Invalid> {
    if json.len() > LONGEST {
        return Err(Invalid::TooLong(json.len()));
    }
    let profile: Profile = serde_json::from_slice(json)?;
    let rules = profile.syscalls.unwrap_or_default();
    if profile.default_action.is_empty() && rules.is_empty() {
        return Ok(None);
    }
    let listed = profile.architectures.unwrap_or_default();
    let families = profile.arch_map.unwrap_or_default();
    if !listed.is_empty() && !families.is_empty() {
        return Err(Invalid::Both("architectures", "archMap"));
    }
    let mut syscalls = Vec::new();
    for rule in rules {
        if applies(&rule, capabilities, host)? {
            syscalls.push(resolve(rule)?);
        }
    }
    let own_family = families.into_iter().find(|family| family.architecture == host.architecture.name());
    let from_family = own_family.map(|family| {
        std::iter::once(family.architecture).chain(family.sub_architectures.unwrap_or_default()).collect()
    });
    Ok(Some(Seccomp {
        default_action: profile.default_action,
        default_errno_ret: profile.default_errno_ret,
        architectures: from_family.unwrap_or(listed),
        flags: profile.flags,
        listener_path: profile.listener_path.unwrap_or_default(),
        listener_metadata: profile.listener_metadata.unwrap_or_default(),
        syscalls,
    }))
}

fn resolve(rule: Rule) -> Result<SeccompRule, Invalid> {
    let mut names = rule.names.unwrap_or_default();
    if !rule.name.is_empty() {
        if !names.is_empty() {
            return Err(Invalid::Both("name", "names"));
        }
        names.push(rule.name);
    }
    let (action, errno_ret) = (rule.action, rule.errno_ret);
    Ok(SeccompRule { names, action, errno_ret, args: rule.args.unwrap_or_default() })
}

/// Whether nothing excludes a rule, and all that includes it is given.
fn applies<S: AsRef<str>>(rule: &Rule, capabilities: &[S], host: Host) -> Result<bool, Invalid> {
    let has = |capability: &String| capabilities.iter().any(|given| given.as_ref() == capability);
    let here = |architecture: &String| architecture == name(host.architecture);
    if let Some(excludes) = &rule.excludes {
        let by_kernel = excludes.min_kernel.as_deref().map(|least| reaches(host, least)).transpose()?;
        let excluded = excludes.arches.iter().flatten().any(here)
            || excludes.caps.iter().flatten().any(has)
            || by_kernel == Some(true);
        if excluded {
            return Ok(false);
        }
    }
    let Some(includes) = &rule.includes else { return Ok(true) };
    let by_kernel = includes.min_kernel.as_deref().map(|least| reaches(host, least)).transpose()?;
    let arches = includes.arches.as_deref().unwrap_or_default();
    let by_architecture = arches.is_empty() || arches.iter().any(here);
    Ok(by_architecture && includes.caps.iter().flatten().all(has) && by_kernel != Some(false))
}

/// What Docker's profiles call an architecture.
fn name(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "amd64",
        Architecture::X86 => "x86",
        Architecture::X32 => "x32",
        Architecture::Aarch64 => "arm64",
        Architecture::Arm => "arm",
    }
}

/// Whether the host's kernel is at least the one written as `4.8`.
fn reaches(host: Host, least: &str) -> Result<bool, Invalid> {
    let parse = |text: &str| {
        let (version, patch_level) = text.split_once('.')?;
        Some((version.parse::<u32>().ok()?, patch_level.parse::<u32>().ok()?))
    };
    let least =
        parse(least).filter(|least| *least != (0, 0)).ok_or_else(|| Invalid::Kernel(least.to_owned()))?;
    Ok(host.kernel >= least)
}
