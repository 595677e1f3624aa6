//! Images of several platforms: what is attested of them, shown as a tree, removed, saved and loaded one by one.

use crate::check::{Check, contains, same, says};
use crate::fixture::hex_sha256;
use crate::scope::Scope;
use crate::tar::{Kind, Writer};
use anyhow::{Context, Result};
use serde_json::{Value, json};

const AREA: &str = "images";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(
            AREA,
            "attestations are told for the chosen platform, and word for word when asked",
            attested,
        ),
        Check::new(AREA, "rmi --platform removes one platform and keeps the others", removed),
        Check::new(
            AREA,
            "rmi --platform refuses what a container uses, and platforms that are not here",
            refused,
        ),
        Check::new(AREA, "images --tree shows each platform", tree),
        Check::new(AREA, "inspect and history take a platform", chosen),
        Check::new(AREA, "save and load take several platforms", saved),
    ]
}

const OCI: &str = "application/vnd.oci.image.";

/// An OCI layout of an image for amd64, arm64 and s390x, as a tar; amd64 is attested.
fn layout(name: &str) -> Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    let mut put = |kind: &str, bytes: &[u8]| -> Result<Value> {
        let hex = hex_sha256(bytes);
        writer.add(&format!("blobs/sha256/{hex}"), 0o644, &Kind::File(bytes))?;
        let media_type = if kind.contains('/') { kind.to_owned() } else { format!("{OCI}{kind}") };
        Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len() }))
    };
    let manifest = |config: &Value, layer: &Value| {
        let media_type = format!("{OCI}manifest.v1+json");
        json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer] })
            .to_string()
    };
    let mut manifests = Vec::new();
    for architecture in ["amd64", "arm64", "s390x"] {
        let mut layer = Writer::new(Vec::new());
        layer.add("arch", 0o644, &Kind::File(format!("{name} {architecture}").as_bytes()))?;
        let layer = put("layer.v1.tar", &layer.finish()?)?;
        let config = json!({
            "architecture": architecture, "os": "linux", "config": { "Cmd": [architecture] },
            "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
            "history": [{ "created_by": format!("made for {architecture}") }],
        });
        let config = put("config.v1+json", config.to_string().as_bytes())?;
        let mut entry = put("manifest.v1+json", manifest(&config, &layer).as_bytes())?;
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        manifests.push(entry);
    }
    let statement = statement(name);
    let mut statement = put("application/vnd.in-toto+json", statement.as_bytes())?;
    statement["annotations"] = json!({ "in-toto.io/predicate-type": "https://slsa.dev/provenance/v1" });
    let config = json!({
        "architecture": "unknown", "os": "unknown", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [statement["digest"]] },
    });
    let config = put("config.v1+json", config.to_string().as_bytes())?;
    let mut attestation = put("manifest.v1+json", manifest(&config, &statement).as_bytes())?;
    attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": manifests[0]["digest"],
    });
    manifests.push(attestation);
    let index =
        json!({ "schemaVersion": 2, "mediaType": format!("{OCI}index.v1+json"), "manifests": manifests });
    let mut top = put("index.v1+json", index.to_string().as_bytes())?;
    top["annotations"] = json!({ "io.containerd.image.name": format!("docker.io/library/{name}") });
    writer.add(
        "index.json",
        0o644,
        &Kind::File(json!({ "schemaVersion": 2, "manifests": [top] }).to_string().as_bytes()),
    )?;
    writer.add("oci-layout", 0o644, &Kind::File(br#"{"imageLayoutVersion":"1.0.0"}"#))?;
    Ok(writer.finish()?)
}

fn statement(name: &str) -> String {
    format!(r#"{{"_type":"https://in-toto.io/Statement/v1", "subject":[], "predicate":{{"of":"{name}"}}}}"#)
}

/// Loads it.
fn loaded(scope: &Scope<'_>, word: &str) -> Result<String> {
    scope.since_new_engines("keeps one platform of an image")?;
    let name = format!("{}:1", scope.name(word));
    scope.client().call_with_input(&["load"], &layout(&name)?)?.expect_code(0)?;
    Ok(name)
}

fn image(scope: &Scope<'_>, name: &str) -> Result<Value> {
    scope.api("GET", &format!("/images/{name}/json?manifests=1"))?.expect(200)?.json()
}

/// The platforms that are here in full.
fn available(scope: &Scope<'_>, name: &str) -> Result<Vec<String>> {
    let image = image(scope, name)?;
    let manifests = image["Manifests"].as_array().context("manifests")?;
    let here = manifests.iter().filter(|one| one["Available"] == true && one["Kind"] == "image");
    Ok(here
        .map(|one| one["ImageData"]["Platform"]["architecture"].as_str().unwrap_or_default().to_owned())
        .collect())
}

const ARM: &str = "%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22arm64%22%7D";

fn attested(scope: &Scope<'_>) -> Result<()> {
    let name = loaded(scope, "attested")?;
    let ask = |query: &str| scope.api("GET", &format!("/images/{name}/attestations{query}"));
    let found = ask("")?.expect(200)?.json()?;
    let row = &found[0];
    same("how many", found.as_array().map(Vec::len), Some(1))?;
    same("PredicateType", &row["PredicateType"], "https://slsa.dev/provenance/v1")?;
    same("mediaType", &row["Descriptor"]["mediaType"], "application/vnd.in-toto+json")?;
    same("Statement", row.get("Statement"), None)?;
    let whole = ask("?statement=1&type=https://slsa.dev/provenance/v1")?.expect(200)?.text();
    contains("word for word", &whole, &statement(&name))?;
    same("another type", ask("?type=https://spdx.dev/Document")?.expect(200)?.text().trim(), "[]")?;
    same("another platform", ask(&format!("?platform={ARM}"))?.expect(200)?.text().trim(), "[]")?;
    same("two platforms", ask(&format!("?platform={ARM}&platform={ARM}"))?.status, 400)?;
    same("no such image", scope.api("GET", "/images/none-such/attestations")?.status, 404)?;
    let older = scope.api("GET", &format!("/v1.54/images/{name}/attestations"))?.expect(400)?;
    let words = "GET /images/{name:.*}/attestations requires minimum API version 1.55";
    same("an older version", older.message(), words)?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn removed(scope: &Scope<'_>) -> Result<()> {
    let name = loaded(scope, "fewer")?;
    same("before", available(scope, &name)?, ["amd64", "arm64", "s390x"])?;
    let id = image(scope, &name)?["Id"].to_string();
    let said = scope.ok(&["rmi", "--platform", "linux/s390x", &name])?;
    contains("said", &said, "Deleted: sha256:")?;
    same("after", available(scope, &name)?, ["amd64", "arm64"])?;
    same("the image is the same", image(scope, &name)?["Id"].to_string(), id)?;
    let said = scope.ok(&["rmi", "--platform", "linux/amd64", &name])?;
    same("the manifest and what attests it", said.matches("Deleted: ").count(), 2)?;
    same("after", available(scope, &name)?, ["arm64"])?;
    same("amd64", scope.docker(&["create", "--platform", "linux/amd64", &name, "x"])?.code, 1)?;
    scope.client().call_with_input(&["load"], &layout(&name)?)?.expect_code(0)?;
    same("loaded again", available(scope, &name)?, ["amd64", "arm64", "s390x"])?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn refused(scope: &Scope<'_>) -> Result<()> {
    let name = loaded(scope, "used")?;
    let container = scope.name("user");
    scope.ok(&["create", "--name", &container, &name, "x"])?;
    let output = scope.docker(&["rmi", "--platform", "linux/amd64", &name])?.expect_code(1)?;
    says("used", &output.stderr, "must be forced")?;
    let output = scope.docker(&["rmi", "--platform", "linux/riscv64", &name])?.expect_code(1)?;
    says("not here", &output.stderr, "linux/riscv64")?;
    same("still there", available(scope, &name)?, ["amd64", "arm64", "s390x"])?;
    scope.ok(&["rm", &container])?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn tree(scope: &Scope<'_>) -> Result<()> {
    let name = loaded(scope, "tree")?;
    let said = scope.ok(&["images", "--tree", &name])?;
    for line in ["IMAGE", name.as_str(), "├─ linux/amd64", "├─ linux/arm64", "└─ linux/s390x"] {
        contains("the tree", &said, line)?;
    }
    same("of what attests", said.contains("unknown"), false)?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn chosen(scope: &Scope<'_>) -> Result<()> {
    let name = loaded(scope, "chosen")?;
    let words = [
        "image",
        "inspect",
        "--platform",
        "linux/arm64",
        "--format",
        "{{.Architecture}} {{.Config.Cmd}}",
        &name,
    ];
    same("inspect", scope.ok(&words)?, "arm64 [arm64]")?;
    let words = ["history", "--platform", "linux/s390x", "--no-trunc", "--format", "{{.CreatedBy}}", &name];
    same("history", scope.ok(&words)?, "made for s390x")?;
    let output = scope.docker(&["image", "inspect", "--platform", "linux/riscv64", &name])?.expect_code(1)?;
    says("not here", &output.stderr, "riscv64")?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn saved(scope: &Scope<'_>) -> Result<()> {
    let name = loaded(scope, "some")?;
    let path = scope.directory()?.join("some.tar").display().to_string();
    scope.ok(&["save", "--platform", "linux/arm64", "-o", &path, &name])?;
    scope.ok(&["rmi", &name])?;
    scope.ok(&["load", "-i", &path])?;
    same("of one that was saved", available(scope, &name)?, ["arm64"])?;
    scope.ok(&["rmi", &name])?;
    let archive = layout(&name)?;
    scope.client().call_with_input(&["load", "--platform", "linux/s390x"], &archive)?.expect_code(0)?;
    contains("of one that was loaded", &available(scope, &name)?.join(" "), "s390x")?;
    scope.ok(&["rmi", &name]).map(drop)
}
