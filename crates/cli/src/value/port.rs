//! Published and exposed ports: `8080:80/tcp`, `127.0.0.1:9000-9001:90-91/udp`, `target=80,published=8080`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::csv;

/// A first and a last port.
type Range = (u16, u16);

/// Where container ports are published: `80/tcp` → host addresses and ports.
pub(crate) type Bindings = BTreeMap<String, Vec<(String, String)>>;

/// Adds the bindings of one `--publish`.
pub(crate) fn publish(text: &str, bindings: &mut Bindings) -> Result<(), String> {
    let standard = if text.contains('=') { from_fields(text)? } else { text.to_owned() };
    let (rest, protocol) = split_protocol(&standard)?;
    let (address, host, container) = split_parts(rest);
    if container.is_empty() {
        return Err(format!("no port specified: {rest}<empty>"));
    }
    let ports = range(container).map_err(|_| format!("invalid containerPort: {container}"))?;
    let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if !address.is_empty() && address.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {address}"));
    }
    let host = match host {
        "" => None,
        host => Some(range(host).map_err(|_| format!("invalid hostPort: {host}"))?),
    };
    let width = |range: Range| range.1 - range.0;
    // A range of host ports for one container port: the daemon picks a free one of them.
    let any_of = host.filter(|host| width(*host) > 0 && width(ports) == 0);
    if let Some(host) = host.filter(|host| any_of.is_none() && width(*host) != width(ports)) {
        return Err(format!(
            "invalid ranges specified for container and host Ports: {container} and {}",
            spell(host)
        ));
    }
    for port in ports.0..=ports.1 {
        let host_port = match (any_of, host) {
            (Some(range), _) => spell(range),
            (None, Some(host)) => (host.0 + (port - ports.0)).to_string(),
            (None, None) => String::new(),
        };
        bindings.entry(format!("{port}/{protocol}")).or_default().push((address.to_owned(), host_port));
    }
    Ok(())
}

fn spell(range: Range) -> String {
    format!("{}-{}", range.0, range.1)
}

/// `[address:][host:]container`; an IPv6 address may stand without brackets.
fn split_parts(text: &str) -> (&str, &str, &str) {
    let Some((before, container)) = text.rsplit_once(':') else { return ("", "", text) };
    match before.rsplit_once(':') {
        Some((address, host)) => (address, host, container),
        None => ("", before, container),
    }
}

fn split_protocol(text: &str) -> Result<(&str, String), String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    match protocol.to_ascii_lowercase().as_str() {
        "" => Ok((ports, "tcp".to_owned())),
        known @ ("tcp" | "udp" | "sctp") => Ok((ports, known.to_owned())),
        _ => Err(format!("invalid proto: {protocol}")),
    }
}

/// The long form, `target=80,published=8080,protocol=tcp`, as the short one.
fn from_fields(text: &str) -> Result<String, String> {
    let (mut target, mut published, mut protocol) = (String::new(), String::new(), "tcp".to_owned());
    for field in csv::fields(text)? {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| format!("invalid publish opts format (should be name=value but got '{field}')"))?;
        match key {
            "target" => value.clone_into(&mut target),
            "published" => value.clone_into(&mut published),
            "protocol" => value.clone_into(&mut protocol),
            _ => {}
        }
    }
    Ok(if published.is_empty() {
        format!("{target}/{protocol}")
    } else {
        format!("{published}:{target}/{protocol}")
    })
}

fn number(text: &str) -> Result<u16, String> {
    let failed = |why: &str| format!("strconv.ParseUint: parsing {text:?}: {why}");
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(failed("invalid syntax"));
    }
    text.parse().map_err(|_| failed("value out of range"))
}

fn range(text: &str) -> Result<Range, String> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if last < first {
        return Err(format!("invalid range specified for port: {text}"));
    }
    Ok((first, last))
}

/// The ports of one `--expose`: `80`, `8000-8010/udp`.
pub(crate) fn expose(text: &str) -> Result<Vec<String>, String> {
    if text.contains(':') {
        return Err(format!("invalid port format for --expose: {text}"));
    }
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) =
        range(ports).map_err(|why| format!("invalid range format for --expose: {text}, error: {why}"))?;
    let protocol = split_protocol(&format!("/{protocol}"))?.1;
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let mut bindings = Bindings::new();
        let found = match publish(text, &mut bindings) {
            Ok(()) => {
                let one = |(port, hosts): (&String, &Vec<(String, String)>)| {
                    let hosts: Vec<_> =
                        hosts.iter().map(|(address, port)| format!("{address}|{port}")).collect();
                    format!("{port}={}", hosts.join(","))
                };
                bindings.iter().map(one).collect::<Vec<_>>().join(" ")
            }
            Err(why) => why,
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_port_is_published_where_it_says() {
        check("80", "80/tcp=|");
        check("8080:80", "80/tcp=|8080");
        check(":80", "80/tcp=|");
        check("127.0.0.1:90-91:70-71/udp", "70/udp=127.0.0.1|90 71/udp=127.0.0.1|91");
        check("1.2.3.4::80", "80/tcp=1.2.3.4|");
        check("[::1]:80:80", "80/tcp=::1|80");
        check("::1:80:80", "80/tcp=::1|80");
        check("8000-8002:80", "80/tcp=|8000-8002");
        check("80-81", "80/tcp=| 81/tcp=|");
        check("0:80", "80/tcp=|0");
        check("target=80,published=90", "80/tcp=|90");
        check("target=80", "80/tcp=|");
    }

    #[test]
    fn an_impossible_port_is_refused_in_dockers_words() {
        check("x", "invalid containerPort: x");
        check("80:x", "invalid containerPort: x");
        check("1:2:3:4", "invalid IP address: 1:2");
        check("1.2.3.4:80", "invalid hostPort: 1.2.3.4");
        check("1-2:3-5", "invalid ranges specified for container and host Ports: 3-5 and 1-2");
        check("80/foo", "invalid proto: foo");
        check("80:", "no port specified: 80:<empty>");
        check("99999:80", "invalid hostPort: 99999");
        check("5-4:80", "invalid hostPort: 5-4");
        check("foo:80:80", "invalid IP address: foo");
        check("", "no port specified: <empty>");
    }

    #[test]
    fn a_port_is_exposed_alone_or_in_a_range() {
        assert_eq!(expose("80"), Ok(vec!["80/tcp".to_owned()]));
        assert_eq!(expose("5-6/udp"), Ok(vec!["5/udp".to_owned(), "6/udp".to_owned()]));
        let words = |text: &str| expose(text).unwrap_err();
        assert_eq!(
            words("x"),
            "invalid range format for --expose: x, error: strconv.ParseUint: parsing \"x\": invalid syntax"
        );
        assert_eq!(words("1:2"), "invalid port format for --expose: 1:2");
        assert_eq!(
            words("5-3"),
            "invalid range format for --expose: 5-3, error: invalid range specified for port: 5-3"
        );
    }
}
