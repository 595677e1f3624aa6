//! `cargo xtask conformance`: the black-box suite against a daemon of its own, Docker's own, or a given socket.

use crate::sandbox::{self, Around, Sandbox};
use crate::{compose, fixtures, packages, process, unstable, workspace};
use anyhow::{Context, Result, bail};
use conformance::{Daemon, Engine, Flavour, Options, Setup, World};
use std::path::{Path, PathBuf};

/// What the words after `conformance` ask for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// A socket of an engine that runs already.
    against: Option<PathBuf>,
    /// Whose daemon to start when there is no socket.
    flavour: Flavour,
    /// The client that the checks call.
    client: PathBuf,
    /// Do without the Debian image: making it takes a mirror.
    busybox_only: bool,
    options: Options,
}

impl Request {
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let mut request = Self {
            against: None,
            flavour: Flavour::Berth,
            client: PathBuf::from("docker"),
            busybox_only: false,
            options: Options {
                words: Vec::new(),
                jobs: 2,
                strict: std::env::var_os("CI").is_some(),
                looks: 0,
            },
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--against" => request.against = Some(PathBuf::from(value()?)),
                // Checks call it from directories of their own; a bare name is looked for in $PATH.
                "--client" => {
                    request.client = match value()? {
                        path if path.contains('/') => std::path::absolute(path).context("--client")?,
                        name => PathBuf::from(name),
                    }
                }
                "--busybox-only" => {
                    // Checks that need more are passed over.
                    (request.busybox_only, request.options.strict) = (true, false);
                }
                "--again" => request.options.looks = value()?.parse().context("--again")?,
                "--jobs" => request.options.jobs = value()?.parse().context("--jobs")?,
                "--engine" => {
                    request.flavour = match value()?.as_str() {
                        "berth" => Flavour::Berth,
                        "docker" => Flavour::Docker,
                        other => bail!("--engine {other}: berth or docker"),
                    }
                }
                flag if flag.starts_with("--") => bail!("unknown flag {flag}"),
                part => request.options.words.push(part.to_owned()),
            }
        }
        Ok(request)
    }
}

/// Runs the suite; outside of the sandbox it builds, installs and enters it first.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let request = Request::parse(words)?;
    let packages = ["btrfs-progs", "crun", "docker.io", "docker-registry", "runc", "skopeo", "util-linux"];
    packages::install(&packages)?;
    if let Some(socket) = &request.against {
        return against(socket, &request);
    }
    if request.flavour == Flavour::Berth {
        process::run("cargo", &["build", "--package", "berth"])?;
    }
    archives(&request)?;
    compose_program(&request);
    let mut inside = vec!["conformance"];
    inside.extend(words.iter().map(String::as_str));
    sandbox::enter(&inside)
}

fn against(socket: &Path, request: &Request) -> Result<()> {
    let archives = archives(request)?;
    let directory = std::env::temp_dir().join(sandbox::run_name());
    let engine = Engine::connect(socket, &request.client, &directory)?
        .with_uplink(true)
        .with_compose(compose_program(request));
    let outcome = conformance::run(engine, &archives, &request.options);
    std::fs::remove_dir_all(&directory)?;
    judge(outcome?.0.failed)
}

/// The part that runs inside: a daemon of our own, the suite, and a look at what is left of both.
pub(crate) fn run_inside(words: &[String], around: Around) -> Result<()> {
    let request = Request::parse(words)?;
    let sandbox = Sandbox::prepare(around)?;
    let failed = own_daemon(&request, &sandbox);
    sandbox.end_processes()?;
    // The directory holds the daemon's log: it stays when something failed.
    match failed {
        Ok(0) => sandbox.close(),
        Ok(failed) => {
            eprintln!("the daemon's roots and log are kept in {}", sandbox.directory().display());
            judge(failed)
        }
        Err(error) => Err(error),
    }
}

/// The images that the checks want; made when they are not there.
fn archives(request: &Request) -> Result<conformance::Archives> {
    match request.busybox_only {
        true => fixtures::busybox(),
        false if request.options.want_servers() => fixtures::with_servers(fixtures::archives()?),
        false => fixtures::archives(),
    }
}

/// Docker Compose, fetched when checks want it that run here.
fn compose_program(request: &Request) -> Option<PathBuf> {
    (!request.busybox_only && request.options.want_compose()).then(compose::program).flatten()
}

fn judge(failed: usize) -> Result<()> {
    if failed > 0 {
        bail!("conformance: {failed} checks failed");
    }
    Ok(())
}

fn own_daemon(request: &Request, sandbox: &Sandbox) -> Result<usize> {
    let program = match request.flavour {
        Flavour::Berth => workspace::berth_program(),
        Flavour::Docker => PathBuf::from("dockerd"),
    };
    let directory = sandbox.directory().join("engine");
    let setup = Setup { flavour: request.flavour, program, directory, cgroup_parent: None };
    let marks = vec![setup.directory.display().to_string()];
    let nothing = World::observe(&marks)?;
    let daemon = Daemon::start(setup.clone())?;
    let no_container = World::observe(&marks)?;
    let engine = Engine::connect(&setup.socket(), &request.client, sandbox.directory())?
        .with_uplink(sandbox.has_uplink())
        .with_compose(compose::found())
        .watched(sandbox.directory())?
        .owned(daemon);
    let archives = archives(request)?;
    let (summary, engine) = conformance::run(engine, &archives, &request.options)?;
    let mut daemon = engine.into_daemon().context("the daemon that was started")?;
    let mut failed = summary.failed;
    summary.unstable.iter().try_for_each(|name| unstable::note(name))?;
    // Docker's engine leaves its bridge, rules and cgroups by design.
    let is_ours = request.flavour == Flavour::Berth;
    if is_ours {
        let mut left = World::observe(&marks)?.added_since(&no_container);
        left.extend(directories(&setup)?);
        failed += report("once every container is removed", &left);
    }
    let status = daemon.stop()?;
    if !status.success() {
        println!("FAILED  the daemon ends with {status}");
        failed += 1;
    }
    if is_ours {
        // The bridge and the tables stay, as Docker's do: containers may outlive a daemon.
        let mut left = World::observe(&marks)?.added_since(&nothing);
        left.retain(|line| !line.starts_with("ip:") && !line.starts_with("nft:"));
        failed += report("once the daemon has ended", &left);
    }
    Ok(failed)
}

/// What the roots still hold of containers.
fn directories(setup: &Setup) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for directory in [
        setup.exec_root().join("containers"),
        setup.data_root().join("containers"),
        setup.data_root().join("snapshots"),
    ] {
        if directory.exists() {
            for entry in std::fs::read_dir(&directory)? {
                left.push(format!("directory: {}", entry?.path().display()));
            }
        }
    }
    Ok(left)
}

/// Prints what is left; one failure, however much it is.
fn report(when: &str, left: &[String]) -> usize {
    for line in left {
        println!("FAILED  left behind {when}: {line}");
    }
    usize::from(!left.is_empty())
}
