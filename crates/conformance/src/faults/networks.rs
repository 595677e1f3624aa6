//! The operations on networks.

use super::api::Api;
use super::operations::{Operation, Side, done, end, running, service};
use crate::fixture::BUSYBOX;
use anyhow::{Result, bail, ensure};
use serde_json::json;

/// The network that these make.
const NETWORK: &str = "faults-net";

pub(super) fn all() -> Vec<Operation> {
    let mut all = whole();
    all.extend(plugs());
    all.extend(plans());
    all
}

fn whole() -> Vec<Operation> {
    vec![
        Operation {
            name: "network create",
            prepare: |_| Ok(()),
            act: create,
            judge: exists,
            finish: |api, side| {
                if side == Side::Before {
                    create(api)?;
                }
                use_it(api)?;
                remove(api)
            },
        },
        Operation {
            name: "network remove",
            prepare: |api| {
                create(api)?;
                use_it(api)
            },
            act: remove,
            judge: |api| super::images::opposite(exists(api)),
            finish: |api, side| {
                if side == Side::Before {
                    use_it(api)?;
                    remove(api)?;
                }
                // Its addresses and its name are free again.
                create(api)?;
                remove(api)
            },
        },
    ]
}

fn plugs() -> Vec<Operation> {
    vec![
        Operation {
            name: "network connect",
            prepare: |api| {
                create(api)?;
                running(api, "plugged")
            },
            act: connect,
            judge: is_connected,
            finish: |api, side| {
                if side == Side::Before {
                    connect(api)?;
                }
                end(api, "plugged")?;
                remove(api)
            },
        },
        Operation {
            name: "network disconnect",
            prepare: |api| {
                create(api)?;
                running(api, "plugged")?;
                connect(api)
            },
            act: disconnect,
            judge: |api| super::images::opposite(is_connected(api)),
            finish: |api, side| {
                if side == Side::Before {
                    disconnect(api)?;
                }
                connect(api)?;
                end(api, "plugged")?;
                remove(api)
            },
        },
    ]
}

/// What is changed of an endpoint while it is there, or before its container runs.
fn plans() -> Vec<Operation> {
    vec![
        Operation {
            name: "network shape",
            prepare: |api| {
                create(api)?;
                running(api, "plugged")?;
                connect(api)
            },
            act: |api| shape(api, "20mbit"),
            judge: is_shaped,
            finish: |api, _| {
                shape(api, "")?;
                ensure!(is_shaped(api)? == Side::Before, "it is shaped after that was lifted");
                end(api, "plugged")?;
                remove(api)
            },
        },
        Operation {
            name: "network connect of one that does not run",
            prepare: |api| {
                create(api)?;
                api.create("plugged", &service())
            },
            act: connect,
            judge: is_recorded,
            finish: |api, side| {
                if side == Side::Before {
                    connect(api)?;
                }
                begin_and_end(api, Side::After)?;
                remove(api)
            },
        },
        Operation {
            name: "network disconnect of one that does not run",
            prepare: |api| {
                create(api)?;
                api.create("plugged", &service())?;
                connect(api)
            },
            act: disconnect,
            judge: |api| super::images::opposite(is_recorded(api)),
            finish: |api, side| {
                if side == Side::Before {
                    disconnect(api)?;
                }
                begin_and_end(api, Side::Before)?;
                remove(api)
            },
        },
    ]
}

/// Runs the container once and looks whether it is in the network.
fn begin_and_end(api: &Api, expected: Side) -> Result<()> {
    super::operations::ask(api, "/containers/plugged/start")?;
    super::operations::ready(api, "plugged")?;
    let found = is_connected(api)?;
    ensure!(found == expected, "started, it is {found:?} and is to be {expected:?}");
    end(api, "plugged")
}

fn shape(api: &Api, rate: &str) -> Result<()> {
    let options = json!({ "berth.endpoint.egress_rate": rate });
    let body = json!({ "Container": "plugged", "EndpointConfig": { "DriverOpts": options } });
    done(api.post(&format!("/networks/{NETWORK}/shape"), &body)?)
}

/// What is recorded of the endpoint's rate, and whether the interface has a queue that keeps it.
fn is_shaped(api: &Api) -> Result<Side> {
    let endpoint = endpoint(api)?;
    let rate = endpoint["DriverOpts"]["berth.endpoint.egress_rate"].as_str().unwrap_or_default();
    let queues = api.exec("plugged", &["tc", "qdisc", "show", "dev", "eth1"])?;
    ensure!(queues.contains("tbf") != rate.is_empty(), "recorded as {rate:?}, and it has {queues:?}");
    Ok(if rate.is_empty() { Side::Before } else { Side::After })
}

fn endpoint(api: &Api) -> Result<serde_json::Value> {
    let container = api.get("/containers/plugged/json")?.expect(200)?.json()?;
    Ok(container["NetworkSettings"]["Networks"][NETWORK].clone())
}

fn is_recorded(api: &Api) -> Result<Side> {
    Ok(if endpoint(api)?.is_null() { Side::Before } else { Side::After })
}

pub(super) fn create(api: &Api) -> Result<()> {
    done(api.post("/networks/create", &json!({ "Name": NETWORK }))?)
}

pub(super) fn remove(api: &Api) -> Result<()> {
    done(api.delete(&format!("/networks/{NETWORK}"))?)
}

fn connect(api: &Api) -> Result<()> {
    done(api.post(&format!("/networks/{NETWORK}/connect"), &json!({ "Container": "plugged" }))?)
}

fn disconnect(api: &Api) -> Result<()> {
    done(api.post(&format!("/networks/{NETWORK}/disconnect"), &json!({ "Container": "plugged" }))?)
}

pub(super) fn exists(api: &Api) -> Result<Side> {
    match api.get(&format!("/networks/{NETWORK}"))?.status {
        200 => Ok(Side::After),
        404 => Ok(Side::Before),
        status => bail!("network {NETWORK}: {status}"),
    }
}

/// A container in it has its name answered and reaches the gateway.
pub(super) fn use_it(api: &Api) -> Result<()> {
    let body = json!({
        "Image": BUSYBOX,
        "Cmd": ["sh", "-c", "ping -c 1 -w 10 $(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p')"],
        "HostConfig": { "NetworkMode": NETWORK },
    });
    let code = api.run_container("user", &body)?;
    ensure!(code == 0, "a container in network {NETWORK} ends with {code}: {}", api.logs("user")?);
    api.remove("user")
}

/// What is recorded, and whether the container has the interface that belongs to it.
fn is_connected(api: &Api) -> Result<Side> {
    let container = api.get("/containers/plugged/json")?.expect(200)?.json()?;
    let networks = &container["NetworkSettings"]["Networks"];
    let is_recorded = networks.get(NETWORK).is_some();
    let links = api.exec("plugged", &["ls", "/sys/class/net"])?;
    ensure!(
        links.contains("eth1") == is_recorded,
        "it has {:?}, and is recorded in {networks}",
        links.split_whitespace().collect::<Vec<_>>()
    );
    Ok(if is_recorded { Side::After } else { Side::Before })
}
