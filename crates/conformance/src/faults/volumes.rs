//! The operations on volumes.

use super::api::Api;
use super::operations::{Operation, Side, done};
use crate::fixture::BUSYBOX;
use anyhow::{Result, bail, ensure};
use serde_json::json;

pub(super) fn all() -> Vec<Operation> {
    vec![
        Operation {
            name: "volume create",
            prepare: |_| Ok(()),
            act: |api| create(api, "kept"),
            judge: |api| exists(api, "kept"),
            finish: |api, _| {
                create(api, "kept")?;
                use_it(api, "kept")?;
                remove(api, "kept")
            },
        },
        Operation {
            name: "volume remove",
            prepare: |api| {
                create(api, "lost")?;
                use_it(api, "lost")
            },
            act: |api| done(api.delete("/volumes/lost")?),
            judge: |api| match exists(api, "lost")? {
                Side::After => Ok(Side::Before),
                Side::Before => Ok(Side::After),
            },
            finish: |api, side| match side {
                Side::Before => remove(api, "lost"),
                Side::After => Ok(()),
            },
        },
    ]
}

pub(super) fn create(api: &Api, name: &str) -> Result<()> {
    done(api.post("/volumes/create", &json!({ "Name": name }))?)
}

pub(super) fn remove(api: &Api, name: &str) -> Result<()> {
    done(api.delete(&format!("/volumes/{name}"))?)
}

/// Writes and reads in it.
pub(super) fn use_it(api: &Api, name: &str) -> Result<()> {
    let body = json!({
        "Image": BUSYBOX,
        "Cmd": ["sh", "-c", "echo word > /v/file && grep -q word /v/file"],
        "HostConfig": { "Binds": [format!("{name}:/v")] },
    });
    let code = api.run_container("user", &body)?;
    ensure!(code == 0, "a container that uses volume {name} ends with {code}");
    api.remove("user")
}

pub(super) fn exists(api: &Api, name: &str) -> Result<Side> {
    match api.get(&format!("/volumes/{name}"))?.status {
        200 => Ok(Side::After),
        404 => Ok(Side::Before),
        status => bail!("volume {name}: {status}"),
    }
}
