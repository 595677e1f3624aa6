//! Names and addresses: `--add-host`, `--dns`, `--dns-search`, `--link`, `--attach`, `--mac-address`, `--sysctl`.

use std::net::IpAddr;

use api::host_config::IPC_SYSCTLS;

/// `name:address` or `name=address` → `name:address`; the address may be `host-gateway`.
pub(crate) fn extra_host(text: &str) -> Result<String, String> {
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let (name, address) = split.filter(|(name, _)| !name.is_empty()).ok_or_else(|| bad_host(text))?;
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address in add-host: {address:?}"));
    }
    Ok(format!("{name}:{bare}"))
}

fn bad_host(text: &str) -> String {
    format!("bad format for add-host: {text:?}")
}

/// For the table of flags.
pub(crate) fn check_extra_host(text: &str) -> Result<(), String> {
    extra_host(text).map(drop)
}

/// For the table of flags: an address.
pub(crate) fn check_ip(text: &str) -> Result<(), String> {
    let words = |_| format!("IP address is not correctly formatted: {text}");
    text.trim().parse::<IpAddr>().map(drop).map_err(words)
}

/// For the table of flags: a search domain, or `.` for none.
pub(crate) fn check_dns_search(text: &str) -> Result<(), String> {
    let domain = text.trim();
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let named = domain.len() < 255
        && domain.trim_end_matches('.').split('.').all(label)
        && domain.contains(|letter: char| letter.is_ascii_alphabetic());
    if domain == "." || named { Ok(()) } else { Err(format!("{text} is not a valid domain")) }
}

/// For the table of flags: `container` or `container:alias`.
pub(crate) fn check_link(text: &str) -> Result<(), String> {
    match text.split(':').count() {
        _ if text.is_empty() => Err("empty string specified for links".to_owned()),
        1 | 2 => Ok(()),
        _ => Err(format!("bad format for links: {text}")),
    }
}

/// For the table of flags: a stream to attach to.
pub(crate) fn check_stream(text: &str) -> Result<(), String> {
    match text.to_ascii_lowercase().as_str() {
        "stdin" | "stdout" | "stderr" => Ok(()),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// A hardware address of 6, 8 or 20 bytes, with colons, dashes or dots.
pub(crate) fn check_mac_address(text: &str) -> Result<(), String> {
    let (separator, digits) = match text.find([':', '-', '.']).map(|at| text.as_bytes()[at]) {
        Some(b'.') => ('.', 4),
        Some(other) => (char::from(other), 2),
        None => (':', 2),
    };
    let parts: Vec<&str> = text.split(separator).collect();
    let hex = |part: &&str| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits = parts.iter().all(hex) && [6, 8, 20].contains(&(parts.len() * digits / 2));
    if fits { Ok(()) } else { Err(format!("{text} is not a valid mac address")) }
}

/// For the table of flags: kernel settings that belong to a namespace.
pub(crate) fn check_sysctl(text: &str) -> Result<(), String> {
    let known = text.split_once('=').is_some_and(|(name, _)| {
        IPC_SYSCTLS.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.")
    });
    if known { Ok(()) } else { Err(format!("sysctl '{text}' is not allowed")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_and_an_address() {
        let check = |text: &str, expected: Result<&str, &str>| {
            assert_eq!(extra_host(text), expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        };
        check("a:1.2.3.4", Ok("a:1.2.3.4"));
        check("a=::1", Ok("a:::1"));
        check("a:[::1]", Ok("a:::1"));
        check("a:host-gateway", Ok("a:host-gateway"));
        check("x", Err("bad format for add-host: \"x\""));
        check(":1.2.3.4", Err("bad format for add-host: \":1.2.3.4\""));
        check("a:b", Err("invalid IP address in add-host: \"b\""));
    }

    #[test]
    fn a_hardware_address_has_three_spellings() {
        for text in ["92:d0:c6:0a:29:33", "92-d0-c6-0a-29-33", "92d0.c60a.2933"] {
            assert_eq!(check_mac_address(text), Ok(()), "{text}");
        }
        for text in ["x", "", "92:d0:c6:0a:29", "92:d0:c6:0a:29:3", "92:d0:c6:0a:29:3g"] {
            assert_eq!(check_mac_address(text), Err(format!("{text} is not a valid mac address")), "{text}");
        }
    }
}
