//! OCI bundles without an engine: the runtime's own command line, ours or runc's.

use crate::check::{Check, contains, same, skip};
use crate::command_line::{Output, run};
use crate::program_file;
use crate::scope::Scope;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const AREA: &str = "bundles";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "run gives output and exit code, and leaves nothing", run_bundle),
        Check::new(AREA, "create, start, kill and delete walk through the states", life),
        Check::new(AREA, "the program does not run before start", created),
        Check::new(AREA, "state has what the specification asks for", state),
        Check::new(AREA, "exec runs a second program", exec),
        Check::new(AREA, "delete of a running container is refused, --force does it", delete),
        Check::new(AREA, "an id that is taken is refused", taken),
        Check::new(AREA, "an unknown id is refused by every command", unknown),
        Check::new(AREA, "a bundle without, or with a broken, configuration is refused", broken),
        Check::new(AREA, "a bundle whose root or program is not there is refused", missing),
        Check::new(AREA, "an id cannot be a path", hostile_id),
        Check::new(AREA, "hooks run with the state on their input", hooks),
    ]
}

/// A bundle with one busybox, and the runtime that is to run it.
struct Bundle<'a> {
    directory: PathBuf,
    runtime: &'a [String],
    state_root: PathBuf,
    id: String,
}

impl<'a> Bundle<'a> {
    fn new(scope: &Scope<'a>, script: &str) -> Result<Self> {
        let engine = scope.engine;
        if engine.runtime.is_empty() {
            return Err(skip("no runtime is known for an engine that was not started here"));
        }
        let directory = scope.directory()?.join("bundle");
        let binaries = directory.join("rootfs/bin");
        std::fs::create_dir_all(&binaries)?;
        for name in ["proc", "dev", "sys", "tmp"] {
            std::fs::create_dir_all(directory.join("rootfs").join(name))?;
        }
        let program = engine.busybox_program.as_deref().context("a busybox program")?;
        program_file::copy(program, &binaries.join("busybox"))?;
        for name in ["sh", "sleep", "cat", "echo", "kill", "id", "true", "touch"] {
            std::os::unix::fs::symlink("busybox", binaries.join(name))?;
        }
        let state_root = scope.directory()?.join("state");
        let bundle = Self { directory, runtime: &engine.runtime, state_root, id: scope.name("bundle") };
        bundle.configure(&configuration(script))?;
        Ok(bundle)
    }

    fn configure(&self, value: &Value) -> Result<()> {
        Ok(std::fs::write(self.directory.join("config.json"), value.to_string())?)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.arg("30").args(self.runtime).arg("--root").arg(&self.state_root).args(words);
        command
    }

    /// A command that ends, with its streams.
    fn call(&self, words: &[&str]) -> Result<Output> {
        run(self.command(words), b"").with_context(|| words.join(" "))
    }

    /// `create`: the container keeps the streams it is given, so they are files.
    fn create(&self) -> Result<Output> {
        let (out, err) = (self.directory.join("out"), self.directory.join("err"));
        let bundle = self.directory.display().to_string();
        let mut command = self.command(&["create", "--bundle", &bundle, &self.id]);
        let file = |path: &Path| std::fs::OpenOptions::new().create(true).append(true).open(path);
        let status = command.stdin(Stdio::null()).stdout(file(&out)?).stderr(file(&err)?).status()?;
        Ok(Output {
            code: status.code().unwrap_or(-1),
            stdout: String::new(),
            stderr: std::fs::read_to_string(err)?,
        })
    }

    fn output(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.directory.join("out"))?)
    }

    fn run(&self) -> Result<Output> {
        self.call(&["run", "--bundle", &self.directory.display().to_string(), &self.id])
    }

    fn state(&self) -> Result<Value> {
        let output = self.call(&["state", &self.id])?.expect_code(0)?;
        serde_json::from_str(&output.stdout).context("state")
    }

    fn status(&self) -> Result<String> {
        Ok(self.state()?["status"].as_str().unwrap_or_default().to_owned())
    }

    fn reaches(&self, status: &str) -> Result<()> {
        crate::scope::eventually(&format!("status {status}"), || Ok((self.status()? == status).then_some(())))
    }
}

impl Drop for Bundle<'_> {
    fn drop(&mut self) {
        // Gone already unless the check failed.
        drop(self.call(&["delete", "--force", &self.id]));
    }
}

fn configuration(script: &str) -> Value {
    let kinds = ["pid", "network", "ipc", "uts", "mount"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["sh", "-c", script],
            "env": ["PATH=/bin", "FROM=bundle"],
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "bundle",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777"] },
        ],
        "linux": { "namespaces": kinds.iter().map(|kind| json!({ "type": kind })).collect::<Vec<_>>() },
    })
}

fn run_bundle(scope: &Scope<'_>) -> Result<()> {
    let bundle = Bundle::new(scope, "echo $FROM $$; hostname; echo err >&2; exit 5")?;
    let output = bundle.run()?.expect_code(5)?;
    same("stdout", output.stdout, "bundle 1\nbundle\n")?;
    contains("stderr", &output.stderr, "err\n")?;
    same("state afterwards", bundle.call(&["state", &bundle.id])?.code == 0, false)
}

fn life(scope: &Scope<'_>) -> Result<()> {
    let bundle = Bundle::new(scope, "trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done")?;
    bundle.create()?.expect_code(0)?;
    same("after create", bundle.status()?, "created")?;
    bundle.call(&["start", &bundle.id])?.expect_code(0)?;
    same("after start", bundle.status()?, "running")?;
    crate::scope::eventually("ready", || Ok(bundle.output()?.contains("ready").then_some(())))?;
    bundle.call(&["kill", &bundle.id, "TERM"])?.expect_code(0)?;
    bundle.reaches("stopped")?;
    bundle.call(&["delete", &bundle.id])?.expect_code(0)?;
    same("after delete", bundle.call(&["state", &bundle.id])?.code == 0, false)
}

fn created(scope: &Scope<'_>) -> Result<()> {
    let bundle = Bundle::new(scope, "echo ran")?;
    bundle.create()?.expect_code(0)?;
    same("before start", bundle.output()?, "")?;
    bundle.call(&["start", &bundle.id])?.expect_code(0)?;
    bundle.reaches("stopped")?;
    same("after start", bundle.output()?, "ran\n")?;
    let again = bundle.call(&["start", &bundle.id])?;
    same("a second start", again.code == 0, false)
}

fn state(scope: &Scope<'_>) -> Result<()> {
    let bundle = Bundle::new(scope, "sleep 300")?;
    bundle.create()?.expect_code(0)?;
    let state = bundle.state()?;
    same("id", state["id"].as_str(), Some(bundle.id.as_str()))?;
    same("ociVersion", state["ociVersion"].is_string(), true)?;
    same("bundle", state["bundle"].as_str(), Some(bundle.directory.display().to_string().as_str()))?;
    let pid = state["pid"].as_u64().context("pid")?;
    same("a process", Path::new(&format!("/proc/{pid}")).exists(), true)
}

fn exec(scope: &Scope<'_>) -> Result<()> {
    let bundle = Bundle::new(scope, "sleep 300")?;
    bundle.create()?.expect_code(0)?;
    bundle.call(&["start", &bundle.id])?.expect_code(0)?;
    let output =
        bundle.call(&["exec", &bundle.id, "sh", "-c", "echo inside $FROM; exit 6"])?.expect_code(6)?;
    same("stdout", output.stdout, "inside bundle\n")
}

fn delete(scope: &Scope<'_>) -> Result<()> {
    let bundle = Bundle::new(scope, "sleep 300")?;
    bundle.create()?.expect_code(0)?;
    bundle.call(&["start", &bundle.id])?.expect_code(0)?;
    same("refused", bundle.call(&["delete", &bundle.id])?.code == 0, false)?;
    same("still", bundle.status()?, "running")?;
    bundle.call(&["delete", "--force", &bundle.id])?.expect_code(0)?;
    same("after --force", bundle.call(&["state", &bundle.id])?.code == 0, false)
}

fn taken(scope: &Scope<'_>) -> Result<()> {
    let bundle = Bundle::new(scope, "sleep 300")?;
    bundle.create()?.expect_code(0)?;
    same("refused", bundle.create()?.code == 0, false)?;
    same("still", bundle.status()?, "created")
}

fn unknown(scope: &Scope<'_>) -> Result<()> {
    let bundle = Bundle::new(scope, "true")?;
    for words in [
        &["state", "nobody"][..],
        &["start", "nobody"],
        &["kill", "nobody", "TERM"],
        &["delete", "nobody"],
        &["exec", "nobody", "true"],
    ] {
        let output = bundle.call(words)?;
        same(&words.join(" "), output.code == 0, false)?;
        contains(&words.join(" "), &output.stderr, "does not exist")?;
    }
    Ok(())
}

fn broken(scope: &Scope<'_>) -> Result<()> {
    let bundle = Bundle::new(scope, "true")?;
    for text in [
        "",
        "{",
        "[]",
        "{\"ociVersion\":\"1.0.2\"}",
        "{\"ociVersion\":\"9.0.0\",\"root\":{\"path\":\"rootfs\"}}",
    ] {
        std::fs::write(bundle.directory.join("config.json"), text)?;
        same(text, bundle.run()?.code == 0, false)?;
    }
    std::fs::remove_file(bundle.directory.join("config.json"))?;
    let output = bundle.run()?;
    same("none", output.code == 0, false)?;
    contains("none", &output.stderr, "config.json")
}

fn missing(scope: &Scope<'_>) -> Result<()> {
    let bundle = Bundle::new(scope, "true")?;
    let mut value = configuration("true");
    value["process"]["args"] = json!(["no-such-program"]);
    bundle.configure(&value)?;
    let output = bundle.run()?;
    same("no program", output.code == 0, false)?;
    contains("no program", &output.stderr, "executable file not found in $PATH")?;
    value["root"]["path"] = json!("no-such-root");
    bundle.configure(&value)?;
    same("no root", bundle.run()?.code == 0, false)?;
    same("state afterwards", bundle.call(&["state", &bundle.id])?.code == 0, false)
}

fn hostile_id(scope: &Scope<'_>) -> Result<()> {
    let bundle = Bundle::new(scope, "true")?;
    let path = bundle.directory.display().to_string();
    for id in ["../up", "a/b", "..", ""] {
        same(id, bundle.call(&["run", "--bundle", &path, id])?.code == 0, false)?;
    }
    same("made outside", scope.directory()?.join("up").exists(), false)
}

fn hooks(scope: &Scope<'_>) -> Result<()> {
    let bundle = Bundle::new(scope, "true")?;
    let mut value = configuration("true");
    let hook = |name: &str| {
        let file = bundle.directory.join(name).display().to_string();
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("cat > {file}")] }])
    };
    value["hooks"] = json!({ "createRuntime": hook("made"), "poststop": hook("ended") });
    bundle.configure(&value)?;
    bundle.run()?.expect_code(0)?;
    for (name, status) in [("made", "created"), ("ended", "stopped")] {
        let state: Value = serde_json::from_str(&std::fs::read_to_string(bundle.directory.join(name))?)?;
        same(name, state["id"].as_str(), Some(bundle.id.as_str()))?;
        let found = state["status"].as_str().unwrap_or_default();
        same(&format!("{name}: {found}"), found == status || found == "creating", true)?;
    }
    Ok(())
}
