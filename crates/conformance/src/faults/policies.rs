//! What a container does without being asked: it goes when it has ended, or begins again; and what it shares with another.

use super::api::Api;
use super::operations::{Operation, Side, ask, done, end, ready, running, service};
use crate::scope::eventually;
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

pub(super) fn all() -> Vec<Operation> {
    vec![
        Operation {
            name: "the end of one that removes itself",
            prepare: |api| {
                let mut body = service();
                body["HostConfig"] = json!({ "AutoRemove": true });
                body["Volumes"] = json!({ "/nameless": {} });
                api.start("passing", &body)?;
                ready(api, "passing")
            },
            act: |api| {
                ask(api, "/containers/passing/stop?t=20")?;
                eventually("its removal", || Ok((api.status("passing")? == "absent").then_some(())))
            },
            judge: |api| {
                // One that has ended is on its way.
                eventually("it to run or to be gone", || match api.status("passing")?.as_str() {
                    "running" => Ok(Some(Side::Before)),
                    "absent" => Ok(Some(Side::After)),
                    "exited" | "removing" | "dead" => Ok(None),
                    other => bail!("it is {other}"),
                })
            },
            finish: |api, _| api.remove("passing"),
        },
        Operation {
            name: "another start by policy",
            prepare: |api| {
                let mut body = service();
                body["HostConfig"] = json!({ "RestartPolicy": { "Name": "always" } });
                api.start("tireless", &body)?;
                ready(api, "tireless")
            },
            act: |api| {
                api.exec("tireless", &["kill", "-TERM", "1"])?;
                eventually("another run", || Ok((restarts(api)? > 0 && is_running(api)?).then_some(())))
            },
            judge: |api| {
                let runs = eventually("it to run", || Ok(is_running(api)?.then_some(())));
                runs.with_context(|| format!("{:?}", api.state("tireless")))?;
                Ok(if restarts(api)? > 0 { Side::After } else { Side::Before })
            },
            finish: |api, _| {
                ask(api, "/containers/tireless/stop?t=20")?;
                ensure!(!is_running(api)?, "it runs although it was told to stop");
                api.remove("tireless")
            },
        },
        Operation {
            name: "update of the restart policy",
            prepare: |api| running(api, "changed"),
            act: |api| {
                let policy = json!({ "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 2 } });
                done(api.post("/containers/changed/update", &policy)?)
            },
            judge: |api| {
                let container = api.get("/containers/changed/json")?.expect(200)?.json()?;
                let policy = &container["HostConfig"]["RestartPolicy"];
                match (policy["Name"].as_str(), policy["MaximumRetryCount"].as_i64()) {
                    (Some("on-failure"), Some(2)) => Ok(Side::After),
                    (Some("no" | ""), Some(0)) => Ok(Side::Before),
                    _ => bail!("its policy is {policy}"),
                }
            },
            finish: |api, _| end(api, "changed"),
        },
        Operation {
            name: "start in the network of another",
            prepare: |api| {
                running(api, "host")?;
                let mut body = service();
                body["HostConfig"] = json!({ "NetworkMode": "container:host" });
                api.create("guest", &body)
            },
            act: |api| ask(api, "/containers/guest/start"),
            judge: |api| match api.status("guest")?.as_str() {
                "created" => Ok(Side::Before),
                "running" => Ok(Side::After),
                other => bail!("the guest is {other}"),
            },
            finish: |api, side| {
                if side == Side::Before {
                    ask(api, "/containers/guest/start")?;
                }
                let addresses = |name: &str| api.exec(name, &["ip", "-o", "-4", "address"]);
                ensure!(addresses("guest")? == addresses("host")?, "they are not in one network");
                end(api, "guest")?;
                end(api, "host")
            },
        },
    ]
}

fn restarts(api: &Api) -> Result<i64> {
    let container = api.get("/containers/tireless/json")?.expect(200)?.json()?;
    Ok(container["RestartCount"].as_i64().unwrap_or_default())
}

fn is_running(api: &Api) -> Result<bool> {
    Ok(api.status("tireless")? == "running")
}
