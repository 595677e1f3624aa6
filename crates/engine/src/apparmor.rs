//! AppArmor: the default profile of containers, written here and loaded by apparmor_parser(8).
//!
//! Without that program AppArmor is not used, as with Docker: there would be no profile to confine anybody with.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Error, Result};

/// The profile of a container that is not privileged and does not say.
pub(crate) const DEFAULT: &str = "docker-default";
/// No profile at all.
pub(crate) const UNCONFINED: &str = "unconfined";

const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";
const PARSERS: &[&str] = &["/sbin/apparmor_parser", "/usr/sbin/apparmor_parser"];

/// What a program may do is decided by capabilities, the filter of system calls and the file system; the profile keeps it
/// from the parts of /proc and /sys that act on the whole machine, and from mounting, whatever its capabilities are.
/// It needs no other file, and is found by programs of detached mounts as well.
const TEXT: &str = "\
profile docker-default flags=(attach_disconnected,mediate_deleted) {
  capability,
  file,
  network,
  unix,
  umount,
  signal (send receive) peer=docker-default,
  signal (receive) peer=unconfined,
  ptrace (trace read tracedby readby) peer=docker-default,
  ptrace (readby tracedby) peer=unconfined,

  deny mount,
  deny /proc/* w,
  deny /proc/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w,
  deny /proc/sys/[^k]** w,
  deny /proc/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny /proc/{kcore,sysrq-trigger} rwklx,
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}
";

/// Whether the kernel enforces profiles and somebody can load ours. Half of that is worth a warning.
pub(crate) fn is_usable() -> bool {
    let enabled = std::fs::read_to_string(ENABLED).is_ok_and(|text| text.trim() == "Y");
    if !enabled || !Path::new(LOADED).exists() {
        return false;
    }
    if parser().is_none() {
        tracing::warn!(
            "AppArmor is enabled, but there is no apparmor_parser: containers are not confined by it"
        );
    }
    parser().is_some()
}

/// The profile of a container that asks for `asked`, on a machine with AppArmor.
pub(crate) fn profile(asked: Option<&str>, privileged: bool) -> &str {
    asked.unwrap_or(if privileged { UNCONFINED } else { DEFAULT })
}

/// The profile to be put in force for a program of a container, loaded if it is the default one; `None` for none.
pub(crate) fn to_enforce(asked: Option<&str>, privileged: bool) -> Result<Option<String>> {
    let profile = profile(asked, privileged);
    if profile == DEFAULT {
        ensure_default()?;
    }
    Ok(Some(profile.to_owned()).filter(|profile| profile != UNCONFINED))
}

fn parser() -> Option<&'static str> {
    PARSERS.iter().copied().find(|path| Path::new(path).exists())
}

/// Loads the default profile unless it is loaded. Upgrades of packages are known to unload profiles, so this is asked for
/// before each use.
pub(crate) fn ensure_default() -> Result<()> {
    let failed = |why: String| {
        Error::system(format!(
            "AppArmor enabled on system but the {DEFAULT} profile could not be loaded: {why}"
        ))
    };
    let loaded = std::fs::read_to_string(LOADED).map_err(|error| failed(format!("{LOADED}: {error}")))?;
    if is_listed(&loaded, DEFAULT) {
        return Ok(());
    }
    let parser = parser().ok_or_else(|| failed("apparmor_parser is not installed".to_owned()))?;
    let text = |error: std::io::Error| failed(format!("{parser}: {error}"));
    let mut child = Command::new(parser)
        .args(["--replace", "--skip-cache"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(text)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(TEXT.as_bytes()).map_err(text)?;
    }
    let output = child.wait_with_output().map_err(text)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(failed(format!("{parser}: {}: {}", output.status, words.trim())));
    }
    Ok(())
}

/// Lines are a name and a mode: `docker-default (enforce)`.
fn is_listed(loaded: &str, name: &str) -> bool {
    loaded.lines().any(|line| line.rsplit_once(" (").is_some_and(|(listed, _)| listed == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_listed_by_its_whole_name() {
        let loaded = "man_groff (enforce)\ndocker-default-x (enforce)\n/usr/bin/a b (complain)\n";
        assert!(!is_listed(loaded, DEFAULT));
        assert!(is_listed(loaded, "/usr/bin/a b"));
        assert!(is_listed("docker-default (enforce)\n", DEFAULT));
    }
}
