//! The engines that are compared: started on directories and in network namespaces of their own, and called by their
//! command lines.

use super::accounting::Group;
use super::{Bench, Sample, sample};
use crate::fixtures;
use anyhow::{Context, Result, bail};
use conformance::{BUSYBOX, Daemon, Flavour, Setup};
use std::io::{BufRead, BufReader, Write};
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
}

impl Network {
    fn create() -> Result<Self> {
        let script = "ip link set lo up && echo ready && exec cat";
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare (util-linux)")?;
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().context("a piped stdout")?).read_line(&mut line)?;
        if line.trim() != "ready" {
            bail!("no network namespace could be made");
        }
        Ok(Self { holder })
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// A program that runs `program` inside.
    fn wrap(&self, program: &Path, wrapper: &Path) -> Result<PathBuf> {
        let text = format!("#!/bin/sh\nexec nsenter --net={} {} \"$@\"\n", self.path(), program.display());
        std::fs::File::create(wrapper)?.write_all(text.as_bytes())?;
        std::fs::set_permissions(wrapper, std::fs::Permissions::from_mode(0o755))?;
        Ok(wrapper.to_owned())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        if let Err(error) = self.holder.wait() {
            eprintln!("the holder of a network namespace: {error}");
        }
    }
}

/// Starts ours.
pub(super) fn berth(bench: &Bench<'_>, directory: &Path, place: Place) -> Result<Engine> {
    daemon("berth", Flavour::Berth, &bench.program, directory, place)
}

/// Starts Docker.
pub(super) fn docker(directory: &Path, place: Place) -> Result<Engine> {
    daemon("docker", Flavour::Docker, Path::new("dockerd"), directory, place)
}

/// Podman, which needs no start.
pub(super) fn podman(directory: &Path) -> Result<Engine> {
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
        environment: Vec::new(),
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

fn daemon(name: &str, flavour: Flavour, program: &Path, directory: &Path, place: Place) -> Result<Engine> {
    let group = Group::create(name)?;
    let network = if place == Place::Own { Some(Network::create()?) } else { None };
    let directory = directory.join(name);
    std::fs::create_dir_all(&directory)?;
    let wrapped = match &network {
        Some(network) => network.wrap(program, &directory.join("start"))?,
        None => program.to_owned(),
    };
    let setup = Setup { flavour, program: wrapped, directory, cgroup_parent: None };
    group.enter()?;
    let daemon = Daemon::start(setup.clone());
    group.leave()?;
    let client = if flavour == Flavour::Berth { program } else { Path::new("docker") };
    Ok(Engine {
        name: name.to_owned(),
        program: client.display().to_string(),
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
