//! The operations on containers that crash: what stands before them, what they ask, and what the world may be afterwards.

use super::api::Api;
use crate::fixture::BUSYBOX;
use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

/// On which side of an operation the world is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// As if it had never been asked.
    Before,
    /// As if it had been done.
    After,
}

/// One thing that a client asks.
pub(super) struct Operation {
    pub(super) name: &'static str,
    /// Makes what it needs.
    pub(super) prepare: fn(&Api) -> Result<()>,
    /// Asks; succeeds when the daemon says that it is done.
    pub(super) act: fn(&Api) -> Result<()>,
    /// Looks where the world is; an error when it is on neither side.
    pub(super) judge: fn(&Api) -> Result<Side>,
    /// Works on with what is there, so that hidden damage shows, and removes it.
    pub(super) finish: fn(&Api, Side) -> Result<()>,
}

/// What every container of these operations does unless it is told otherwise: says that it lives, and ends with 5 when
/// it is asked to.
pub(super) const SERVICE: &str = "trap 'echo bye; exit 5' TERM; echo hello; while :; do sleep 0.05; done";

pub(super) fn service() -> Value {
    json!({ "Image": BUSYBOX, "Cmd": ["sh", "-c", SERVICE] })
}

/// A service that has said its first word: it can be told to end from now on.
pub(super) fn running(api: &Api, name: &str) -> Result<()> {
    api.start(name, &service())?;
    ready(api, name)
}

pub(super) fn ready(api: &Api, name: &str) -> Result<()> {
    crate::scope::eventually(&format!("the first word of {name}"), || {
        Ok(api.logs(name)?.contains("hello").then_some(()))
    })
}

/// The daemon's answer to something that gives nothing back.
pub(super) fn done(answer: crate::http::Response) -> Result<()> {
    match answer.status {
        200 | 201 | 204 => Ok(()),
        status => bail!("{status}: {}", answer.message()),
    }
}

pub(super) fn ask(api: &Api, path: &str) -> Result<()> {
    done(api.post(path, &Value::Null)?)
}

fn side(api: &Api, name: &str, before: &[&str], after: &[&str]) -> Result<Side> {
    let status = api.status(name)?;
    if after.contains(&status.as_str()) {
        Ok(Side::After)
    } else if before.contains(&status.as_str()) {
        Ok(Side::Before)
    } else {
        bail!("{name} is {status}; it may be one of {before:?} or {after:?}")
    }
}

/// Ends a service that still runs, and looks at its last words; then removes it.
pub(super) fn end(api: &Api, name: &str) -> Result<()> {
    if api.status(name)? == "paused" {
        ask(api, &format!("/containers/{name}/unpause"))?;
    }
    if api.status(name)? == "running" {
        ready(api, name)?;
        // Not modified: a stop that was cut short has been carried on meanwhile.
        match api.post(&format!("/containers/{name}/stop?t=20"), &Value::Null)?.status {
            204 | 304 => {}
            status => bail!("stop {name}: {status}"),
        }
        let state = api.state(name)?.unwrap_or_default();
        ensure!(state["ExitCode"] == 5, "a stopped service: {state}");
        let logs = api.logs(name)?;
        ensure!(logs.ends_with("hello\nbye\n"), "the log of a stopped service: {logs:?}");
    }
    api.remove(name)
}

/// The operations on containers.
pub(super) fn all() -> Vec<Operation> {
    let mut all = lives();
    all.extend(changes());
    all
}

fn lives() -> Vec<Operation> {
    vec![
        Operation {
            name: "create",
            prepare: |_| Ok(()),
            act: |api| api.create("made", &service()),
            judge: |api| side(api, "made", &["absent"], &["created"]),
            finish: |api, side| {
                if side == Side::Before {
                    api.create("made", &service())?;
                }
                ask(api, "/containers/made/start")?;
                end(api, "made")
            },
        },
        Operation {
            name: "create with volumes",
            prepare: |_| Ok(()),
            act: |api| api.create("holder", &with_volumes()),
            judge: |api| side(api, "holder", &["absent"], &["created"]),
            finish: |api, side| {
                if side == Side::Before {
                    api.create("holder", &with_volumes())?;
                }
                ask(api, "/containers/holder/start")?;
                end(api, "holder")?;
                // The one without a name has gone with it, and no earlier one is left.
                let left = api.get("/volumes")?.expect(200)?.json()?["Volumes"].take();
                let names: Vec<_> = left.as_array().into_iter().flatten().map(|one| &one["Name"]).collect();
                ensure!(names == ["held"], "volumes: {names:?}");
                super::volumes::remove(api, "held")
            },
        },
        Operation {
            name: "start",
            prepare: |api| api.create("begun", &service()),
            act: |api| ask(api, "/containers/begun/start"),
            judge: |api| side(api, "begun", &["created"], &["running"]),
            finish: |api, side| {
                if side == Side::Before {
                    ask(api, "/containers/begun/start")?;
                }
                ready(api, "begun")?;
                ensure!(api.logs("begun")? == "hello\n", "it ran twice: {:?}", api.logs("begun"));
                end(api, "begun")
            },
        },
        Operation {
            name: "stop",
            prepare: |api| running(api, "ending"),
            act: |api| ask(api, "/containers/ending/stop?t=20"),
            judge: |api| side(api, "ending", &["running"], &["exited"]),
            finish: |api, _| {
                if api.status("ending")? == "exited" {
                    let state = api.state("ending")?.unwrap_or_default();
                    ensure!(state["ExitCode"] == 5, "a stopped service: {state}");
                }
                end(api, "ending")
            },
        },
        Operation {
            name: "kill",
            prepare: |api| running(api, "killed"),
            act: |api| {
                ask(api, "/containers/killed/kill")?;
                api.wait("killed").map(drop)
            },
            judge: |api| side(api, "killed", &["running"], &["exited"]),
            finish: |api, side| {
                if side == Side::After {
                    let state = api.state("killed")?.unwrap_or_default();
                    ensure!(state["ExitCode"] == 137, "a killed service: {state}");
                }
                end(api, "killed")
            },
        },
        Operation {
            name: "restart",
            prepare: |api| running(api, "again"),
            act: |api| ask(api, "/containers/again/restart?t=20"),
            // Between the end and the new start it has ended, as if somebody had stopped it.
            judge: |api| side(api, "again", &["exited"], &["running"]),
            finish: |api, _| api.remove("again"),
        },
        Operation {
            name: "remove",
            prepare: |api| api.run_container("gone", &service_that_ends()).map(drop),
            act: |api| done(api.delete("/containers/gone?v=1")?),
            judge: |api| side(api, "gone", &["exited", "dead", "removing"], &["absent"]),
            finish: |api, _| api.remove("gone"),
        },
        Operation {
            name: "remove by force",
            prepare: |api| running(api, "forced"),
            act: |api| done(api.delete("/containers/forced?force=1&v=1")?),
            judge: |api| side(api, "forced", &["running", "exited", "dead", "removing"], &["absent"]),
            finish: |api, _| api.remove("forced"),
        },
    ]
}

pub(super) fn service_that_ends() -> Value {
    json!({ "Image": BUSYBOX, "Cmd": ["sh", "-c", "echo hello; exit 3"] })
}

/// With a volume of a name and one without.
fn with_volumes() -> Value {
    let mut body = service();
    body["Volumes"] = json!({ "/nameless": {} });
    body["HostConfig"] = json!({ "Binds": ["held:/held"] });
    body
}

fn changes() -> Vec<Operation> {
    vec![
        Operation {
            name: "pause",
            prepare: |api| running(api, "held"),
            act: |api| ask(api, "/containers/held/pause"),
            judge: |api| side(api, "held", &["running"], &["paused"]),
            finish: |api, _| end(api, "held"),
        },
        Operation {
            name: "unpause",
            prepare: |api| {
                running(api, "let-go")?;
                ask(api, "/containers/let-go/pause")
            },
            act: |api| ask(api, "/containers/let-go/unpause"),
            judge: |api| side(api, "let-go", &["paused"], &["running"]),
            finish: |api, _| end(api, "let-go"),
        },
        Operation {
            name: "rename",
            prepare: |api| running(api, "old-name"),
            act: |api| ask(api, "/containers/old-name/rename?name=new-name"),
            judge: |api| match (api.status("old-name")?.as_str(), api.status("new-name")?.as_str()) {
                ("running", "absent") => Ok(Side::Before),
                ("absent", "running") => Ok(Side::After),
                both => bail!("old and new name: {both:?}"),
            },
            finish: |api, side| end(api, if side == Side::Before { "old-name" } else { "new-name" }),
        },
        Operation {
            name: "update",
            prepare: |api| running(api, "changed"),
            act: |api| {
                done(api.post(
                    "/containers/changed/update",
                    &json!({ "Memory": 64 << 20, "MemorySwap": 64 << 20 }),
                )?)
            },
            judge: |api| {
                let container = api.get("/containers/changed/json")?.expect(200)?.json()?;
                match container["HostConfig"]["Memory"].as_i64() {
                    Some(0) => Ok(Side::Before),
                    Some(memory) if memory == 64 << 20 => Ok(Side::After),
                    other => bail!("HostConfig.Memory {other:?}"),
                }
            },
            finish: |api, _| end(api, "changed"),
        },
        Operation {
            name: "exec",
            prepare: |api| running(api, "entered"),
            act: |api| {
                let body = json!({ "Cmd": ["touch", "/entered"], "AttachStdout": true });
                let exec = api.post("/containers/entered/exec", &body)?.expect(201)?.json()?;
                let path = format!("/exec/{}/start", exec["Id"].as_str().unwrap_or_default());
                done(api.post(&path, &json!({ "Detach": true }))?)
            },
            // Whether the program of an exec that nobody waits for has run is not to be seen from outside.
            judge: |api| match api.status("entered")?.as_str() {
                "running" => Ok(Side::After),
                other => bail!("the container of an exec is {other}"),
            },
            finish: |api, _| end(api, "entered"),
        },
        Operation {
            name: "publish a port",
            prepare: |_| Ok(()),
            act: |api| api.start("published", &publishing()),
            judge: |api| side(api, "published", &["absent", "created"], &["running"]),
            finish: |api, _| {
                api.remove("published")?;
                // The port is free again.
                api.start("published", &publishing())?;
                end(api, "published")
            },
        },
    ]
}

fn publishing() -> Value {
    let mut body = service();
    body["ExposedPorts"] = json!({ "80/tcp": {} });
    body["HostConfig"] = json!({ "PortBindings": { "80/tcp": [{ "HostPort": "38080" }] } });
    body
}
