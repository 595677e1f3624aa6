//! A network and a mount namespace of our own, so that no engine under test touches the machine's links and mounts.
//!
//! The command runs itself again inside. The way out is slirp4netns: a user-mode network that needs no link, rule or
//! forwarding on the machine, and ends with us.

use crate::{packages, process};
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The word that tells the command that it runs inside, before the words of the command itself.
pub(crate) const INSIDE: &str = "inside";

/// slirp4netns' own resolver, which asks the machine's.
const RESOLVER: &str = "nameserver 10.0.2.3\n";

/// Runs `cargo xtask <words>` again in namespaces of its own.
pub(crate) fn enter(words: &[&str]) -> Result<()> {
    packages::install(&["util-linux", "iproute2", "nftables", "slirp4netns"])?;
    // The file that runs, also when a build has put another one in its place meanwhile.
    let program = format!("/proc/{}/exe", std::process::id());
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "slave", "--"])
        .arg(program)
        .arg(INSIDE)
        .args(words)
        .status()
        .context("unshare (util-linux)")?;
    if !status.success() {
        bail!("{}: {status}", words.join(" "));
    }
    Ok(())
}

/// What runs inside needs: a directory for one engine, and the way out if there is one.
#[derive(Debug)]
pub(crate) struct Sandbox {
    directory: PathBuf,
    uplink: Option<Uplink>,
}

impl Sandbox {
    /// Prepares the namespaces that [`enter`] made.
    pub(crate) fn prepare() -> Result<Self> {
        process::output("ip", &["link", "set", "lo", "up"])?;
        let directory = std::env::temp_dir().join(format!("berth-xtask-{}", std::process::id()));
        std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let uplink = match Uplink::connect(&directory) {
            Ok(uplink) => Some(uplink),
            Err(error) => {
                eprintln!("no way out of the sandbox: {error:#}");
                None
            }
        };
        Ok(Self { directory, uplink })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn has_uplink(&self) -> bool {
        self.uplink.is_some()
    }

    /// Ends whatever still runs on the directory: an engine that was killed leaves its containers behind.
    pub(crate) fn end_processes(&self) -> Result<()> {
        let (prefix, own) = (self.directory.display().to_string(), std::fs::read_link("/proc/self/ns/mnt")?);
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // A process may end while it is being looked at.
            let read = |file: &str| std::fs::read(format!("/proc/{name}/{file}")).unwrap_or_default();
            if name.parse::<u32>().is_err() || name == std::process::id().to_string() {
                continue;
            }
            let named = String::from_utf8_lossy(&read("cmdline")).contains(&prefix);
            let elsewhere =
                std::fs::read_link(format!("/proc/{name}/ns/mnt")).is_ok_and(|namespace| namespace != own);
            if named || (elsewhere && String::from_utf8_lossy(&read("mountinfo")).contains(&prefix)) {
                eprintln!(
                    "still running, killed now: {name} {}",
                    String::from_utf8_lossy(&read("cmdline")).replace('\0', " ")
                );
                process::output("kill", &["-KILL", &name])?;
            }
        }
        Ok(())
    }

    /// Removes the directory and what an engine may have left mounted below it in this namespace.
    pub(crate) fn close(self) -> Result<()> {
        drop(self.uplink);
        let table = std::fs::read_to_string("/proc/self/mountinfo")?;
        let prefix = self.directory.display().to_string();
        let mut points: Vec<&str> = table
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .filter(|point| point.starts_with(&prefix))
            .collect();
        points.reverse();
        for point in points {
            process::output("umount", &["--lazy", point])?;
        }
        std::fs::remove_dir_all(&self.directory).with_context(|| self.directory.display().to_string())
    }
}

/// A running slirp4netns; it ends when its standard input is closed, at the latest with us.
#[derive(Debug)]
struct Uplink {
    process: Child,
}

impl Uplink {
    fn connect(directory: &Path) -> Result<Self> {
        let (own, outside) = (std::process::id().to_string(), std::os::unix::process::parent_id());
        // It must run outside to reach what the machine reaches: in the network namespace of whoever entered.
        let mut process = Command::new("nsenter")
            .arg(format!("--net=/proc/{outside}/ns/net"))
            .args(["slirp4netns", "--ready-fd=1", "--exit-fd=0", "--configure", "--mtu=1500"])
            .args(["--disable-host-loopback", &own, "up0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("nsenter (util-linux)")?;
        let mut ready = [0; 1];
        let stdout = process.stdout.as_mut().context("a piped stdout")?;
        if stdout.read_exact(&mut ready).is_err() {
            let output = process.wait_with_output()?;
            bail!("slirp4netns: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        let file = directory.join("resolv.conf");
        std::fs::write(&file, RESOLVER)?;
        process::output("mount", &["--bind", &file.display().to_string(), "/etc/resolv.conf"])?;
        Ok(Self { process })
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        if let Err(error) = self.process.wait() {
            eprintln!("slirp4netns: {error}");
        }
        if let Err(error) = process::output("umount", &["/etc/resolv.conf"]) {
            eprintln!("{error:#}");
        }
    }
}
