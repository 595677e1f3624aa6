//! Network, mount and process namespaces of our own, so that no engine under test touches the machine's links and mounts,
//! or meets the processes of another run.
//!
//! The command runs itself again inside. The way out is slirp4netns: a user-mode network that needs no link, rule or
//! forwarding on the machine, and ends with us.

use crate::{packages, process};
use anyhow::{Context, Result, bail};
use conformance::{RUN, run_number};
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The word that tells the command that it runs inside, before the words of the command itself.
pub(crate) const INSIDE: &str = "inside";

/// slirp4netns' own resolver, which asks the machine's.
const RESOLVER: &str = "nameserver 10.0.2.3\n";

/// How long what is killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first process inside: it reaps what nobody else does, and with it ends everything. The program is the file that
/// runs outside, also when a build has put another one in its place meanwhile.
const FIRST: &str = r#"
    exec 9<"$0" && mount -t proc proc /proc && (exec 9<&- && exec unshare --net -- /proc/1/fd/9 "$@")
    exit $?"#;

/// Runs `cargo xtask <words>` again in namespaces of its own.
pub(crate) fn enter(words: &[&str]) -> Result<()> {
    enter_with(words, &[])
}

/// [`enter`] with variables added to the environment.
pub(crate) fn enter_with(words: &[&str], environment: &[(&str, &OsStr)]) -> Result<()> {
    packages::install(&["util-linux", "iproute2", "nftables", "slirp4netns"])?;
    let own = std::process::id();
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child", "--"])
        .args(["sh", "-c", FIRST, &format!("/proc/{own}/exe"), INSIDE])
        .args(words)
        .env(RUN, own.to_string())
        .envs(environment.iter().copied())
        .status()
        .context("unshare (util-linux)")?;
    if !status.success() {
        bail!("{}: {status}", words.join(" "));
    }
    Ok(())
}

/// A name that no other run has at the same time, for files and control groups.
pub(crate) fn run_name() -> String {
    format!("berth-xtask-{}", run_number())
}

/// What runs inside needs: a directory for one engine, and the way out if there is one.
#[derive(Debug)]
pub(crate) struct Sandbox {
    directory: PathBuf,
    uplink: Option<Uplink>,
    around: Around,
}

/// What is around the command when it runs inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Around {
    /// The namespaces that [`enter`] made: every process that is seen is this run's.
    Namespaces,
    /// A machine that ends with this run, and its processes with it. systemd in it is told of processes by the numbers
    /// that it sees itself, so that a process namespace of our own would be in the way.
    Machine,
}

impl Sandbox {
    /// Prepares what is around us.
    pub(crate) fn prepare(around: Around) -> Result<Self> {
        process::output("ip", &["link", "set", "lo", "up"])?;
        let is_entered = std::env::var_os(RUN).is_some() && std::os::unix::process::parent_id() == 1;
        if around == Around::Namespaces && !is_entered {
            bail!("`{INSIDE}` is for the command itself: it ends all processes that it sees");
        }
        let directory = new_directory()?;
        let uplink = match Uplink::connect(&directory) {
            Ok(uplink) => Some(uplink),
            Err(error) => {
                eprintln!("no way out of the sandbox: {error:#}");
                None
            }
        };
        Ok(Self { directory, uplink, around })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn has_uplink(&self) -> bool {
        self.uplink.is_some()
    }

    /// Ends whatever still runs: an engine that was killed leaves its containers behind. Every process that is seen here
    /// is one of this run's.
    pub(crate) fn end_processes(&self) -> Result<()> {
        if self.around == Around::Machine {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        let mut told = Vec::new();
        loop {
            let left = self.others()?;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("still running, though killed: processes {}", left.join(", "));
            }
            for process in left {
                let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
                thaw(&process);
                // It may have ended since.
                let killed = process::output("kill", &["-KILL", &process]);
                if killed.is_ok() && !told.contains(&process) {
                    let line = String::from_utf8_lossy(&line).replace('\0', " ");
                    eprintln!("still running, killed now: {process} {line}");
                    told.push(process);
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The processes that live here beside the first one, ourselves and the way out.
    fn others(&self) -> Result<Vec<String>> {
        let uplink = self.uplink.as_ref().map(|uplink| uplink.process.id());
        let ours = [Some(1), Some(std::process::id()), uplink];
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let Ok(number) = name.parse::<u32>() else { continue };
            // `1 (sh) S ...`. A process may end while it is being looked at.
            let stat = std::fs::read_to_string(format!("/proc/{name}/stat")).unwrap_or_default();
            let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
            if !ours.contains(&Some(number)) && state.is_some_and(|state| state != 'Z' && state != 'X') {
                found.push(name);
            }
        }
        Ok(found)
    }

    /// Removes the directory and what an engine may have left mounted below it in this namespace.
    pub(crate) fn close(self) -> Result<()> {
        drop(self.uplink);
        let table = std::fs::read_to_string("/proc/self/mountinfo")?;
        let mut points: Vec<&str> = table
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .filter(|point| Path::new(point).starts_with(&self.directory))
            .collect();
        points.reverse();
        for point in points {
            process::output("umount", &["--lazy", point])?;
        }
        std::fs::remove_dir_all(&self.directory).with_context(|| self.directory.display().to_string())
    }
}

/// A directory that was not there before: another run may have kept one of the same name.
fn new_directory() -> Result<PathBuf> {
    let mut number = 0;
    loop {
        let name = if number == 0 { run_name() } else { format!("{}.{number}", run_name()) };
        let directory = std::env::temp_dir().join(name);
        match std::fs::create_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            made => return made.map(|()| directory.clone()).with_context(|| directory.display().to_string()),
        }
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

/// Lets a process of a paused container go on: in the first version of control groups it cannot be ended before.
fn thaw(process: &str) {
    let groups = std::fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    let freezer = groups.lines().find_map(|line| line.split_once(":freezer:"));
    if let Some((_, path)) = freezer.filter(|(_, path)| *path != "/") {
        let state = format!("/sys/fs/cgroup/freezer{path}/freezer.state");
        // One that is gone holds nobody.
        drop(std::fs::write(state, "THAWED"));
    }
}
