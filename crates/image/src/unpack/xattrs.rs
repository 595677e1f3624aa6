//! Which extended attributes of an archive are set on the disk.

/// What happens to an attribute that an archive carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// It is set; a file system that cannot hold it is a failure.
    Required,
    /// It is set where the file system can hold it.
    Optional,
    /// It is left out: it would steer the host's overlayfs or its security modules.
    Refused,
}

/// What to do with the attribute `name`.
pub(crate) fn policy(name: &[u8]) -> Policy {
    if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
        return Policy::Refused;
    }
    match name {
        b"security.capability" => Policy::Required,
        b"system.posix_acl_access" | b"system.posix_acl_default" => Policy::Optional,
        name if name.starts_with(b"user.") || name.starts_with(b"trusted.") => Policy::Optional,
        _ => Policy::Refused,
    }
}

/// Whether an attribute of a file on the disk is written into an archive.
pub(crate) fn is_portable(name: &[u8]) -> bool {
    policy(name) != Policy::Refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_steer_the_host_are_refused() {
        let cases: [(&[u8], Policy); 9] = [
            (b"security.capability", Policy::Required),
            (b"user.comment", Policy::Optional),
            (b"trusted.something", Policy::Optional),
            (b"system.posix_acl_access", Policy::Optional),
            (b"trusted.overlay.redirect", Policy::Refused),
            (b"trusted.overlay.opaque", Policy::Refused),
            (b"user.overlay.metacopy", Policy::Refused),
            (b"security.selinux", Policy::Refused),
            (b"security.ima", Policy::Refused),
        ];
        for (name, expected) in cases {
            assert_eq!(policy(name), expected, "{}", String::from_utf8_lossy(name));
        }
    }
}
