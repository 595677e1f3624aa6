//! `manifest`: lists of several platforms that a client puts together and pushes, without the engine.

use crate::check::{Check, contains, same};
use crate::scope::Scope;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use testkit::Registry;

const AREA: &str = "manifests";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) fn checks() -> Vec<Check> {
    vec![Check::new(AREA, "a list is created, annotated, pushed, shown and forgotten", list)]
}

/// An image without layers whose configuration says nothing about its platform but the operating system.
fn bare_image(registry: &Registry, repository: &str, tag: &str) {
    let config =
        json!({"os": "linux", "architecture": "", "rootfs": {"type": "layers", "diff_ids": []}}).to_string();
    let (size, digest) = (config.len(), registry.blob(repository, config));
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": testkit::MANIFEST,
        "config": {"mediaType": testkit::CONFIG, "size": size, "digest": digest},
        "layers": [],
    });
    registry.manifest(repository, tag, testkit::MANIFEST, manifest.to_string());
}

fn list(scope: &Scope<'_>) -> Result<()> {
    let registry = Registry::start();
    registry.image("app", "here", &[]);
    bare_image(&registry, "other", "there");
    let (list, here, there) = ("app:all", "app:here", "other:there");
    let [list, here, there] = [list, here, there].map(|name| format!("{}/{name}", registry.host()));
    let call = |words: &[&str]| scope.ok(&[&["manifest"], words].concat());
    contains("an image", &call(&["inspect", "--insecure", &here])?, "\"schemaVersion\": 2")?;
    let verbose: Value = serde_json::from_str(&call(&["inspect", "--insecure", "-v", &here])?)?;
    same("Ref", &verbose["Ref"], &json!(here))?;
    same("os", &verbose["Descriptor"]["platform"]["os"], "linux")?;
    let created = call(&["create", "--insecure", &list, &here, &there])?;
    same("created", created, format!("Created manifest list {list}"))?;
    let again = scope.docker(&["manifest", "create", "--insecure", &list, &here])?.expect_code(1)?;
    contains("again", &again.stderr, "refusing to amend an existing manifest list with no --amend flag")?;
    let odd = ["manifest", "annotate", "--arch", "abacus", &list, &there];
    let odd = scope.docker(&odd)?.expect_code(1)?;
    contains("a processor that is none", &odd.stderr, "unsupported os/arch combination")?;
    call(&["annotate", "--os", "linux", "--arch", "arm64", "--variant", "v8", &list, &there])?;
    let shown: Value = serde_json::from_str(&call(&["inspect", &list])?)?;
    let platforms = |list: &Value| -> Vec<String> {
        let all = list["manifests"].as_array().into_iter().flatten().map(|entry| &entry["platform"]);
        let mut all: Vec<String> = all.map(|platform| platform["architecture"].to_string()).collect();
        all.sort();
        all
    };
    same("architectures", platforms(&shown).contains(&"\"arm64\"".to_owned()), true)?;
    let pushed = call(&["push", "--insecure", "--purge", &list])?;
    let (media_type, bytes) = registry.stored_manifest("app", "all").context("the list")?;
    same("media type of a list of OCI images", media_type.as_str(), INDEX)?;
    same("digest", pushed.lines().last(), Some(testkit::digest_of(&bytes).as_str()))?;
    let stored: Value = serde_json::from_slice(&bytes)?;
    same("what was pushed", platforms(&stored), platforms(&shown))?;
    for entry in stored["manifests"].as_array().into_iter().flatten() {
        let digest = entry["digest"].as_str().context("digest")?;
        same(digest, registry.stored_manifest("app", digest).is_some(), true)?;
    }
    let remote: Value = serde_json::from_str(&call(&["inspect", "--insecure", &list])?)?;
    same("what the registry has", platforms(&remote), platforms(&shown))?;
    let gone = scope.docker(&["manifest", "rm", &list])?.expect_code(1)?;
    contains("rm of what was purged", &gone.stderr, "No such manifest")
}
