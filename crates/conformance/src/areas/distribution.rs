//! What registries may also have: layers that lie elsewhere, artifacts, limits of rate, searches; and in which order
//! layers are ready.

use super::misbehaving::is_absent;
use crate::check::{Check, contains, same, says, skip};
use crate::fixture::busybox_layer;
use crate::http::{Request, Streaming};
use crate::scope::{Scope, percent_encode};
use crate::tar::{Kind, Writer};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use testkit::{Access, Fault, Registry};

const AREA: &str = "registry";
const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
const ALWAYS: u32 = 999;

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(
            AREA,
            "a foreign layer comes from where it lies, without credentials, and is not pushed",
            foreign,
        ),
        Check::new(AREA, "a foreign layer that is another one makes no image", wrong_foreign),
        Check::new(
            AREA,
            "an artifact with a subject comes and goes byte for byte, and does not run",
            artifact,
        ),
        Check::new(AREA, "a limit of rate is told with the time when it ends", rate),
        Check::new(AREA, "layers are ready in the order in which they arrive", order),
        Check::new(AREA, "a pull's lines are what clients of Docker's read", lines),
        Check::new(AREA, "search asks the registry that the term names", search),
    ]
}

fn noted(word: &str) -> Result<Vec<u8>> {
    let mut layer = Writer::new(Vec::new());
    layer.add("note", 0o644, &Kind::File(word.as_bytes()))?;
    Ok(layer.finish()?)
}

/// An image of busybox and of a layer that only `elsewhere` has; the image's name and the layer's digest.
fn lying_elsewhere(scope: &Scope<'_>, registry: &Registry, elsewhere: &Registry) -> Result<(String, String)> {
    let program = scope.engine.busybox_program.clone().ok_or_else(|| skip("no busybox program is known"))?;
    let (base, note) = (busybox_layer(&program)?, noted(&scope.name("note"))?);
    let (base_size, note_size) = (base.len(), note.len());
    let base = registry.blob("app", base);
    let note = elsewhere.blob("vendor", note);
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/bin/busybox", "cat", "/note"] },
        "rootfs": { "type": "layers", "diff_ids": [base, note] },
    })
    .to_string();
    let (config_digest, config_size) = (registry.blob("app", config.clone()), config.len());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": testkit::MANIFEST,
        "config": { "mediaType": testkit::CONFIG, "digest": config_digest, "size": config_size },
        "layers": [
            { "mediaType": testkit::LAYER, "digest": base, "size": base_size },
            {
                "mediaType": FOREIGN, "digest": note, "size": note_size,
                "urls": ["file:///etc/passwd", format!("http://{}/v2/vendor/blobs/{note}", elsewhere.host())],
            },
        ],
    });
    registry.manifest("app", "1", testkit::MANIFEST, manifest.to_string());
    Ok((format!("{}/app:1", registry.host()), note))
}

fn foreign(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("takes no foreign layers on Linux")?;
    let (registry, elsewhere) = (Registry::start(), Registry::start());
    let (name, note) = lying_elsewhere(scope, &registry, &elsewhere)?;
    registry.require(Access::Basic("alice".to_owned(), "secret".to_owned()));
    let auth = "eyJ1c2VybmFtZSI6ImFsaWNlIiwicGFzc3dvcmQiOiJzZWNyZXQifQ=="; // alice, secret
    let repository = name.trim_end_matches(":1");
    let request = Request::new("POST", &format!("/images/create?fromImage={repository}&tag=1"));
    let said = request.header("X-Registry-Auth", auth).send(&scope.engine.socket)?.expect(200)?.text();
    says("the pull", &said, "Downloaded newer image")?;
    let asked = elsewhere.seen();
    same("asked elsewhere", asked.iter().filter(|one| one.target.contains(&note)).count(), 1)?;
    same("credentials elsewhere", asked.iter().any(|one| one.header("authorization").is_some()), false)?;
    let container = scope.name("foreign");
    let run = ["run", "--rm", "--network", "none", "--name", &container, &name];
    same("what the layer has", scope.ok(&run)?, scope.name("note"))?;
    let third = Registry::start();
    let pushed = format!("{}/app:1", third.host());
    scope.ok(&["tag", &name, &pushed])?;
    scope.ok(&["push", "-q", &pushed])?;
    same("pushed", third.stored_blob("app", &note), None)?;
    let (_, sent) = third.stored_manifest("app", "1").context("the manifest that was pushed")?;
    let (_, kept) = registry.stored_manifest("app", "1").context("the manifest that was pulled")?;
    same("the manifest is the same", sent == kept, true)?;
    scope.ok(&["rmi", &name, &pushed]).map(drop)
}

fn wrong_foreign(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("takes no foreign layers on Linux")?;
    let (registry, elsewhere) = (Registry::start(), Registry::start());
    let (name, note) = lying_elsewhere(scope, &registry, &elsewhere)?;
    elsewhere.misbehave("GET", &note, ALWAYS, Fault::WrongBytes);
    let output = scope.docker(&["pull", &name])?.expect_code(1)?;
    says("pull", &output.stderr, "digest")?;
    is_absent(scope, &name)
}

fn artifact(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("knows images only")?;
    let registry = Registry::start();
    let subject = registry.image("thing", "image", &[noted(&scope.name("subject"))?]);
    let config = registry.blob("thing", b"{}".as_slice());
    let content = scope.name("content").into_bytes();
    let (size, part) = (content.len(), registry.blob("thing", content));
    let (_, about) = registry.stored_manifest("thing", "image").context("the subject")?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": testkit::MANIFEST, "artifactType": "application/vnd.example.note",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2 },
        "layers": [{ "mediaType": "text/plain", "digest": part, "size": size }],
        "subject": { "mediaType": testkit::MANIFEST, "digest": subject, "size": about.len() },
        "annotations": { "note": "kept" },
    })
    .to_string();
    let digest = registry.manifest("thing", "note", testkit::MANIFEST, manifest.clone());
    let name = format!("{}/thing:note", registry.host());
    contains("pull", &scope.ok(&["pull", &name])?, &format!("Digest: {digest}"))?;
    let second = Registry::start();
    let pushed = format!("{}/thing:note", second.host());
    scope.ok(&["tag", &name, &pushed])?;
    scope.ok(&["push", "-q", &pushed])?;
    let sent = second.stored_manifest("thing", &digest).map(|(_, bytes)| bytes);
    same("byte for byte", sent.as_deref() == Some(manifest.as_bytes()), true)?;
    same("its content", second.stored_blob("thing", &part).map(|bytes| bytes.len()), Some(size))?;
    let created = scope.docker(&["create", &name, "x"])?;
    same("create", created.code, 1)?;
    scope.ok(&["rmi", &name, &pushed]).map(drop)
}

fn rate(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("says nothing of the time")?;
    let registry = Registry::start();
    registry.image("app", "1", &[noted("rate")?]);
    let name = format!("{}/app:1", registry.host());
    let body =
        br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    for (header, value) in [("Retry-After", "86400"), ("RateLimit-Reset", "4102444800")] {
        registry.behave();
        let headers = vec![(header.to_owned(), value.to_owned())];
        registry.misbehave("", "/manifests/", ALWAYS, Fault::Status(429, headers, body.to_vec()));
        let output = scope.docker(&["pull", &name])?.expect_code(1)?;
        says(header, &output.stderr, "toomanyrequests: You have reached your pull rate limit.")?;
        says(header, &output.stderr, "again")?;
        if value == "4102444800" {
            says("the year", &output.stderr, "2100-01-01")?;
        }
        is_absent(scope, &name)?;
    }
    Ok(())
}

/// The lines of a pull, as they come.
fn pulling(scope: &Scope<'_>, name: &str) -> Result<BufReader<Streaming>> {
    let (repository, tag) = name.rsplit_once(':').context("a tag")?;
    let path = format!("/images/create?fromImage={repository}&tag={tag}");
    Ok(BufReader::new(Request::new("POST", &path).open(&scope.engine.socket)?))
}

fn short(digest: &str) -> &str {
    &digest.trim_start_matches("sha256:")[..12]
}

fn order(scope: &Scope<'_>) -> Result<()> {
    let registry = Registry::start();
    let layers = ["first", "second", "third"].map(|word| noted(&scope.name(word)));
    let layers = layers.into_iter().collect::<Result<Vec<_>>>()?;
    registry.image("app", "1", &layers);
    let digests: Vec<String> = layers.iter().map(|layer| testkit::digest_of(layer)).collect();
    // The lowest layer stands still for as long as anybody looks.
    registry.misbehave("GET", &format!("/blobs/{}", digests[0]), ALWAYS, Fault::StallAfter(100));
    let name = format!("{}/app:1", registry.host());
    let mut waited = vec![short(&digests[1]), short(&digests[2])];
    for line in pulling(scope, &name)?.lines() {
        let line: Value = serde_json::from_str(&line?)?;
        if line["status"] == "Pull complete" {
            waited.retain(|id| line["id"] != *id);
        }
        if waited.is_empty() {
            break;
        }
    }
    same("not ready before the lowest", waited, Vec::<&str>::new())?;
    is_absent(scope, &name)?;
    registry.behave();
    scope.ok(&["pull", &name])?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn lines(scope: &Scope<'_>) -> Result<()> {
    let registry = Registry::start();
    let mut layer = Writer::new(Vec::new());
    layer.add("large", 0o644, &Kind::File(&super::misbehaving::noise(3 << 20)))?;
    let layer = layer.finish()?;
    let digest = registry.image("app", "1", std::slice::from_ref(&layer));
    let (name, id) = (format!("{}/app:1", registry.host()), testkit::digest_of(&layer));
    let id = short(&id).to_owned();
    let (mut of_layer, mut of_image) = (Vec::new(), Vec::new());
    for line in pulling(scope, &name)?.lines() {
        let line: Value = serde_json::from_str(&line?)?;
        let status = line["status"].as_str().context("a line without a status")?.to_owned();
        if line["id"] != json!(id) {
            of_image.push(status);
            continue;
        }
        if matches!(status.as_str(), "Downloading" | "Extracting") {
            let detail = &line["progressDetail"];
            let of = (detail["current"].as_u64(), detail["total"].as_u64());
            let (Some(current), Some(total)) = of else { bail!("no progress in {line}") };
            same(&format!("{status} beyond its end: {line}"), current <= total, true)?;
        }
        if of_layer.last() != Some(&status) {
            of_layer.push(status);
        }
    }
    for status in
        ["Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete", "Pull complete"]
    {
        same(&format!("{status} in {of_layer:?}"), of_layer.iter().any(|said| said == status), true)?;
    }
    same("the last of the layer", of_layer.last().map(String::as_str), Some("Pull complete"))?;
    same("the first of all", of_image.first().map(String::as_str), Some("Pulling from app"))?;
    let end = [format!("Digest: {digest}"), format!("Status: Downloaded newer image for {name}")];
    same("the end", of_image.ends_with(&end), true)?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn search(scope: &Scope<'_>) -> Result<()> {
    let registry = Registry::start();
    let found = json!({ "num_results": 2, "results": [
        { "name": "team/app", "description": "An app", "star_count": 7, "is_official": false, "is_automated": false },
        { "name": "app", "description": "The app", "star_count": 70, "is_official": true, "is_automated": false },
    ] });
    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    registry.misbehave(
        "GET",
        "/v1/search",
        ALWAYS,
        Fault::Status(200, headers, found.to_string().into_bytes()),
    );
    let ping = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    registry.misbehave("GET", "/v1/_ping", ALWAYS, Fault::Status(200, ping, b"{}".to_vec()));
    let term = percent_encode(&format!("{}/app", registry.host()));
    let rows = scope.api("GET", &format!("/images/search?term={term}&limit=5"))?.expect(200)?.json()?;
    let row = |at: usize| {
        (rows[at]["name"].clone(), rows[at]["star_count"].clone(), rows[at]["is_official"].clone())
    };
    let rows_found = rows.as_array().map(Vec::len);
    same("rows", rows_found, Some(2))?;
    let mut names = vec![row(0), row(1)];
    names.sort_by_key(|(name, ..)| name.to_string());
    same(
        "found",
        names,
        vec![(json!("app"), json!(70), json!(true)), (json!("team/app"), json!(7), json!(false))],
    )?;
    let filters = percent_encode(r#"{"is-official":["true"]}"#);
    let rows =
        scope.api("GET", &format!("/images/search?term={term}&filters={filters}"))?.expect(200)?.json()?;
    same("official ones", rows.as_array().map(Vec::len), Some(1))?;
    let asked =
        registry.seen().iter().any(|seen| seen.target.contains("q=app") && seen.target.contains("n=5"));
    same("what was asked", asked, true)
}
