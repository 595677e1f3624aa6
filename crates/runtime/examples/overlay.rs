//! Runs one container on an overlay root through the library, as the shim does: what the tests of overlay roots, of the
//! fallback for older kernels and of our init run.
//!
//! `overlay DIRECTORY layers|options|detached|attached init|plain`: DIRECTORY holds `config.json`, the layers `1` and `2` (on
//! top), `upper` and `work`. The last two ways map the ids of the layers.

use std::path::Path;

use linux::child::{self, How};
use linux::procfs::Procfs;
use runtime::{Create, Facts, Gate, Rootfs, Stdio};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let name = arguments.first().map_or("", String::as_str);
    if name.ends_with("docker-init") {
        std::process::exit(runtime::init::main(std::env::args_os().skip(1).collect()));
    }
    let [_, directory, how, init] = arguments.as_slice() else { return Err("three arguments".into()) };
    let directory = Path::new(directory);
    let spec = serde_json::from_slice(&std::fs::read(directory.join("config.json"))?)?;
    let (procfs, hierarchy) = (Procfs::open()?, cgroup::Hierarchy::detect()?);
    let mut facts = Facts::gather(&procfs, &hierarchy)?;
    facts.overlay_appends &= how == "layers";
    facts.overlay_takes_detached &= how == "detached";
    let created = runtime::create_with(
        Create {
            id: "overlay",
            spec: &spec,
            bundle: directory,
            rootfs: Rootfs::Overlay {
                lower: vec![directory.join("2"), directory.join("1")],
                upper: directory.join("upper"),
                work: directory.join("work"),
                volatile: false,
                mapped: how == "detached" || how == "attached",
            },
            stdio: Stdio::default(),
            cgroup: None,
            hierarchy: &hierarchy,
            gate: Gate::Held,
            init: init == "init",
            preserve_fds: 0,
            no_pivot: false,
            no_new_keyring: false,
            told: None,
        },
        procfs,
        &facts,
    )?;
    runtime::start(created.gate.ok_or("no gate")?)?;
    std::process::exit(match child::wait(&created.pidfd)? {
        Some(How::Exited(code)) => code,
        Some(How::Signalled(signal)) => 128 + signal,
        None => 255,
    });
}
