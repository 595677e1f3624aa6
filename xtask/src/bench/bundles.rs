//! OCI bundles: `berth runtime` beside crun and runc, on one bundle, without any engine.

use super::accounting::Group;
use super::report::{Row, Table};
use super::{Sample, WARM_UP, sample};
use crate::{fixtures, process, workspace};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

/// A runtime's command line.
struct Runtime {
    name: &'static str,
    program: String,
    prefix: Vec<String>,
    group: Group,
}

pub(super) fn measure(directory: &Path, rounds: usize) -> Result<Table> {
    let bundle = directory.join("bundle");
    prepare(&bundle)?;
    let runtimes = [
        runtime(
            "berth runtime",
            workspace::release_program().display().to_string(),
            &["runtime"],
            directory,
        )?,
        runtime("crun", "crun".to_owned(), &[], directory)?,
        runtime("runc", "runc".to_owned(), &[], directory)?,
    ];
    let mut table = Table::new(
        "An OCI bundle (pid, net, ipc, uts and mount namespaces; busybox true)",
        runtimes.iter().map(|one| one.name.to_owned()).collect(),
    );
    for (name, action) in [
        ("run", Action::Run),
        ("create", Action::Create),
        ("start", Action::Start),
        ("delete", Action::Delete),
    ] {
        eprintln!("==> bundle {name}");
        let mut samples = vec![Vec::new(); runtimes.len()];
        for round in 0..rounds + WARM_UP {
            for (runtime, samples) in runtimes.iter().zip(&mut samples) {
                let sample =
                    runtime.sample(action, &bundle).with_context(|| format!("{} {name}", runtime.name))?;
                if round >= WARM_UP {
                    samples.push(sample);
                }
            }
        }
        table.rows.push(Row::times(name, &samples));
    }
    Ok(table)
}

/// The timed step; the others of a container's life are done around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Run,
    Create,
    Start,
    Delete,
}

fn runtime(name: &'static str, program: String, words: &[&str], directory: &Path) -> Result<Runtime> {
    let state = directory.join("state").join(name.replace(' ', "-"));
    std::fs::create_dir_all(&state)?;
    let mut prefix: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    prefix.extend(["--root".to_owned(), state.display().to_string()]);
    Ok(Runtime { name, program, prefix, group: Group::create(&name.replace(' ', "-"))? })
}

impl Runtime {
    fn sample(&self, action: Action, bundle: &Path) -> Result<Sample> {
        let bundle = bundle.display().to_string();
        let create = ["create", "--bundle", &bundle, "bench"];
        let start = ["start", "bench"];
        let delete = ["delete", "--force", "bench"];
        match action {
            Action::Run => sample(&self.group, || self.call(&["run", "--bundle", &bundle, "bench"])),
            Action::Create => {
                let sample = sample(&self.group, || self.call(&create))?;
                self.call(&delete)?;
                Ok(sample)
            }
            Action::Start => {
                self.call(&create)?;
                let sample = sample(&self.group, || self.call(&start))?;
                self.call(&delete)?;
                Ok(sample)
            }
            Action::Delete => {
                self.call(&create)?;
                self.call(&start)?;
                self.stopped()?;
                sample(&self.group, || self.call(&["delete", "bench"]))
            }
        }
    }

    /// Waits until the program has ended: only then can the container be deleted without force.
    fn stopped(&self) -> Result<()> {
        for _ in 0..2000 {
            let output = Command::new(&self.program).args(&self.prefix).args(["state", "bench"]).output()?;
            let state: Value = serde_json::from_slice(&output.stdout).context("state is not JSON")?;
            if state["status"] == "stopped" {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        bail!("the container does not stop");
    }

    fn call(&self, words: &[&str]) -> Result<()> {
        // Files, not pipes: after create, the container itself holds them open.
        let errors = std::env::temp_dir().join(format!("berth-xtask-{}-stderr", std::process::id()));
        let status = Command::new(&self.program)
            .args(&self.prefix)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&errors)?)
            .status()
            .with_context(|| self.program.clone())?;
        let said = std::fs::read_to_string(&errors)?;
        std::fs::remove_file(&errors)?;
        if !status.success() {
            bail!("{} {}: {status}: {}", self.name, words.join(" "), said.trim());
        }
        Ok(())
    }
}

/// A bundle with busybox as its root, and the configuration every runtime of the comparison takes.
fn prepare(bundle: &Path) -> Result<()> {
    let root = bundle.join("rootfs");
    std::fs::create_dir_all(&root)?;
    let archive = fixtures::archives()?.busybox.display().to_string();
    let script = format!("tar -xOf '{archive}' --wildcards '*/layer.tar' | tar -x -C '{}'", root.display());
    process::output("sh", &["-c", &script])?;
    let namespaces: Vec<Value> =
        ["pid", "network", "ipc", "uts", "mount"].iter().map(|kind| json!({ "type": kind })).collect();
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let configuration = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "user": { "uid": 0, "gid": 0 }, "args": ["true"], "cwd": "/", "noNewPrivileges": true,
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "bench",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
        ],
        "linux": {
            "namespaces": namespaces,
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    Ok(std::fs::write(bundle.join("config.json"), configuration.to_string())?)
}
