//! Where addresses come from: the flags of the default bridge, and the pools of networks that nobody gave a subnet.

use crate::check::{Check, contains, same};
use crate::hosts::{Hosts, call, printed};
use crate::scope::Scope;
use anyhow::{Result, ensure};

const AREA: &str = "pools";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(
            AREA,
            "--bip and --fixed-cidr: the bridge's address, and where those of containers are",
            range,
        ),
        Check::new(AREA, "--fixed-cidr alone is the subnet of the default bridge", range_alone),
        Check::new(AREA, "--fixed-cidr-v6 and --bip6 give the default bridge IPv6", ipv6),
        Check::new(
            AREA,
            "--default-address-pool is cut into subnets, past the host's own routes, until it is used up",
            pools,
        ),
    ]
}

/// What inspect of a network says, by a template.
fn network(hosts: &Hosts, name: &str, format: &str) -> Result<String> {
    Ok(hosts.client.expect(&["network", "inspect", "-f", format, name])?.trim().to_owned())
}

fn subnets(hosts: &Hosts, name: &str) -> Result<String> {
    network(hosts, name, "{{range .IPAM.Config}}{{.Subnet}} {{end}}")
}

fn bridge_has(hosts: &Hosts, address: &str) -> Result<()> {
    contains("docker0", &printed("ip", &["-n", &hosts.host, "address", "show", "docker0"])?, address)
}

fn range(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &["--bip", "10.81.0.1/24", "--fixed-cidr", "10.81.0.128/30"])?;
    bridge_has(&hosts, "inet 10.81.0.1/24")?;
    let config = "{{range .IPAM.Config}}{{.Subnet}} {{.IPRange}} {{.Gateway}}{{end}}";
    same(
        "the default network",
        network(&hosts, "bridge", config)?,
        "10.81.0.0/24 10.81.0.128/30 10.81.0.1".to_owned(),
    )?;
    let mut given = Vec::new();
    for name in ["first", "second", "third", "fourth"] {
        hosts.serve(name, &[])?;
        given.push(hosts.address(name)?);
    }
    same("addresses", given, [128, 129, 130, 131].map(|last| format!("10.81.0.{last}")).to_vec())?;
    let full = hosts.client.call(&["run", "--rm", crate::fixture::BUSYBOX, "true"])?;
    ensure!(full.code != 0, "a fifth container in a range of four");
    contains("words", &full.stderr, "no available IPv4 addresses on this network's address pools: bridge")?;
    hosts.client.expect(&["rm", "-f", "second"])?;
    hosts.client.expect(&["run", "--rm", crate::fixture::BUSYBOX, "true"])?;
    hosts.close()
}

fn range_alone(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &["--fixed-cidr", "10.82.0.0/24"])?;
    bridge_has(&hosts, "inet 10.82.0.1/24")?;
    hosts.serve("first", &[])?;
    same("the container's address", hosts.address("first")?, "10.82.0.2".to_owned())?;
    hosts.close()
}

fn ipv6(scope: &Scope<'_>) -> Result<()> {
    let flags = ["--ipv6", "--bip6", "fd00:83::9/64", "--fixed-cidr-v6", "fd00:83::100/120"];
    let hosts = Hosts::new(scope, &flags)?;
    bridge_has(&hosts, "inet6 fd00:83::9/64")?;
    hosts.serve("first", &[])?;
    let format = "{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}} {{.IPv6Gateway}}{{end}}";
    let address = hosts.client.expect(&["inspect", "-f", format, "first"])?;
    ensure!(address.starts_with("fd00:83::1") && address.trim().ends_with(" fd00:83::9"), "{address}");
    hosts.close()
}

fn pools(scope: &Scope<'_>) -> Result<()> {
    let pool = "base=10.84.0.0/22,size=24";
    let hosts = Hosts::new(scope, &["--default-address-pool", pool])?;
    same("the default network", subnets(&hosts, "bridge")?, "10.84.0.0/24".to_owned())?;
    call("ip", &["-n", &hosts.host, "route", "add", "10.84.1.0/25", "dev", "eth0"])?;
    let create = |name: &str| hosts.client.call(&["network", "create", name]);
    for (name, subnet) in [("one", "10.84.2.0/24"), ("two", "10.84.3.0/24")] {
        create(name)?.expect_code(0)?;
        same("past the host's route", subnets(&hosts, name)?, subnet.to_owned())?;
    }
    let refused = create("three")?;
    ensure!(refused.code != 0, "a subnet of a pool that is used up");
    contains("words", &refused.stderr, "all predefined address pools have been fully subnetted")?;
    hosts.client.expect(&["network", "rm", "one"])?;
    create("three")?.expect_code(0)?;
    same("one that was given back", subnets(&hosts, "three")?, "10.84.2.0/24".to_owned())?;
    hosts.client.expect(&["network", "rm", "two", "three"])?;
    hosts.close()
}
