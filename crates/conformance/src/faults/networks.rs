//! The operations on networks.

use super::api::Api;
use super::operations::{Operation, Side, done, end, running};
use crate::fixture::BUSYBOX;
use anyhow::{Result, bail, ensure};
use serde_json::json;

/// The network that these make.
const NETWORK: &str = "faults-net";

pub(super) fn all() -> Vec<Operation> {
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
