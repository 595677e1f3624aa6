//! `network ls | create | rm | connect | disconnect | prune`.

use std::collections::BTreeMap;

use api::network::{
    ConfigReference, CreateRequest, Created, DisconnectRequest, Ipam, IpamConfig, Network, PruneReport,
};
use client::{Client, Query, Request};
use serde_json::{Map, Value, json};

use super::lifecycle::each;
use super::prune::{FORCE, UNTIL, confirm, listed};
use super::ps::FORMAT_HELP;
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::rows::{Kind, Row, choose, render};
use crate::output::units::short_id;
use crate::output::{note, write};
use crate::session::Session;
use crate::value::{env, filter, host};

/// `network ls`.
pub(crate) static LS: Command = Command {
    synopsis: "[OPTIONS]",
    about: "List networks",
    paths: &["network ls", "network list"],
    flags: &[&[
        Flag::of("filter", "filter", filter::check, "Provide filter values (e.g. \"driver=bridge\")")
            .short('f')
            .many(),
        Flag::text("format", FORMAT_HELP),
        Flag::switch("no-trunc", "Do not truncate the output"),
        Flag::switch("quiet", "Only display network IDs").short('q'),
    ]],
    operands: Operands::None,
    interspersed: true,
    run: |session, typed| Box::pin(list(session, typed)),
};

const CREATE_FLAGS: &[Flag] = &[
    Flag::switch("attachable", "Enable manual container attachment"),
    Flag::of("map", "aux-address", anything, "Auxiliary IPv4 or IPv6 addresses used by Network driver")
        .many()
        .shows("map[]"),
    Flag::text("config-from", "The network from which to copy the configuration"),
    Flag::switch("config-only", "Create a configuration only network"),
    Flag::text("driver", "Driver to manage the Network").short('d').default("bridge").shows("\"bridge\""),
    Flag::of("strings", "gateway", anything, "IPv4 or IPv6 Gateway for the master subnet").many(),
    Flag::switch("ingress", "Create swarm routing-mesh network"),
    Flag::switch("internal", "Restrict external access to the network"),
    Flag::of("strings", "ip-range", anything, "Allocate container ip from a sub-range").many(),
    Flag::text("ipam-driver", "IP Address Management Driver").default("default").shows("\"default\""),
    Flag::of("map", "ipam-opt", anything, "Set IPAM driver specific options").many().shows("map[]"),
    Flag::switch("ipv4", "Enable or disable IPv4 address assignment").default("true").shows("true"),
    Flag::switch("ipv6", "Enable or disable IPv6 address assignment"),
    Flag::list("label", "Set metadata on a network").checked(env::check_label),
    Flag::of("map", "opt", anything, "Set driver specific options").short('o').many().shows("map[]"),
    Flag::text("scope", "Control the network's scope"),
    Flag::of("strings", "subnet", anything, "Subnet in CIDR format that represents a network segment").many(),
];

/// `network create`.
pub(crate) static CREATE: Command = Command {
    synopsis: "[OPTIONS] NETWORK",
    about: "Create a network",
    paths: &["network create"],
    flags: &[CREATE_FLAGS],
    operands: Operands::Exactly(1),
    interspersed: true,
    run: |session, typed| Box::pin(create(session, typed)),
};

/// `network rm`.
pub(crate) static RM: Command = Command {
    synopsis: "NETWORK [NETWORK...]",
    about: "Remove one or more networks",
    paths: &["network rm", "network remove"],
    flags: &[&[Flag::switch("force", "Do not error if the network does not exist").short('f')]],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(remove(session, typed)),
};

const CONNECT_FLAGS: &[Flag] = &[
    Flag::of("strings", "alias", anything, "Add network-scoped alias for the container").many(),
    Flag::of("strings", "driver-opt", anything, "driver options for the network").many(),
    Flag::int(
        "gw-priority",
        "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
    ),
    Flag::text("ip", "IPv4 address (e.g., \"172.30.100.104\")"),
    Flag::text("ip6", "IPv6 address (e.g., \"2001:db8::33\")"),
    Flag::list("link", "Add link to another container").checked(host::check_link),
    Flag::of("strings", "link-local-ip", anything, "Add a link-local address for the container").many(),
];

/// `network connect`.
pub(crate) static CONNECT: Command = Command {
    synopsis: "[OPTIONS] NETWORK CONTAINER",
    about: "Connect a container to a network",
    paths: &["network connect"],
    flags: &[CONNECT_FLAGS],
    operands: Operands::Exactly(2),
    interspersed: true,
    run: |session, typed| Box::pin(connect(session, typed)),
};

/// `network disconnect`.
pub(crate) static DISCONNECT: Command = Command {
    synopsis: "[OPTIONS] NETWORK CONTAINER",
    about: "Disconnect a container from a network",
    paths: &["network disconnect"],
    flags: &[&[Flag::switch("force", "Force the container to disconnect from a network").short('f')]],
    operands: Operands::Exactly(2),
    interspersed: true,
    run: |session, typed| Box::pin(disconnect(session, typed)),
};

/// `network prune`.
pub(crate) static PRUNE: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Remove all unused networks",
    paths: &["network prune"],
    flags: &[&[UNTIL, FORCE]],
    operands: Operands::None,
    interspersed: true,
    run: |session, typed| Box::pin(prune(session, typed)),
};

fn anything(_: &str) -> Result<(), String> {
    Ok(())
}

const KIND: Kind = Kind {
    headings: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
    table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    quiet: "{{.ID}}",
};

async fn list(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let quiet = typed.switch("quiet");
    let format = choose(typed.text("format"), quiet, session.setting("networksFormat"));
    let query = Query::new().with_nonempty("filters", &filter::json(&typed.list("filter")));
    let client = session.daemon().await?;
    let mut networks: Vec<Network> = client.json(Request::get("/networks").query(query)).await?;
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    let full = typed.switch("no-trunc");
    let rows: Vec<Row> = networks.iter().map(|network| row(network, full)).collect();
    write(&render(&KIND, format, quiet, &rows)?)?;
    Ok(0)
}

fn row(network: &Network, full: bool) -> Row {
    Row::new([
        ("ID", if full { network.id.clone() } else { short_id(&network.id).to_owned() }),
        ("Name", network.name.clone()),
        ("Driver", network.driver.clone()),
        ("Scope", network.scope.clone()),
        ("IPv4", network.enable_ipv4.to_string()),
        ("IPv6", network.enable_ipv6.to_string()),
        ("Internal", network.internal.to_string()),
        ("CreatedAt", network.created.replacen('T', " ", 1).replacen('Z', " +0000 UTC", 1)),
    ])
    .labels(&network.labels)
}

async fn create(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let body = resolve(typed)?;
    let client = session.daemon().await?;
    let created: Created = client.json(Request::post("/networks/create").json(&body)).await?;
    if !created.warning.is_empty() {
        note(&format!("WARNING: {}", created.warning));
    }
    write(&format!("{}\n", created.id))?;
    Ok(0)
}

/// The values of a flag that may also stand together, with commas between.
fn strings<'a>(typed: &'a Typed, flag: &str) -> Vec<&'a str> {
    typed.list(flag).into_iter().flat_map(|text| text.split(',')).collect()
}

fn resolve(typed: &Typed) -> Result<CreateRequest, Failure> {
    let given = |flag: &str| typed.given(flag).then(|| typed.switch(flag));
    let from = typed.text("config-from");
    Ok(CreateRequest {
        name: typed.operand(0).to_owned(),
        driver: typed.text("driver").to_owned(),
        scope: typed.text("scope").to_owned(),
        enable_ipv4: given("ipv4"),
        enable_ipv6: given("ipv6"),
        ipam: Some(Ipam {
            driver: typed.text("ipam-driver").to_owned(),
            options: Some(env::pairs(typed.list("ipam-opt"))),
            config: Some(pools(typed)?),
        }),
        internal: typed.switch("internal"),
        attachable: typed.switch("attachable"),
        ingress: typed.switch("ingress"),
        config_only: typed.switch("config-only"),
        config_from: (!from.is_empty()).then(|| ConfigReference { network: from.to_owned() }),
        options: Some(env::pairs(typed.list("opt"))),
        labels: Some(env::pairs(typed.list("label"))),
    })
}

/// The address pools: ranges, gateways and reserved addresses go to the subnet that holds them.
fn pools(typed: &Typed) -> Result<Vec<IpamConfig>, Failure> {
    let subnets = strings(typed, "subnet");
    let mut pools: Vec<IpamConfig> = subnets
        .iter()
        .map(|subnet| IpamConfig { subnet: (*subnet).to_owned(), ..IpamConfig::default() })
        .collect();
    let (ranges, gateways) = (strings(typed, "ip-range"), strings(typed, "gateway"));
    if pools.is_empty() {
        if ranges.len() > 1 || gateways.len() > 1 {
            return Err(Failure::text("every ip-range or gateway must have a corresponding subnet"));
        }
        if ranges.is_empty() && gateways.is_empty() {
            return Ok(Vec::new());
        }
        let first = |texts: &[&str]| texts.first().map(|text| (*text).to_owned()).unwrap_or_default();
        return Ok(vec![IpamConfig {
            ip_range: first(&ranges),
            gateway: first(&gateways),
            ..IpamConfig::default()
        }]);
    }
    let holder = |pools: &mut Vec<IpamConfig>, address: &str, what: &str| -> Result<usize, Failure> {
        pools
            .iter()
            .position(|pool| contains(&pool.subnet, address))
            .ok_or_else(|| Failure::text(format!("no matching subnet for {what} {address}")))
    };
    for range in ranges {
        let index = holder(&mut pools, range.split('/').next().unwrap_or(range), "range")
            .map_err(|_| Failure::text(format!("no matching subnet for range {range}")))?;
        range.clone_into(&mut pools[index].ip_range);
    }
    for gateway in gateways {
        let index = holder(&mut pools, gateway, "gateway")?;
        gateway.clone_into(&mut pools[index].gateway);
    }
    for (name, address) in env::pairs(typed.list("aux-address")) {
        let index = holder(&mut pools, &address, "aux-address")?;
        pools[index].aux_addresses.insert(name, address);
    }
    Ok(pools)
}

/// Whether an address lies in a subnet, `10.0.0.0/8`; texts that are neither do not match.
fn contains(subnet: &str, address: &str) -> bool {
    use std::net::IpAddr;
    let Some((base, bits)) = subnet.split_once('/') else { return false };
    let (Ok(base), Ok(address), Ok(bits)) = (base.parse(), address.parse(), bits.parse::<u32>()) else {
        return false;
    };
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(base) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(base), IpAddr::V6(address)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(base) & mask == u128::from(address) & mask
        }
        _ => false,
    }
}

async fn remove(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let client = session.daemon().await?;
    each(typed.operands(), async |name| {
        match client.call(Request::delete(format!("/networks/{name}"))).await {
            Err(error) if error.is_not_found() && typed.switch("force") => Ok(String::new()),
            result => result.map(|()| format!("{name}\n")).map_err(Failure::from),
        }
    })
    .await
}

async fn connect(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let mut addresses = Map::new();
    for (flag, key) in [("ip", "IPv4Address"), ("ip6", "IPv6Address")] {
        if !typed.text(flag).is_empty() {
            addresses.insert(key.to_owned(), typed.text(flag).into());
        }
    }
    if typed.given("link-local-ip") {
        addresses.insert("LinkLocalIPs".into(), strings(typed, "link-local-ip").into());
    }
    let list = |texts: Vec<&str>| if texts.is_empty() { Value::Null } else { texts.into() };
    let options: BTreeMap<String, String> = env::pairs(strings(typed, "driver-opt"));
    let body = json!({
        "Container": typed.operand(1),
        "EndpointConfig": {
            "IPAMConfig": addresses,
            "Links": list(typed.list("link")),
            "Aliases": list(strings(typed, "alias")),
            "DriverOpts": options,
            "GwPriority": typed.int("gw-priority"),
        },
    });
    let client = session.daemon().await?;
    client.call(Request::post(format!("/networks/{}/connect", typed.operand(0))).json(&body)).await?;
    Ok(0)
}

async fn disconnect(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let body = DisconnectRequest { container: typed.operand(1).to_owned(), force: typed.switch("force") };
    let client = session.daemon().await?;
    client.call(Request::post(format!("/networks/{}/disconnect", typed.operand(0))).json(&body)).await?;
    Ok(0)
}

async fn prune(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let question = "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue? [y/N] ";
    if !typed.switch("force") && !confirm(question)? {
        return Err(Failure::text("network prune has been cancelled"));
    }
    let client = session.daemon().await?;
    write(&pruned(client, &typed.list("filter")).await?)?;
    Ok(0)
}

/// Removes networks and says which.
pub(crate) async fn pruned(client: &Client, filters: &[&str]) -> Result<String, Failure> {
    let query = Query::new().with_nonempty("filters", &filter::json(filters));
    let report: PruneReport = client.json(Request::post("/networks/prune").query(query)).await?;
    Ok(listed("Deleted Networks:", &report.networks_deleted.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lies_in_a_subnet_or_not() {
        assert!(contains("10.0.0.0/8", "10.1.2.3"));
        assert!(!contains("10.0.0.0/16", "10.1.2.3"));
        assert!(contains("0.0.0.0/0", "1.2.3.4"));
        assert!(contains("fd00::/8", "fd12::1"));
        assert!(!contains("fd00::/8", "10.0.0.1"));
        assert!(!contains("x/8", "10.0.0.1"));
        assert!(!contains("10.0.0.0/40", "10.0.0.1"));
    }
}
