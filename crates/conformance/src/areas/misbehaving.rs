//! Pulls from a registry that lies, cuts, is slow and leads in circles: each says what was wrong and leaves no image.

use crate::check::{Check, same, says, skip};
use crate::http::Request;
use crate::scope::Scope;
use crate::tar::{Kind, Writer};
use anyhow::{Context, Result, bail};
use std::sync::PoisonError;
use testkit::{Access, Fault, Registry};

const AREA: &str = "registry";

/// A fault, and the words of which one has to be said about it.
struct Case {
    /// What the registry does.
    name: &'static str,
    method: &'static str,
    /// What it does it to: a part of a path, or `layer` or `config`.
    part: &'static str,
    fault: fn() -> Fault,
    words: &'static [&'static str],
}

const ALWAYS: u32 = 999;

fn status(status: u16, code: &str, headers: &[(&str, &str)]) -> Fault {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"it is so"}}]}}"#);
    let all = [("Content-Type", "application/json")].iter().chain(headers);
    let headers = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Fault::Status(status, headers, body.into_bytes())
}

fn json(text: &str) -> Fault {
    let media_type = ("Content-Type".to_owned(), testkit::MANIFEST.to_owned());
    Fault::Status(200, vec![media_type], text.as_bytes().to_vec())
}

const CASES: &[Case] = &[
    Case {
        name: "a manifest with another digest",
        method: "GET",
        part: "/manifests/",
        fault: || Fault::WrongBytes,
        words: &["digest"],
    },
    Case {
        name: "a layer with another digest",
        method: "GET",
        part: "layer",
        fault: || Fault::WrongBytes,
        words: &["digest"],
    },
    Case {
        name: "a configuration with another digest",
        method: "GET",
        part: "config",
        fault: || Fault::WrongBytes,
        words: &["digest"],
    },
    Case {
        name: "a layer that is too long",
        method: "GET",
        part: "layer",
        fault: || Fault::Longer(b"more".to_vec()),
        words: &["bytes, expected"],
    },
    Case {
        name: "a layer that is shorter than its length",
        method: "GET",
        part: "layer",
        fault: || Fault::Short(7),
        words: &["bytes, expected"],
    },
    Case {
        name: "redirects in a circle",
        method: "GET",
        part: "layer",
        fault: || Fault::Redirect("{self}".to_owned()),
        words: &["redirect"],
    },
    Case {
        name: "a manifest that is no JSON",
        method: "",
        part: "/manifests/",
        fault: || json("{ no"),
        words: &["malformed", "invalid", "expected"],
    },
    Case {
        name: "a manifest that is empty",
        method: "",
        part: "/manifests/",
        fault: || json(""),
        words: &["malformed", "invalid", "EOF", "empty"],
    },
    Case {
        name: "a manifest that is called an index",
        method: "",
        part: "/manifests/",
        fault: || Fault::ContentType(testkit::INDEX.to_owned()),
        words: &["index", "manifest"],
    },
    Case {
        name: "a manifest that is called a page",
        method: "",
        part: "/manifests/",
        fault: || Fault::ContentType("text/html".to_owned()),
        words: &["text/html", "unsupported"],
    },
    Case {
        name: "401",
        method: "",
        part: "/manifests/",
        fault: || status(401, "UNAUTHORIZED", &[]),
        words: &["unauthorized", "no basic auth", "access denied"],
    },
    Case {
        name: "403",
        method: "",
        part: "/manifests/",
        fault: || status(403, "DENIED", &[]),
        words: &["denied"],
    },
    Case {
        name: "404 for the manifest",
        method: "",
        part: "/manifests/",
        fault: || status(404, "MANIFEST_UNKNOWN", &[]),
        words: &["not found: manifest unknown"],
    },
    Case {
        name: "404 for a layer",
        method: "GET",
        part: "layer",
        fault: || status(404, "BLOB_UNKNOWN", &[]),
        words: &["unknown"],
    },
    Case {
        name: "429",
        method: "",
        part: "/manifests/",
        fault: || status(429, "TOOMANYREQUESTS", &[("Retry-After", "3600")]),
        words: &["toomanyrequests"],
    },
    Case {
        name: "500",
        method: "",
        part: "/manifests/",
        fault: || Fault::Status(500, Vec::new(), b"oops".to_vec()),
        words: &["500"],
    },
    Case {
        name: "no HTTP",
        method: "",
        part: "/manifests/",
        fault: || Fault::Raw(b"220 mail.example ESMTP\r\n".to_vec()),
        words: &["http", "malformed", "invalid", "parse"],
    },
    Case {
        name: "a head without an end",
        method: "",
        part: "/manifests/",
        fault: || Fault::HugeHead(4 << 20),
        words: &["head", "too large", "exceeded"],
    },
];

pub(crate) fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = CASES
        .iter()
        .map(|case| {
            Check::new(AREA, format!("a pull says what is wrong with {}", case.name), move |scope| {
                refused(scope, case)
            })
        })
        .collect();
    checks.extend([
        Check::new(AREA, "a pull says where name and secret are wrong", wrong_secret),
        Check::new(AREA, "a large layer of a slow registry comes over several streams", several_streams),
        Check::new(AREA, "a registry that knows no ranges is pulled from all the same", no_ranges),
        Check::new(AREA, "parts of a layer are kept over a kill of the daemon", killed).alone(),
        Check::new(AREA, "no more than three layers come at a time, and five go", at_a_time).alone(),
        Check::new(AREA, "a pull that is cut says when it tries again", tries_again),
        Check::new(AREA, "an image of 127 layers is pulled and runs, and one of 128 is refused", many_layers),
    ]);
    checks
}

/// A layer of one file.
fn layer(content: &[u8]) -> Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    writer.add("file", 0o644, &Kind::File(content))?;
    Ok(writer.finish()?)
}

/// Bytes that do not compress and tell their places apart.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 11_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

pub(super) fn is_absent(scope: &Scope<'_>, name: &str) -> Result<()> {
    same(&format!("status of {name}"), scope.api("GET", &format!("/images/{name}/json"))?.status, 404)
}

/// What is on its way into the store; `None` for an engine that is not ours.
pub(super) fn partial(scope: &Scope<'_>) -> Result<Option<Vec<String>>> {
    let Some(daemon) = scope.engine.daemon.as_ref().filter(|_| scope.engine.program.is_some()) else {
        return Ok(None);
    };
    let root = daemon.lock().unwrap_or_else(PoisonError::into_inner).setup().data_root();
    let names = std::fs::read_dir(root.join("ingest"))?;
    let names = names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    Ok(Some(names.collect::<std::io::Result<_>>()?))
}

fn refused(scope: &Scope<'_>, case: &Case) -> Result<()> {
    let registry = Registry::start();
    // What another check has pulled is not asked for again.
    let layer = layer(scope.name(case.name).repeat(100).as_bytes())?;
    let digest = testkit::digest_of(&layer);
    registry.image("app", "1", &[layer]);
    let name = format!("{}/app:1", registry.host());
    let part = match case.part {
        "layer" => format!("/blobs/{digest}"),
        "config" => format!("/blobs/{}", config_of(&registry)?),
        part => part.to_owned(),
    };
    registry.misbehave(case.method, &part, ALWAYS, (case.fault)());
    let output = scope.docker(&["pull", &name])?;
    same("exit code", output.code, 1)?;
    is_absent(scope, &name)?;
    if scope.engine.is_old() {
        return Ok(());
    }
    let said = output.stderr.to_lowercase();
    if !case.words.iter().any(|words| said.contains(&words.to_lowercase())) {
        bail!("the message is not about it:\n  {}\n  expected one of {:?}", output.stderr.trim(), case.words);
    }
    if let Some(left) = partial(scope)?.filter(|_| case.words == ["digest"]) {
        let hex = digest.trim_start_matches("sha256:");
        same("wrong content is kept", left.iter().any(|name| name.contains(hex)), false)?;
    }
    // Without the fault, the same name can be pulled.
    registry.behave();
    scope.ok(&["pull", &name])?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn config_of(registry: &Registry) -> Result<String> {
    let (_, manifest) = registry.stored_manifest("app", "1").context("the manifest")?;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest)?;
    Ok(manifest["config"]["digest"].as_str().context("a digest")?.to_owned())
}

fn wrong_secret(scope: &Scope<'_>) -> Result<()> {
    let registry = Registry::start();
    registry.image("app", "1", &[]);
    registry.require(Access::Basic("alice".to_owned(), "secret".to_owned()));
    let name = format!("{}/app", registry.host());
    let auth = "eyJ1c2VybmFtZSI6ImFsaWNlIiwicGFzc3dvcmQiOiJ3cm9uZyJ9"; // alice, wrong
    let request = Request::new("POST", &format!("/images/create?fromImage={name}&tag=1"));
    let answer = request.header("X-Registry-Auth", auth).send(&scope.engine.socket)?;
    says("the answer", &answer.text(), "unauthorized")?;
    is_absent(scope, &format!("{name}:1"))
}

/// Bytes of a layer that is worth several streams, and how many of them a stream brings in a second.
const LARGE: usize = 32 << 20;
const SLOW: u64 = 8 << 20;

fn large(registry: &Registry) -> Result<(String, String)> {
    let layer = layer(&noise(LARGE))?;
    let digest = testkit::digest_of(&layer);
    registry.image("large", "1", &[layer]);
    registry.misbehave("GET", &format!("/blobs/{digest}"), ALWAYS, Fault::Slow(SLOW));
    Ok((format!("{}/large:1", registry.host()), digest))
}

/// The ranges that were asked for of a blob.
pub(super) fn ranges(registry: &Registry, digest: &str) -> Vec<String> {
    let seen = registry.seen();
    let of_it = seen.iter().filter(|seen| seen.method == "GET" && seen.target.contains(digest));
    of_it.map(|seen| seen.header("range").unwrap_or("all").to_owned()).collect()
}

fn several_streams(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("fetches a layer over one connection")?;
    let registry = Registry::start();
    let (name, digest) = large(&registry)?;
    scope.ok(&["pull", &name])?;
    let asked = ranges(&registry, &digest);
    same(&format!("several streams in {asked:?}"), asked.len() > 1 && asked[0] == "all", true)?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn no_ranges(scope: &Scope<'_>) -> Result<()> {
    let registry = Registry::start();
    let layer = layer(&noise(12 << 20))?;
    let part = format!("/blobs/{}", testkit::digest_of(&layer));
    registry.image("whole", "1", &[layer]);
    registry.misbehave("GET", &part, 1, Fault::CutAfter(7 << 20));
    registry.misbehave("GET", &part, ALWAYS, Fault::IgnoreRange);
    let name = format!("{}/whole:1", registry.host());
    scope.ok(&["pull", &name])?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn killed(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("begins a layer from its start after a kill")?;
    let Some(daemon) = &scope.engine.daemon else { return Err(skip("the daemon is not the suite's own")) };
    let registry = Registry::start();
    let (name, digest) = large(&registry)?;
    let path = format!("/images/create?fromImage={}&tag=1", name.trim_end_matches(":1"));
    let _pulling = Request::new("POST", &path).open(&scope.engine.socket)?;
    // By then something of the layer is here: another stream comes only after the first one has brought something.
    scope.eventually("a second stream", || Ok((ranges(&registry, &digest).len() > 1).then_some(())))?;
    let before = ranges(&registry, &digest).len();
    let mut daemon = daemon.lock().unwrap_or_else(PoisonError::into_inner);
    daemon.kill_hard()?;
    daemon.start_again()?;
    drop(daemon);
    is_absent(scope, &name)?;
    scope.ok(&["pull", &name])?;
    let again = ranges(&registry, &digest)[before..].to_vec();
    same(&format!("all of it again in {again:?}"), again.iter().any(|range| range == "all"), false)?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn at_a_time(scope: &Scope<'_>) -> Result<()> {
    let registry = Registry::start();
    let layers = (0..8_u8).map(|number| layer(&[number; 200_000])).collect::<Result<Vec<_>>>()?;
    let name = format!("{}/many:1", registry.host());
    registry.image("many", "1", &layers);
    for layer in &layers {
        registry.misbehave("GET", &format!("/blobs/{}", testkit::digest_of(layer)), 1, Fault::Slow(1 << 20));
    }
    scope.ok(&["pull", &name])?;
    same("layers at a time", registry.most_at_once("GET", "/blobs/"), 3)?;
    let other = Registry::start();
    let there = format!("{}/many:1", other.host());
    scope.ok(&["tag", &name, &there])?;
    other.misbehave("POST", "/uploads/", ALWAYS, Fault::Late(100));
    scope.ok(&["push", &there])?;
    same("uploads at a time", other.most_at_once("POST", "/uploads/"), 5)?;
    scope.ok(&["rmi", &name, &there]).map(drop)
}

fn tries_again(scope: &Scope<'_>) -> Result<()> {
    let registry = Registry::start();
    let layer = layer(&noise(100_001))?;
    registry.misbehave("GET", &format!("/blobs/{}", testkit::digest_of(&layer)), 1, Fault::CutAfter(50_000));
    registry.image("cut", "1", &[layer]);
    let name = format!("{}/cut", registry.host());
    let request = Request::new("POST", &format!("/images/create?fromImage={name}&tag=1"));
    let said = request.send(&scope.engine.socket)?.expect(200)?.text();
    says("the lines", &said, "Retrying in ")?;
    says("the lines", &said, "Status: Downloaded newer image")?;
    scope.ok(&["rmi", &format!("{name}:1")]).map(drop)
}

fn many_layers(scope: &Scope<'_>) -> Result<()> {
    let program = scope.engine.busybox_program.clone().context("a busybox program")?;
    let mut layers = vec![crate::fixture::busybox_layer(&program)?];
    for number in 1..127 {
        let mut writer = Writer::new(Vec::new());
        writer.add(&format!("layer{number}"), 0o644, &Kind::File(b"x"))?;
        layers.push(writer.finish()?);
    }
    let registry = Registry::start();
    registry.image("deep", "1", &layers);
    let name = format!("{}/deep:1", registry.host());
    scope.ok(&["pull", &name])?;
    let container = scope.name("deep");
    let count =
        ["run", "--rm", "--name", &container, "--network", "none", &name, "sh", "-c", "ls /layer* | wc -l"];
    same("what the layers have", scope.ok(&count)?, "126")?;
    scope.ok(&["rmi", &name])?;
    scope.since_new_engines("finds out at the start of a container")?;
    layers.push(layer(b"one more")?);
    registry.image("deep", "2", &layers);
    let deeper = format!("{}/deep:2", registry.host());
    let output = scope.docker(&["pull", &deeper])?.expect_code(1)?;
    says("one layer more", &output.stderr, "limit of 127")?;
    is_absent(scope, &deeper)
}
