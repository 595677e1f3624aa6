//! Registries: push, pull, log in; platforms and compressions.

use crate::check::{Check, contains, same, says, skip};
use crate::fixture::{BUSYBOX, hex_sha256};
use crate::registry::{Registry, USER, skopeo};
use crate::scope::Scope;
use crate::tar::{Kind, Writer};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;

const AREA: &str = "registry";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "what is pushed comes back with the same digest, and runs", there_and_back),
        Check::new(AREA, "run pulls an image that is missing", run_pulls),
        Check::new(AREA, "a layer that is here is not pulled again", shared_layers),
        Check::new(AREA, "a blob of another repository is taken over", mounted),
        Check::new(AREA, "gzip, zstd and zstd:chunked come and go byte for byte", zstd),
        Check::new(AREA, "an index of several platforms is kept, chosen from and pushed whole", platforms),
        Check::new(AREA, "all tags of a repository, with --all-tags", all_tags),
        Check::new(AREA, "a registry with passwords wants a login", login),
        Check::new(AREA, "distribution says what a registry has", distribution),
        Check::new(AREA, "an unknown image, tag or push is told in Docker's words", unknown),
    ]
}

pub(super) fn registry(scope: &Scope<'_>) -> Result<Registry> {
    Registry::start(scope.directory()?, false)?.ok_or_else(|| skip("docker-registry is not installed"))
}

pub(super) fn image(scope: &Scope<'_>, name: &str) -> Result<Value> {
    scope.api("GET", &format!("/images/{name}/json"))?.expect(200)?.json()
}

/// Pushes busybox; the name, and the digest that the push tells.
fn push(scope: &Scope<'_>, registry: &Registry, repository: &str) -> Result<(String, String)> {
    let name = format!("{}/{repository}:1", registry.host());
    scope.ok(&["tag", BUSYBOX, &name])?;
    let said = scope.ok(&["push", &name])?;
    contains("push", &said, "The push refers to repository")?;
    Ok((name, digest_in(&said)?))
}

fn digest_in(text: &str) -> Result<String> {
    let start = text.rfind("sha256:").context("a digest")?;
    Ok(text[start..].chars().take_while(|c| !c.is_whitespace()).collect())
}

fn there_and_back(scope: &Scope<'_>) -> Result<()> {
    let registry = registry(scope)?;
    let (name, pushed) = push(scope, &registry, "app")?;
    scope.ok(&["rmi", &name])?;
    let said = scope.ok(&["pull", &name])?;
    for words in ["1: Pulling from app", "Status: "] {
        contains("pull", &said, words)?;
    }
    contains("pull", &said, &format!("Digest: {pushed}"))?;
    contains("RepoDigests", &image(scope, &name)?["RepoDigests"].to_string(), &pushed)?;
    let again = scope.ok(&["pull", &name])?;
    contains("again", &again, &format!("Status: Image is up to date for {name}"))?;
    let container = scope.name("runs");
    let printed =
        scope.ok(&["run", "--rm", "--name", &container, "--network", "none", &name, "echo", "pulled"])?;
    same("run", printed, "pulled")?;
    let by_digest = format!("{}/app@{pushed}", registry.host());
    scope.ok(&["pull", "-q", &by_digest])?;
    contains("by digest", &image(scope, &by_digest)?["RepoDigests"].to_string(), &pushed)?;
    scope.ok(&["rmi", &name, &by_digest]).map(drop)
}

fn run_pulls(scope: &Scope<'_>) -> Result<()> {
    let registry = registry(scope)?;
    let (name, _) = push(scope, &registry, "missing")?;
    scope.ok(&["rmi", &name])?;
    let container = scope.name("pulls");
    let output =
        scope.docker(&["run", "--rm", "--name", &container, "--network", "none", &name, "echo", "here"])?;
    let output = output.expect_code(0)?;
    same("stdout", output.stdout.trim_end(), "here")?;
    says("stderr", &output.stderr, &format!("Unable to find image '{name}' locally"))?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn shared_layers(scope: &Scope<'_>) -> Result<()> {
    let registry = registry(scope)?;
    let (base, _) = push(scope, &registry, "base")?;
    let archive = two_layers(scope, &format!("{}/child:1", registry.host()), "more")?;
    let child = format!("{}/child:1", registry.host());
    scope.client().call_with_input(&["load"], &archive)?.expect_code(0)?;
    scope.ok(&["push", &child])?;
    scope.ok(&["rmi", &child])?;
    scope.ok(&["pull", &base])?;
    let said = scope.ok(&["pull", &child])?;
    contains("pull", &said, "Pull complete")?;
    // Busybox is still here by its own name: of two layers only the other one comes.
    same("layers that came", said.matches("Pull complete").count(), 1)?;
    contains("pull", &said, "Already exists")?;
    scope.ok(&["rmi", &base, &child]).map(drop)
}

/// A docker-archive of busybox and one more layer, with a file `more` of this content.
fn two_layers(scope: &Scope<'_>, name: &str, content: &str) -> Result<Vec<u8>> {
    let program = scope.engine.busybox_program.clone().context("busybox")?;
    let base = crate::fixture::busybox_layer(&program)?;
    let mut more = Writer::new(Vec::new());
    more.add("more", 0o644, &Kind::File(content.as_bytes()))?;
    let more = more.finish()?;
    let ids = [hex_sha256(&base), hex_sha256(&more)].map(|hex| format!("sha256:{hex}"));
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Cmd": ["sh"] },
        "rootfs": { "type": "layers", "diff_ids": ids },
    })
    .to_string();
    let manifest =
        json!([{ "Config": "c.json", "RepoTags": [name], "Layers": ["a.tar", "b.tar"] }]).to_string();
    let mut writer = Writer::new(Vec::new());
    writer.add("c.json", 0o644, &Kind::File(config.as_bytes()))?;
    writer.add("a.tar", 0o644, &Kind::File(&base))?;
    writer.add("b.tar", 0o644, &Kind::File(&more))?;
    writer.add("manifest.json", 0o644, &Kind::File(manifest.as_bytes()))?;
    Ok(writer.finish()?)
}

fn mounted(scope: &Scope<'_>) -> Result<()> {
    let registry = registry(scope)?;
    let (first, _) = push(scope, &registry, "first")?;
    let second = format!("{}/second:1", registry.host());
    scope.ok(&["tag", BUSYBOX, &second])?;
    contains("push", &scope.ok(&["push", &second])?, "Mounted from first")?;
    contains("push again", &scope.ok(&["push", &second])?, "Layer already exists")?;
    scope.ok(&["rmi", &first, &second]).map(drop)
}

fn zstd(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("pushes its own compression of every layer")?;
    let registry = registry(scope)?;
    for (tag, format, expected) in [
        ("gzip", "gzip", "tar+gzip\""),
        ("zstd", "zstd", "tar+zstd\""),
        // Frames that can be fetched one by one, and a table of them in frames that are skipped.
        ("chunked", "zstd:chunked", "io.containers.zstd-chunked.manifest-checksum"),
    ] {
        let archive = scope.directory()?.join(format!("{tag}.tar"));
        // Of its own for each: what skopeo has compressed once, it takes again, however that was.
        std::fs::write(&archive, two_layers(scope, "packed:1", &scope.name(tag))?)?;
        let from = format!("docker-archive:{}", archive.display());
        let packed = format!("{}/packed:{tag}", registry.host());
        let to = format!("docker://{packed}");
        let form =
            ["--format=oci", "--dest-tls-verify=false", "--dest-compress", "--dest-compress-format", format];
        skopeo(&[&["copy"], &form[..], &[&from, &to]].concat())?;
        contains("manifest", &skopeo(&["inspect", "--raw", "--tls-verify=false", &to])?, expected)?;
        let pulled = digest_in(scope.ok(&["pull", &packed])?.split("Status").next().unwrap_or_default())?;
        let container = scope.name(tag);
        let printed =
            scope.ok(&["run", "--rm", "--name", &container, "--network", "none", &packed, "cat", "/more"])?;
        same("run", printed, scope.name(tag))?;
        let back = format!("{}/back:{tag}", registry.host());
        scope.ok(&["tag", &packed, &back])?;
        same("digest", digest_in(&scope.ok(&["push", &back])?)?, pulled)?;
        scope.ok(&["rmi", &packed, &back])?;
    }
    Ok(())
}

/// An OCI layout of an index with two platforms; the index's digest.
pub(super) fn layout(directory: &Path) -> Result<String> {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    let put = |bytes: &[u8]| -> Result<(String, usize)> {
        let hex = hex_sha256(bytes);
        std::fs::write(blobs.join(&hex), bytes)?;
        Ok((format!("sha256:{hex}"), bytes.len()))
    };
    let mut manifests = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let mut layer = Writer::new(Vec::new());
        layer.add("arch", 0o644, &Kind::File(architecture.as_bytes()))?;
        let (diff_id, layer_size) = put(&layer.finish()?)?;
        let config = json!({
            "architecture": architecture, "os": "linux", "config": { "Cmd": ["/x"] },
            "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        });
        let (config, config_size) = put(config.to_string().as_bytes())?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size },
            "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": diff_id, "size": layer_size }],
        });
        let (digest, size) = put(manifest.to_string().as_bytes())?;
        manifests.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
            "platform": { "architecture": architecture, "os": "linux" },
        }));
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
    let (digest, size) = put(index.to_string().as_bytes())?;
    let top = json!({ "schemaVersion": 2, "manifests": [{
        "mediaType": media_type, "digest": digest, "size": size,
        "annotations": { "org.opencontainers.image.ref.name": "both" },
    }] });
    std::fs::write(directory.join("index.json"), top.to_string())?;
    std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(digest)
}

fn platforms(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("keeps one platform of an index")?;
    let registry = registry(scope)?;
    let directory = scope.directory()?.join("layout");
    let index = layout(&directory)?;
    let name = format!("{}/both:1", registry.host());
    let (from, to) = (format!("oci:{}:both", directory.display()), format!("docker://{name}"));
    skopeo(&["copy", "--all", "--preserve-digests", "--dest-tls-verify=false", &from, &to])?;
    contains("pull", &scope.ok(&["pull", &name])?, &format!("Digest: {index}"))?;
    let found = image(scope, &name)?;
    same("Id", found["Id"].as_str(), Some(index.as_str()))?;
    same("Architecture", &found["Architecture"], "amd64")?;
    let output = scope.docker(&["pull", "--platform", "linux/s390x", &name])?;
    same("exit code", output.code, 1)?;
    says("stderr", &output.stderr, "no matching manifest for linux/s390x")?;
    // Only one platform is here: a push sends that one, and says so.
    let one = format!("{}/one:1", registry.host());
    scope.ok(&["tag", &name, &one])?;
    scope.ok(&["push", "-q", &one])?;
    same("another digest", remote(scope, &one)? == index, false)?;
    scope.ok(&["pull", "--platform", "linux/arm64", &name])?;
    let whole = format!("{}/whole:1", registry.host());
    scope.ok(&["tag", &name, &whole])?;
    scope.ok(&["push", "-q", &whole])?;
    same("the index", remote(scope, &whole)?, index)?;
    let listed = scope.api("GET", "/images/json?manifests=1")?.expect(200)?.json()?;
    let row = listed.as_array().into_iter().flatten().find(|row| row["RepoTags"].to_string().contains(&name));
    same("manifests", row.and_then(|row| row["Manifests"].as_array().map(Vec::len)), Some(2))?;
    scope.ok(&["rmi", &name, &one, &whole]).map(drop)
}

/// The digest that a registry has under a name.
fn remote(scope: &Scope<'_>, name: &str) -> Result<String> {
    let found = scope.api("GET", &format!("/distribution/{name}/json"))?.expect(200)?.json()?;
    Ok(found["Descriptor"]["digest"].as_str().context("a digest")?.to_owned())
}

fn all_tags(scope: &Scope<'_>) -> Result<()> {
    let registry = registry(scope)?;
    let names: Vec<String> = ["a", "b"].map(|tag| format!("{}/tags:{tag}", registry.host())).into();
    for name in &names {
        scope.ok(&["tag", BUSYBOX, name])?;
    }
    let repository = format!("{}/tags", registry.host());
    scope.ok(&["push", "--all-tags", &repository])?;
    scope.ok(&["rmi", &names[0], &names[1]])?;
    scope.ok(&["pull", "--all-tags", &repository])?;
    for name in &names {
        image(scope, name)?;
    }
    scope.ok(&["rmi", &names[0], &names[1]]).map(drop)
}

pub(super) fn registry_with_passwords(scope: &Scope<'_>) -> Result<Registry> {
    Registry::start(scope.directory()?, true)?.ok_or_else(|| skip("docker-registry is not installed"))
}

fn login(scope: &Scope<'_>) -> Result<()> {
    let registry = registry_with_passwords(scope)?;
    let mut client = scope.client().clone();
    client.configuration = scope.directory()?.join("client");
    let (host, (user, password)) = (registry.host(), USER);
    let name = format!("{host}/private:1");
    scope.ok(&["tag", BUSYBOX, &name])?;
    same("push without a login", client.call(&["push", &name])?.code, 1)?;
    let wrong = client.call_with_input(&["login", "-u", user, "--password-stdin", &host], b"wrong")?;
    same("wrong password", wrong.code, 1)?;
    says("stderr", &wrong.stderr, "unauthorized")?;
    let right =
        client.call_with_input(&["login", "-u", user, "--password-stdin", &host], password.as_bytes())?;
    contains("login", &right.expect_code(0)?.stdout, "Login Succeeded")?;
    let kept: Value = serde_json::from_slice(&std::fs::read(client.configuration.join("config.json"))?)?;
    same("auths", &kept["auths"][&host]["auth"], "YWxpY2U6c2VjcmV0")?;
    client.expect(&["push", &name])?;
    scope.ok(&["rmi", &name])?;
    same("pull without a login", scope.docker(&["pull", &name])?.code, 1)?;
    client.expect(&["pull", &name])?;
    contains(
        "logout",
        &client.expect(&["logout", &host])?,
        &format!("Removing login credentials for {host}"),
    )?;
    same("pull after the logout", client.call(&["pull", &name])?.code, 1)?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn distribution(scope: &Scope<'_>) -> Result<()> {
    let registry = registry(scope)?;
    let (name, pushed) = push(scope, &registry, "looked-at")?;
    let found = scope.api("GET", &format!("/distribution/{name}/json"))?.expect(200)?.json()?;
    same("digest", found["Descriptor"]["digest"].as_str(), Some(pushed.as_str()))?;
    same("platform", &found["Platforms"][0]["architecture"], "amd64")?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn unknown(scope: &Scope<'_>) -> Result<()> {
    let registry = registry(scope)?;
    let name = format!("{}/nothing:1", registry.host());
    let pulled = scope.docker(&["pull", &name])?;
    same("exit code", pulled.code, 1)?;
    says("pull", &pulled.stderr, &format!("manifest for {name} not found: manifest unknown"))?;
    let pushed = scope.docker(&["push", &name])?;
    same("exit code", pushed.code, 1)?;
    says("push", &pushed.stderr, "An image does not exist locally with the tag")
}
