//! What comes with an image or from another client decides nothing but the program: no setting, no secret, no door.

use crate::check::{Check, same, skip};
use crate::fixture::{BUSYBOX, docker_archive};
use crate::scope::Scope;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::io::BufWriter;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

const AREA: &str = "supply";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "an image's configuration decides nothing but its program", configuration),
        Check::new(AREA, "nothing of one container's request is in the next one", requests),
        Check::new(AREA, "the engine's doors are files that only root can open", doors),
        Check::new(AREA, "nobody but root gets into the engine's directories", directories),
    ]
}

/// Labels, members that only a request may have, and a variable without a value, which is not the engine's own.
fn configuration(scope: &Scope<'_>) -> Result<()> {
    let directory = scope.directory()?;
    let (archive, witness) = (directory.join("hostile.tar"), directory.join("witness"));
    let name = format!("{}:1", scope.name("hostile"));
    let run = format!("binary:///bin/touch?{}", witness.display());
    let config = json!({
        "Cmd": ["sh"],
        "Env": ["PATH", "HOME", "BERTH_WITNESS"],
        "Labels": { "containerd.io/restart.loguri": run, "org.systemd.property.ExecStart": run, "io.podman.annotations.privileged": "true" },
        "HostConfig": { "Privileged": true, "PidMode": "host", "SecurityOpt": ["seccomp=unconfined"], "Binds": ["/:/host"] },
        "SecurityOpt": ["apparmor=unconfined"], "Privileged": true, "hooks": { "prestart": [{ "path": "/bin/touch", "args": ["touch", witness.display().to_string()] }] },
    });
    let program =
        scope.engine.busybox_program.as_deref().ok_or_else(|| skip("no busybox program is known"))?;
    let layer = crate::fixture::busybox_layer(program)?;
    docker_archive(BufWriter::new(std::fs::File::create(&archive)?), &name, &config, &layer)?;
    scope.ok(&["load", "-q", "-i", &archive.display().to_string()])?;
    let script = "/bin/busybox ls -d /host 2>/dev/null; /bin/busybox grep -E 'CapEff|Seccomp:' /proc/self/status; /bin/busybox env";
    let container = scope.start_image("run", &name, &[], &["/bin/busybox", "sh", "-c", script])?;
    scope.ended(&container)?;
    let said = scope.ok(&["logs", &container])?;
    let usual = scope.script(&[], "grep -E 'CapEff|Seccomp:' /proc/self/status")?;
    let inspected = scope.inspect(&container)?;
    scope.ok(&["rm", &container])?;
    scope.ok(&["rmi", &name])?;
    for line in usual.lines() {
        ensure!(said.contains(line), "a program of the image has {said:?}, another one {line:?}");
    }
    ensure!(!said.contains("/host"), "the image has mounted the host: {said}");
    ensure!(!said.contains("BERTH_WITNESS="), "a variable without a value has one: {said}");
    same("Privileged", &inspected["HostConfig"]["Privileged"], &json!(false))?;
    ensure!(!witness.exists(), "a program named by the image has run on the host");
    Ok(())
}

fn requests(scope: &Scope<'_>) -> Result<()> {
    let names = [scope.name("one"), scope.name("two")];
    let environments = [json!(["SECRET=one"]), json!(null)];
    for (name, environment) in names.iter().zip(environments) {
        let body = json!({ "Image": BUSYBOX, "Cmd": ["env"], "Env": environment });
        scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?.expect(201)?;
        scope.api("POST", &format!("/containers/{name}/start"))?.expect(204)?;
        scope.ended(name)?;
    }
    let said = names.iter().map(|name| scope.ok(&["logs", name])).collect::<Result<Vec<_>>>()?;
    ensure!(said[0].contains("SECRET=one"), "the first one says {:?}", said[0]);
    ensure!(!said[1].contains("SECRET"), "the second one knows the first one's secret: {:?}", said[1]);
    Ok(())
}

/// The sockets of the engine and of its shims are files (none is abstract), and closed to everybody but root.
fn doors(scope: &Scope<'_>) -> Result<()> {
    let (_, exec_root) = roots(scope)?;
    let name = scope.start("door", &[], &["sleep", "300"])?;
    let table = std::fs::read_to_string("/proc/net/unix")?;
    let is_abstract = |path: &str| path.starts_with('@') && path.contains("berth");
    let abstracts: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split_whitespace().nth(7))
        .filter(|path| is_abstract(path))
        .collect();
    ensure!(abstracts.is_empty(), "sockets without a file: {abstracts:?}");
    // The daemon's own: the suite may talk to it through another one.
    let socket = exec_root.with_file_name("engine.sock");
    let mode = std::fs::metadata(&socket).with_context(|| socket.display().to_string())?.mode();
    ensure!(mode & 0o007 == 0, "the engine's socket has mode {mode:o}");
    let id = scope.inspect(&name)?["Id"].as_str().unwrap_or_default().to_owned();
    let directory = exec_root.join("containers").join(id);
    let mut found = 0;
    for entry in std::fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_socket() {
            let mode = entry.metadata()?.mode();
            ensure!(mode & 0o077 == 0, "{} has mode {mode:o}", entry.path().display());
            found += 1;
        }
    }
    ensure!(found > 0, "the shim has no socket in {}", directory.display());
    Ok(())
}

fn directories(scope: &Scope<'_>) -> Result<()> {
    let (data, exec) = roots(scope)?;
    for directory in [&data, &exec] {
        let mode = std::fs::metadata(directory)?.mode();
        ensure!(mode & 0o007 == 0, "{} has mode {mode:o}", directory.display());
    }
    Ok(())
}

/// The data root and the exec root.
fn roots(scope: &Scope<'_>) -> Result<(std::path::PathBuf, std::path::PathBuf)> {
    if scope.engine.program.is_none() {
        return Err(skip("only berth's own directories are known here"));
    }
    let daemon = scope.engine.daemon.as_ref().ok_or_else(|| skip("a daemon that is not the suite's"))?;
    let daemon = daemon.lock().map_err(|_| anyhow::anyhow!("a check panicked"))?;
    Ok((daemon.setup().data_root(), daemon.setup().exec_root()))
}
