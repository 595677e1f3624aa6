//! Pulls of what is damaged or lies, and pulls that are left, cut and killed.

use crate::check::{Check, same, skip};
use crate::daemon::Daemon;
use crate::fixture::hex_sha256;
use crate::http::{Request, Streaming};
use crate::registry::skopeo;
use crate::scope::Scope;
use crate::tar::{Kind, Writer};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::misbehaving::{noise, ranges};
use super::registry::{image, layout, registry};

const AREA: &str = "registry";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "a layer that was changed on the way makes no image", damaged),
        Check::new(AREA, "a layer that is not its diff ID makes no image", wrong_diff_id),
        Check::new(AREA, "a pull whose client leaves stops, and the next one continues", left).alone(),
        Check::new(AREA, "a pull continues where a kill of the daemon cut it", killed).alone(),
    ]
}

fn is_absent(scope: &Scope<'_>, name: &str) -> Result<()> {
    same(&format!("status of {name}"), scope.api("GET", &format!("/images/{name}/json"))?.status, 404)
}

fn damaged(scope: &Scope<'_>) -> Result<()> {
    let registry = registry(scope)?;
    let name = format!("{}/damaged:1", registry.host());
    let layer = load_layer(scope, &name, b"sound", None)?;
    scope.ok(&["push", &name])?;
    scope.ok(&["rmi", &name])?;
    let file = registry.blob_file(&layer);
    let mut bytes = std::fs::read(&file).with_context(|| file.display().to_string())?;
    bytes[600] ^= 1;
    std::fs::write(&file, bytes)?;
    let output = scope.docker(&["pull", &name])?;
    same("exit code", output.code, 1)?;
    is_absent(scope, &name)
}

/// Loads an image of one small layer; the layer's digest.
fn load_layer(scope: &Scope<'_>, name: &str, content: &[u8], diff_id: Option<&str>) -> Result<String> {
    let mut layer = Writer::new(Vec::new());
    layer.add("file", 0o644, &Kind::File(content))?;
    let layer = layer.finish()?;
    let digest = format!("sha256:{}", hex_sha256(&layer));
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/x"] },
        "rootfs": { "type": "layers", "diff_ids": [diff_id.unwrap_or(&digest)] },
    })
    .to_string();
    let manifest = json!([{ "Config": "c.json", "RepoTags": [name], "Layers": ["a.tar"] }]).to_string();
    let mut writer = Writer::new(Vec::new());
    writer.add("c.json", 0o644, &Kind::File(config.as_bytes()))?;
    writer.add("a.tar", 0o644, &Kind::File(&layer))?;
    writer.add("manifest.json", 0o644, &Kind::File(manifest.as_bytes()))?;
    scope.client().call_with_input(&["load"], &writer.finish()?)?.expect_code(0)?;
    Ok(digest)
}

fn wrong_diff_id(scope: &Scope<'_>) -> Result<()> {
    let registry = registry(scope)?;
    let directory = scope.directory()?.join("liar");
    layout(&directory)?;
    // The same layout with configurations whose diff IDs are of something else.
    let name = format!("{}/liar:1", registry.host());
    lie(&directory)?;
    let (from, to) = (format!("oci:{}:both", directory.display()), format!("docker://{name}"));
    skopeo(&["copy", "--all", "--dest-tls-verify=false", &from, &to])?;
    let output = scope.docker(&["pull", &name])?;
    same("exit code", output.code, 1)?;
    is_absent(scope, &name)
}

/// Makes an OCI layout of one image whose configuration names another diff ID than its layer has.
fn lie(directory: &Path) -> Result<()> {
    let blobs = directory.join("blobs/sha256");
    let put = |bytes: &[u8]| -> Result<Value> {
        let hex = hex_sha256(bytes);
        std::fs::write(blobs.join(&hex), bytes)?;
        Ok(json!({ "digest": format!("sha256:{hex}"), "size": bytes.len() }))
    };
    let typed = |mut part: Value, kind: &str| {
        part["mediaType"] = format!("application/vnd.oci.image.{kind}").into();
        part
    };
    let mut layer = Writer::new(Vec::new());
    layer.add("truth", 0o644, &Kind::File(b"truth"))?;
    let layer = typed(put(&layer.finish()?)?, "layer.v1.tar");
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex_sha256(b"lie"))] },
    });
    let config = typed(put(config.to_string().as_bytes())?, "config.v1+json");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer] });
    let mut top = typed(put(manifest.to_string().as_bytes())?, "manifest.v1+json");
    top["annotations"] = json!({ "org.opencontainers.image.ref.name": "both" });
    let index = json!({ "schemaVersion": 2, "manifests": [top] });
    Ok(std::fs::write(directory.join("index.json"), index.to_string())?)
}

/// Bytes of the layer of the pulls that are cut, and after how many of them nothing more comes.
const LARGE: usize = 24 << 20;
const HELD: usize = 8 << 20;

/// A registry with an image that stops in the middle of its layer; the image's name and the layer's digest.
fn stalling() -> Result<(testkit::Registry, String, String)> {
    let mut layer = Writer::new(Vec::new());
    layer.add("file", 0o644, &Kind::File(&noise(LARGE)))?;
    let layer = layer.finish()?;
    let digest = testkit::digest_of(&layer);
    let registry = testkit::Registry::start();
    registry.image("large", "1", &[layer]);
    registry.misbehave("GET", &format!("/blobs/{digest}"), 1, testkit::Fault::StallAfter(HELD));
    let name = format!("{}/large:1", registry.host());
    Ok((registry, name, digest))
}

/// Waits until what came is on the disk.
fn held(scope: &Scope<'_>, daemon: &Mutex<Daemon>) -> Result<()> {
    let root = daemon.lock().unwrap_or_else(PoisonError::into_inner).setup().data_root();
    scope.eventually("a pull in the middle of a layer", || {
        let mut bytes = 0;
        for entry in std::fs::read_dir(root.join("ingest"))? {
            bytes += entry?.metadata().map_or(0, |facts| facts.blocks() * 512);
        }
        Ok((bytes >= HELD as u64).then_some(()))
    })
}

/// Pulls again from a registry that does nothing wrong any more: what came before does not come again.
fn continues(scope: &Scope<'_>, registry: &testkit::Registry, name: &str, digest: &str) -> Result<()> {
    registry.behave();
    let before = ranges(registry, digest).len();
    scope.ok(&["pull", name])?;
    let asked = ranges(registry, digest)[before..].to_vec();
    let is_behind = |range: &String| {
        let start = range.strip_prefix("bytes=").and_then(|range| range.split('-').next()?.parse().ok());
        start.is_some_and(|start: usize| start >= HELD / 8)
    };
    same(&format!("only the rest in {asked:?}"), !asked.is_empty() && asked.iter().all(is_behind), true)?;
    image(scope, name)?;
    scope.ok(&["rmi", name]).map(drop)
}

fn pulling(scope: &Scope<'_>, name: &str) -> Result<Streaming> {
    let (repository, _) = name.rsplit_once(':').context("a tag")?;
    let path = format!("/images/create?fromImage={repository}&tag=1");
    Request::new("POST", &path).open(&scope.engine.socket)
}

fn left(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("begins a layer from its start when it was cut")?;
    let Some(daemon) = &scope.engine.daemon else { return Err(skip("the daemon is not the suite's own")) };
    let (registry, name, digest) = stalling()?;
    let client = pulling(scope, &name)?;
    held(scope, daemon)?;
    drop(client);
    is_absent(scope, &name)?;
    continues(scope, &registry, &name, &digest)
}

fn killed(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("begins a layer from its start after a kill")?;
    let Some(daemon) = &scope.engine.daemon else { return Err(skip("the daemon is not the suite's own")) };
    let (registry, name, digest) = stalling()?;
    let _client = pulling(scope, &name)?;
    held(scope, daemon)?;
    let mut daemon = daemon.lock().unwrap_or_else(PoisonError::into_inner);
    daemon.kill_hard()?;
    daemon.start_again()?;
    drop(daemon);
    is_absent(scope, &name)?;
    continues(scope, &registry, &name, &digest)
}
