//! The images the checks run: busybox and Debian, packed here from what Debian's packages provide.

use crate::tar::{Kind, Writer};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name of the busybox image: small, and has most programs that a check wants.
pub const BUSYBOX: &str = "conformance/busybox:1";
/// The name of the image with servers and their clients: Debian with nginx, redis, postgres, rsyslog, dig, curl, iperf3, socat.
pub(crate) const SERVERS: &str = "conformance/servers:1";
/// The name of the Debian image: a real system, with bash and apt.
pub const DEBIAN: &str = "conformance/debian:1";

const CREATED: &str = "2026-11-21T00:00:00Z";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the packed images are.
#[derive(Debug, Clone)]
pub struct Archives {
    /// A docker-archive, for `docker load`.
    pub busybox: PathBuf,
    /// A root file system as a tar file, for `docker import`; absent when it could not be made.
    pub debian: Option<PathBuf>,
    /// The same with servers in it; absent when it could not be made, or is not wanted.
    pub servers: Option<PathBuf>,
    /// The static busybox itself, for roots that a check makes by hand.
    pub busybox_program: PathBuf,
}

impl Archives {
    /// Packs what is missing in `directory`. `debian_root` is a directory made by debootstrap.
    pub fn prepare(directory: &Path, busybox_program: &Path, debian_root: Option<&Path>) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let busybox = directory.join("busybox.tar");
        write_once(&busybox, |file| {
            let layer = busybox_layer(busybox_program)?;
            docker_archive(file, BUSYBOX, &json!({ "Cmd": ["sh"], "Env": [PATH] }), &layer)
        })?;
        let Some(root) = debian_root else {
            return Ok(Self {
                busybox,
                debian: None,
                servers: None,
                busybox_program: busybox_program.to_owned(),
            });
        };
        let debian = directory.join("debian.tar");
        write_once(&debian, |file| {
            let mut writer = Writer::new(file);
            writer.add_tree(root)?;
            writer.finish()?;
            Ok(())
        })?;
        let busybox_program = busybox_program.to_owned();
        Ok(Self { busybox, debian: Some(debian), servers: None, busybox_program })
    }

    /// Packs a root with servers in it, which is removed then.
    pub fn pack_servers(self, archive: &Path, root: &Path) -> Result<Self> {
        write_once(archive, |file| {
            let mut writer = Writer::new(file);
            writer.add_tree(root)?;
            writer.finish()?;
            Ok(())
        })?;
        fs::remove_dir_all(root).with_context(|| format!("remove {}", root.display()))?;
        Ok(Self { servers: Some(archive.to_owned()), ..self })
    }
}

/// Writes a file under another name first, so that what has its name is always complete.
fn write_once(path: &Path, write: impl FnOnce(BufWriter<File>) -> Result<()>) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let partial = path.with_extension("partial");
    let file = File::create(&partial).with_context(|| format!("create {}", partial.display()))?;
    write(BufWriter::new(file)).with_context(|| format!("write {}", partial.display()))?;
    fs::rename(&partial, path).with_context(|| format!("rename to {}", path.display()))
}

/// A root file system of one program with many names.
pub(crate) fn busybox_layer(program: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(program).with_context(|| format!("read {}", program.display()))?;
    let list = Command::new(program).arg("--list").output().context("busybox --list")?;
    if !list.status.success() {
        bail!("busybox --list: {}", list.status);
    }
    let names = String::from_utf8(list.stdout).context("busybox --list")?;
    let mut writer = Writer::new(Vec::new());
    for (directory, mode) in [
        ("bin", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("root", 0o700),
        ("tmp", 0o1777),
        ("var", 0o755),
        ("usr", 0o755),
        ("dev", 0o755),
        ("proc", 0o555),
        ("sys", 0o555),
    ] {
        writer.add(directory, mode, &Kind::Directory)?;
    }
    writer.add("usr/bin", 0o755, &Kind::Directory)?;
    writer.add("usr/bin/env", 0o755, &Kind::Symlink("/bin/env"))?;
    writer.add("bin/busybox", 0o755, &Kind::File(&bytes))?;
    for name in names.lines().filter(|name| *name != "busybox") {
        writer.add(&format!("bin/{name}"), 0o755, &Kind::Hardlink("bin/busybox"))?;
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nalice:x:1000:1000::/home/alice:/bin/sh\n";
    let group = "root:x:0:\ndaemon:x:1:\nalice:x:1000:\nteam:x:2000:alice\n";
    writer.add("etc/passwd", 0o644, &Kind::File(passwd.as_bytes()))?;
    writer.add("etc/group", 0o644, &Kind::File(group.as_bytes()))?;
    writer.add("etc/not-a-program", 0o644, &Kind::File(b"text\n"))?;
    Ok(writer.finish()?)
}

/// A docker-archive of one image with one layer.
pub(crate) fn docker_archive(file: BufWriter<File>, name: &str, config: &Value, layer: &[u8]) -> Result<()> {
    let diff_id = hex_sha256(layer);
    let image = json!({
        "architecture": "amd64",
        "os": "linux",
        "created": CREATED,
        "config": config,
        "history": [{ "created": CREATED, "created_by": "conformance" }],
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{diff_id}")] },
    })
    .to_string();
    let image_name = format!("{}.json", hex_sha256(image.as_bytes()));
    let layer_name = format!("{diff_id}/layer.tar");
    let manifest = json!([{ "Config": image_name, "RepoTags": [name], "Layers": [layer_name] }]).to_string();
    let mut writer = Writer::new(file);
    writer.add(&image_name, 0o644, &Kind::File(image.as_bytes()))?;
    writer.add(&diff_id, 0o755, &Kind::Directory)?;
    writer.add(&layer_name, 0o644, &Kind::File(layer))?;
    writer.add("manifest.json", 0o644, &Kind::File(manifest.as_bytes()))?;
    writer.finish()?;
    Ok(())
}

pub(crate) fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
