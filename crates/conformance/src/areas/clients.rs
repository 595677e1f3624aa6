//! What the test suites of other clients (docker-py, bollard, podman's of the API) have shown that they rely on.

use crate::check::{Check, contains, same};
use crate::fixture::BUSYBOX;
use crate::http::Request;
use crate::scope::Scope;
use crate::tar::{Kind, Writer};
use anyhow::Result;
use serde_json::json;

const AREA: &str = "clients";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "no changes at all are null", no_changes),
        Check::new(AREA, "resizing what has no terminal is done", no_terminal),
        Check::new(AREA, "an archive that cannot be loaded is told in the stream", bad_archive),
        Check::new(AREA, "top says why ps failed, as an error of the engine", bad_ps),
        Check::new(AREA, "a network's name may have a space", spaced_name),
        Check::new(AREA, "a stopped container may be connected to a network again", connected_again),
        Check::new(
            AREA,
            "a health check of an unknown kind is taken, and there is no health",
            unknown_health,
        ),
        Check::new(AREA, "a link-local address is taken on the default bridge", link_local),
        Check::new(AREA, "files may be brought before a bind's source is there", files_first),
        Check::new(AREA, "what shares the host's processes is shown without a label", no_label),
        Check::new(AREA, "an exec without arguments has its event with a space", bare_exec),
    ]
}

fn no_changes(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("untouched");
    scope.ok(&["create", "--name", &name, BUSYBOX, "true"])?;
    let answer = scope.api("GET", &format!("/containers/{name}/changes"))?.expect(200)?;
    same("body", answer.text().trim_end(), "null")?;
    same("diff", scope.ok(&["diff", &name])?, "")
}

fn no_terminal(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("plain", &[], &["sleep", "60"])?;
    scope.api("POST", &format!("/containers/{name}/resize?h=50&w=50"))?.expect(200)?;
    scope.ok(&["stop", "-t", "0", &name])?;
    let ended = scope.api("POST", &format!("/containers/{name}/resize?h=50&w=50"))?.expect(409)?;
    contains("words", &ended.message(), "is not running")
}

fn bad_archive(scope: &Scope<'_>) -> Result<()> {
    let load = Request::new("POST", "/images/load").body("application/x-tar", b"no archive".to_vec());
    let answer = load.send(&scope.engine.socket)?.expect(200)?;
    contains("stream", &answer.text(), "\"errorDetail\"")?;
    let output = scope.client().call_with_input(&["load"], b"no archive")?;
    same("exit code", output.code, 1)
}

fn bad_ps(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("shown", &[], &["sleep", "60"])?;
    let answer = scope.api("GET", &format!("/containers/{name}/top?ps_args=--invalid"))?.expect(500)?;
    contains("words", &answer.message(), "ps: error: unknown gnu long option")
}

fn spaced_name(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("with a space");
    scope.ok(&["network", "create", &name])?;
    let shown = scope.ok(&["network", "inspect", "--format", "{{.Name}}", &name]);
    scope.ok(&["network", "rm", &name])?;
    same("inspect", shown?, name)
}

fn connected_again(scope: &Scope<'_>) -> Result<()> {
    let network = scope.name("again");
    scope.ok(&["network", "create", &network])?;
    let name = scope.name("waits");
    scope.ok(&["create", "--name", &name, BUSYBOX, "sleep", "60"])?;
    let connected = connect_twice(scope, &name, &network);
    scope.ok(&["rm", "-f", &name])?;
    scope.ok(&["network", "rm", &network])?;
    connected
}

fn connect_twice(scope: &Scope<'_>, name: &str, network: &str) -> Result<()> {
    let connect =
        || scope.api_json("POST", &format!("/networks/{network}/connect"), &json!({ "Container": name }));
    connect()?.expect(200)?;
    connect()?.expect(200)?;
    scope.ok(&["start", name])?;
    contains("running", &connect()?.expect(403)?.message(), "already exists in network")
}

fn unknown_health(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("unasked");
    let body = json!({ "Image": BUSYBOX, "Cmd": ["sleep", "60"], "Healthcheck": { "Test": ["true"] } });
    scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?.expect(201)?;
    scope.ok(&["start", &name])?;
    same("health", scope.inspect(&name)?["State"].get("Health").is_none_or(serde_json::Value::is_null), true)
}

fn link_local(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("link-local");
    let settings = json!({ "IPAMConfig": { "LinkLocalIPs": ["169.254.8.8"] } });
    let body = json!({
        "Image": BUSYBOX, "Cmd": ["sleep", "60"], "HostConfig": { "NetworkMode": "bridge" },
        "NetworkingConfig": { "EndpointsConfig": { "bridge": settings } },
    });
    scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?.expect(201)?;
    scope.ok(&["start", &name])?;
    let shown = scope.inspect(&name)?["NetworkSettings"]["Networks"]["bridge"]["IPAMConfig"].take();
    same("inspect", shown, settings["IPAMConfig"].clone())?;
    contains("inside", &scope.ok(&["exec", &name, "ip", "-o", "-4", "addr", "show"])?, "169.254.8.8/16")
}

/// Compose brings secrets into a container that has not been started; its binds may still have to be made.
fn files_first(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("unstarted");
    let source = scope.directory()?.join("made/later");
    let mount = json!({
        "Type": "bind", "Source": source, "Target": "/made", "BindOptions": { "CreateMountpoint": true },
    });
    let body = json!({ "Image": BUSYBOX, "Cmd": ["cat", "/secret"], "HostConfig": { "Mounts": [mount] } });
    scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?.expect(201)?;
    let mut archive = Writer::new(Vec::new());
    archive.add("secret", 0o400, &Kind::File(b"known"))?;
    let put = Request::new("PUT", &format!("/containers/{name}/archive?path=/"));
    put.body("application/x-tar", archive.finish()?).send(&scope.engine.socket)?.expect(200)?;
    same("output", scope.ok(&["start", "-a", &name])?, "known")?;
    same("the source is a directory", source.is_dir(), true)
}

fn no_label(scope: &Scope<'_>) -> Result<()> {
    let asked: [(&[&str], _); 4] = [
        (&["--privileged"], json!(["label=disable"])),
        (
            &["--pid", "host", "--security-opt", "seccomp=unconfined"],
            json!(["seccomp=unconfined", "label=disable"]),
        ),
        (&["--ipc", "host", "--security-opt", "label=disable"], json!(["label=disable"])),
        (&["--init"], json!(null)),
    ];
    for (number, (flags, expected)) in asked.into_iter().enumerate() {
        let name = scope.name(&format!("label-{number}"));
        scope.ok(&[&["create", "--name", &name], flags, &[BUSYBOX, "true"]].concat())?;
        same("SecurityOpt", scope.inspect(&name)?["HostConfig"]["SecurityOpt"].take(), expected)?;
    }
    Ok(())
}

fn bare_exec(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("execs", &[], &["sleep", "60"])?;
    scope.ok(&["exec", &name, "true"])?;
    let actions: Vec<String> = super::health::actions(scope, &name)?;
    let execs: Vec<&str> =
        actions.iter().map(String::as_str).filter(|one| one.starts_with("exec_")).collect();
    same("actions", &execs[..2], &["exec_create: true ", "exec_start: true "][..])
}
