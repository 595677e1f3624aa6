//! The protocol itself: ping, versions, negotiation, the shape of errors, how requests are read.

use crate::check::{Check, contains, same, says};
use crate::engine::parse_api;
use crate::fixture::BUSYBOX;
use crate::http::Request;
use crate::scope::Scope;
use anyhow::{Context, Result};
use serde_json::json;

const AREA: &str = "protocol";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "GET /_ping is OK, with the headers clients negotiate by", ping),
        Check::new(AREA, "HEAD /_ping has the same headers and no body", head_ping),
        Check::new(AREA, "/version names the engine, its API and the kernel", version),
        Check::new(AREA, "/info has what scripts read", info),
        Check::new(AREA, "every supported version prefix is served", every_version),
        Check::new(AREA, "what is asked most is answered in the shape of every version", every_shape),
        Check::new(AREA, "a version that is too old or too new is refused in Docker's words", wrong_versions),
        Check::new(AREA, "unknown paths, versions and methods are page not found", not_found),
        Check::new(AREA, "errors are JSON and carry the same headers", error_headers),
        Check::new(AREA, "a body that is not JSON is refused", bad_body),
        Check::new(AREA, "keys match whatever their case, and null is no value", lenient_json),
        Check::new(AREA, "filters are read in both forms, and unknown ones refused", filters),
        Check::new(AREA, "characters that should have been escaped are taken as they are", unescaped),
        Check::new(AREA, "swarm routes say that this is no manager", no_swarm),
        Check::new(AREA, "the client's version command sees both sides", client_version),
        Check::new(AREA, "one connection serves several requests", keep_alive),
    ]
}

fn ping(scope: &Scope<'_>) -> Result<()> {
    let answer = scope.api("GET", "/_ping")?.expect(200)?;
    same("body", answer.text(), "OK")?;
    same("Api-Version", answer.header("Api-Version").and_then(parse_api), Some(scope.engine.api))?;
    same("Ostype", answer.header("Ostype"), Some("linux"))?;
    same("Docker-Experimental", answer.header("Docker-Experimental"), Some("false"))?;
    same("Cache-Control", answer.header("Cache-Control"), Some("no-cache, no-store, must-revalidate"))?;
    same("Pragma", answer.header("Pragma"), Some("no-cache"))?;
    contains("Server", answer.header("Server").unwrap_or_default(), "Docker/")?;
    scope.since_new_engines("Builder-Version is empty and Swarm absent")?;
    same("Builder-Version", answer.header("Builder-Version"), Some("2"))?;
    same("Swarm", answer.header("Swarm"), Some("inactive"))
}

fn head_ping(scope: &Scope<'_>) -> Result<()> {
    let answer = scope.api("HEAD", "/_ping")?.expect(200)?;
    same("Content-Length", answer.header("Content-Length"), Some("0"))?;
    same("Api-Version", answer.header("Api-Version").and_then(parse_api), Some(scope.engine.api))
}

fn version(scope: &Scope<'_>) -> Result<()> {
    let version = &scope.engine.version;
    same("Os", &version["Os"], "linux")?;
    same("Arch", &version["Arch"], "amd64")?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    same("KernelVersion", version["KernelVersion"].as_str(), Some(kernel.trim()))?;
    let oldest = version["MinAPIVersion"].as_str().and_then(parse_api).context("MinAPIVersion")?;
    same("MinAPIVersion is at most 1.24", oldest <= (1, 24), true)?;
    let components = version["Components"].as_array().context("Components")?;
    same("a component called Engine", components.iter().any(|one| one["Name"] == "Engine"), true)?;
    for field in ["Version", "GitCommit", "GoVersion"] {
        same(field, version[field].is_string(), true)?;
    }
    Ok(())
}

fn info(scope: &Scope<'_>) -> Result<()> {
    let info = scope.api("GET", "/info")?.expect(200)?.json()?;
    for field in [
        "Containers",
        "ContainersRunning",
        "ContainersPaused",
        "ContainersStopped",
        "Images",
        "NCPU",
        "MemTotal",
    ] {
        same(field, info[field].is_u64(), true)?;
    }
    for field in [
        "ID",
        "Driver",
        "LoggingDriver",
        "CgroupDriver",
        "CgroupVersion",
        "KernelVersion",
        "OperatingSystem",
        "DockerRootDir",
        "Name",
        "ServerVersion",
        "DefaultRuntime",
        "InitBinary",
    ] {
        same(field, info[field].is_string(), true)?;
    }
    same("OSType", &info["OSType"], "linux")?;
    same("Architecture", &info["Architecture"], "x86_64")?;
    same("Swarm.LocalNodeState", &info["Swarm"]["LocalNodeState"], "inactive")?;
    let options = info["SecurityOptions"].to_string();
    contains("SecurityOptions", &options, "name=seccomp")?;
    same("Runtimes", info["Runtimes"].is_object(), true)?;
    contains("docker info", &scope.ok(&["info"])?, "Server Version")
}

fn every_version(scope: &Scope<'_>) -> Result<()> {
    for minor in 24..=scope.engine.api.1 {
        let answer = scope.api("GET", &format!("/v1.{minor}/containers/json"))?;
        same(&format!("/v1.{minor}/containers/json"), answer.status, 200)?;
    }
    same("without a version", scope.api("GET", "/containers/json")?.status, 200)
}

/// Asks for everything that has a shape; whoever watches the answers knows what each version's has to hold.
fn every_shape(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("shaped", &["--expose", "80", "--label", "a=b"], &["sleep", "60"])?;
    let network = scope.name("shapes");
    let made = scope.api_json("POST", "/networks/create", &json!({ "Name": network }))?.expect(201);
    let asked = made.and_then(|_| ask_for_shapes(scope, &name, &network));
    scope.api("DELETE", &format!("/networks/{network}"))?.expect(204)?;
    asked
}

fn ask_for_shapes(scope: &Scope<'_>, name: &str, network: &str) -> Result<()> {
    let exec = json!({ "Cmd": ["true"], "AttachStdout": true });
    let exec = scope.api_json("POST", &format!("/containers/{name}/exec"), &exec)?.expect(201)?.json()?;
    let exec = exec["Id"].as_str().unwrap_or_default();
    let image = BUSYBOX;
    for minor in 24..=scope.engine.api.1 {
        for path in [
            "info",
            "version",
            "containers/json?all=1&size=1",
            "images/json?shared-size=1",
            "images/json?manifests=1",
            "networks",
            "volumes",
            "system/df",
            "events?since=1&until=2",
            "plugins",
            &format!("containers/{name}/json?size=1"),
            &format!("containers/{name}/stats?stream=0&one-shot=1"),
            &format!("containers/{name}/top"),
            &format!("containers/{name}/changes"),
            &format!("exec/{exec}/json"),
            &format!("images/{image}/json?manifests=1"),
            &format!("images/{image}/history"),
            &format!("networks/{network}"),
        ] {
            let path = format!("/v1.{minor}/{path}");
            same(&path, scope.api("GET", &path)?.status, 200)?;
        }
    }
    Ok(())
}

fn wrong_versions(scope: &Scope<'_>) -> Result<()> {
    let newest = scope.engine.version["ApiVersion"].as_str().unwrap_or_default();
    let oldest = scope.engine.version["MinAPIVersion"].as_str().unwrap_or_default();
    let answer = scope.api("GET", "/v1.999/info")?.expect(400)?;
    let expected = format!("client version 1.999 is too new. Maximum supported API version is {newest}");
    same("too new", answer.message(), expected)?;
    let answer = scope.api("GET", "/v1.1/info")?.expect(400)?;
    let expected = format!(
        "client version 1.1 is too old. Minimum supported API version is {oldest}, please upgrade your client to a newer version"
    );
    same("too old", answer.message().trim_end(), expected)
}

fn not_found(scope: &Scope<'_>) -> Result<()> {
    for (method, path) in [
        ("GET", "/nothing/here"),
        ("GET", "/v1.30/nothing"),
        ("PUT", "/containers/json"),
        ("DELETE", "/info"),
    ] {
        let answer = scope.api(method, path)?;
        same(
            &format!("{method} {path}"),
            (answer.status, answer.json()?),
            (404, json!({"message": "page not found"})),
        )?;
    }
    Ok(())
}

fn error_headers(scope: &Scope<'_>) -> Result<()> {
    let answer = scope.api("GET", "/containers/no-such-container/json")?.expect(404)?;
    same("body", answer.json()?, json!({"message": "No such container: no-such-container"}))?;
    same("Content-Type", answer.header("Content-Type"), Some("application/json"))?;
    same("Api-Version", answer.header("Api-Version").and_then(parse_api), Some(scope.engine.api))?;
    same("Ostype", answer.header("Ostype"), Some("linux"))
}

fn bad_body(scope: &Scope<'_>) -> Result<()> {
    let send = |media_type: &str, body: &str| {
        Request::new("POST", "/containers/create").body(media_type, body.into()).send(&scope.engine.socket)
    };
    scope
        .since_new_engines("it calls broken JSON its own error, and knows other words for the media type")?;
    same("broken JSON", send("application/json", "{\"Image\":")?.status, 400)?;
    same("JSON of another shape", send("application/json", "{\"Image\":[1]}")?.status, 400)?;
    let answer = send("text/plain", "{}")?.expect(400)?;
    let expected = "unsupported Content-Type header (text/plain): must be 'application/json'";
    same("media type", answer.message(), expected)?;
    let answer = send("application/json", "{\"Image\":\"x\"} {}")?.expect(400)?;
    contains("trailing data", &answer.message(), "unexpected content after JSON")
}

fn lenient_json(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("lenient");
    let body = json!({
        "image": crate::fixture::BUSYBOX, "CMD": ["true"], "Env": null, "Labels": null, "Entrypoint": null,
        "HostConfig": { "binds": null, "PortBindings": null, "Memory": null }, "NetworkingConfig": null,
        "Unheard": { "of": 1 },
    });
    let created =
        scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?.expect(201)?.json()?;
    same("Warnings", created["Warnings"].is_array() || created["Warnings"].is_null(), true)?;
    same("Path", &scope.inspect(&name)?["Path"], "true")
}

fn filters(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("filtered", &["--label", "colour=blue"], &["sleep", "300"])?;
    let list = |filters: &str| -> Result<Vec<String>> {
        let path = format!("/containers/json?filters={}", crate::scope::percent_encode(filters));
        let rows = scope.api("GET", &path)?.expect(200)?.json()?;
        Ok(rows.as_array().into_iter().flatten().map(|row| row["Names"][0].to_string()).collect())
    };
    let expected = vec![format!("\"/{name}\"")];
    same("map form", list(&format!("{{\"name\":{{\"{name}\":true}}}}"))?, expected.clone())?;
    same("list form", list(&format!("{{\"name\":[\"{name}\"],\"label\":[\"colour=blue\"]}}"))?, expected)?;
    same(
        "no match",
        list(&format!("{{\"name\":[\"{name}\"],\"label\":[\"colour=red\"]}}"))?,
        Vec::<String>::new(),
    )?;
    let answer =
        scope.api("GET", "/containers/json?filters=%7B%22nope%22%3A%5B%22x%22%5D%7D")?.expect(400)?;
    says("unknown filter", &answer.message(), "invalid filter 'nope'")?;
    scope.since_new_engines("it calls a broken filter its own error")?;
    same("broken filter", scope.api("GET", "/containers/json?filters=%7Bnope")?.status, 400)
}

/// What curl sends when it is given the JSON of a filter as it is.
fn unescaped(scope: &Scope<'_>) -> Result<()> {
    for target in [
        r#"/containers/json?filters={"name":["^nobody$"]}"#,
        r#"/v1.44/containers/json?filters={"name":{"no|<b>\\w`ody":true}}"#,
    ] {
        let answer = scope.api("GET", target)?.expect(200)?;
        same(target, answer.text().trim_end(), "[]")?;
    }
    Ok(())
}

fn no_swarm(scope: &Scope<'_>) -> Result<()> {
    for path in ["/services", "/nodes", "/tasks", "/swarm", "/secrets", "/configs"] {
        let answer = scope.api("GET", path)?;
        same(path, answer.status, 503)?;
        contains(path, &answer.message(), "This node is not a swarm manager.")?;
    }
    Ok(())
}

fn client_version(scope: &Scope<'_>) -> Result<()> {
    let text =
        scope.ok(&["version", "--format", "{{.Client.Version}} {{.Server.Version}} {{.Server.Os}}"])?;
    let expected = format!(" {} linux", scope.engine.version["Version"].as_str().unwrap_or_default());
    contains("docker version", &text, &expected)
}

fn keep_alive(scope: &Scope<'_>) -> Result<()> {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(&scope.engine.socket)?;
    stream.set_read_timeout(Some(crate::http::PATIENCE))?;
    let request = "GET /_ping HTTP/1.1\r\nHost: engine\r\n\r\n";
    let last = "GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{request}{request}{last}").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    same("answers", text.matches("HTTP/1.1 200 OK").count(), 3)
}
