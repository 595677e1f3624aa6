//! Pulls of what is damaged or lies, and pulls that are left, cut and killed.

use crate::check::{Check, same, skip};
use crate::fixture::hex_sha256;
use crate::http::Request;
use crate::registry::{Door, Registry, skopeo};
use crate::scope::Scope;
use crate::tar::{Kind, Writer};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::PoisonError;

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

/// Bytes of the layer of the pulls that are cut.
const LARGE: usize = 24 << 20;
/// After how many of them the door holds.
const HELD: u64 = 8 << 20;

/// An image with a large layer in a registry behind a door that holds in the middle of it.
fn behind_a_door(scope: &Scope<'_>, registry: &Registry) -> Result<(Door, String)> {
    let local = format!("{}/large:1", registry.host());
    // Does not compress, so that every engine sends as many bytes.
    let mut state = 7_u64;
    let content: Vec<u8> = (0..LARGE)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        })
        .collect();
    load_layer(scope, &local, &content, None)?;
    scope.ok(&["push", &local])?;
    scope.ok(&["rmi", &local])?;
    let door = Door::to(registry, HELD)?;
    let name = format!("{}/large:1", door.host());
    Ok((door, name))
}

fn held(scope: &Scope<'_>, door: &Door) -> Result<()> {
    scope.eventually("a pull in the middle of a layer", || Ok((door.passed() >= HELD).then_some(())))
}

/// Pulls again with the door open: what came before does not come again.
fn continues(scope: &Scope<'_>, door: &Door, name: &str) -> Result<()> {
    let before = door.passed();
    door.open();
    scope.ok(&["pull", name])?;
    let came = door.passed() - before;
    // What is on its way to a stream when another one takes over its rest comes twice.
    same(&format!("{came} bytes more are less than all"), came < LARGE as u64, true)?;
    image(scope, name)?;
    scope.ok(&["rmi", name]).map(drop)
}

fn left(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("begins a layer from its start when it was cut")?;
    let registry = registry(scope)?;
    let (door, name) = behind_a_door(scope, &registry)?;
    let (repository, _) = name.rsplit_once(':').context("a tag")?;
    let path = format!("/images/create?fromImage={repository}&tag=1");
    let pulling = Request::new("POST", &path).open(&scope.engine.socket)?;
    held(scope, &door)?;
    drop(pulling);
    is_absent(scope, &name)?;
    continues(scope, &door, &name)
}

fn killed(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("begins a layer from its start after a kill")?;
    let Some(daemon) = &scope.engine.daemon else { return Err(skip("the daemon is not the suite's own")) };
    let registry = registry(scope)?;
    let (door, name) = behind_a_door(scope, &registry)?;
    let (repository, _) = name.rsplit_once(':').context("a tag")?;
    let path = format!("/images/create?fromImage={repository}&tag=1");
    let _pulling = Request::new("POST", &path).open(&scope.engine.socket)?;
    held(scope, &door)?;
    let mut daemon = daemon.lock().unwrap_or_else(PoisonError::into_inner);
    daemon.kill_hard()?;
    daemon.start_again()?;
    drop(daemon);
    is_absent(scope, &name)?;
    continues(scope, &door, &name)
}
