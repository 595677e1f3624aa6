//! The engines that are compared, and what they are asked to do.

use super::accounting::Group;
use super::{Sample, sample};
use crate::{fixtures, workspace};
use anyhow::{Context, Result, bail};
use conformance::{BUSYBOX, Daemon, Flavour, Setup};
use std::path::Path;
use std::process::{Command, Stdio};

/// One thing to measure: what is done before, what is timed, and what after.
pub(super) struct Workload {
    pub(super) name: &'static str,
    before: &'static [&'static [&'static str]],
    timed: &'static [&'static str],
    after: &'static [&'static [&'static str]],
}

const NOTHING: &[&[&str]] = &[];
const REMOVE: &[&[&str]] = &[&["rm", "-f", "bench"]];
/// Ends at once on SIGTERM, as a good service does.
const SERVICE: &[&str] = &[
    "NAMED",
    "--network",
    "none",
    "IMAGE",
    "sh",
    "-c",
    "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done",
];

pub(super) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "run --rm busybox true, bridge",
        before: NOTHING,
        timed: &["RUN", "IMAGE", "true"],
        after: NOTHING,
    },
    Workload {
        name: "run --rm busybox true, no network",
        before: NOTHING,
        timed: &["RUN", "--network", "none", "IMAGE", "true"],
        after: NOTHING,
    },
    Workload { name: "create", before: NOTHING, timed: SERVICE_CREATE, after: REMOVE },
    Workload {
        name: "start, no network",
        before: &[SERVICE_CREATE],
        timed: &["start", "bench"],
        after: REMOVE,
    },
    Workload { name: "exec true", before: NOTHING, timed: &["exec", "running", "true"], after: NOTHING },
    Workload {
        name: "stop of a program that ends on SIGTERM",
        before: &[SERVICE],
        timed: &["stop", "bench"],
        after: REMOVE,
    },
    Workload {
        name: "rm -f of a running container",
        before: &[SERVICE],
        timed: &["rm", "-f", "bench"],
        after: NOTHING,
    },
    Workload { name: "ps", before: NOTHING, timed: &["ps"], after: NOTHING },
    Workload { name: "inspect", before: NOTHING, timed: &["inspect", "running"], after: NOTHING },
];

const SERVICE_CREATE: &[&str] = &[
    "CREATE",
    "--network",
    "none",
    "IMAGE",
    "sh",
    "-c",
    "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done",
];

/// A client, with the daemon behind it if it has one of its own.
pub(super) struct Candidate {
    pub(super) name: String,
    program: String,
    /// Words before every command: where the engine keeps its things.
    prefix: Vec<String>,
    environment: Vec<(String, String)>,
    /// Flags for every new container that make the candidates do the same.
    flags: Vec<String>,
    daemon: Option<Daemon>,
    group: Group,
}

/// Starts every engine, each with its own client.
pub(super) fn start(directory: &Path) -> Result<Vec<Candidate>> {
    let berth =
        daemon("berth", Flavour::Berth, workspace::release_program().display().to_string(), directory)?;
    let docker = daemon("docker", Flavour::Docker, "docker".to_owned(), directory)?;
    let podman_directory = directory.join("podman").display().to_string();
    let podman_words = [
        "--root",
        "ROOT/root",
        "--runroot",
        "ROOT/run",
        "--tmpdir",
        "ROOT/tmp",
        "--cgroup-manager",
        "cgroupfs",
    ];
    let podman_group = Group::create("podman")?;
    let podman = Candidate {
        name: "podman".to_owned(),
        program: "podman".to_owned(),
        prefix: podman_words.iter().map(|word| word.replace("ROOT", &podman_directory)).collect(),
        environment: Vec::new(),
        // Podman raises limits by itself, which a machine may not allow.
        flags: ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("--cgroup-parent={}", podman_group.containers())])
            .collect(),
        daemon: None,
        group: podman_group,
    };
    Ok(vec![berth, docker, podman])
}

fn daemon(name: &str, flavour: Flavour, client: String, directory: &Path) -> Result<Candidate> {
    let group = Group::create(name)?;
    let program = match flavour {
        Flavour::Berth => workspace::release_program(),
        Flavour::Docker => "dockerd".into(),
    };
    let setup = Setup { flavour, program, directory: directory.join(name) };
    group.enter()?;
    let daemon = Daemon::start(setup.clone())?;
    group.leave()?;
    Ok(Candidate {
        name: name.to_owned(),
        program: client,
        prefix: Vec::new(),
        environment: vec![("DOCKER_HOST".to_owned(), format!("unix://{}", setup.socket().display()))],
        flags: vec![format!("--cgroup-parent={}", group.containers())],
        daemon: Some(daemon),
        group,
    })
}

impl Candidate {
    /// Loads the image and starts the container that `exec` and `inspect` need.
    pub(super) fn prepare(&mut self) -> Result<()> {
        let archive = fixtures::archives()?.busybox.display().to_string();
        self.group.enter()?;
        self.call(&["load", "-q", "-i", &archive])?;
        self.call(&self.words(&["RUNNING", "--network", "none", "IMAGE", "sleep", "100000"]))?;
        self.group.leave()
    }

    pub(super) fn sample(&self, workload: &Workload) -> Result<Sample> {
        for words in workload.before {
            self.outside(words)?;
        }
        let timed = self.words(workload.timed);
        let sample = sample(&self.group, || self.call(&timed)).with_context(|| workload.name)?;
        for words in workload.after {
            self.outside(words)?;
        }
        Ok(sample)
    }

    /// Does something that is not timed, with its processes in the engine's group as ever.
    fn outside(&self, words: &[&str]) -> Result<()> {
        self.group.enter()?;
        self.call(&self.words(words))?;
        self.group.leave()
    }

    /// Memory of the engine with no container of this measurement, and what each of `count` idle ones adds; kB.
    pub(super) fn memory(&self, count: usize) -> Result<(u64, u64)> {
        let before = self.group.memory()?;
        self.group.enter()?;
        for number in 0..count {
            let name = format!("idle{number}");
            self.call(&self.words(&[
                "run",
                "-d",
                "FLAGS",
                "--name",
                &name,
                "--network",
                "none",
                "IMAGE",
                "sleep",
                "100000",
            ]))?;
        }
        self.group.leave()?;
        let after = self.group.memory()?;
        for number in 0..count {
            let name = format!("idle{number}");
            // Podman's rm -f would wait ten seconds for a program that does not hear SIGTERM.
            self.outside(&["kill", &name])?;
            self.outside(&["rm", "-f", &name])?;
        }
        Ok((before, after.saturating_sub(before) / count as u64))
    }

    /// Replaces the words in capitals by what they stand for here; new containers get this candidate's flags.
    fn words(&self, words: &[&str]) -> Vec<String> {
        let mut result = Vec::new();
        for word in words {
            let (plain, is_new): (&[&str], bool) = match *word {
                "RUN" => (&["run", "--rm"], true),
                "NAMED" => (&["run", "-d", "--name", "bench"], true),
                "RUNNING" => (&["run", "-d", "--name", "running"], true),
                "CREATE" => (&["create", "--name", "bench"], true),
                "FLAGS" => (&[], true),
                "IMAGE" => (&[BUSYBOX], false),
                _ => (std::slice::from_ref(word), false),
            };
            result.extend(plain.iter().map(|word| (*word).to_owned()));
            if is_new {
                result.extend(self.flags.iter().cloned());
            }
        }
        result
    }

    fn call<S: AsRef<str>>(&self, words: &[S]) -> Result<()> {
        let output = Command::new(&self.program)
            .args(&self.prefix)
            .args(words.iter().map(AsRef::as_ref))
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .with_context(|| self.program.clone())?;
        if !output.status.success() {
            let line: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
            bail!(
                "{} {}: {}: {}",
                self.name,
                line.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    /// Removes the container of [`Candidate::prepare`] and stops the daemon.
    pub(super) fn stop(mut self) -> Result<()> {
        self.outside(&["kill", "running"])?;
        self.outside(&["rm", "-f", "running"])?;
        if let Some(daemon) = &mut self.daemon {
            daemon.stop()?;
        }
        Ok(())
    }
}
