//! `cargo xtask bench`: ours and the peers' figures in one run, alternating, into `docs/benchmarks.md`.

mod accounting;
mod bundles;
mod compose;
mod containers;
mod engines;
mod floor;
mod flows;
mod hangs;
mod idle;
mod images;
mod load;
mod logs;
mod machine;
mod many;
mod networks;
mod picture;
mod report;
mod shims;

use crate::peers::{self, Peers};
use crate::sandbox::{self, Around, Sandbox};
use crate::{fixtures, packages, process, workspace};
use anyhow::{Context, Result, bail};
use floor::Floor;
use report::Table;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) use load::run as put_load;

/// Measured rounds of every short workload, after some that are not counted.
const ROUNDS: usize = 15;
const QUICK_ROUNDS: usize = 5;
const WARM_UP: usize = 2;

/// What can be asked for by a word of its name.
const SECTIONS: &[(&str, Section)] = &[
    ("runtime bundles", bundles::measure),
    ("shims memory", shims::measure),
    ("containers", containers::measure),
    ("idle memory start", idle::measure),
    ("many clients running stopped", many::measure),
    ("hangs", hangs::measure),
    ("logs", logs::measure),
    ("images pull load save push", images::measure),
    ("networks ports iperf dns", networks::measure),
    ("compose", compose::measure),
];

type Section = fn(&Bench<'_>) -> Result<Vec<Table>>;

/// Debian's packages with what measures and what the peers call.
const TOOLS: &[&str] = &["docker-registry", "skopeo", "iperf3", "iptables"];
/// The peers of this machine's own release.
const SYSTEM_PEERS: &[&str] = &["docker.io", "podman", "crun", "runc", "containernetworking-plugins"];

/// How it is measured.
pub(crate) struct Bench<'a> {
    /// An empty directory on the disk.
    directory: &'a Path,
    /// Ours, installed.
    program: PathBuf,
    rounds: usize,
    /// Whether the long cases are cut short.
    quick: bool,
    floor: Floor,
    /// `None`: those that are installed.
    peers: Option<&'a Peers>,
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    rounds: Option<usize>,
    quick: bool,
    /// Whether the peers are those that are installed, whatever else can be had.
    system: bool,
    words: Vec<&'a str>,
}

impl<'a> Request<'a> {
    fn parse(words: &'a [String]) -> Result<Self> {
        let mut request = Self { rounds: None, quick: false, system: false, words: Vec::new() };
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "--quick" => request.quick = true,
                "--rounds" => {
                    let number = words.next().context("--rounds needs a number")?;
                    request.rounds = Some(number.parse().context("the number of rounds")?);
                }
                "--peers" => {
                    request.system = match words.next() {
                        Some("newest") => false,
                        Some("system") => true,
                        _ => bail!("--peers: newest or system"),
                    }
                }
                word if word.starts_with('-') => bail!("unknown option {word}"),
                word => request.words.push(word),
            }
        }
        for word in &request.words {
            if !SECTIONS.iter().any(|(name, _)| name.contains(word)) {
                let known: Vec<_> = SECTIONS.iter().map(|(name, _)| *name).collect();
                bail!("no section has {word:?} in its name: {}", known.join(", "));
            }
        }
        Ok(request)
    }

    fn wants(&self, section: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| section.contains(word))
    }

    /// Whether the page can be written from it.
    fn is_whole(&self) -> bool {
        self.words.is_empty() && !self.quick && !self.system
    }
}

/// Builds the optimised engine, installs the peers, and goes on in namespaces of its own.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let request = Request::parse(words)?;
    packages::install(TOOLS)?;
    let peers =
        if request.system { None } else { Peers::fetch().map_err(|error| eprintln!("{error:#}")).ok() };
    if peers.is_none() {
        packages::install(SYSTEM_PEERS)?;
    }
    let path = peers::search_path(peers.as_ref())?;
    process::run("cargo", &["build", "--release", "--package", "berth"])?;
    process::run("cargo", &["build", "--release", "--package", "image", "--example", "floor"])?;
    fixtures::archives()?;
    let mut inside = vec!["bench"];
    inside.extend(words.iter().map(String::as_str));
    sandbox::enter_with(&inside, &[("PATH", &path)])
}

/// The part that runs inside: section by section, then the page. A section that fails does not keep the others.
pub(crate) fn run_inside(words: &[String]) -> Result<()> {
    let request = Request::parse(words)?;
    // crun refuses machines that have both versions of cgroups mounted; the peers do not need the second one.
    if Path::new("/sys/fs/cgroup/unified").exists() {
        process::output("umount", &["--lazy", "/sys/fs/cgroup/unified"])?;
    }
    let sandbox = Sandbox::prepare(Around::Namespaces)?;
    let rounds = request.rounds.unwrap_or(if request.quick { QUICK_ROUNDS } else { ROUNDS });
    let peers = if request.system { None } else { Peers::found() };
    let (mut tables, mut failures) = (Vec::new(), Vec::new());
    match Floor::measure(sandbox.directory()) {
        Ok(floor) => {
            let directory = sandbox.directory();
            let program = install(directory)?;
            let peers = peers.as_ref();
            let bench = Bench { directory, program, rounds, quick: request.quick, floor, peers };
            for (name, measure) in SECTIONS.iter().filter(|(name, _)| request.wants(name)) {
                let began = Instant::now();
                eprintln!("==> {name}");
                match measure(&bench) {
                    Ok(measured) => {
                        tables.extend(measured.into_iter().inspect(|table| println!("{}", table.markdown())))
                    }
                    Err(error) => {
                        eprintln!("{name}: {error:#}");
                        failures.push(*name);
                    }
                }
                eprintln!("    {:.1} s", began.elapsed().as_secs_f64());
            }
        }
        Err(error) => failures.push(Box::leak(format!("floor: {error:#}").into_boxed_str())),
    }
    // First of all: nothing that goes wrong from here on may cost the figures of an hour.
    let page = report::page(&tables, rounds, &whose(&request, peers.as_ref()), peers.as_ref())?;
    println!("{page}");
    if request.is_whole() && failures.is_empty() {
        let path = workspace::root().join("docs/benchmarks.md");
        std::fs::write(&path, &page).with_context(|| path.display().to_string())?;
    }
    sandbox.end_processes()?;
    accounting::remove_all()?;
    sandbox.close()?;
    if !failures.is_empty() {
        bail!("not measured: {}", failures.join(", "));
    }
    Ok(())
}

/// Which peers they are, as the page says it.
fn whose(request: &Request<'_>, peers: Option<&Peers>) -> String {
    match peers {
        Some(peers) => format!("the newest that Debian packages, out of its suite {}", peers.suite),
        None if request.system => "those of this machine's own Debian release, as was asked for".to_owned(),
        None => "those of this machine's own Debian release: newer packages could not be had".to_owned(),
    }
}

/// Installs ours as a package does, and as the peers are: a linker leaves a file in single pages of the cache, and each
/// page that a process touches of such a file costs it several times as much as one of a file that was written in order.
fn install(directory: &Path) -> Result<PathBuf> {
    let program = directory.join("bin/berth");
    let words = ["-D", "--strip", "--mode=755", "--", &workspace::release_program().display().to_string()];
    process::output("install", &[&words[..], &[&program.display().to_string()]].concat())?;
    Ok(program)
}

/// One run: how long it took, and the processor time of everything that took part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    wall: Duration,
    cpu: Duration,
}

/// Measures `act` by the clock and by the processor time of a group of processes.
fn sample(group: &accounting::Group, act: impl FnOnce() -> Result<()>) -> Result<Sample> {
    group.enter()?;
    let cpu = group.cpu()?;
    let began = Instant::now();
    let done = act();
    let wall = began.elapsed();
    let cpu = group.cpu()?.saturating_sub(cpu);
    group.leave()?;
    done.map(|()| Sample { wall, cpu })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_choose_sections_and_options_how_long() {
        let words = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        let all = words("");
        assert!(Request::parse(&all).expect("all").is_whole());
        let some = words("pull --quick --rounds 3 dns");
        let request = Request::parse(&some).expect("some");
        let words_of_it = vec!["pull", "dns"];
        assert_eq!(request, Request { rounds: Some(3), quick: true, system: false, words: words_of_it });
        assert!(request.wants("images pull load save push") && !request.wants("logs") && !request.is_whole());
        for wrong in ["--rounds", "--rounds x", "--slow", "nonsense", "--peers", "--peers old"] {
            assert!(Request::parse(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
