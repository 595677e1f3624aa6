//! The operations that give images to registries, and those that give a name to another image.

use super::api::Api;
use super::images::{self, SMALL, exists, import, remove, try_out};
use super::operations::{Operation, Side};
use crate::fixture::BUSYBOX;
use crate::http::Request;
use crate::scope::percent_encode;
use anyhow::{Context, Result, bail, ensure};

/// The repository that is pushed to.
const PUSHED: &str = "faults/pushed";

pub(super) fn all() -> Vec<Operation> {
    vec![
        Operation {
            name: "push",
            prepare: |api| {
                api.remote().1.forget(PUSHED);
                let path = format!(
                    "/images/{BUSYBOX}/tag?repo={}&tag=1",
                    percent_encode(&format!("{}/{PUSHED}", api.remote().1.host()))
                );
                super::operations::ask(api, &path)
            },
            act: push,
            judge: |api| {
                // Nothing changes here.
                ensure!(exists(api, &pushed(api))? == Side::After, "the image that was pushed is gone");
                let is_there = api.remote().1.stored_manifest(PUSHED, "1").is_some();
                Ok(if is_there { Side::After } else { Side::Before })
            },
            finish: |api, side| {
                if side == Side::Before {
                    push(api)?;
                }
                // What the registry has is whole.
                remove(api, &pushed(api))?;
                remove(api, BUSYBOX)?;
                api.pull_from(&format!("{}/{PUSHED}", api.remote().1.host()))?;
                try_out(api, &pushed(api))?;
                remove(api, &pushed(api))?;
                api.load()
            },
        },
        Operation {
            name: "pull of a name that moves",
            prepare: |api| {
                api.offer(1)?;
                api.pull()?;
                api.offer(2)
            },
            act: Api::pull,
            judge: |api| match note(api, &api.remote().0)?.as_str() {
                "from afar 1\n" => Ok(Side::Before),
                "from afar 2\n" => Ok(Side::After),
                other => bail!("the image has a note of {other:?}"),
            },
            finish: |api, side| {
                if side == Side::Before {
                    api.pull()?;
                }
                try_out(api, &api.remote().0)?;
                remove(api, &api.remote().0)?;
                prune_dangling(api)
            },
        },
        Operation {
            name: "tag of a name that moves",
            prepare: import,
            act: images::tag,
            judge: |api| {
                let (moved, to) = (id(api, SMALL)?, id(api, BUSYBOX)?);
                Ok(if moved == to { Side::After } else { Side::Before })
            },
            finish: |api, _| {
                try_out(api, SMALL)?;
                remove(api, SMALL)?;
                try_out(api, BUSYBOX)?;
                prune_dangling(api)
            },
        },
    ]
}

fn pushed(api: &Api) -> String {
    format!("{}/{PUSHED}:1", api.remote().1.host())
}

fn push(api: &Api) -> Result<()> {
    let path = format!("/images/{}/{PUSHED}/push?tag=1", api.remote().1.host());
    // Nobody in particular: `{}` in base64.
    let answer = api.send(Request::new("POST", &path).header("X-Registry-Auth", "e30="))?;
    let text = answer.expect(200)?.text();
    ensure!(!text.contains("errorDetail"), "push: {text}");
    ensure!(text.contains("digest: sha256:"), "a push that ends early: {text}");
    Ok(())
}

fn id(api: &Api, image: &str) -> Result<String> {
    let image = api.get(&format!("/images/{image}/json"))?.expect(200)?.json()?;
    image["Id"].as_str().map(str::to_owned).context("an Id")
}

/// The file that tells one image of the registry from the next.
fn note(api: &Api, image: &str) -> Result<String> {
    let body = serde_json::json!({ "Image": image, "Cmd": ["/bin/true"] });
    api.create("reader", &body)?;
    let archive = api.get("/containers/reader/archive?path=/note")?.expect(200)?.body;
    api.remove("reader")?;
    let text = String::from_utf8_lossy(&archive);
    let at = text.find("from afar ").context("a note in the archive")?;
    Ok(text[at..].chars().take(12).collect())
}

/// The image that had the name before.
fn prune_dangling(api: &Api) -> Result<()> {
    super::operations::ask(api, "/images/prune")
}
