//! The operations on images.

use super::api::Api;
use super::operations::{Operation, Side, done};
use crate::fixture::BUSYBOX;
use crate::http::Request;
use crate::scope::percent_encode;
use crate::tar::{Kind, Writer};
use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

/// The image that these make, besides the one that is there.
pub(super) const SMALL: &str = "faults/small:1";

pub(super) fn all() -> Vec<Operation> {
    let mut all = names();
    all.extend(moves());
    all
}

fn names() -> Vec<Operation> {
    vec![
        Operation {
            name: "import",
            prepare: |_| Ok(()),
            act: import,
            judge: |api| exists(api, SMALL),
            finish: |api, side| {
                if side == Side::Before {
                    import(api)?;
                }
                try_out(api, SMALL)?;
                remove(api, SMALL)
            },
        },
        Operation {
            name: "image load",
            prepare: |api| remove(api, BUSYBOX),
            act: Api::load,
            judge: |api| exists(api, BUSYBOX),
            finish: |api, side| {
                if side == Side::Before {
                    api.load()?;
                }
                try_out(api, BUSYBOX)
            },
        },
        Operation {
            name: "tag",
            prepare: |_| Ok(()),
            act: tag,
            judge: |api| exists(api, SMALL),
            finish: |api, side| {
                if side == Side::After {
                    remove(api, SMALL)?;
                }
                try_out(api, BUSYBOX)
            },
        },
        Operation {
            name: "untag",
            prepare: tag,
            act: |api| remove(api, SMALL),
            judge: |api| opposite(exists(api, SMALL)),
            finish: |api, side| {
                if side == Side::Before {
                    remove(api, SMALL)?;
                }
                try_out(api, BUSYBOX)
            },
        },
        Operation {
            name: "image remove",
            prepare: import,
            act: |api| remove(api, SMALL),
            judge: |api| opposite(exists(api, SMALL)),
            finish: |api, side| {
                if side == Side::After {
                    // What could not be freed then is freed with it.
                    import(api)?;
                }
                try_out(api, SMALL)?;
                remove(api, SMALL)
            },
        },
    ]
}

/// The operations that move images: to and from registries, files and containers.
fn moves() -> Vec<Operation> {
    vec![
        Operation {
            name: "pull",
            prepare: |_| Ok(()),
            act: Api::pull,
            judge: |api| exists(api, &api.remote().0),
            finish: |api, side| {
                if side == Side::Before {
                    api.pull()?;
                }
                let (name, _) = api.remote();
                try_out(api, &name)?;
                remove(api, &name)
            },
        },
        Operation {
            name: "commit",
            prepare: |api| {
                let body = json!({ "Image": BUSYBOX, "Cmd": ["sh", "-c", "echo made > /made"] });
                let code = api.run_container("source", &body)?;
                ensure!(code == 0, "the source of a commit ends with {code}");
                Ok(())
            },
            act: commit,
            judge: |api| exists(api, SMALL),
            finish: |api, side| {
                if side == Side::Before {
                    commit(api)?;
                }
                let body = json!({ "Image": SMALL, "Cmd": ["grep", "-q", "made", "/made"] });
                let code = api.run_container("trial", &body)?;
                ensure!(code == 0, "a container of the committed image ends with {code}");
                api.remove("trial")?;
                remove(api, SMALL)?;
                api.remove("source")
            },
        },
        Operation {
            name: "save",
            prepare: |_| Ok(()),
            act: |api| {
                let archive = api.get(&format!("/images/{BUSYBOX}/get"))?.expect(200)?.body;
                ensure!(archive.len() > 1 << 20, "a saved image of {} bytes", archive.len());
                Ok(())
            },
            judge: |api| exists(api, BUSYBOX),
            finish: |api, _| try_out(api, BUSYBOX),
        },
    ]
}

pub(super) fn commit(api: &Api) -> Result<()> {
    let path = format!("/commit?container=source&repo={}&tag=1", percent_encode("faults/small"));
    done(api.post(&path, &json!({}))?)
}

pub(super) fn opposite(side: Result<Side>) -> Result<Side> {
    Ok(if side? == Side::After { Side::Before } else { Side::After })
}

pub(super) fn exists(api: &Api, name: &str) -> Result<Side> {
    match api.get(&format!("/images/{name}/json"))?.status {
        200 => Ok(Side::After),
        404 => Ok(Side::Before),
        status => bail!("image {name}: {status}"),
    }
}

/// A small image: the busybox program and a note.
pub(super) fn import(api: &Api) -> Result<()> {
    let program = std::fs::read(api.busybox_program())?;
    let mut writer = Writer::new(Vec::new());
    writer.add("bin", 0o755, &Kind::Directory)?;
    writer.add("bin/true", 0o755, &Kind::File(&program))?;
    writer.add("note", 0o644, &Kind::File(b"small\n"))?;
    let path = format!("/images/create?fromSrc=-&repo={}&tag=1", percent_encode("faults/small"));
    let answer = api.send(Request::new("POST", &path).body("application/x-tar", writer.finish()?))?;
    let text = answer.expect(200)?.text();
    ensure!(!text.contains("errorDetail"), "import: {text}");
    Ok(())
}

pub(super) fn tag(api: &Api) -> Result<()> {
    let path = format!("/images/{BUSYBOX}/tag?repo={}&tag=1", percent_encode("faults/small"));
    done(api.post(&path, &Value::Null)?)
}

pub(super) fn remove(api: &Api, name: &str) -> Result<()> {
    done(api.delete(&format!("/images/{name}"))?)
}

pub(super) fn try_out(api: &Api, image: &str) -> Result<()> {
    let code = api.run_container("trial", &json!({ "Image": image, "Cmd": ["/bin/true"] }))?;
    ensure!(code == 0, "a container of {image} ends with {code}");
    api.remove("trial")
}
