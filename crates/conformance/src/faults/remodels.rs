//! Changes to a container that runs: mounts and ports that come and go. What is recorded is what the container has.

use super::api::Api;
use super::operations::{Operation, SERVICE, Side, done, end, ready};
use super::volumes;
use crate::fixture::BUSYBOX;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// The container that is changed.
const NAME: &str = "remodelled";
/// The volume that comes or goes.
const VOLUME: &str = "late";
const PORT: u16 = 38082;

pub(super) fn all() -> Vec<Operation> {
    let finish = |api: &Api, _| {
        end(api, NAME)?;
        remove_volume(api)
    };
    vec![
        Operation {
            name: "update --mount-add",
            prepare: |api| begin(api, &Value::Null),
            act: |api| update(api, &json!({ "MountAdd": [mount()] })),
            judge: |api| one_side(api, is_mounted(api)?),
            finish,
        },
        Operation {
            name: "update --mount-rm",
            prepare: |api| begin(api, &json!({ "Mounts": [mount()] })),
            act: |api| update(api, &json!({ "MountRemove": ["/late"] })),
            judge: |api| one_side(api, !is_mounted(api)?),
            finish,
        },
        Operation {
            name: "update --publish-add",
            prepare: |api| begin(api, &Value::Null),
            act: |api| update(api, &json!({ "PublishAdd": bindings() })),
            judge: |api| one_side(api, is_published(api)?),
            finish,
        },
        Operation {
            name: "update --publish-rm",
            prepare: |api| begin(api, &json!({ "PortBindings": bindings() })),
            act: |api| update(api, &json!({ "PublishRemove": { "80/tcp": null } })),
            judge: |api| one_side(api, !is_published(api)?),
            finish,
        },
        Operation {
            name: "update of mounts and ports at once",
            prepare: |api| begin(api, &json!({ "Tmpfs": { "/early": "" } })),
            act: |api| {
                let anonymous = json!({ "Type": "volume", "Target": "/nameless" });
                let mounts = json!([mount(), anonymous]);
                update(
                    api,
                    &json!({ "MountAdd": mounts, "MountRemove": ["/early"], "PublishAdd": bindings() }),
                )
            },
            judge: |api| {
                let all =
                    [is_mounted(api)?, sees(api, "/nameless")?, !sees(api, "/early")?, is_published(api)?];
                let is_done = all[0];
                ensure!(all.iter().all(|one| *one == is_done), "half of it is done: {all:?}");
                one_side(api, is_done)
            },
            finish,
        },
    ]
}

fn mount() -> Value {
    json!({ "Type": "volume", "Source": VOLUME, "Target": "/late" })
}

fn bindings() -> Value {
    json!({ "80/tcp": [{ "HostPort": PORT.to_string() }] })
}

fn begin(api: &Api, host: &Value) -> Result<()> {
    let body = json!({
        "Image": BUSYBOX,
        "Cmd": ["sh", "-c", format!("httpd -p 80 -h /; {SERVICE}")],
        "HostConfig": host,
    });
    api.start(NAME, &body)?;
    ready(api, NAME)
}

fn update(api: &Api, changes: &Value) -> Result<()> {
    done(api.post(&format!("/containers/{NAME}/update"), &json!({ "Berth": changes }))?)
}

/// The container runs on whatever becomes of the change, and no volume is there that nobody names.
fn one_side(api: &Api, is_after: bool) -> Result<Side> {
    match api.status(NAME)?.as_str() {
        "running" => {}
        other => bail!("the container is {other}"),
    }
    let volumes = api.get("/volumes?filters=%7B%22dangling%22%3A%5B%22true%22%5D%7D")?.expect(200)?.json()?;
    for volume in volumes["Volumes"].as_array().into_iter().flatten() {
        ensure!(volume["Name"] == VOLUME, "a volume that nobody uses: {}", volume["Name"]);
    }
    Ok(if is_after { Side::After } else { Side::Before })
}

fn inspect(api: &Api) -> Result<Value> {
    api.get(&format!("/containers/{NAME}/json"))?.expect(200)?.json()
}

/// Whether something is mounted there inside.
fn sees(api: &Api, place: &str) -> Result<bool> {
    let table = api.exec(NAME, &["cat", "/proc/mounts"])?;
    Ok(table.lines().any(|line| line.split(' ').nth(1) == Some(place)))
}

fn is_mounted(api: &Api) -> Result<bool> {
    let mounts = inspect(api)?["Mounts"].take();
    let is_recorded = mounts.as_array().context("Mounts")?.iter().any(|one| one["Destination"] == "/late");
    let is_there = sees(api, "/late")?;
    ensure!(is_recorded == is_there, "recorded as mounted: {is_recorded}, mounted: {is_there}");
    Ok(is_recorded)
}

/// What is recorded is what the container shows, and what somebody on the host finds.
fn is_published(api: &Api) -> Result<bool> {
    let container = inspect(api)?;
    let is_asked = container["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"].is_string();
    let is_shown =
        container["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"].as_str() == Some(&*PORT.to_string());
    let is_open = std::net::TcpStream::connect(("127.0.0.1", PORT)).is_ok();
    ensure!(
        is_asked == is_shown && is_shown == is_open,
        "asked for: {is_asked}, shown: {is_shown}, open: {is_open}"
    );
    Ok(is_open)
}

fn remove_volume(api: &Api) -> Result<()> {
    if volumes::exists(api, VOLUME)? == Side::After { volumes::remove(api, VOLUME) } else { Ok(()) }
}
