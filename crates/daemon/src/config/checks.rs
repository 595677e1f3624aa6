//! What dockerd refuses before it starts: words that could not work, in its own words.

use std::net::{IpAddr, Ipv6Addr};

use api::host_config::{ULIMITS, Ulimit};

use super::ConfigError;
use super::settings::Settings;

/// Names of labels that are Docker's own.
const RESERVED: &[&str] = &["com.docker.", "io.docker.", "org.dockerproject."];

/// The longest domain that can be searched.
const MAX_DOMAIN: usize = 255;

/// Checks what nobody else looks at before the first container needs it.
pub(super) fn check(settings: &Settings) -> Result<(), ConfigError> {
    let addresses = ["dns", "default-gateway", "default-gateway-v6", "ip"];
    for name in addresses {
        for word in settings.all(name).iter().filter(|word| !word.is_empty()) {
            // A link-local address may name its link.
            let address = word.split('%').next().unwrap_or_default();
            address.parse::<IpAddr>().map_err(|_| invalid(format!("invalid IP address: {word}")))?;
        }
    }
    if let Some(word) = settings.last("fixed-cidr-v6").filter(|word| !word.is_empty())
        && !is_ipv6_prefix(word)
    {
        return Err(invalid(format!(
            "invalid fixed-cidr-v6: {word:?} is no IPv6 address with a prefix length"
        )));
    }
    for word in settings.all("dns-search") {
        if !is_domain(word) {
            return Err(invalid(format!("{word} is not a valid domain")));
        }
    }
    for word in settings.all("label") {
        check_label(word)?;
    }
    for word in settings.all("registry-mirror") {
        check_mirror(word)?;
    }
    for word in settings.all("insecure-registry") {
        if word.starts_with('-') || word.ends_with('-') {
            return Err(invalid(format!("invalid index name ({word}). Cannot begin or end with a hyphen")));
        }
    }
    Ok(())
}

/// What `host-gateway` may mean: one address of each family.
pub(super) fn one_of_each_family(addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, ConfigError> {
    for (family, is_ipv6) in [("IPv4", false), ("IPv6", true)] {
        if addresses.iter().filter(|address| address.is_ipv6() == is_ipv6).count() > 1 {
            return Err(invalid(format!("only one {family} host gateway IP address can be specified")));
        }
    }
    Ok(addresses)
}

/// A limit that no container could start with is refused.
pub(super) fn ulimit(limit: Ulimit) -> Result<Ulimit, ConfigError> {
    if !ULIMITS.contains(&limit.name.as_str()) {
        return Err(invalid(format!("invalid ulimit type: {}", limit.name)));
    }
    // -1 is no limit at all.
    let (soft, hard) = (limit.soft, limit.hard);
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(invalid(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )));
    }
    Ok(limit)
}

fn check_label(word: &str) -> Result<(), ConfigError> {
    let name = word.split('=').next().unwrap_or_default().to_ascii_lowercase();
    if RESERVED.iter().any(|reserved| name.starts_with(reserved)) {
        return Err(invalid(format!(
            "label {word} is not allowed: the namespaces com.docker.*, io.docker.*, and org.dockerproject.* are reserved \
             for internal use"
        )));
    }
    Ok(())
}

fn check_mirror(word: &str) -> Result<(), ConfigError> {
    let refuse = |why: String| Err(invalid(format!("invalid mirror: {why}")));
    let schemes = "must use either 'https://' or 'http://'";
    let rest = match word.split_once("://") {
        None => return refuse(format!("no scheme specified for {word:?}: {schemes}")),
        Some(("http" | "https", rest)) => rest,
        Some((scheme, _)) => return refuse(format!("unsupported scheme {scheme:?} in {word:?}: {schemes}")),
    };
    if rest.contains(['?', '#']) {
        return refuse(format!("query or fragment at end of the URI {word:?}"));
    }
    if rest.split('/').next().is_some_and(|host| host.contains('@')) {
        // A password is not shown.
        return refuse("username/password not allowed in URI".to_owned());
    }
    Ok(())
}

/// Letters, digits and hyphens between dots, with a letter somewhere; `.` alone is for no domain at all.
fn is_domain(word: &str) -> bool {
    let word = word.trim();
    if word == "." {
        return true;
    }
    let is_part = |part: &str| {
        let part = part.as_bytes();
        part.first().is_some_and(u8::is_ascii_alphanumeric)
            && part.last().is_some_and(u8::is_ascii_alphanumeric)
            && part.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    word.len() <= MAX_DOMAIN
        && word.bytes().any(|byte| byte.is_ascii_alphabetic())
        && word.strip_suffix('.').unwrap_or(word).split('.').all(is_part)
}

fn is_ipv6_prefix(word: &str) -> bool {
    let Some((address, length)) = word.split_once('/') else { return false };
    address.parse::<Ipv6Addr>().is_ok() && length.parse::<u8>().is_ok_and(|length| length <= 128)
}

fn invalid(words: String) -> ConfigError {
    ConfigError::Invalid(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each is fine, or refused with these words.
    const ROWS: &[(&str, &str, &str)] = &[
        ("label", "a=b", ""),
        ("label", "Com.Docker.x=y", "label Com.Docker.x=y is not allowed"),
        ("dns", "::1", ""),
        ("dns", "localhost", "invalid IP address: localhost"),
        ("dns-search", "example.com.", ""),
        ("dns-search", ".", ""),
        ("dns-search", "a b", "a b is not a valid domain"),
        ("dns-search", "1.2", "1.2 is not a valid domain"),
        ("default-gateway", "10.0.0.1", ""),
        ("default-gateway", "10.0.0.1/8", "invalid IP address: 10.0.0.1/8"),
        ("ip", "", ""),
        ("ip", "x", "invalid IP address: x"),
        ("fixed-cidr-v6", "fd00::/64", ""),
        ("fixed-cidr-v6", "fd00::", "invalid fixed-cidr-v6"),
        ("registry-mirror", "https://mirror.example/path", ""),
        ("registry-mirror", "mirror.example", "no scheme specified for \"mirror.example\""),
        ("registry-mirror", "ftp://x", "unsupported scheme \"ftp\" in \"ftp://x\""),
        ("registry-mirror", "https://x?q", "query or fragment at end of the URI"),
        ("registry-mirror", "https://u:secret@x", "username/password not allowed in URI"),
        ("insecure-registry", "10.0.0.0/8", ""),
        ("insecure-registry", "-x", "invalid index name (-x). Cannot begin or end with a hyphen"),
    ];

    #[test]
    fn what_could_not_work_is_refused() {
        for (name, word, expected) in ROWS {
            let mut settings = Settings::default();
            settings.add(name, (*word).to_owned());
            let said = check(&settings).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(
                said.contains(expected) && said.is_empty() == expected.is_empty(),
                "{name} {word}: {said}"
            );
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn limits_and_gateways_must_make_sense() {
        let limit = |name: &str, soft, hard| ulimit(Ulimit { name: name.to_owned(), soft, hard }).is_ok();
        assert!(limit("nofile", 1, 2) && limit("nofile", 5, -1) && limit("core", -1, -1));
        assert!(!limit("nofile", 5, 1) && !limit("nofile", -1, 5) && !limit("speed", 1, 1));
        let addresses = |words: &[&str]| words.iter().map(|word| word.parse().expect(word)).collect();
        assert!(one_of_each_family(addresses(&["1.2.3.4", "::1"])).is_ok());
        assert!(one_of_each_family(addresses(&["1.2.3.4", "1.2.3.5"])).is_err());
    }
}
