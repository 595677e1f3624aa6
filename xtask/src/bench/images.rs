//! A big image: pulled from a registry on this host, loaded, saved and pushed.

use super::engines::{self, Engine, Place};
use super::floor::ImageFloor;
use super::picture::{self, Picture};
use super::report::{self, Row, Table, Target};
use super::{Bench, Sample};
use crate::process;
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Measured rounds; there is no warm-up, as there is none in life.
const ROUNDS: usize = 2;

const NAMES: &[&str] = &["berth", "docker", "podman"];
const STEPS: &[&str] = &["pull", "pull of an image that shares all but one layer", "save", "push", "load"];

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Table>> {
    let picture = picture::archives()?;
    let directory = bench.directory.join("images");
    fs::create_dir_all(&directory)?;
    let registry = Registry::start(&directory.join("registry"), 5000)?;
    for tag in ["v1", "v2"] {
        let from = format!("oci:{}:{tag}", picture.layout.display());
        let to = format!("docker://127.0.0.1:5000/big:{tag}");
        process::output("skopeo", &["copy", "--quiet", "--dest-tls-verify=false", &from, &to])?;
    }
    let mut samples = vec![vec![Vec::new(); NAMES.len()]; STEPS.len()];
    let mut peaks = vec![None; NAMES.len()];
    let rounds = if bench.quick { 1 } else { ROUNDS };
    for round in 0..rounds {
        for (column, name) in NAMES.iter().enumerate() {
            // Podman takes as long as Docker, and nothing is promised about it.
            if column == 2 && round > 0 {
                continue;
            }
            eprintln!("    round {}, {name}", round + 1);
            let place = directory.join(format!("r{round}"));
            let (found, peak) = once(bench, column, &picture, &place).with_context(|| (*name).to_owned())?;
            for (step, sample) in found.into_iter().enumerate() {
                samples[step][column].push(sample);
            }
            peaks[column] = peaks[column].max(peak);
        }
    }
    drop(registry);
    let floor = bench.floor.image();
    let mut table = Table::new("A big image", NAMES).note(&note(bench, rounds));
    for (step, samples) in STEPS.iter().zip(&samples) {
        let part = if matches!(*step, "save" | "push") { 0.5 } else { 0.25 };
        let mut row = Row::times(step, samples);
        if !step.contains("shares") {
            row = row.target(Target::AtMost { part, of: 1, cpu: true });
        }
        table.rows.push(row.floor(match *step {
            "pull" => format!(
                "{:.1} s CPU (inflate {:.1}, hash {:.1}); {:.1} s disk",
                floor.inflate + floor.hash_packed + floor.hash_inflated,
                floor.inflate,
                floor.hash_packed + floor.hash_inflated,
                floor.write_packed + floor.write_inflated
            ),
            "load" => {
                format!("{:.1} s CPU (hash); {:.1} s disk", floor.hash_inflated, 2.0 * floor.write_inflated)
            }
            "save" => format!("{:.1} s CPU (hash)", floor.hash_packed),
            "push" => format!("{:.1} s CPU (hash, in the registry)", floor.hash_packed),
            _ => String::new(),
        }));
    }
    let megabytes = |kilobytes: &Option<u64>| kilobytes.map(|kilobytes| kilobytes as f64 / 1024.0);
    let values: Vec<Option<f64>> = peaks.iter().map(megabytes).collect();
    table.rows.push(Row::numbers("peak memory of the daemon", "MB", &values).target(Target::Below(150.0)));
    process::output("rm", &["-rf", &directory.display().to_string()])?;
    Ok(vec![table, beside_limits(&floor, &samples)])
}

/// How far each step of ours is from what disk, gzip and SHA-256 of this machine allow.
fn beside_limits(floor: &ImageFloor, samples: &[Vec<Vec<Sample>>]) -> Table {
    let processors = std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
    let hash_both = floor.hash_packed + floor.hash_inflated;
    // Seconds: what has to be inflated and hashed, and what has to get onto the disk.
    let limits = [
        ("pull", floor.inflate + hash_both, floor.write_packed + floor.write_inflated),
        ("save", floor.hash_packed, floor.write_packed),
        ("push", floor.hash_packed, floor.write_packed),
        ("load", floor.hash_inflated, 2.0 * floor.write_inflated),
    ];
    let mut table = Table::new("A big image beside the limits of this machine", &["berth", "limit"]).note(
        "The limit of the time is the slower one of two: the disk writing what has to be written, in one long file, and all processors together \
         inflating and hashing. The limit of the processor time is inflating and hashing alone, without the kernel's part: reading, writing, \
         making files. 1 is the limit itself; above it, the end was not waited for until all of it was on the disk. What a push writes and \
         hashes, the registry does.",
    );
    for (step, cpu, disk) in limits {
        let ours = STEPS.iter().zip(samples).find(|(name, _)| **name == step);
        let Some(ours) = ours.and_then(|(_, columns)| columns.first()).filter(|ours| !ours.is_empty()) else {
            continue;
        };
        let median = |value: fn(&Sample) -> Duration| {
            report::quantile(&report::sorted(ours.iter().map(|one| value(one).as_secs_f64() * 1000.0)), 0.5)
        };
        let (wall, used) = (median(|one| one.wall), median(|one| one.cpu));
        let limit = disk.max(cpu / processors) * 1000.0;
        table.rows.push(Row::numbers(&format!("{step}: time"), "ms", &[Some(wall), Some(limit)]));
        table.rows.push(Row::numbers(
            &format!("{step}: processor time"),
            "ms",
            &[Some(used), Some(cpu * 1000.0)],
        ));
    }
    table
}

fn note(bench: &Bench<'_>, rounds: usize) -> String {
    format!(
        "{:.0} MB in ten layers ({:.0} MB packed by gzip), small and large files; Debian's docker-registry on loopback; \
         {rounds} rounds, for podman one. What is loaded is the archive that older Docker saves, with plain layers. \
         A push goes to an empty registry. The processor time of the registry is not counted.",
        bench.floor.get("inflated bytes") / 1e6,
        bench.floor.get("packed bytes") / 1e6,
    )
}

/// All steps, and the peak of the daemon's memory in kB. Every round has engines on new directories, which stay until the
/// end: a file system that has just lost so many files takes its time to make others (ext4 passes over inodes that were
/// freed lately), and that would be counted.
fn once(
    bench: &Bench<'_>,
    column: usize,
    picture: &Picture,
    directory: &Path,
) -> Result<(Vec<Sample>, Option<u64>)> {
    // Short names: Podman takes no path of more than 50 characters for what it runs with.
    let start = |part: &str| {
        let directory = directory.join(part);
        match column {
            0 => engines::berth(bench, &directory, Place::Shared),
            1 => engines::docker(bench, &directory, Place::Shared),
            _ => engines::podman(bench, &directory),
        }
    };
    let [first, second] = ["127.0.0.1:5000/big:v1", "127.0.0.1:5000/big:v2"];
    let engine = start("a")?;
    let plain = |words: &[&'static str]| -> Vec<&'static str> {
        // Podman asks for TLS unless it is told not to.
        let flag = if engine.pid().is_none() { &["--tls-verify=false"][..] } else { &[] };
        [&words[..1], flag, &words[1..]].concat()
    };
    settle()?;
    let mut samples = vec![engine.time(&plain(&["pull", "-q", first]))?];
    samples.push(engine.time(&plain(&["pull", "-q", second]))?);
    let saved = directory.join(format!("saved{column}.tar"));
    settle()?;
    samples.push(engine.time(&["save", "-o", &saved.display().to_string(), first])?);
    let empty = Registry::start(&directory.join(format!("empty{column}")), 5001)?;
    let pushed = "127.0.0.1:5001/other/big:v1";
    engine.outside(&["tag", first, pushed])?;
    settle()?;
    samples.push(engine.time(&plain(&["push", "-q", pushed]))?);
    drop(empty);
    let pulling = peak(&engine)?;
    engine.stop()?;
    let engine = start("b")?;
    settle()?;
    samples.push(engine.time(&["load", "-q", "-i", &picture.archive.display().to_string()])?);
    let loading = peak(&engine)?;
    engine.stop()?;
    Ok((samples, pulling.max(loading)))
}

/// Lets the disk finish what others have left to it.
fn settle() -> Result<()> {
    process::output("sync", &[]).map(drop)
}

/// The most that the daemon has had in memory, in kB.
fn peak(engine: &Engine) -> Result<Option<u64>> {
    let Some(pid) = engine.pid() else { return Ok(None) };
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.split_whitespace().next().and_then(|number| number.parse().ok()))
}

/// Debian's docker-registry on loopback; it ends when this is dropped.
struct Registry {
    process: Child,
}

impl Registry {
    fn start(directory: &Path, port: u16) -> Result<Self> {
        let data = directory.join("data");
        fs::create_dir_all(&data)?;
        let configuration = directory.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n",
            data.display()
        );
        fs::write(&configuration, text)?;
        let log = fs::File::create(directory.join("log"))?;
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("docker-registry")?;
        let registry = Self { process };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_err() {
            if Instant::now() > deadline {
                bail!("docker-registry does not listen on port {port}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // What it has stored stays until the end of the section.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
