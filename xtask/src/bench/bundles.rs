//! OCI bundles: `berth runtime` beside crun, runc and youki, on one bundle, without any engine.

use super::accounting::Group;
use super::report::{Row, Table, Target};
use super::{Bench, Sample, WARM_UP, floor, sample};
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

/// The steps, the least that each takes by itself, and whether it is what the target is about.
const STEPS: &[(&str, Action, bool)] = &[
    ("run", Action::Run, false),
    ("create + start + delete", Action::Life, true),
    ("create", Action::Create, false),
    ("start", Action::Start, false),
    ("delete", Action::Delete, false),
    ("state", Action::State, false),
];

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Table>> {
    let directory = bench.directory.join("bundles");
    let bundle = directory.join("bundle");
    prepare(&bundle)?;
    let ours = bench.program.display().to_string();
    let mut runtimes = vec![
        runtime("berth runtime", ours, &["runtime"], &directory)?,
        runtime("crun", "crun".to_owned(), &[], &directory)?,
        runtime("runc", "runc".to_owned(), &[], &directory)?,
    ];
    // No package of Debian's: only where it could be built.
    if Command::new("youki")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
    {
        runtimes.push(runtime("youki", "youki".to_owned(), &[], &directory)?);
    }
    let names: Vec<&str> = runtimes.iter().map(|one| one.name).collect();
    let note = "Pid, net, ipc, uts and mount namespaces, the usual mounts and masks; busybox true. The floor of a life is \
                clone3 with the same namespaces, an overlay mounted and entered, exec of busybox, and its end; that of a \
                command is clone3 and exec of a static program, with clone3 of the namespaces before it for create. What a \
                runtime takes beyond that is its own: reading and checking the configuration, the mounts besides the root, \
                masks, devices and control groups, and its records. youki is \
                that of the registry of crates (`--no-default-features --features v1,v2,seccomp`).";
    let mut table = Table::new("An OCI bundle", &names).note(note);
    let program = bench.floor.get("clone3 and exec of a static program, us") / 1000.0;
    for (name, action, has_target) in STEPS {
        eprintln!("    {name}");
        let mut samples = vec![Vec::new(); runtimes.len()];
        for round in 0..2 * bench.rounds + WARM_UP {
            for (runtime, samples) in runtimes.iter().zip(&mut samples) {
                // youki's run waits for ever for a program that ends before it begins to wait.
                if runtime.name == "youki" && *action == Action::Run {
                    continue;
                }
                let sample =
                    runtime.sample(*action, &bundle).with_context(|| format!("{} {name}", runtime.name))?;
                if round >= WARM_UP {
                    samples.push(sample);
                }
            }
        }
        let floor = match action {
            Action::Run => bench.floor.container() + program,
            Action::Life => bench.floor.container() + 3.0 * program,
            Action::Create => bench.floor.get("clone3 with five namespaces and exit, us") / 1000.0 + program,
            _ => program,
        };
        let row = Row::times(name, &samples);
        let above = row.ours() - floor;
        let mut row = row.floor(format!("{floor:.1} ms, {above:.1} above it"));
        if *has_target {
            row = row.target(Target::AtMost { part: 0.6, of: 1, cpu: true });
        }
        table.rows.push(row);
    }
    Ok(vec![table, breakdown(bench)])
}

/// Where the floor's time goes.
fn breakdown(bench: &Bench<'_>) -> Table {
    let mut table = Table::new("The floor of a container", &["this machine"]);
    for (name, key) in [
        ("clone3 of a small process, and its end", "clone3 and exit, us"),
        ("the same with five new namespaces", "clone3 with five namespaces and exit, us"),
        ("clone3 and exec of a static program", "clone3 and exec of a static program, us"),
        ("namespaces, overlay as root, exec, end", "container, us"),
        ("a pair of links over netlink, made and removed", "veth pair made and removed, us"),
        ("a small file with owner, mode and times", "small file made, us"),
    ] {
        table.rows.push(Row::numbers(name, "µs", &[Some(bench.floor.get(key))]));
    }
    for (name, key) in [
        ("sequential write until it is on the disk", "disk, MB/s"),
        ("gzip inflated by one processor", "gzip inflate, MB/s"),
        ("SHA-256 by one processor", "sha256, MB/s"),
    ] {
        table.rows.push(Row::numbers(name, "MB/s", &[Some(bench.floor.get(key))]));
    }
    table
}

/// How often a removal that is not timed is tried.
const DISCARDS: usize = 5;

/// The timed step; the others of a container's life are done around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Run,
    /// All three steps after one another; the program's end is waited for in between and not counted.
    Life,
    Create,
    Start,
    Delete,
    State,
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
        match action {
            Action::Life => {
                let created = sample(&self.group, || self.call(&create))?;
                let started = sample(&self.group, || self.call(&start))?;
                self.stopped()?;
                let deleted = sample(&self.group, || self.call(&["delete", "bench"]))?;
                let steps = [created, started, deleted];
                Ok(Sample {
                    wall: steps.iter().map(|step| step.wall).sum(),
                    cpu: steps.iter().map(|step| step.cpu).sum(),
                })
            }
            Action::State => {
                self.call(&create)?;
                let sample = sample(&self.group, || self.call(&["state", "bench"]))?;
                self.discard()?;
                Ok(sample)
            }
            Action::Run => sample(&self.group, || self.call(&["run", "--bundle", &bundle, "bench"])),
            Action::Create => {
                let sample = sample(&self.group, || self.call(&create))?;
                self.discard()?;
                Ok(sample)
            }
            Action::Start => {
                self.call(&create)?;
                let sample = sample(&self.group, || self.call(&start))?;
                self.discard()?;
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

    /// Removes the container, which is not timed. youki fails now and then while it makes a sealed copy of itself.
    fn discard(&self) -> Result<()> {
        let delete = || self.call(&["delete", "--force", "bench"]);
        (1..DISCARDS).find_map(|_| delete().ok()).map_or_else(delete, Ok)
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
        let errors = std::env::temp_dir().join(format!("{}-stderr", crate::sandbox::run_name()));
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
    floor::unpack_busybox(&root)?;
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
