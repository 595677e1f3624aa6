//! New networks as a table: what was asked, and what the network is, or why it cannot be.

use std::fmt::Write;

use api::network::CreateRequest;
use network::MacAddress;
use network::ipam::default_pools;
use serde_json::{Value, json};

use super::super::record::NetworkRecord;
use super::{CreateFacts, plan_create};

fn facts() -> CreateFacts {
    let existing = |name: &str, subnet: &str, id: &str| -> NetworkRecord {
        let request = json!({"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}});
        let facts = CreateFacts { existing: Vec::new(), ours: Vec::new(), id: id.repeat(64), ..bare() };
        plan(&request, &facts).expect("a network")
    };
    let existing = vec![existing("front", "172.18.0.0/16", "a"), existing("back", "fd00:1::/64", "b")];
    CreateFacts { existing, ..bare() }
}

fn bare() -> CreateFacts {
    let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a prefix")).collect();
    CreateFacts {
        id: "0123456789abcdef".repeat(4),
        created: 7,
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        random: [1, 2, 3, 4, 5],
        pools: default_pools(),
        options: [(
            "bridge".to_owned(),
            [("com.docker.network.driver.mtu".to_owned(), "1400".to_owned())].into(),
        )]
        .into(),
        ours: parse(&["172.17.0.0/16", "172.18.0.0/16", "fd00:1::/64"]),
        hosts: parse(&["10.0.0.0/8", "172.19.5.0/24"]),
        existing: Vec::new(),
    }
}

fn plan(request: &Value, facts: &CreateFacts) -> crate::Result<NetworkRecord> {
    let mut request = request.clone();
    // The second family of an existing network in the facts.
    if request["IPAM"]["Config"][0]["Subnet"].as_str().is_some_and(|subnet| subnet.contains(':'))
        && request.get("EnableIPv6").is_none()
    {
        request["EnableIPv6"] = json!(true);
    }
    let request: CreateRequest = serde_json::from_value(request).expect("a request");
    plan_create(&request, facts)
}

fn line(record: &NetworkRecord) -> String {
    let mut text = format!("{} {}", record.driver, if record.internal { "internal" } else { "open" });
    for subnet in &record.subnets {
        let config = &subnet.config;
        let _ = write!(text, "; {}", config.subnet);
        if let Some(range) = config.range {
            let _ = write!(text, " range {range}");
        }
        if let Some(gateway) = config.gateway {
            let _ = write!(text, " gateway {gateway}");
        }
        for (name, address) in &config.auxiliary {
            let _ = write!(text, " {name}={address}");
        }
        if subnet.configured {
            text.push_str(" configured");
        }
    }
    for (key, value) in &record.options {
        let _ = write!(text, "; {}={value}", key.strip_prefix("com.docker.network.").unwrap_or(key));
    }
    text
}

#[test]
fn what_is_asked_and_what_is_made() {
    let subnet = |subnet: &str| json!({"Config": [{"Subnet": subnet}]});
    let option = |key: &str, value: &str| json!({key: value});
    let requests = [
        json!({"Name": "plain"}),
        json!({"Name": "inner", "Internal": true}),
        json!({"Name": "six", "EnableIPv6": true}),
        json!({"Name": "only6", "EnableIPv4": false, "EnableIPv6": true}),
        json!({"Name": "neither", "EnableIPv4": false}),
        json!({"Name": "chosen", "IPAM": {"Config": [{
            "Subnet": "192.0.2.0/24", "IPRange": "192.0.2.128/25", "Gateway": "192.0.2.254",
            "AuxiliaryAddresses": {"printer": "192.0.2.9"},
        }]}}),
        json!({"Name": "any24", "IPAM": subnet("0.0.0.0/24")}),
        json!({"Name": "six2", "IPAM": subnet("fd00:2::/64")}),
        json!({"Name": "off6", "EnableIPv6": false, "IPAM": subnet("fd00:2::/64")}),
        json!({"Name": "two", "IPAM": {"Config": [{"Subnet": "192.0.2.0/25"}, {"Subnet": "192.0.2.128/25"}]}}),
        json!({"Name": "wrong", "IPAM": {"Config": [
            {"Subnet": "192.0.2.3/24", "Gateway": "10.0.0.1", "IPRange": "x"}, {"Subnet": "y"},
        ]}}),
        json!({"Name": "hostbits", "IPAM": {"Config": [{"Gateway": "10.0.0.1"}]}}),
        json!({"Name": "overlap", "IPAM": subnet("172.18.3.0/24")}),
        json!({"Name": "front"}),
        json!({"Name": "bridge"}),
        json!({"Name": ""}),
        json!({"Name": "a/b"}),
        json!({"Name": "h", "Driver": "host"}),
        json!({"Name": "o", "Driver": "overlay"}),
        json!({"Name": "n", "Driver": "no-such"}),
        json!({"Name": "g", "Scope": "swarm"}),
        json!({"Name": "m", "Driver": "macvlan", "Options": {"parent": "eth0.7"}}),
        json!({"Name": "i", "Driver": "ipvlan", "Options": {"ipvlan_mode": "l4"}}),
        json!({"Name": "named", "Options": option("com.docker.network.bridge.name", "lan0")}),
        json!({"Name": "long", "Options": option("com.docker.network.bridge.name", "a-name-that-is-too-long")}),
        json!({"Name": "same", "Options": option("com.docker.network.bridge.name", "br-aaaaaaaaaaaa")}),
        json!({"Name": "routed", "Options": option("com.docker.network.bridge.gateway_mode_ipv4", "routed")}),
        json!({"Name": "shut", "Options": option("com.docker.network.bridge.gateway_mode_ipv4", "isolated")}),
        json!({"Name": "icc", "Options": option("com.docker.network.bridge.enable_icc", "perhaps")}),
        json!({"Name": "mtu", "Options": option("com.docker.network.driver.mtu", "20")}),
        json!({"Name": "prefix", "Options": option("com.docker.network.container_iface_prefix", "a/b")}),
        json!({"Name": "from", "ConfigFrom": {"Network": "front"}}),
        json!({"Name": "ipam", "IPAM": {"Driver": "dhcp"}}),
    ];
    let facts = facts();
    let mut table = String::new();
    for request in requests {
        let outcome =
            match serde_json::from_value(request.clone()).map(|request| plan_create(&request, &facts)) {
                Ok(Ok(record)) => line(&record),
                Ok(Err(error)) => format!("{:?}: {error}", error.kind),
                Err(error) => panic!("{error}"),
            };
        let _ = writeln!(table, "{request}\n  {}", outcome.replace('\n', "\n  "));
    }
    check_golden("plan_table.txt", &table);
}

/// Compares with a file beside the tests; BLESS=1 writes it.
fn check_golden(name: &str, table: &str) {
    let file = format!("{}/src/network/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, table).expect("write the table");
    }
    assert_eq!(table, std::fs::read_to_string(&file).expect("run with BLESS=1 to write it"), "{file}");
}

/// Every option of a network that Docker documents, and ours: with what may be said, and with what may not.
const OPTIONS: &[(&str, &str, &[&str])] = &[
    ("bridge", "com.docker.network.bridge.name", &["lan0", "a/b"]),
    ("bridge", "com.docker.network.bridge.enable_icc", &["true", "false", "0", "no", "x"]),
    ("bridge", "com.docker.network.bridge.enable_ip_masquerade", &["true", "false", "x"]),
    ("bridge", "com.docker.network.bridge.host_binding_ipv4", &["127.0.0.1", "localhost"]),
    (
        "bridge",
        "com.docker.network.bridge.gateway_mode_ipv4",
        &["nat", "nat-unprotected", "routed", "isolated", "x"],
    ),
    (
        "bridge",
        "com.docker.network.bridge.gateway_mode_ipv6",
        &["nat", "nat-unprotected", "routed", "isolated", "x"],
    ),
    ("bridge", "com.docker.network.bridge.inhibit_ipv4", &["true", "x"]),
    ("bridge", "com.docker.network.bridge.trusted_host_interfaces", &["eth0:eth1", "a b"]),
    ("bridge", "com.docker.network.bridge.default_bridge", &["true"]),
    ("bridge", "com.docker.network.driver.mtu", &["1400", "0", "67", "65536", "x"]),
    ("bridge", "com.docker.network.enable_ipv4", &["false"]),
    ("bridge", "com.docker.network.enable_ipv6", &["true"]),
    ("bridge", "com.docker.network.host_ipv4", &["192.0.2.7", "::1", "x"]),
    ("bridge", "com.docker.network.host_ipv6", &["2001:db8::7", "192.0.2.7"]),
    ("bridge", "com.docker.network.container_iface_prefix", &["lan", "much-too-long"]),
    ("bridge", "com.docker.network.advertise_addr_nmsgs", &["0", "3", "4", "x"]),
    ("bridge", "com.docker.network.advertise_addr_ms", &["100", "2000", "99", "x"]),
    ("bridge", "berth.network.guard", &["auto", "sources", "announcements", "off", "x"]),
    ("bridge", "no.such.option", &["x"]),
    ("macvlan", "parent", &["eth0", "eth0.7", "a/b"]),
    ("macvlan", "macvlan_mode", &["bridge", "private", "vepa", "passthru", "x"]),
    ("macvlan", "com.docker.network.driver.mtu", &["1400"]),
    ("ipvlan", "parent", &["eth0", "a/b"]),
    ("ipvlan", "ipvlan_mode", &["l2", "l3", "l3s", "x"]),
    ("ipvlan", "ipvlan_flag", &["bridge", "private", "vepa", "x"]),
    ("overlay", "com.docker.network.driver.overlay.vxlanid_list", &["4097"]),
    ("overlay", "encrypted", &["true"]),
];

#[test]
fn every_option_has_a_meaning_or_is_refused() {
    let mut table = String::new();
    for (driver, key, values) in OPTIONS {
        for internal in [false, true].into_iter().take(if key.contains("gateway_mode") { 2 } else { 1 }) {
            let _ = writeln!(table, "{driver} {key}{}", if internal { " (internal)" } else { "" });
            for value in *values {
                let request = |options: Value| json!({"Name": "n", "Driver": driver, "Internal": internal, "Options": options});
                let plain = plan(&request(json!({})), &facts()).map(|record| meaning(&record));
                let outcome = match plan(&request(json!({*key: value})), &facts()) {
                    Ok(record) => difference(&plain.unwrap_or_default(), &meaning(&record)),
                    Err(error) => format!("{:?}: {error}", error.kind),
                };
                let _ = writeln!(table, "  {value}: {outcome}");
            }
        }
    }
    check_golden("option_table.txt", &table);
}

/// Everything that a record's options say, one thing per line.
fn meaning(record: &NetworkRecord) -> Vec<String> {
    let (driver, common) = (record.driver().expect("a driver"), record.common().expect("settings"));
    let families = (("ipv4", record.enable_ipv4), ("ipv6", record.enable_ipv6));
    let text = format!("{driver:#?}\n{common:#?}\n{families:?}").replace("(\n", "(").replace(",\n)", ")");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(|line| words(line).trim_end_matches(',').to_owned()).collect()
}

fn difference(plain: &[String], with: &[String]) -> String {
    let new: Vec<&str> = with.iter().filter(|line| !plain.contains(line)).map(String::as_str).collect();
    if new.is_empty() { "as without it".to_owned() } else { new.join(" ") }
}
