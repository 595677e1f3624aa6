//! The operations on volumes.

use super::api::Api;
use super::operations::{Operation, Side, done, end, ready, service};
use crate::fixture::BUSYBOX;
use crate::http::Request;
use crate::tar::{Kind, Writer};
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
        Operation {
            name: "volume import",
            prepare: |_| Ok(()),
            act: |api| import(api, "packed", b"one"),
            judge: |api| holds(api, "packed", "one"),
            finish: |api, _| {
                create(api, "packed")?;
                use_it(api, "packed")?;
                remove(api, "packed")
            },
        },
        Operation {
            name: "volume import --replace",
            prepare: |api| import(api, "packed", b"one"),
            act: |api| import(api, "packed", b"two"),
            judge: |api| match holds(api, "packed", "two") {
                Ok(Side::After) => Ok(Side::After),
                _ => match holds(api, "packed", "one")? {
                    Side::After => Ok(Side::Before),
                    Side::Before => bail!("the volume has neither content"),
                },
            },
            finish: |api, _| {
                use_it(api, "packed")?;
                remove(api, "packed")
            },
        },
        Operation {
            name: "volume clone",
            prepare: |api| import(api, "packed", b"one"),
            act: |api| done(api.post("/berth/volumes/packed/clone", &json!({ "Name": "copy" }))?),
            judge: |api| holds(api, "copy", "one"),
            finish: |api, side| {
                if side == Side::After {
                    use_it(api, "copy")?;
                    remove(api, "copy")?;
                }
                remove(api, "packed")
            },
        },
        Operation {
            name: "volume snapshot",
            prepare: |api| {
                import(api, "packed", b"one")?;
                let mut body = service();
                body["HostConfig"] = json!({ "Binds": ["packed:/v"] });
                api.start("writer", &body)?;
                ready(api, "writer")
            },
            act: |api| done(api.post("/berth/volumes/packed/snapshot", &json!({ "Name": "copy" }))?),
            judge: |api| {
                let status = api.status("writer")?;
                ensure!(status == "running", "a container that was held for a snapshot is {status}");
                holds(api, "copy", "one")
            },
            finish: |api, side| {
                if side == Side::After {
                    use_it(api, "copy")?;
                    remove(api, "copy")?;
                }
                end(api, "writer")?;
                remove(api, "packed")
            },
        },
        Operation {
            name: "volume rename",
            prepare: |api| import(api, "packed", b"one"),
            act: |api| done(api.post("/berth/volumes/packed/rename?name=other", &json!(null))?),
            judge: |api| {
                let (old, new) = (holds(api, "packed", "one")?, holds(api, "other", "one")?);
                ensure!(old != new, "the volume has two names, or none");
                Ok(new)
            },
            finish: |api, side| {
                let name = if side == Side::After { "other" } else { "packed" };
                use_it(api, name)?;
                remove(api, name)
            },
        },
    ]
}

/// Makes a tar with one file the content of a volume.
fn import(api: &Api, name: &str, content: &[u8]) -> Result<()> {
    let mut tar = Writer::new(Vec::new());
    tar.add("file", 0o644, &Kind::File(content))?;
    let path = format!("/berth/volumes/{name}/import?replace=1");
    done(api.send(Request::new("POST", &path).body("application/x-tar", tar.finish()?))?)
}

/// Whether there is such a volume; it must then have this content, and nothing else.
fn holds(api: &Api, name: &str, content: &str) -> Result<Side> {
    let answer = api.get(&format!("/volumes/{name}"))?;
    if answer.status == 404 {
        return Ok(Side::Before);
    }
    let found = answer.expect(200)?.json()?;
    let root = std::path::PathBuf::from(found["Mountpoint"].as_str().unwrap_or_default());
    let names: Vec<_> =
        std::fs::read_dir(&root)?.filter_map(Result::ok).map(|entry| entry.file_name()).collect();
    ensure!(names == ["file"], "volume {name} contains {names:?}");
    let text = std::fs::read_to_string(root.join("file"))?;
    ensure!(text == content, "volume {name} has {text:?}, not {content:?}");
    Ok(Side::After)
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
