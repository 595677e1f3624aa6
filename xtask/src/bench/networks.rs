//! Networks: what attaching costs and how it grows, published ports, throughput, names.

use super::engines::{self, Engine, Place};
use super::report::{Row, Table, Target};
use super::{Bench, Sample};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

/// How many containers are on the network when one more comes and goes. Docker is left out of the last.
const CROWDS: [usize; 3] = [10, 100, 500];
const DOCKERS_CROWD: usize = 100;
const ROUNDS: usize = 7;
/// Seconds of every flow of packets.
const SECONDS: &str = "3";
const FIRST_PORT: u16 = 20000;
const PORTS: u16 = 1000;

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Table>> {
    let directory = bench.directory.join("networks");
    let engines =
        [engines::berth(bench, &directory, Place::Own)?, engines::docker(bench, &directory, Place::Own)?];
    for engine in &engines {
        engine.load_busybox()?;
    }
    // In this order: Docker takes minutes to take a thousand ports away again.
    let tables = vec![attaching(bench, &engines)?, flows(&engines)?];
    for engine in engines {
        engine.stop()?;
    }
    Ok(tables)
}

fn attaching(bench: &Bench<'_>, engines: &[Engine; 2]) -> Result<Table> {
    let mut table = Table::new("Attaching to a network", &["berth", "docker"]).note(
        "`network connect` and `disconnect` of a running container, beside so many others on the network.",
    );
    for engine in engines {
        engine.outside(&["network", "create", "crowd"])?;
        engine.outside(&["run", "-d", "--name", "probe", "FLAGS", "IMAGE", "sleep", "100000"])?;
    }
    let (mut first, mut last) = (f64::NAN, f64::NAN);
    let mut there = [0; 2];
    for crowd in CROWDS.into_iter().filter(|crowd| !bench.quick || *crowd <= 100) {
        eprintln!("    beside {crowd}");
        let mut samples = [vec![Vec::new(); 2], vec![Vec::new(); 2]];
        for (column, engine) in engines.iter().enumerate() {
            if column == 1 && (crowd > DOCKERS_CROWD || (bench.quick && crowd > 10)) {
                continue;
            }
            for number in there[column]..crowd {
                let name = format!("crowd{number}");
                let words =
                    ["run", "-d", "--name", &name, "FLAGS", "--network", "crowd", "IMAGE", "sleep", "100000"];
                engine.outside(&words)?;
            }
            there[column] = crowd;
            for _ in 0..ROUNDS {
                samples[0][column].push(engine.time(&["network", "connect", "crowd", "probe"])?);
                samples[1][column].push(engine.time(&["network", "disconnect", "crowd", "probe"])?);
            }
        }
        for (name, samples) in ["connect", "disconnect"].iter().zip(&samples) {
            table.rows.push(Row::times(&format!("{name}, beside {crowd}"), samples));
        }
        last = table.rows[table.rows.len() - 2].ours();
        first = if first.is_nan() { last } else { first };
    }
    table.rows.push(
        Row::numbers("connect beside the most / beside the fewest", "", &[Some(last / first), None])
            .target(Target::Below(2.0)),
    );
    for (engine, there) in engines.iter().zip(there) {
        let names: Vec<String> =
            (0..there).map(|number| format!("crowd{number}")).chain(["probe".to_owned()]).collect();
        engine.remove(&names)?;
    }
    Ok(table)
}

/// What was found of one engine.
#[derive(Default)]
struct Found {
    between: f64,
    published: f64,
    localhost: f64,
    connections: f64,
    proxied: f64,
    names: f64,
    ports: Option<Sample>,
    with_ports: f64,
}

fn flows(engines: &[Engine; 2]) -> Result<Table> {
    let found: Vec<Found> = engines.iter().map(of_engine).collect::<Result<_>>()?;
    let note = format!(
        "Of {SECONDS} s each: iperf3, connections with a byte there and back by four threads, questions by four threads. \
         Through 127.0.0.1 Docker has a process in the path."
    );
    let mut table = Table::new("Through a network", &["berth", "docker"]).note(&note);
    let mut row = |name: &str, unit: &str, value: fn(&Found) -> f64, times: f64| {
        let values: Vec<Option<f64>> = found.iter().map(|found| Some(value(found))).collect();
        table.rows.push(Row::numbers(name, unit, &values).target(Target::AtLeast { times, of: 1 }));
    };
    row("container to container", "Gbit/s", |found| found.between, 1.0);
    row("host to published port, by the host's address", "Gbit/s", |found| found.published, 1.0);
    row("host to published port, by 127.0.0.1", "Gbit/s", |found| found.localhost, 1.5);
    row("new connections through a published port", "/s", |found| found.connections, 1.0);
    row("new connections through 127.0.0.1", "/s", |found| found.proxied, 1.5);
    row("names resolved at 127.0.0.11", "/s", |found| found.names, 1.0);
    row(&format!("new connections with {PORTS} more ports published"), "/s", |found| found.with_ports, 1.0);
    let samples: Vec<Vec<Sample>> = found.iter().map(|found| found.ports.into_iter().collect()).collect();
    table.rows.push(Row::times(&format!("run -d with {PORTS} published ports"), &samples));
    Ok(table)
}

fn of_engine(engine: &Engine) -> Result<Found> {
    eprintln!("    flows, {}", engine.name);
    let mut found = Found::default();
    let own = std::env::current_exe()?;
    let own = format!("{}:/xtask:ro", own.display());
    engine.outside(&["network", "create", "flows"])?;
    let start = |name: &str, more: &[&str]| -> Result<()> {
        let first = ["run", "-d", "--name", name, "FLAGS", "--network", "flows", "-v", &own];
        let system = ["-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro"];
        engine.outside(&[&first[..], &system, more].concat())
    };
    start("iperf", &["-p", "5201:5201", "IMAGE", "/usr/bin/iperf3", "-s"])?;
    start("accept", &["-p", "5300:5300", "IMAGE", "/xtask", "load", "accept", "5300"])?;
    start("client", &["IMAGE", "sleep", "100000"])?;
    let host = engine.answer(&[
        "inspect",
        "-f",
        "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}",
        "client",
    ])?;
    let host = host.trim();
    let inside = |words: &[&str]| until(|| engine.answer(&[&["exec", "client"][..], words].concat()));
    found.between = gigabits(&inside(&["/usr/bin/iperf3", "-c", "iperf", "-J", "-t", SECONDS])?)?;
    let beside = |program: &str, words: &[&str]| until(|| output(engine.neighbour(program).args(words)));
    found.published = gigabits(&beside("iperf3", &["-c", host, "-J", "-t", SECONDS])?)?;
    found.localhost = gigabits(&beside("iperf3", &["-c", "127.0.0.1", "-J", "-t", SECONDS])?)?;
    let xtask = std::env::current_exe()?.display().to_string();
    let connections = |address: &str| -> Result<f64> {
        Ok(beside(&xtask, &["load", "connections", &format!("{address}:5300"), SECONDS])?.trim().parse()?)
    };
    found.connections = connections(host)?;
    found.proxied = connections("127.0.0.1")?;
    found.names = inside(&["/xtask", "load", "dns", "accept", SECONDS])?.trim().parse()?;
    let range = format!("{FIRST_PORT}-{}", FIRST_PORT + PORTS - 1);
    let range = format!("{range}:{range}");
    found.ports = Some(
        engine.time(&["run", "-d", "--name", "ports", "FLAGS", "-p", &range, "IMAGE", "sleep", "100000"])?,
    );
    found.with_ports = connections(host)?;
    let names = ["iperf", "accept", "client", "ports"].map(str::to_owned);
    // What Docker would take minutes for ends with its daemon.
    engine.remove(if engine.name == "docker" { &names[..3] } else { &names })?;
    Ok(found)
}

/// Tries again while a server may still be starting.
fn until(act: impl Fn() -> Result<String>) -> Result<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match act() {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            done => return done,
        }
    }
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stdout));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What iperf3's report says was received.
fn gigabits(report: &str) -> Result<f64> {
    let report: Value = serde_json::from_str(report).context("iperf3 -J")?;
    let rate =
        report["end"]["sum_received"]["bits_per_second"].as_f64().context("iperf3 -J: bits_per_second")?;
    ensure!(rate > 0.0, "nothing was received");
    Ok(rate / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_iperf_is_read() {
        let report = r#"{"end":{"sum_received":{"bits_per_second":2.5e9}}}"#;
        assert_eq!(gigabits(report).expect("a report"), 2.5);
        assert!(gigabits("{}").is_err() && gigabits("x").is_err());
    }
}
