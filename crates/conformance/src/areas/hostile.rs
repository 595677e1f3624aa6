//! Hostile layers and manifests, pulled, loaded and imported: each is refused with a clear word and leaves nothing, or stays
//! inside its container.

use super::images::docker_archive;
use super::misbehaving::is_absent;
use crate::check::{Check, same, says, skip};
use crate::fixture::busybox_layer;
use crate::http::Request;
use crate::scope::Scope;
use crate::tar::{Kind, Writer};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::PoisonError;
use testkit::Registry;

const AREA: &str = "hostile";

/// A layer that is refused, and a part of what is said about it.
struct Attack {
    name: &'static str,
    add: fn(&mut Writer<Vec<u8>>) -> std::io::Result<()>,
    words: &'static str,
}

const fn attack(
    name: &'static str,
    words: &'static str,
    add: fn(&mut Writer<Vec<u8>>) -> std::io::Result<()>,
) -> Attack {
    Attack { name, add, words }
}

const ATTACKS: &[Attack] = &[
    attack("a path with ..", "leads out of the layer", |layer| {
        layer.add("a/../../outside", 0o644, &Kind::File(b"x"))
    }),
    attack("a hard link to a path with ..", "leads out of the layer", |layer| {
        layer.add("shadow", 0o600, &Kind::Hardlink("../../../../etc/shadow"))
    }),
    attack("a hard link to a file of the host", "does not exist", |layer| {
        layer.add("shadow", 0o600, &Kind::Hardlink("/etc/shadow"))
    }),
    attack("a hard link through a link to the host", "does not exist", |layer| {
        layer.add("way", 0o777, &Kind::Symlink("/etc"))?;
        layer.add("shadow", 0o600, &Kind::Hardlink("way/shadow"))
    }),
    attack("links in a circle", "cannot enter a directory", |layer| {
        layer.add("a", 0o777, &Kind::Symlink("b"))?;
        layer.add("b", 0o777, &Kind::Symlink("a"))?;
        layer.add("a/file", 0o644, &Kind::File(b"x"))
    }),
    attack("a file that is used as a directory", "is used as a directory", |layer| {
        layer.add("a", 0o644, &Kind::File(b"x"))?;
        layer.add("a/file", 0o644, &Kind::File(b"x"))
    }),
    attack("a removal of ..", "removes", |layer| layer.add("a/.wh...", 0o644, &Kind::File(b""))),
    attack("a name of 300 bytes", "longer than 255 bytes", |layer| {
        layer.add(&"n".repeat(300), 0o644, &Kind::File(b"x"))
    }),
    attack("a path of 9000 bytes", "path", |layer| {
        layer.add(&"deep/".repeat(1800), 0o755, &Kind::File(b"x"))
    }),
    attack("headers of two megabytes", "limit", |layer| {
        layer.pax(&[("comment", &"x".repeat(2 << 20))])?;
        layer.add("file", 0o644, &Kind::File(b"x"))
    }),
    attack("a bomb of headers", "", |layer| {
        for _ in 0..4000 {
            layer.raw("././@LongLink", b'L', 5, b"name\0")?;
        }
        layer.add("file", 0o644, &Kind::File(b"x"))
    }),
    attack("200 extended attributes on a file", "more than 128 extended attributes", |layer| {
        let names: Vec<String> = (0..200).map(|number| format!("SCHILY.xattr.user.{number}")).collect();
        let records: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
        layer.pax(&records)?;
        layer.add("file", 0o644, &Kind::File(b"x"))
    }),
    attack("a length that is no number", "is not a number", |layer| {
        layer.pax(&[("size", "-1")])?;
        layer.add("file", 0o644, &Kind::File(b"x"))
    }),
    attack("a length that no disk has", "impossible size", |layer| {
        layer.pax(&[("size", "9223372036854775807")])?;
        layer.add("file", 0o644, &Kind::File(b"x"))
    }),
    attack("a length beyond its end", "unexpected EOF", |layer| layer.raw("file", b'0', 1 << 30, b"x")),
    attack("an entry of an unknown kind", "a type that cannot be unpacked", |layer| {
        layer.raw("file", b'Z', 0, b"")
    }),
    attack("a file as its root", "its root is not a directory", |layer| {
        layer.add("./", 0o644, &Kind::Symlink("/etc"))
    }),
];

pub(crate) fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = ATTACKS
        .iter()
        .map(|attack| {
            let name = format!("a layer with {} is refused and leaves nothing", attack.name);
            Check::new(AREA, name, move |scope| refused(scope, attack))
        })
        .collect();
    checks.extend([
        Check::new(AREA, "a layer that inflates without end is refused and leaves nothing", bomb),
        Check::new(AREA, "paths, links, devices and doubles stay inside the container", contained),
        Check::new(AREA, "pipes in the place of files stop nobody", pipes),
        Check::new(
            AREA,
            "a manifest that is not what it is called, or names no digests, is refused",
            confused,
        ),
        Check::new(AREA, "wrong content is nowhere to be seen, also while it is unpacked", unseen).alone(),
    ]);
    checks
}

/// A layer with an attack behind an ordinary file that no other layer has.
fn layer(scope: &Scope<'_>, attack: &Attack) -> Result<Vec<u8>> {
    let mut layer = Writer::new(Vec::new());
    let own = scope.name(attack.name);
    layer.add("own", 0o644, &Kind::File(own.as_bytes()))?;
    (attack.add)(&mut layer)?;
    Ok(layer.finish()?)
}

/// The data root of a daemon that is ours.
fn data_root(scope: &Scope<'_>) -> Option<PathBuf> {
    let daemon = scope.engine.daemon.as_ref().filter(|_| scope.engine.program.is_some())?;
    Some(daemon.lock().unwrap_or_else(PoisonError::into_inner).setup().data_root())
}

/// Fails if there is a directory of an unpacked layer with this diff ID.
fn no_layer(scope: &Scope<'_>, diff_id: &str) -> Result<()> {
    let Some(root) = data_root(scope) else { return Ok(()) };
    let hex = diff_id.trim_start_matches("sha256:");
    for place in ["sha256", "chain-sha256"] {
        let directory = root.join("layers").join(place).join(hex);
        same(&format!("{} exists", directory.display()), directory.exists(), false)?;
    }
    Ok(())
}

fn no_blob(scope: &Scope<'_>, digest: &str) -> Result<()> {
    let Some(root) = data_root(scope) else { return Ok(()) };
    let blob = root.join("blobs").join(digest.replace(':', "/"));
    same(&format!("{} exists", blob.display()), blob.exists(), false)
}

fn refused(scope: &Scope<'_>, attack: &Attack) -> Result<()> {
    scope.since_new_engines("unpacks some of these in other ways")?;
    let layer = layer(scope, attack)?;
    let digest = testkit::digest_of(&layer);
    let registry = Registry::start();
    registry.image("app", "1", std::slice::from_ref(&layer));
    let pulled = format!("{}/app:1", registry.host());
    let output = scope.docker(&["pull", &pulled])?.expect_code(1)?;
    says("pull", &output.stderr, attack.words)?;
    is_absent(scope, &pulled)?;
    no_layer(scope, &digest)?;
    let loaded = format!("{}:1", scope.name("loaded"));
    let archive = docker_archive(&loaded, &layer, None)?;
    let output = scope.client().call_with_input(&["load"], &archive)?.expect_code(1)?;
    says("load", &output.stderr, attack.words)?;
    is_absent(scope, &loaded)?;
    no_layer(scope, &digest)?;
    let imported = scope.name("imported");
    let path = format!("/images/create?fromSrc=-&repo={imported}");
    let answer = Request::new("POST", &path).body("application/x-tar", layer).send(&scope.engine.socket)?;
    says("import", &answer.text(), attack.words)?;
    same("import says an error", answer.status >= 400 || answer.text().contains("\"errorDetail\""), true)?;
    is_absent(scope, &imported)?;
    no_layer(scope, &digest)
}

/// A layer of zeros as Zstandard has them (RFC 8878): blocks of 128 KiB that take four bytes each.
fn zeros(bytes: u64) -> Vec<u8> {
    const BLOCK: u64 = 128 << 10;
    // No checksum, no size; a window of 128 KiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x38];
    for left in (0..bytes / BLOCK).rev() {
        // Last block or not, repeated byte, length.
        let header = u64::from(left == 0) | 1 << 1 | BLOCK << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

/// Puts an image of one layer that is not plain into a registry.
fn packed(registry: &Registry, layer: &[u8], diff_id: &str, media_type: &str) {
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/x"] },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    })
    .to_string();
    let (config_digest, size) = (registry.blob("app", config.clone()), config.len());
    let (layer_digest, layer_size) = (registry.blob("app", layer), layer.len());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": testkit::MANIFEST,
        "config": { "mediaType": testkit::CONFIG, "digest": config_digest, "size": size },
        "layers": [{ "mediaType": media_type, "digest": layer_digest, "size": layer_size }],
    });
    registry.manifest("app", "1", testkit::MANIFEST, manifest.to_string());
}

fn bomb(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("inflates to the end")?;
    // Behind its end an archive may have zeros: nothing of this one is written to the disk.
    let layer = zeros(5 << 30);
    let registry = Registry::start();
    let diff_id = format!("sha256:{}", "0".repeat(64));
    packed(&registry, &layer, &diff_id, "application/vnd.oci.image.layer.v1.tar+zstd");
    let name = format!("{}/app:1", registry.host());
    let output = scope.docker(&["pull", &name])?.expect_code(1)?;
    says("pull", &output.stderr, "a decompression bomb")?;
    is_absent(scope, &name)?;
    no_layer(scope, &diff_id)
}

/// What is allowed, and stays where it belongs.
fn contained(scope: &Scope<'_>) -> Result<()> {
    let program = scope.engine.busybox_program.clone().ok_or_else(|| skip("no busybox program is known"))?;
    let outside = scope.directory()?.join("outside").display().to_string();
    let up = "../".repeat(12);
    let mut layer = Writer::new(Vec::new());
    layer.add(&outside, 0o644, &Kind::File(b"absolute"))?;
    layer.add("way", 0o777, &Kind::Symlink(&up))?;
    layer.add("way/through", 0o644, &Kind::File(b"through"))?;
    layer.add("root", 0o777, &Kind::Symlink("/proc/self/root"))?;
    layer.add("first", 0o644, &Kind::File(b"first"))?;
    layer.add("twice", 0o644, &Kind::Hardlink("first"))?;
    layer.add("twice", 0o777, &Kind::Symlink("/etc/passwd"))?;
    layer.add("twice", 0o644, &Kind::File(b"second"))?;
    layer.add("memory", 0o666, &Kind::Device(1, 1))?;
    let registry = Registry::start();
    registry.image("app", "1", &[busybox_layer(&program)?, layer.finish()?]);
    let name = format!("{}/app:1", registry.host());
    scope.ok(&["pull", "-q", &name])?;
    let script = format!(
        "/bin/busybox cat {outside} /through /first /twice; echo; /bin/busybox head -c 1 /memory 2>&1 || echo refused"
    );
    let container = scope.name("contained");
    let flags = ["run", "--rm", "--network", "none", "--name", &container, &name];
    let said = scope.ok(&[&flags[..], &["/bin/busybox", "sh", "-c", &script]].concat())?;
    same("content", said.lines().next(), Some("absolutethroughfirstsecond"))?;
    says("the device", &said, "operation not permitted")?;
    same("a file outside", std::path::Path::new(&outside).exists(), false)?;
    same("a file above", std::path::Path::new("/through").exists(), false)?;
    scope.ok(&["rmi", &name]).map(drop)
}

/// What an engine itself reads of a container must not be waited for when it is a pipe.
fn pipes(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("waits for a writer")?;
    let program = scope.engine.busybox_program.clone().ok_or_else(|| skip("no busybox program is known"))?;
    let mut layer = Writer::new(Vec::new());
    for path in ["etc/passwd", "etc/group", "etc/hosts", "etc/resolv.conf", "etc/hostname", "data"] {
        layer.add(path, 0o666, &Kind::Fifo)?;
    }
    let registry = Registry::start();
    registry.image("app", "1", &[busybox_layer(&program)?, layer.finish()?]);
    let name = format!("{}/app:1", registry.host());
    scope.ok(&["pull", "-q", &name])?;
    let container = scope.name("piped");
    // 124 is what a client that had to be ended answers.
    let run = |user: &str| {
        let flags = ["run", "--rm", "--network", "none", "--name", &container, "--user", user, &name];
        let output = scope.docker(&[&flags[..], &["/bin/busybox", "true"]].concat())?;
        same(&format!("run as {user} ends: {}", output.stderr), output.code == 124, false)
    };
    run("0")?;
    run("alice")?;
    let made = scope.name("made");
    scope.ok(&["create", "--name", &made, "-v", "/data", &name, "/bin/busybox", "true"])?;
    let output = scope.docker(&["cp", &format!("{made}:/etc/passwd"), "-"])?;
    same("cp of a pipe ends", output.code == 124, false)?;
    let output = scope.docker(&["start", "-a", &made])?;
    same("start ends", output.code == 124, false)?;
    scope.ok(&["rm", "-f", "-v", &made])?;
    scope.ok(&["rmi", &name]).map(drop)
}

/// Puts a document under a tag, and tries to pull it.
fn refuse_document(
    scope: &Scope<'_>,
    what: &str,
    media_type: &str,
    document: &Value,
    words: &str,
) -> Result<()> {
    let registry = Registry::start();
    let layer = registry.blob("app", b"a layer".as_slice());
    let text = document.to_string().replace("LAYER", &layer);
    registry.manifest("app", "1", media_type, text);
    let name = format!("{}/app:1", registry.host());
    let output = scope.docker(&["pull", &name])?.expect_code(1).context(what.to_owned())?;
    says(what, &output.stderr, words)?;
    is_absent(scope, &name)
}

fn confused(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("has other words")?;
    let part = |digest: &str| json!({ "mediaType": testkit::CONFIG, "digest": digest, "size": 7 });
    let manifest = |config: Value| json!({ "schemaVersion": 2, "mediaType": testkit::MANIFEST, "config": config, "layers": [] });
    for digest in [
        "sha256:../../../../etc/passwd",
        "sha256:abc",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "LAYER\u{0}",
        "",
    ] {
        let what = format!("the digest {digest:?}");
        refuse_document(scope, &what, testkit::MANIFEST, &manifest(part(digest)), "digest")?;
    }
    let upper = format!("sha256:{}", "AB".repeat(32));
    refuse_document(scope, "upper case", testkit::MANIFEST, &manifest(part(&upper)), "digest")?;
    let index = json!({ "schemaVersion": 2, "mediaType": testkit::INDEX, "manifests": [part("LAYER")] });
    refuse_document(scope, "an index that is called a manifest", testkit::MANIFEST, &index, "")?;
    let both = json!({
        "schemaVersion": 2, "mediaType": testkit::MANIFEST, "config": part("LAYER"), "layers": [], "manifests": [part("LAYER")],
    });
    refuse_document(scope, "both at once", testkit::MANIFEST, &both, "")?;
    let old = json!({ "schemaVersion": 1, "name": "app", "tag": "1", "fsLayers": [], "history": [] });
    refuse_document(scope, "the first schema", testkit::MANIFEST, &old, "")?;
    refuse_document(
        scope,
        "a configuration that is none",
        testkit::MANIFEST,
        &manifest(part("LAYER")),
        "malformed",
    )?;
    refuse_document(
        scope,
        "a length that is none",
        testkit::MANIFEST,
        &{
            let mut config = part("LAYER");
            config["size"] = json!(-7);
            manifest(config)
        },
        "",
    )
}

/// What a layer holds is parsed while it arrives; until its digest is verified, nothing of it can be seen.
fn unseen(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("unpacks afterwards")?;
    let root = data_root(scope).ok_or_else(|| skip("the daemon's directories are not known here"))?;
    let mut layer = Writer::new(Vec::new());
    layer.add("own", 0o644, &Kind::File(scope.name("unseen").as_bytes()))?;
    layer.add("large", 0o644, &Kind::File(&super::misbehaving::noise(4 << 20)))?;
    let layer = layer.finish()?;
    let digest = testkit::digest_of(&layer);
    let registry = Registry::start();
    registry.image("app", "1", &[layer]);
    registry.misbehave("GET", &format!("/blobs/{digest}"), 99, testkit::Fault::WrongBytes);
    let before = scope.api("GET", "/images/json?all=1")?.expect(200)?.text();
    let name = format!("{}/app:1", registry.host());
    let output = scope.docker(&["pull", &name])?.expect_code(1)?;
    says("pull", &output.stderr, "digest")?;
    is_absent(scope, &name)?;
    no_blob(scope, &digest)?;
    no_layer(scope, &digest)?;
    same("the list", scope.api("GET", "/images/json?all=1")?.expect(200)?.text(), before)?;
    let names = |place: &str| -> Result<Vec<String>> {
        let entries = std::fs::read_dir(root.join(place))?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        Ok(names.collect::<std::io::Result<_>>()?)
    };
    same("what is left of unpacking", names("layers/tmp")?, Vec::<String>::new())?;
    let hex = digest.trim_start_matches("sha256:");
    same("what is left of the content", names("ingest")?.iter().any(|name| name.contains(hex)), false)
}
