//! The engines that are compared: started on directories and in network namespaces of their own, and called by their
//! command lines.

use super::accounting::Group;
use super::{Bench, Sample, sample};
use crate::peers::Peers;
use crate::{fixtures, process};
use anyhow::{Context, Result, bail};
use conformance::{BUSYBOX, Daemon, Flavour, Setup};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A client, with the daemon behind it if it has one of its own.
pub(super) struct Engine {
    pub(super) name: String,
    program: String,
    /// Words before every command: where the engine keeps its things.
    prefix: Vec<String>,
    environment: Vec<(String, String)>,
    /// Flags for every new container that make the candidates do the same.
    flags: Vec<String>,
    daemon: Option<Daemon>,
    pub(super) group: Group,
    network: Option<Network>,
}

/// In which network namespace a daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In one of its own, so that no engine's rules touch another's packets.
    Own,
    /// In that of the benchmark, with the registry.
    Shared,
}

/// A network namespace that lives as long as this value.
struct Network {
    holder: Child,
    /// Whether its links are those below [`LINKS`].
    is_shown: bool,
}

/// Where the kernel tells of links as files, which are those of the namespace that it was mounted in.
const LINKS: [&str; 2] = ["/sys/devices/virtual/net", "/sys/class/net"];

/// Mounts the files that tell of links in this namespace over the others; `$0` is an empty directory.
const SHOW: &str = r#"mount -t sysfs sysfs "$0" && for links; do mount --bind "$0/${links#/sys/}" "$links" || exit 1; done
    umount --lazy "$0" &&"#;

/// Frames of IPv6 that cross bridges are not given to the packet filter, as on hosts whose kernel has that as a module:
/// otherwise [::1] cannot be answered without a proxy.
const PLAIN_BRIDGES: &str =
    "plain=/proc/sys/net/bridge/bridge-nf-call-ip6tables; test ! -e $plain || echo 0 > $plain;";

impl Network {
    /// Docker waits 20 ms for the state of every new link where it does not find it below /sys, as it would on any host:
    /// there `show` has to tell it of its own links. Only one network can be shown at a time.
    fn create(directory: &Path, show: bool) -> Result<Self> {
        let show_links = if show { SHOW } else { "" };
        let script = format!("{PLAIN_BRIDGES} {show_links} ip link set lo up && echo ready && exec cat");
        let place = directory.join("sys");
        std::fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", &script])
            .arg(place)
            .args(LINKS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare (util-linux)")?;
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().context("a piped stdout")?).read_line(&mut line)?;
        if line.trim() != "ready" {
            bail!("no network namespace could be made");
        }
        Ok(Self { holder, is_shown: show })
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if self.is_shown {
            for links in LINKS {
                if let Err(error) = process::output("umount", &["--lazy", links]) {
                    eprintln!("{error:#}");
                }
            }
        }
        drop(self.holder.stdin.take());
        if let Err(error) = self.holder.wait() {
            eprintln!("the holder of a network namespace: {error}");
        }
    }
}

/// Starts ours.
pub(super) fn berth(bench: &Bench<'_>, directory: &Path, place: Place) -> Result<Engine> {
    daemon("berth", Flavour::Berth, &[bench.program.display().to_string()], directory, place)
}

/// Starts Docker.
pub(super) fn docker(bench: &Bench<'_>, directory: &Path, place: Place) -> Result<Engine> {
    let mut words = vec!["dockerd".to_owned()];
    // By itself it would take one of another version, where there is one in a directory for such.
    words.extend(
        bench.peers.map(|peers| format!("--userland-proxy-path={}", peers.program("docker-proxy").display())),
    );
    daemon("docker", Flavour::Docker, &words, directory, place)
}

/// Podman, which needs no start.
pub(super) fn podman(bench: &Bench<'_>, directory: &Path) -> Result<Engine> {
    let directory = directory.join("podman").display().to_string();
    let words = [
        "--root",
        "ROOT/root",
        "--runroot",
        "ROOT/run",
        "--tmpdir",
        "ROOT/tmp",
        "--cgroup-manager",
        "cgroupfs",
    ];
    let group = Group::create("podman")?;
    Ok(Engine {
        name: "podman".to_owned(),
        program: "podman".to_owned(),
        prefix: words.iter().map(|word| word.replace("ROOT", &directory)).collect(),
        environment: bench.peers.map(Peers::podman_environment).unwrap_or_default(),
        // Podman raises limits by itself, which a machine may not allow.
        flags: ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("--cgroup-parent={}", group.containers())])
            .collect(),
        daemon: None,
        group,
        network: None,
    })
}

/// Starts a daemon by the words before those that [`Setup`] adds.
fn daemon(name: &str, flavour: Flavour, words: &[String], directory: &Path, place: Place) -> Result<Engine> {
    let group = Group::create(name)?;
    let directory = directory.join(name);
    let network = match place {
        Place::Own => Some(Network::create(&directory, flavour == Flavour::Docker)?),
        Place::Shared => None,
    };
    std::fs::create_dir_all(&directory)?;
    let inside = network.as_ref().map(|network| format!("nsenter --net={} ", network.path()));
    let script = format!("#!/bin/sh\nexec {}{} \"$@\"\n", inside.unwrap_or_default(), words.join(" "));
    let start = directory.join("start");
    std::fs::write(&start, script).with_context(|| start.display().to_string())?;
    std::fs::set_permissions(&start, std::fs::Permissions::from_mode(0o755))?;
    let setup = Setup { flavour, program: start, directory, cgroup_parent: None };
    group.enter()?;
    let daemon = Daemon::start(setup.clone());
    group.leave()?;
    let client = if flavour == Flavour::Berth { &words[0] } else { "docker" };
    Ok(Engine {
        name: name.to_owned(),
        program: client.to_owned(),
        prefix: Vec::new(),
        environment: vec![("DOCKER_HOST".to_owned(), format!("unix://{}", setup.socket().display()))],
        flags: vec![format!("--cgroup-parent={}", group.containers())],
        daemon: Some(daemon?),
        group,
        network,
    })
}

impl Engine {
    /// Loads the small image.
    pub(super) fn load_busybox(&self) -> Result<()> {
        let archive = fixtures::busybox()?.busybox.display().to_string();
        self.outside(&["load", "-q", "-i", &archive])
    }

    /// Times a command, with the processor time of everything that takes part.
    pub(super) fn time(&self, words: &[&str]) -> Result<Sample> {
        let words = self.words(words);
        sample(&self.group, || self.call(&words).map(drop))
    }

    /// Does something that is not timed, with its processes in the engine's group as ever.
    pub(super) fn outside(&self, words: &[&str]) -> Result<()> {
        self.answer(words).map(drop)
    }

    /// The same, with what the command printed.
    pub(super) fn answer(&self, words: &[&str]) -> Result<String> {
        self.group.enter()?;
        let answer = self.call(&self.words(words));
        self.group.leave()?;
        answer
    }

    /// Replaces the words in capitals by what they stand for here: new containers get this engine's flags.
    fn words(&self, words: &[&str]) -> Vec<String> {
        let mut result = Vec::new();
        for word in words {
            match *word {
                "FLAGS" => result.extend(self.flags.iter().cloned()),
                "IMAGE" => result.push(BUSYBOX.to_owned()),
                word => result.push(word.to_owned()),
            }
        }
        result
    }

    /// The command, ready to run; its words as [`Engine::time`] takes them.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        self.plain_command(&self.words(words))
    }

    fn plain_command(&self, words: &[String]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.prefix).args(words).envs(self.environment.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null());
        command
    }

    fn call(&self, words: &[String]) -> Result<String> {
        let output = self.plain_command(words).output().with_context(|| self.program.clone())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            bail!("{} {}: {}: {said}", self.name, words.join(" "), output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Another client of the same daemon, ready to run.
    pub(super) fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment.iter().map(|(key, value)| (key, value))).stdin(Stdio::null());
        command
    }

    /// A command in the engine's network namespace, as a neighbour on the same host.
    pub(super) fn neighbour(&self, program: &str) -> Command {
        let Some(network) = &self.network else { return Command::new(program) };
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", network.path())).arg(program);
        command
    }

    /// Kills the daemon; how long the next one takes until it answers.
    pub(super) fn crash_and_start(&mut self) -> Result<Duration> {
        let daemon = self.daemon.as_mut().context("an engine with a daemon")?;
        daemon.kill_hard()?;
        self.group.enter()?;
        let began = Instant::now();
        let started = daemon.start_again();
        let took = began.elapsed();
        self.group.leave()?;
        started.map(|()| took)
    }

    /// Where the daemon's socket is.
    pub(super) fn socket(&self) -> Option<PathBuf> {
        self.daemon.as_ref().map(|daemon| daemon.setup().socket())
    }

    /// The daemon's process; none for an engine without one.
    pub(super) fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Daemon::pid)
    }

    /// Kills and removes containers.
    pub(super) fn remove(&self, names: &[String]) -> Result<()> {
        // Podman's rm -f would wait ten seconds for a program that does not hear SIGTERM.
        if self.daemon.is_none() {
            for name in names {
                self.outside(&["kill", name])?;
            }
        }
        for some in names.chunks(100) {
            let mut words = vec!["rm", "-f"];
            words.extend(some.iter().map(String::as_str));
            self.outside(&words)?;
        }
        Ok(())
    }

    /// Stops the daemon.
    pub(super) fn stop(mut self) -> Result<()> {
        if let Some(daemon) = &mut self.daemon {
            daemon.stop()?;
        }
        Ok(())
    }
}
