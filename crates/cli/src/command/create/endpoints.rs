//! The networks of a new container: `--network` and the flags that describe its first endpoint.

use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::grammar::Typed;
use crate::value::host;
use crate::value::network::{self, Network};

/// The networks of a new container.
pub(crate) struct Networks {
    /// `HostConfig.NetworkMode`.
    pub(crate) mode: String,
    /// `NetworkingConfig.EndpointsConfig`, by network.
    pub(crate) endpoints: Map<String, Value>,
}

/// What the network flags mean.
pub(crate) fn resolve(typed: &Typed) -> Result<Networks, Failure> {
    let mac_address = typed.text("mac-address");
    if !mac_address.is_empty() {
        host::check_mac_address(mac_address).map_err(Failure::text)?;
    }
    let mut texts = typed.list("network");
    texts.extend(typed.list("net"));
    let mut networks: Vec<Network> = texts
        .into_iter()
        .map(|text| network::parse(text).map_err(Failure::text))
        .collect::<Result<_, _>>()?;
    let named = !networks.is_empty();
    if !named {
        networks.push(Network { target: "default".to_owned(), ..Network::default() });
    }
    for (index, network) in networks.iter_mut().enumerate() {
        if index == 0 {
            add_flags(network, typed)?;
        }
        if !network.aliases.is_empty() && !network.is_user_defined() {
            return Err(Failure::text("network-scoped aliases are only supported for user-defined networks"));
        }
    }
    let mode = networks[0].target.clone();
    let mut endpoints = Map::new();
    let own = networks.iter().filter(|network| network.is_user_defined()).count();
    if own > 0 && own < networks.len() {
        return Err(Failure::text(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
        ));
    }
    // One network about which nothing is said needs no endpoint: the daemon makes it from the mode.
    if named && networks.len() == 1 && networks[0].is_plain() {
        networks.clear();
    }
    for network in networks {
        if endpoints.insert(network.target.clone(), endpoint(&network)).is_some() {
            return Err(Failure::text(format!("network {:?} is specified multiple times", network.target)));
        }
    }
    Ok(Networks { mode, endpoints })
}

/// The flags without a network belong to the first one; saying something twice is refused.
fn add_flags(network: &mut Network, typed: &Typed) -> Result<(), Failure> {
    let conflict = |flag: &str, what: &str| {
        Failure::text(format!("conflicting options: cannot specify both --{flag} and per-network {what}"))
    };
    let texts = |flag: &str| typed.list(flag).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let mut aliases = texts("network-alias");
    aliases.extend(texts("net-alias"));
    for (flag, what, taken, given) in [
        ("network-alias", "alias", !network.aliases.is_empty(), !aliases.is_empty()),
        ("link", "links", !network.links.is_empty(), typed.given("link")),
        ("ip", "IPv4 address", !network.ipv4.is_empty(), typed.given("ip")),
        ("ip6", "IPv6 address", !network.ipv6.is_empty(), typed.given("ip6")),
        ("mac-address", "MAC address", !network.mac_address.is_empty(), typed.given("mac-address")),
        (
            "link-local-ip",
            "link-local IP addresses",
            !network.link_local.is_empty(),
            typed.given("link-local-ip"),
        ),
    ] {
        if taken && given {
            return Err(conflict(flag, what));
        }
    }
    network.aliases.extend(aliases);
    if network.is_user_defined() {
        network.links.extend(texts("link"));
    }
    network.link_local.extend(texts("link-local-ip"));
    for (field, flag) in
        [(&mut network.ipv4, "ip"), (&mut network.ipv6, "ip6"), (&mut network.mac_address, "mac-address")]
    {
        if typed.given(flag) {
            typed.text(flag).clone_into(field);
        }
    }
    Ok(())
}

fn endpoint(network: &Network) -> Value {
    let mut addresses = Map::new();
    if !network.ipv4.is_empty() {
        addresses.insert("IPv4Address".into(), network.ipv4.clone().into());
    }
    if !network.ipv6.is_empty() {
        addresses.insert("IPv6Address".into(), network.ipv6.clone().into());
    }
    if !network.link_local.is_empty() {
        addresses.insert("LinkLocalIPs".into(), network.link_local.clone().into());
    }
    let list = |texts: &[String]| if texts.is_empty() { Value::Null } else { texts.into() };
    json!({
        "IPAMConfig": if addresses.is_empty() { Value::Null } else { addresses.into() },
        "Links": list(&network.links),
        "Aliases": list(&network.aliases),
        "MacAddress": network.mac_address,
        "DriverOpts": if network.driver_options.is_empty() { Value::Null } else { json!(network.driver_options) },
        "GwPriority": network.gateway_priority,
    })
}
