//! Devices by name (CDI), and requests for devices that nobody can meet.

use crate::check::{Check, contains, same, skip};
use crate::fixture::BUSYBOX;
use crate::scope::Scope;
use anyhow::Result;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

const AREA: &str = "cdi";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "a device by name brings nodes, mounts, environment, groups and hooks", by_name),
        Check::new(AREA, "what all devices of a file need is brought once", shared),
        Check::new(AREA, "info names the directories and the devices", info),
        Check::new(AREA, "a device that is not described fails the start", unknown),
        Check::new(AREA, "a bad description is told and hides no other", bad_file),
        Check::new(AREA, "--gpus without a driver is refused in Docker's words", gpus),
    ]
}

/// A file of descriptions, removed with the check. Its kind is this check's own.
struct Description {
    path: PathBuf,
    kind: String,
}

impl Drop for Description {
    fn drop(&mut self) {
        // A file that is gone already is no failure of a check.
        let _ = fs::remove_file(&self.path);
    }
}

fn describe(scope: &Scope<'_>, mut content: Value) -> Result<Description> {
    let daemon = scope.engine.daemon.as_ref().ok_or_else(|| skip("the daemon is not the suite's own"))?;
    let directory =
        daemon.lock().map_err(|_| anyhow::anyhow!("the daemon's lock"))?.setup().device_descriptions();
    fs::create_dir_all(&directory)?;
    let kind = format!("vendor.test/{}", scope.name("class"));
    content["cdiVersion"] = json!("0.6.0");
    content["kind"] = json!(kind);
    let description = Description { path: directory.join(format!("{}.json", scope.name("d"))), kind };
    let partial = description.path.with_extension("partial");
    fs::write(&partial, content.to_string())?;
    fs::rename(&partial, &description.path)?;
    Ok(description)
}

fn by_name(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.to_owned();
    fs::write(here.join("lib"), "a library\n")?;
    let called = here.join("called");
    let hook = format!("cat > {}", called.display());
    let device = json!({
        "name": "dev0",
        "containerEdits": {
            "env": ["BROUGHT=yes", "OLD=new"],
            "deviceNodes": [{ "path": "/dev/nought", "hostPath": "/dev/zero", "permissions": "r" }],
            "mounts": [{ "hostPath": here.join("lib"), "containerPath": "/opt/lib", "options": ["ro", "bind"] }],
            "hooks": [{ "hookName": "createRuntime", "path": "/bin/sh", "args": ["sh", "-c", hook] }],
            "additionalGids": [4242],
        },
    });
    let description = describe(scope, json!({ "devices": [device] }))?;
    let name = format!("{}=dev0", description.kind);
    let script =
        "echo $BROUGHT $OLD; cat /opt/lib; head -c 2 /dev/nought | od -An -tx1; id -G | grep -o 4242";
    let flags = ["--device", name.as_str(), "-e", "OLD=old"];
    let printed = scope.script(&flags, script)?.replace("  ", " ");
    same("inside", printed, "yes new\na library\n 00 00\n4242")?;
    contains("the hook was told the state", &fs::read_to_string(&called)?, "\"bundle\"")?;
    let made = scope.name("shown");
    scope.ok(&["create", "--name", &made, "--device", &name, BUSYBOX, "true"])?;
    let requests = scope.inspect(&made)?["HostConfig"]["DeviceRequests"].take();
    same("inspect", (&requests[0]["Driver"], &requests[0]["DeviceIDs"]), (&json!("cdi"), &json!([name])))
}

fn shared(scope: &Scope<'_>) -> Result<()> {
    let device = |name: &str| json!({ "name": name, "containerEdits": { "env": [format!("DEV_{name}=1")] } });
    let both = json!({ "mounts": [{ "hostPath": "/proc/version", "containerPath": "/opt/v", "options": ["bind", "ro"] }] });
    let description =
        describe(scope, json!({ "devices": [device("A"), device("B")], "containerEdits": both }))?;
    let (first, second) = (format!("{}=A", description.kind), format!("{}=B", description.kind));
    let script = "echo $DEV_A$DEV_B; grep -c ' /opt/v ' /proc/mounts";
    same("both", scope.script(&["--device", &first, "--device", &second], script)?, "11\n1")?;
    same("one", scope.script(&["--device", &second], script)?, "1\n1")
}

fn info(scope: &Scope<'_>) -> Result<()> {
    let description =
        describe(scope, json!({ "devices": [{ "name": "x", "containerEdits": { "env": ["X=1"] } }] }))?;
    let info = scope.api("GET", "/info")?.expect(200)?.json()?;
    let directory = description.path.parent().map(|path| path.display().to_string());
    same("directories", &info["CDISpecDirs"], &json!([directory]))?;
    let wanted = json!({ "Source": "cdi", "ID": format!("{}=x", description.kind) });
    let devices = info["DiscoveredDevices"].as_array().cloned().unwrap_or_default();
    same("found", devices.contains(&wanted), true)
}

fn unknown(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("unknown");
    scope.ok(&["create", "--name", &name, "--device", "vendor.test/none=x", BUSYBOX, "true"])?;
    let output = scope.docker(&["start", &name])?.expect_code(1)?;
    let words = "CDI device injection failed: unresolvable CDI devices vendor.test/none=x";
    contains("words", &output.stderr, words)
}

fn bad_file(scope: &Scope<'_>) -> Result<()> {
    let good =
        describe(scope, json!({ "devices": [{ "name": "x", "containerEdits": { "env": ["X=1"] } }] }))?;
    let bad = Description {
        path: good.path.with_file_name(format!("{}.json", scope.name("bad"))),
        kind: String::new(),
    };
    fs::write(&bad.path, r#"{"cdiVersion":"0.6.0","kind":"no kind","devices":[]}"#)?;
    let info = scope.api("GET", "/info")?.expect(200)?.json()?;
    contains("warning", &info["Warnings"].to_string(), &scope.name("bad"))?;
    same("the other", scope.script(&["--device", &format!("{}=x", good.kind)], "echo $X")?, "1")
}

fn gpus(scope: &Scope<'_>) -> Result<()> {
    let output = scope.run(&["--gpus", "all"], &["true"])?;
    same("code", output.code, 125)?;
    contains("words", &output.stderr, "could not select device driver \"\" with capabilities: [[gpu]]")?;
    let request = json!({ "Driver": "nvidia", "Count": 1, "DeviceIDs": ["0"], "Capabilities": [["gpu"]] });
    let body = json!({ "Image": BUSYBOX, "Cmd": ["true"], "HostConfig": { "DeviceRequests": [request] } });
    let answer = scope.api_json("POST", "/containers/create", &body)?;
    let words = "cannot set both Count and DeviceIDs on device request".to_owned();
    same("both", (answer.status, answer.message()), (400, words))
}
