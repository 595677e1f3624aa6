//! Which kernel parameters belong to a container's own namespaces.

use oci::runtime::NamespaceKind;

use crate::{Error, Result};

/// The path below /proc/sys of a parameter; refused unless it belongs to a namespace that the container does not share,
/// which `own` says.
pub(super) fn path(name: &str, own: impl Fn(NamespaceKind) -> bool) -> Result<String> {
    let refuse = |why: &str| Err(Error::invalid(format!("sysctl {name:?} {why}")));
    // As sysctl(8): whichever of "." and "/" comes first separates; the other is then part of a name.
    let path = match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'.' => name
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        _ => name.to_owned(),
    };
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") || path.contains('\0') {
        return refuse("is not a name");
    }
    let needed = match path.as_str() {
        "kernel/domainname" | "kernel/hostname" => NamespaceKind::Uts,
        "kernel/msgmax"
        | "kernel/msgmnb"
        | "kernel/msgmni"
        | "kernel/sem"
        | "kernel/shmall"
        | "kernel/shmmax"
        | "kernel/shmmni"
        | "kernel/shm_rmid_forced" => NamespaceKind::Ipc,
        _ if path.starts_with("fs/mqueue/") => NamespaceKind::Ipc,
        _ if path.starts_with("net/") => NamespaceKind::Network,
        _ if path.starts_with("user/") => NamespaceKind::User,
        _ => return refuse("is not in a separate kernel namespace"),
    };
    if path == "kernel/hostname" {
        return refuse("conflicts with the hostname of the configuration");
    }
    if own(needed) {
        Ok(path)
    } else {
        refuse("is not allowed: the container shares that namespace with the host")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Result<&str, &str>) {
        let got = path(name, |kind| kind != NamespaceKind::Ipc);
        match expected {
            Ok(path) => assert_eq!(got.as_deref(), Ok(path)),
            Err(words) => {
                assert!(got.clone().is_err_and(|error| error.message().contains(words)), "{name}: {got:?}")
            }
        }
    }

    #[test]
    fn only_parameters_of_own_namespaces_are_taken() {
        check("net.ipv4.ip_forward", Ok("net/ipv4/ip_forward"));
        check("net/ipv4/conf/eth0.100/forwarding", Ok("net/ipv4/conf/eth0.100/forwarding"));
        check("net.ipv4.conf.eth0/100.forwarding", Ok("net/ipv4/conf/eth0.100/forwarding"));
        check("kernel.shmmax", Err("shares that namespace"));
        check("kernel.core_pattern", Err("not in a separate kernel namespace"));
        check("net/../kernel/core_pattern", Err("not a name"));
        check("net..ipv4", Err("not a name"));
    }
}
