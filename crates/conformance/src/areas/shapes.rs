//! Shapes of versions: the same things asked for in the versions that clients stopped at, and how the answers differ.

use crate::check::{Check, contains, same};
use crate::fixture::BUSYBOX;
use crate::scope::{Scope, percent_encode};
use anyhow::{Context, Result};
use serde_json::{Value, json};

const AREA: &str = "shapes";

/// The versions that are asked, newest first: the newest, those around great changes, and the oldest.
const VERSIONS: [u32; 7] = [57, 52, 51, 47, 44, 40, 24];

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "a container is told as each version tells it", container),
        Check::new(AREA, "an image is told as each version tells it", image),
        Check::new(AREA, "a network is told as each version tells it", network),
        Check::new(AREA, "info, disk usage and events are told as each version tells them", system),
        Check::new(AREA, "a request means what its version says it means", requests),
        Check::new(AREA, "paths that came later are refused to older versions", later),
    ]
}

/// Compares what neighbours among the versions answer: `-` gone, `+` new, `~` another value, in the older one. Values are
/// named when every engine has the same; of an engine that is older than the newest version, the rest is compared.
fn compare(
    scope: &Scope<'_>,
    what: &str,
    ask: impl Fn(u32) -> Result<Value>,
    expected: &[&str],
) -> Result<()> {
    let served: Vec<u32> = VERSIONS.into_iter().filter(|minor| *minor <= scope.engine.api.1).collect();
    let answers = served.iter().map(|minor| ask(*minor)).collect::<Result<Vec<_>>>()?;
    let mut lines = Vec::new();
    for (minor, pair) in served[1..].iter().zip(answers.windows(2)) {
        let mut found = Vec::new();
        differences("", &pair[0], &pair[1], &mut found);
        found.sort();
        lines.extend(found.into_iter().map(|line| format!("1.{minor} {line}")));
    }
    let is_served = |line: &&&str| {
        let minor = line.split(' ').next().and_then(|version| version.strip_prefix("1."));
        minor.and_then(|minor| minor.parse().ok()).is_some_and(|minor| served[1..].contains(&minor))
    };
    let expected: Vec<&str> = expected.iter().filter(is_served).copied().collect();
    same(what, lines.join("\n"), expected.join("\n"))
}

/// How a value is printed; `None` for one that differs from run to run.
fn plain(value: &Value) -> Option<String> {
    let is_plain = match value {
        Value::Null | Value::Bool(_) => true,
        Value::Number(number) => number.as_i64().is_some_and(|number| number <= 0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    };
    is_plain.then(|| value.to_string())
}

fn differences(path: &str, newer: &Value, older: &Value, lines: &mut Vec<String>) {
    match (newer, older) {
        (Value::Object(newer), Value::Object(older)) => {
            for key in newer.keys().filter(|key| !older.contains_key(*key)) {
                lines.push(format!("- {path}/{key}"));
            }
            for (key, value) in older {
                match newer.get(key) {
                    Some(before) => differences(&format!("{path}/{key}"), before, value, lines),
                    None => {
                        let shown = plain(value).map(|value| format!(" {value}")).unwrap_or_default();
                        lines.push(format!("+ {path}/{key}{shown}"));
                    }
                }
            }
        }
        (Value::Array(newer), Value::Array(older)) if newer.len() == older.len() => {
            for (at, (newer, older)) in newer.iter().zip(older).enumerate() {
                differences(&format!("{path}/{at}"), newer, older, lines);
            }
        }
        // Numbers of things that others make meanwhile say nothing.
        _ if newer != older && *older != json!(0) => {
            lines.extend(plain(older).map(|value| format!("~ {path} {value}")));
        }
        _ => {}
    }
}

fn get(scope: &Scope<'_>, minor: u32, path: &str) -> Result<Value> {
    scope.api("GET", &format!("/v1.{minor}{path}"))?.expect(200)?.json()
}

/// A container of every field that versions differ about, running.
fn running(scope: &Scope<'_>) -> Result<String> {
    let name = scope.name("shaped");
    let address = "02:42:0a:09:08:07";
    let request = json!({
        "Image": BUSYBOX, "Cmd": ["sleep", "300"], "Labels": { "a": "b" }, "ExposedPorts": { "80/tcp": {} },
        "Healthcheck": { "Test": ["NONE"] },
        "HostConfig": { "Annotations": { "org.example.a": "b" }, "Umask": 63, "NetworkMode": "bridge" },
        "NetworkingConfig": { "EndpointsConfig": { "bridge": { "MacAddress": address } } },
    });
    scope.api_json("POST", &format!("/containers/create?name={name}"), &request)?.expect(201)?;
    scope.api("POST", &format!("/containers/{name}/start"))?.expect(204)?;
    Ok(name)
}

fn container(scope: &Scope<'_>) -> Result<()> {
    let name = running(scope)?;
    let path = format!("/containers/{name}/json?size=1");
    compare(
        scope,
        "inspect",
        |minor| get(scope, minor, &path),
        &[
            "1.52 - /HostConfig/Umask",
            "1.51 + /Config/MacAddress",
            "1.51 + /Config/OnBuild null",
            "1.51 + /GraphDriver",
            "1.51 + /NetworkSettings/Bridge \"\"",
            "1.51 + /NetworkSettings/EndpointID",
            "1.51 + /NetworkSettings/Gateway",
            "1.51 + /NetworkSettings/GlobalIPv6Address \"\"",
            "1.51 + /NetworkSettings/GlobalIPv6PrefixLen 0",
            "1.51 + /NetworkSettings/HairpinMode false",
            "1.51 + /NetworkSettings/IPAddress",
            "1.51 + /NetworkSettings/IPPrefixLen",
            "1.51 + /NetworkSettings/IPv6Gateway \"\"",
            "1.51 + /NetworkSettings/LinkLocalIPv6Address \"\"",
            "1.51 + /NetworkSettings/LinkLocalIPv6PrefixLen 0",
            "1.51 + /NetworkSettings/MacAddress",
            "1.51 + /NetworkSettings/SecondaryIPAddresses null",
            "1.51 + /NetworkSettings/SecondaryIPv6Addresses null",
            "1.51 - /Storage",
            "1.47 - /ImageManifestDescriptor",
        ],
    )?;
    let old = get(scope, 51.min(scope.engine.api.1), &path)?;
    let (top, bridge) = (&old["NetworkSettings"], &old["NetworkSettings"]["Networks"]["bridge"]);
    for field in ["IPAddress", "IPPrefixLen", "Gateway", "MacAddress", "EndpointID"] {
        same(field, &top[field], &bridge[field])?;
    }
    same("Config.MacAddress", &old["Config"]["MacAddress"], &bridge["MacAddress"])?;
    let filters = percent_encode(&format!("{{\"name\":[\"^/{name}$\"]}}"));
    compare(
        scope,
        "list",
        |minor| get(scope, minor, &format!("/containers/json?filters={filters}")),
        &["1.51 - /0/Health", "1.47 - /0/ImageManifestDescriptor", "1.44 - /0/HostConfig/Annotations"],
    )
}

fn image(scope: &Scope<'_>) -> Result<()> {
    let path = format!("/images/{BUSYBOX}/json");
    compare(
        scope,
        "inspect",
        |minor| get(scope, minor, &path),
        &[
            "1.51 + /Author \"\"",
            "1.51 + /Comment \"\"",
            "1.51 + /Config/Entrypoint null",
            "1.51 + /Config/Labels null",
            "1.51 + /Config/OnBuild null",
            "1.51 + /Config/User \"\"",
            "1.51 + /Config/Volumes null",
            "1.51 + /Config/WorkingDir \"\"",
            "1.51 + /DockerVersion \"\"",
            "1.51 + /GraphDriver",
            "1.51 + /Parent \"\"",
            "1.47 + /Config/AttachStderr false",
            "1.47 + /Config/AttachStdin false",
            "1.47 + /Config/AttachStdout false",
            "1.47 + /Config/Domainname \"\"",
            "1.47 + /Config/Hostname \"\"",
            "1.47 + /Config/Image \"\"",
            "1.47 + /Config/OpenStdin false",
            "1.47 + /Config/StdinOnce false",
            "1.47 + /Config/Tty false",
            "1.47 - /Descriptor",
            "1.44 + /Container \"\"",
            "1.44 + /ContainerConfig null",
            "1.40 + /VirtualSize",
        ],
    )?;
    let filters = percent_encode(&format!("{{\"reference\":[\"{BUSYBOX}\"]}}"));
    compare(
        scope,
        "list",
        |minor| get(scope, minor, &format!("/images/json?filters={filters}")),
        &["1.47 - /0/Descriptor", "1.47 ~ /0/Containers -1", "1.40 + /0/VirtualSize"],
    )
}

fn network(scope: &Scope<'_>) -> Result<()> {
    let network = scope.name("shapes");
    scope.api_json("POST", "/networks/create", &json!({ "Name": network }))?.expect(201)?;
    compare(
        scope,
        "inspect",
        |minor| get(scope, minor, &format!("/networks/{network}")),
        &["1.51 - /Status"],
    )?;
    let filters = percent_encode(&format!("{{\"name\":[\"{network}\"]}}"));
    compare(
        scope,
        "list",
        |minor| get(scope, minor, &format!("/networks?filters={filters}")),
        &["1.51 + /0/Containers {}"],
    )
}

fn system(scope: &Scope<'_>) -> Result<()> {
    compare(
        scope,
        "info",
        |minor| get(scope, minor, "/info"),
        &[
            "1.47 + /BridgeNfIp6tables false",
            "1.47 + /BridgeNfIptables false",
            "1.47 + /ContainerdCommit/Expected \"\"",
            "1.47 + /InitCommit/Expected",
            "1.47 + /RuncCommit/Expected",
            "1.47 - /FirewallBackend",
            "1.44 + /RegistryConfig/AllowNondistributableArtifactsCIDRs null",
            "1.44 + /RegistryConfig/AllowNondistributableArtifactsHostnames null",
        ],
    )?;
    // What else is on the machine is others' affair: which parts there are, and whether rows have a virtual size.
    let parts = |minor: u32, query: &str| {
        let usage = get(scope, minor, &format!("/system/df{query}"))?;
        let mut parts = json!({});
        for (key, value) in usage.as_object().context("an object")? {
            parts[key] = json!({});
            let virtual_size = value.as_array().and_then(|rows| rows.first()?.get("VirtualSize"));
            if virtual_size.is_some() {
                parts[key]["VirtualSize"] = json!({});
            }
        }
        Ok(parts)
    };
    let new = [
        "1.51 - /BuildCacheUsage",
        "1.51 - /ContainerUsage",
        "1.51 - /ImageUsage",
        "1.51 - /VolumeUsage",
        "1.40 + /Images/VirtualSize {}",
    ];
    compare(scope, "disk usage", |minor| parts(minor, ""), &new)?;
    let name = scope.start("told", &[], &["true"])?;
    scope.ended(&name)?;
    let filters = percent_encode(&format!("{{\"container\":[\"{name}\"],\"event\":[\"start\"]}}"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() + 1;
    compare(
        scope,
        "events",
        |minor| get(scope, minor, &format!("/events?since=1&until={now}&filters={filters}")),
        &["1.51 + /from", "1.51 + /id", "1.51 + /status"],
    )
}

fn requests(scope: &Scope<'_>) -> Result<()> {
    let create = |minor: u32, word: &str, request: &Value| {
        let name = scope.name(word);
        let path = format!("/v1.{minor}/containers/create?name={name}");
        let answer = scope.api_json("POST", &path, request)?;
        Ok::<_, anyhow::Error>((name, answer))
    };
    let own = json!({ "Image": BUSYBOX, "HostConfig": { "Umask": 63, "Capabilities": ["CAP_KILL"] } });
    let (_, answer) = create(40, "capabilities", &own)?;
    if !scope.engine.is_old() {
        same("capabilities", answer.status, 400)?;
        contains("capabilities", &answer.message(), "HostConfig.Capabilities field is not supported")?;
    }
    let (name, answer) = create(39, "old", &own)?;
    answer.expect(201)?;
    let host = scope.inspect(&name)?["HostConfig"].take();
    same("IpcMode", &host["IpcMode"], "shareable")?;
    same("Umask", host.get("Umask"), None)?;
    if scope.engine.cgroup_version == 1 {
        same("CgroupnsMode", &host["CgroupnsMode"], "host")?;
    }
    let mac = json!({ "Image": BUSYBOX, "MacAddress": "02:42:0a:09:08:06" });
    let (name, answer) = create(43, "mac", &mac)?;
    answer.expect(201)?;
    let networks = scope.inspect(&name)?["NetworkSettings"]["Networks"].take();
    same("MacAddress", &networks["bridge"]["MacAddress"], "02:42:0a:09:08:06")
}

fn later(scope: &Scope<'_>) -> Result<()> {
    for (minor, method, path) in [
        (24, "POST", "/containers/prune requires minimum API version 1.25"),
        (24, "POST", "/images/prune requires minimum API version 1.25"),
        (24, "POST", "/networks/prune requires minimum API version 1.25"),
        (24, "POST", "/volumes/prune requires minimum API version 1.25"),
        (24, "GET", "/secrets requires minimum API version 1.25"),
        (29, "GET", "/configs requires minimum API version 1.30"),
        (30, "POST", "/build/prune requires minimum API version 1.31"),
    ] {
        let address = path.split(' ').next().unwrap_or_default();
        let answer = scope.api(method, &format!("/v1.{minor}{address}"))?;
        let expected = (400, format!("{method} {path}"));
        same(address, (answer.status, answer.message()), expected)?;
    }
    Ok(())
}
