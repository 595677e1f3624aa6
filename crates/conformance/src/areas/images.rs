//! Images: load, import, list, inspect, tag, remove, save; and archives that lie.

use crate::check::{Check, contains, same, says};
use crate::fixture::{BUSYBOX, hex_sha256};
use crate::http::Request;
use crate::scope::Scope;
use crate::tar::{Kind, Writer};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const AREA: &str = "images";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "load says what it loaded, and the image runs", load),
        Check::new(AREA, "import makes an image of a root file system", import),
        Check::new(AREA, "inspect has what clients read", inspect),
        Check::new(AREA, "the list has the image, its size and its tags", list),
        Check::new(AREA, "images -q, --format and filters", formats),
        Check::new(AREA, "history shows how the image was made", history),
        Check::new(AREA, "tag adds a name, and rmi of a name keeps the image", tag),
        Check::new(AREA, "rmi of the last name deletes the image", remove),
        Check::new(AREA, "an image that a container uses is not removed", in_use),
        Check::new(AREA, "what is saved can be loaded again", save),
        Check::new(AREA, "an unknown image is 404 in Docker's words", unknown),
        Check::new(AREA, "garbage is refused, and nothing stays", garbage),
        Check::new(AREA, "an archive that ends too early is refused, and nothing stays", truncated),
        Check::new(AREA, "a layer that is not what its config says is refused", wrong_diff_id),
        Check::new(AREA, "what is wrong with an archive is told in the stream of load", told),
        Check::new(AREA, "a layer cannot write outside its root", breakout),
    ]
}

/// A docker-archive of one small image; `layer` may be anything, `diff_id` may lie.
pub(super) fn docker_archive(name: &str, layer: &[u8], diff_id: Option<&str>) -> Result<Vec<u8>> {
    let real = hex_sha256(layer);
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "2026-11-21T00:00:00Z",
        "config": { "Cmd": ["/x"], "Labels": { "marker": name } },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", diff_id.unwrap_or(&real))] },
    })
    .to_string();
    let config_name = format!("{}.json", hex_sha256(config.as_bytes()));
    let manifest =
        json!([{ "Config": config_name, "RepoTags": [name], "Layers": ["one/layer.tar"] }]).to_string();
    let mut writer = Writer::new(Vec::new());
    writer.add(&config_name, 0o644, &Kind::File(config.as_bytes()))?;
    writer.add("one/layer.tar", 0o644, &Kind::File(layer))?;
    writer.add("manifest.json", 0o644, &Kind::File(manifest.as_bytes()))?;
    Ok(writer.finish()?)
}

fn small_layer(text: &str) -> Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    writer.add("x", 0o755, &Kind::File(text.as_bytes()))?;
    Ok(writer.finish()?)
}

/// As docker-py reads it: the answer begins before the archive is looked at.
fn told(scope: &Scope<'_>) -> Result<()> {
    for (what, bytes) in [("garbage", b"garbage".repeat(100)), ("an empty archive", vec![0; 10_240])] {
        let request = Request::new("POST", "/images/load?quiet=1").body("application/x-tar", bytes);
        let answer = request.send(&scope.engine.socket)?.expect(200)?;
        let last: Value = serde_json::from_slice(&answer.body).with_context(|| answer.text())?;
        same(&format!("{what}: {last}"), last["error"].is_string(), true)?;
        same(what, &last["error"], &last["errorDetail"]["message"])?;
    }
    Ok(())
}

/// Loads an archive from memory; what the client said.
fn load_bytes(scope: &Scope<'_>, bytes: &[u8]) -> Result<crate::command_line::Output> {
    scope.client().call_with_input(&["load"], bytes)
}

fn write(scope: &Scope<'_>, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let path = scope.directory()?.join(name);
    std::fs::write(&path, bytes)?;
    Ok(path)
}

fn image(scope: &Scope<'_>, name: &str) -> Result<Value> {
    scope.api("GET", &format!("/images/{name}/json"))?.expect(200)?.json()
}

fn is_absent(scope: &Scope<'_>, name: &str) -> Result<()> {
    same(&format!("status of {name}"), scope.api("GET", &format!("/images/{name}/json"))?.status, 404)
}

fn ids(scope: &Scope<'_>) -> Result<BTreeSet<String>> {
    let rows = scope.api("GET", "/images/json?all=1")?.expect(200)?.json()?;
    Ok(rows.as_array().context("a list")?.iter().map(|row| row["Id"].to_string()).collect())
}

fn load(scope: &Scope<'_>) -> Result<()> {
    let name = format!("{}:v1", scope.name("loaded"));
    let path = write(scope, "image.tar", &docker_archive(&name, &small_layer("load")?, None)?)?;
    let said = scope.ok(&["load", "-i", &path.display().to_string()])?;
    same("stdout", said, format!("Loaded image: {name}"))?;
    same("Cmd", &image(scope, &name)?["Config"]["Cmd"], &json!(["/x"]))?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn import(scope: &Scope<'_>) -> Result<()> {
    let name = format!("{}:v1", scope.name("imported"));
    let path = write(scope, "root.tar", &small_layer("import")?)?.display().to_string();
    let id = scope.ok(&[
        "import",
        "--change",
        "CMD [\"/x\", \"y\"]",
        "--change",
        "ENV A=b",
        "--message",
        "made here",
        &path,
        &name,
    ])?;
    same("an id", id.starts_with("sha256:") && id.len() == 71, true)?;
    let image = image(scope, &name)?;
    same("Id", image["Id"].as_str(), Some(id.as_str()))?;
    same("Cmd", &image["Config"]["Cmd"], &json!(["/x", "y"]))?;
    contains("Env", &image["Config"]["Env"].to_string(), "A=b")?;
    same("Comment", image["Comment"].as_str(), Some("made here"))?;
    same("layers", image["RootFS"]["Layers"].as_array().map(Vec::len), Some(1))?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn inspect(scope: &Scope<'_>) -> Result<()> {
    let image = image(scope, BUSYBOX)?;
    contains("RepoTags", &image["RepoTags"].to_string(), BUSYBOX)?;
    same("Architecture", &image["Architecture"], "amd64")?;
    same("Os", &image["Os"], "linux")?;
    same("Created", image["Created"].as_str(), Some("2026-11-21T00:00:00Z"))?;
    same("Size", image["Size"].as_u64().unwrap_or(0) > 100_000, true)?;
    same("RootFS.Type", &image["RootFS"]["Type"], "layers")?;
    same("Config.Cmd", &image["Config"]["Cmd"], &json!(["sh"]))?;
    let id = image["Id"].as_str().unwrap_or_default().to_owned();
    let short = &id.trim_start_matches("sha256:")[..12];
    same("by short id", scope.ok(&["inspect", "-f", "{{.Id}}", short])?, id)
}

fn list(scope: &Scope<'_>) -> Result<()> {
    let rows = scope.api("GET", "/images/json")?.expect(200)?.json()?;
    let rows = rows.as_array().context("a list")?;
    let row = rows
        .iter()
        .find(|row| row["RepoTags"].to_string().contains(BUSYBOX))
        .context("busybox in the list")?;
    same("Created", row["Created"].is_i64(), true)?;
    same("Size", row["Size"].as_u64().unwrap_or(0) > 100_000, true)?;
    same("ParentId", row["ParentId"].is_string(), true)?;
    same("Containers", row["Containers"].is_i64(), true)?;
    let (repository, tag) = BUSYBOX.split_once(':').unwrap_or_default();
    let text = scope.ok(&["images", "--format", "{{.Repository}} {{.Tag}}"])?;
    contains("docker images", &text, &format!("{repository} {tag}"))
}

fn formats(scope: &Scope<'_>) -> Result<()> {
    let id = image(scope, BUSYBOX)?["Id"].as_str().unwrap_or_default().to_owned();
    let short = id.trim_start_matches("sha256:")[..12].to_owned();
    same("-q", scope.ok(&["images", "-q", BUSYBOX])?, short)?;
    same("-q --no-trunc", scope.ok(&["images", "-q", "--no-trunc", BUSYBOX])?, id)?;
    let name = BUSYBOX.split(':').next().unwrap_or_default();
    let listed =
        |filter: &str| scope.ok(&["images", "--filter", filter, "--format", "{{.Repository}}:{{.Tag}}"]);
    same("reference", listed(&format!("reference={name}:*"))?, BUSYBOX)?;
    same("no match", listed("reference=no/such*")?, "")
}

fn history(scope: &Scope<'_>) -> Result<()> {
    let rows = scope.api("GET", &format!("/images/{BUSYBOX}/history"))?.expect(200)?.json()?;
    same("rows", rows.as_array().map(Vec::len), Some(1))?;
    same("CreatedBy", &rows[0]["CreatedBy"], "conformance")?;
    contains("Tags", &rows[0]["Tags"].to_string(), BUSYBOX)?;
    contains("docker history", &scope.ok(&["history", "--no-trunc", BUSYBOX])?, "conformance")
}

fn tag(scope: &Scope<'_>) -> Result<()> {
    let (first, second) = (format!("{}:v1", scope.name("first")), format!("{}:v2", scope.name("second")));
    load_bytes(scope, &docker_archive(&first, &small_layer("tag")?, None)?)?.expect_code(0)?;
    scope.ok(&["tag", &first, &second])?;
    same("same image", image(scope, &first)?["Id"].clone(), image(scope, &second)?["Id"].clone())?;
    same("rmi", scope.ok(&["rmi", &first])?, format!("Untagged: {first}"))?;
    is_absent(scope, &first)?;
    image(scope, &second)?;
    scope.ok(&["rmi", &second]).map(drop)
}

fn remove(scope: &Scope<'_>) -> Result<()> {
    let name = format!("{}:v1", scope.name("removed"));
    load_bytes(scope, &docker_archive(&name, &small_layer("remove")?, None)?)?.expect_code(0)?;
    let id = image(scope, &name)?["Id"].as_str().unwrap_or_default().to_owned();
    let said = scope.ok(&["rmi", &name])?;
    contains("rmi", &said, &format!("Untagged: {name}"))?;
    contains("rmi", &said, &format!("Deleted: {id}"))?;
    is_absent(scope, &id)
}

fn in_use(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("user", &[], &["sleep", "300"])?;
    let id = image(scope, BUSYBOX)?["Id"].as_str().unwrap_or_default().to_owned();
    let output = scope.docker(&["rmi", &id])?;
    same("exit code", output.code, 1)?;
    says("stderr", &output.stderr, "conflict: unable to")?;
    image(scope, BUSYBOX)?;
    scope.ok(&["rm", "-f", &name]).map(drop)
}

fn save(scope: &Scope<'_>) -> Result<()> {
    let name = format!("{}:v1", scope.name("saved"));
    load_bytes(scope, &docker_archive(&name, &small_layer("save")?, None)?)?.expect_code(0)?;
    let id = image(scope, &name)?["Id"].clone();
    let path = scope.directory()?.join("saved.tar").display().to_string();
    scope.ok(&["save", "-o", &path, &name])?;
    scope.ok(&["rmi", &name])?;
    is_absent(scope, &name)?;
    scope.ok(&["load", "-i", &path])?;
    same("Id", image(scope, &name)?["Id"].clone(), id)?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn unknown(scope: &Scope<'_>) -> Result<()> {
    let answer = scope.api("GET", "/images/no-such-image:v9/json")?.expect(404)?;
    contains("inspect", &answer.message(), "No such image: no-such-image:v9")?;
    let answer = scope.api("DELETE", "/images/no-such-image")?.expect(404)?;
    contains("remove", &answer.message(), "No such image: no-such-image:latest")
}

/// Sends bytes as an archive to load and as a root to import; neither may succeed or leave an image.
fn refused(scope: &Scope<'_>, bytes: &[u8]) -> Result<()> {
    let name = scope.name("refused");
    let output = load_bytes(scope, bytes)?;
    same("load succeeded", output.code == 0 && output.stdout.contains("Loaded"), false)?;
    let import = Request::new("POST", &format!("/images/create?fromSrc=-&repo={name}"))
        .body("application/x-tar", bytes.to_vec());
    let answer = import.send(&scope.engine.socket)?;
    same("import says an error", answer.status >= 400 || answer.text().contains("\"errorDetail\""), true)?;
    is_absent(scope, &name)
}

fn garbage(scope: &Scope<'_>) -> Result<()> {
    refused(scope, "this is not a tar archive at all. ".repeat(100).as_bytes())
}

fn truncated(scope: &Scope<'_>) -> Result<()> {
    let name = format!("{}:v1", scope.name("truncated"));
    let mut layer = Writer::new(Vec::new());
    layer.add("big", 0o644, &Kind::File(&[7; 100_000]))?;
    let bytes = docker_archive(&name, &layer.finish()?, None)?;
    refused(scope, &bytes[..50_000])?;
    is_absent(scope, &name)
}

fn wrong_diff_id(scope: &Scope<'_>) -> Result<()> {
    let name = format!("{}:v1", scope.name("liar"));
    let bytes = docker_archive(&name, &small_layer("truth")?, Some(&hex_sha256(b"lie")))?;
    let output = load_bytes(scope, &bytes)?;
    same("loaded", output.stdout.contains("Loaded"), false)?;
    is_absent(scope, &name)
}

fn breakout(scope: &Scope<'_>) -> Result<()> {
    let target = scope.directory()?.join("escaped");
    let up = "../".repeat(12);
    let inside = target.strip_prefix("/").unwrap_or(&target).display().to_string();
    let mut by_dots = Writer::new(Vec::new());
    by_dots.add(&format!("{up}{inside}"), 0o644, &Kind::File(b"dots"))?;
    let mut by_link = Writer::new(Vec::new());
    by_link.add("way", 0o777, &Kind::Symlink(&format!("{up}{}", parent(&inside))))?;
    by_link.add("way/escaped", 0o644, &Kind::File(b"link"))?;
    let mut by_hard_link = Writer::new(Vec::new());
    by_hard_link.add("passwd", 0o644, &Kind::Hardlink(&format!("{up}etc/passwd")))?;
    by_hard_link.add("passwd", 0o644, &Kind::File(b"hard"))?;
    let before = std::fs::read("/etc/passwd")?;
    for (word, layer) in
        [("dots", by_dots.finish()?), ("link", by_link.finish()?), ("hard", by_hard_link.finish()?)]
    {
        let name = format!("{}:v1", scope.name(word));
        let output = load_bytes(scope, &docker_archive(&name, &layer, None)?)?;
        same(&format!("{word}: a file outside"), target.exists(), false)?;
        same(&format!("{word}: /etc/passwd"), std::fs::read("/etc/passwd")? == before, true)?;
        if output.stdout.contains("Loaded") {
            scope.ok(&["rmi", &name])?;
        }
    }
    same("the list still answers", ids(scope)?.is_empty(), false)
}

fn parent(path: &str) -> String {
    Path::new(path).parent().map(|parent| parent.display().to_string()).unwrap_or_default()
}
