//! Capabilities by name (capabilities(7)).

/// Names by number, without the leading `CAP_`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The full names of all capabilities, such as `CAP_CHOWN`, in the order of their numbers.
pub fn all() -> impl Iterator<Item = String> {
    NAMES.iter().map(|name| format!("CAP_{name}"))
}

/// The number of a capability; upper or lower case, with or without `CAP_`.
#[must_use]
pub fn number(name: &str) -> Option<u8> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|known| *known == short).and_then(|number| u8::try_from(number).ok())
}

/// One bit for each capability that is named and that the kernel, whose highest number is `last`, has.
///
/// Names that nobody knows are skipped: a configuration made for a newer kernel then gives less, never more.
#[must_use]
pub fn set(names: &[String], last: u8) -> u64 {
    names
        .iter()
        .filter_map(|name| number(name))
        .filter(|number| *number <= last)
        .fold(0, |set, number| set | 1 << number)
}

/// The names of a set, in the order of their numbers, for people.
#[must_use]
pub fn names(set: u64) -> String {
    let named: Vec<&str> =
        (0..NAMES.len()).filter(|number| set >> number & 1 == 1).map(|number| NAMES[number]).collect();
    if named.is_empty() { "none".to_owned() } else { named.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_every_spelling() {
        for name in ["CAP_SYS_ADMIN", "sys_admin", "cap_sys_admin", "SYS_ADMIN"] {
            assert_eq!(number(name), Some(21), "{name}");
        }
        assert_eq!(number("CAP_CHECKPOINT_RESTORE"), Some(40));
        assert_eq!(number("CAP_"), None);
    }

    #[test]
    fn unknown_and_too_new_names_give_nothing() {
        let asked = ["CAP_CHOWN", "CAP_FLY", "CAP_BPF"].map(str::to_owned);
        assert_eq!(set(&asked, 38), 1);
    }
}
