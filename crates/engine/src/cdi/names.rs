//! What names and versions the Container Device Interface allows.

/// Versions of the interface that are understood: all up to 1.x.
pub(super) fn check_version(text: &str) -> Result<(), String> {
    let parts: Vec<Option<u32>> =
        text.trim_start_matches('v').split('.').map(|part| part.parse().ok()).collect();
    match parts.as_slice() {
        [Some(0), Some(3..), Some(_)] | [Some(1), Some(_), Some(_)] => Ok(()),
        _ => Err(format!("version {text:?} of the interface is not known")),
    }
}

/// `vendor.com/class`.
pub(super) fn check_kind(kind: &str) -> Result<(), String> {
    let invalid = || format!("invalid kind {kind:?}: it must be vendor/class");
    let (vendor, class) = kind.split_once('/').ok_or_else(invalid)?;
    let is_name = |name: &str, more: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.ends_with(|last: char| last.is_ascii_alphanumeric())
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || more.contains(letter))
    };
    if is_name(vendor, "_-.") && is_name(class, "_-") { Ok(()) } else { Err(invalid()) }
}

/// The part after `=`.
pub(super) fn check_device(name: &str) -> Result<(), String> {
    let valid = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.ends_with(|last: char| last.is_ascii_alphanumeric())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-.:".contains(letter));
    if valid { Ok(()) } else { Err(format!("invalid device name {name:?}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for (kind, good) in [
            ("vendor.com/class", true),
            ("v/c", true),
            ("vendor", false),
            ("1v/c", false),
            ("v/c.d", false),
            ("v/c-", false),
            ("v/", false),
        ] {
            assert_eq!(check_kind(kind).is_ok(), good, "{kind}");
        }
        for (name, good) in
            [("0", true), ("all", true), ("a:b.c_d-e", true), ("", false), ("-a", false), ("a=b", false)]
        {
            assert_eq!(check_device(name).is_ok(), good, "{name}");
        }
        for (version, good) in
            [("0.6.0", true), ("1.0.0", true), ("0.2.0", false), ("2.0.0", false), ("", false)]
        {
            assert_eq!(check_version(version).is_ok(), good, "{version}");
        }
    }
}
