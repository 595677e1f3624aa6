//! Devices of the host: `--device`, `--device-cgroup-rule`.

use serde_json::{Value, json};

/// What `--device` asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Device {
    /// A node: `{PathOnHost, PathInContainer, CgroupPermissions}`.
    Node(Value),
    /// A device by its CDI name, `vendor.com/class=name`.
    Cdi(String),
}

/// `/dev/x[:/dev/y][:rwm]`, or a CDI name.
pub(crate) fn parse(text: &str) -> Result<Device, String> {
    if is_cdi_name(text) {
        return Ok(Device::Cdi(text.to_owned()));
    }
    check_paths(text)?;
    let parts: Vec<&str> = text.split(':').collect();
    let (inside, mode) = match parts[..] {
        [path] => (path, "rwm"),
        [path, mode] if is_mode(mode) => (path, mode),
        [_, inside] => (inside, "rwm"),
        [_, inside, mode] => (inside, mode),
        _ => return Err(format!("invalid device specification: {text}")),
    };
    Ok(Device::Node(json!({ "PathOnHost": parts[0], "PathInContainer": inside, "CgroupPermissions": mode })))
}

fn check_paths(text: &str) -> Result<(), String> {
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 || text.is_empty() {
        return Err(format!("bad format for path: {text}"));
    }
    let inside = match parts[..] {
        [path] => path,
        [_, mode] if is_mode(mode) => return absolute(parts[0]),
        [_, inside] => inside,
        _ if !is_mode(parts[2]) => return Err(format!("bad mode specified: {}", parts[2])),
        _ => parts[1],
    };
    absolute(inside)
}

fn absolute(path: &str) -> Result<(), String> {
    if path.starts_with('/') { Ok(()) } else { Err(format!("{path} is not an absolute path")) }
}

/// Letters of `rwm`, each at most once.
fn is_mode(text: &str) -> bool {
    let unique = |letter: char| text.matches(letter).count() == 1;
    !text.is_empty() && text.chars().all(|letter| "rwm".contains(letter) && unique(letter))
}

fn is_cdi_name(text: &str) -> bool {
    let Some((kind, name)) = text.split_once('=') else { return false };
    let Some((vendor, class)) = kind.split_once('/') else { return false };
    let word = |word: &str, more: &str| {
        word.starts_with(|letter: char| letter.is_ascii_alphanumeric())
            && word.chars().all(|letter| letter.is_ascii_alphanumeric() || more.contains(letter))
    };
    word(vendor, "_-.") && word(class, "_-") && word(name, "_-.:")
}

/// `c 1:3 rwm`: type, major and minor or `*`, and the access.
pub(crate) fn check_cgroup_rule(text: &str) -> Result<(), String> {
    let invalid = || format!("invalid device cgroup format '{text}'");
    let words: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, access] = words[..] else { return Err(invalid()) };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let number =
        |word: &str| word == "*" || (!word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()));
    let access = (1..=3).contains(&access.len()) && access.chars().all(|letter| "rwm".contains(letter));
    let fits = ["a", "b", "c"].contains(&kind) && number(major) && number(minor) && access;
    if fits { Ok(()) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_path_on_each_side_and_a_mode() {
        let check = |text: &str, expected: Result<[&str; 3], &str>| {
            let expected = expected
                .map(|[host, inside, mode]| {
                    Device::Node(
                        json!({ "PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": mode }),
                    )
                })
                .map_err(str::to_owned);
            assert_eq!(parse(text), expected, "{text}");
        };
        check("/dev/a", Ok(["/dev/a", "/dev/a", "rwm"]));
        check("/dev/a:r", Ok(["/dev/a", "/dev/a", "r"]));
        check("/dev/a:/dev/b", Ok(["/dev/a", "/dev/b", "rwm"]));
        check("/dev/a:/dev/b:rw", Ok(["/dev/a", "/dev/b", "rw"]));
        check("x", Err("x is not an absolute path"));
        check("/dev/null:rwx", Err("rwx is not an absolute path"));
        check("/a:/b:c:d", Err("bad format for path: /a:/b:c:d"));
        check("/a:/b:q", Err("bad mode specified: q"));
        assert_eq!(parse("vendor.com/class=name"), Ok(Device::Cdi("vendor.com/class=name".to_owned())));
    }

    #[test]
    fn a_cgroup_rule_is_type_numbers_and_access() {
        for text in ["c 1:3 rwm", "a *:* r", "b 8:* mr"] {
            assert_eq!(check_cgroup_rule(text), Ok(()), "{text}");
        }
        for text in ["x", "c 1 rwm", "d 1:3 r", "c 1:3 x", "c 1:3 rwmr", "c a:3 r"] {
            assert_eq!(
                check_cgroup_rule(text),
                Err(format!("invalid device cgroup format '{text}'")),
                "{text}"
            );
        }
    }
}
