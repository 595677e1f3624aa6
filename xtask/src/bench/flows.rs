//! What goes through a network: streams, connections, questions, in turns with Docker's.

use super::engines::Engine;
use super::report::{Row, Table, Target, quantile, sorted};
use super::{Bench, Sample};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

/// How often everything is measured, and for how many seconds.
const ROUNDS: usize = 5;
const SECONDS: &str = "2";
const FIRST_PORT: u16 = 20000;
const PORTS: u16 = 1000;

/// An engine with containers that serve.
struct Scene<'a> {
    engine: &'a Engine,
    /// The host's address in the network of the containers.
    host: String,
    /// This program, for `xtask load`.
    own: String,
}

/// One kind of load.
struct Flow {
    name: &'static str,
    unit: &'static str,
    /// How many times Docker's we want to be.
    times: f64,
    measure: fn(&Scene<'_>) -> Result<f64>,
}

/// Docker has a process in the path wherever 1.5 is asked for.
const FLOWS: &[Flow] = &[
    stream("container to container", 1.0, |scene| scene.stream_inside(&["-4", "-c", "iperf"])),
    stream("host to published port, by the host's address", 1.0, |scene| scene.stream(&scene.host)),
    stream("host to published port, by 127.0.0.1", 1.5, |scene| scene.stream("127.0.0.1")),
    stream("host to published port, by [::1]", 1.5, |scene| scene.stream("::1")),
    stream("container to a port published by its own network", 1.5, |scene| {
        scene.stream_inside(&["-c", &scene.host])
    }),
    CONNECTIONS,
    rate("new connections by 127.0.0.1", 1.5, |scene| scene.load("connections", "127.0.0.1:5301")),
    rate("a byte there and back by 127.0.0.1", 1.5, |scene| scene.load("turns", "127.0.0.1:5400")),
    rate("datagrams there and back by 127.0.0.1", 1.5, |scene| scene.load("datagrams", "127.0.0.1:5400")),
    rate("names resolved at 127.0.0.11", 1.0, |scene| {
        number(&scene.inside(&["/xtask", "load", "dns", "accept", SECONDS])?)
    }),
];

const CONNECTIONS: Flow = rate("new connections by the host's address", 1.0, |scene| {
    scene.load("connections", &format!("{}:5300", scene.host))
});

const fn stream(name: &'static str, times: f64, measure: fn(&Scene<'_>) -> Result<f64>) -> Flow {
    Flow { name, unit: "Gbit/s", times, measure }
}

const fn rate(name: &'static str, times: f64, measure: fn(&Scene<'_>) -> Result<f64>) -> Flow {
    Flow { name, unit: "/s", times, measure }
}

pub(super) fn measure(bench: &Bench<'_>, engines: &[Engine; 2]) -> Result<Table> {
    let rounds = if bench.quick { 1 } else { ROUNDS };
    let note = format!(
        "{SECONDS} s each, medians of {rounds} rounds in turns: one stream of iperf3, connections with a byte there and \
         back and datagrams by four threads, bytes there and back on one connection, questions by four threads. By \
         127.0.0.1, by [::1], and from the same network Docker has a process in the path. `bridge-nf-call-ip6tables` is off."
    );
    let mut table = Table::new("Through a network", &["berth", "docker"]).note(&note);
    let scenes: Vec<Scene<'_>> = engines.iter().map(Scene::open).collect::<Result<_>>()?;
    let mut measure = |flow: &Flow, name: &str| -> Result<()> {
        eprintln!("    {name}");
        let mut values = vec![Vec::new(); scenes.len()];
        for _ in 0..rounds {
            for (scene, values) in scenes.iter().zip(&mut values) {
                values.push((flow.measure)(scene).with_context(|| scene.engine.name.clone())?);
            }
        }
        let medians: Vec<Option<f64>> =
            values.into_iter().map(|values| Some(quantile(&sorted(values.into_iter()), 0.5))).collect();
        let target = Target::AtLeast { times: flow.times, of: 1 };
        table.rows.push(Row::numbers(name, flow.unit, &medians).target(target));
        Ok(())
    };
    FLOWS.iter().try_for_each(|flow| measure(flow, flow.name))?;
    let samples: Vec<Vec<Sample>> =
        scenes.iter().map(|scene| Ok(vec![scene.publish_many()?])).collect::<Result<_>>()?;
    measure(&CONNECTIONS, &format!("new connections with {PORTS} more ports published"))?;
    table.rows.push(Row::times(&format!("run -d with {PORTS} published ports"), &samples));
    scenes.iter().try_for_each(Scene::close)?;
    Ok(table)
}

impl<'a> Scene<'a> {
    fn open(engine: &'a Engine) -> Result<Self> {
        let own = std::env::current_exe()?.display().to_string();
        let mount = format!("{own}:/xtask:ro");
        engine.outside(&["network", "create", "--ipv6", "flows"])?;
        let start = |name: &str, more: &[&str]| -> Result<()> {
            let first = ["run", "-d", "--name", name, "FLAGS", "--network", "flows", "-v", &mount];
            let system = ["-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro"];
            engine.outside(&[&first[..], &system, more].concat())
        };
        start("iperf", &["-p", "5201:5201", "IMAGE", "/usr/bin/iperf3", "-s"])?;
        // Each way gets a server of its own: a connection of another way that comes from the same address and port meets
        // the server's socket in TIME_WAIT, whose timestamps may be later, and waits a second.
        start("accept", &["-p", "5300:5300", "IMAGE", "/xtask", "load", "accept", "5300"])?;
        start("localhost", &["-p", "5301:5300", "IMAGE", "/xtask", "load", "accept", "5300"])?;
        let both = ["-p", "5400:5400", "-p", "5400:5400/udp"];
        start("echo", &[&both[..], &["IMAGE", "/xtask", "load", "echo", "5400"]].concat())?;
        start("client", &["IMAGE", "sleep", "100000"])?;
        let gateway = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}";
        let host = engine.answer(&["inspect", "-f", gateway, "client"])?.trim().to_owned();
        Ok(Self { engine, host, own })
    }

    /// What Docker would take minutes for, the thousand ports, ends with its daemon.
    fn close(&self) -> Result<()> {
        let names = ["iperf", "accept", "localhost", "echo", "client", "ports"].map(str::to_owned);
        self.engine.remove(if self.engine.name == "docker" { &names[..5] } else { &names })
    }

    fn publish_many(&self) -> Result<Sample> {
        let range = format!("{FIRST_PORT}-{}", FIRST_PORT + PORTS - 1);
        let range = format!("{range}:{range}");
        self.engine.time(&["run", "-d", "--name", "ports", "FLAGS", "-p", &range, "IMAGE", "sleep", "100000"])
    }

    /// Runs a program in a container of the network.
    fn inside(&self, words: &[&str]) -> Result<String> {
        until(|| self.engine.answer(&[&["exec", "client"][..], words].concat()))
    }

    /// Runs a program on the host.
    fn beside(&self, program: &str, words: &[&str]) -> Result<String> {
        until(|| output(self.engine.neighbour(program).args(words)))
    }

    fn stream(&self, address: &str) -> Result<f64> {
        gigabits(&self.beside("iperf3", &["-c", address, "-J", "-t", SECONDS])?)
    }

    fn stream_inside(&self, to: &[&str]) -> Result<f64> {
        gigabits(&self.inside(&[&["/usr/bin/iperf3", "-J", "-t", SECONDS][..], to].concat())?)
    }

    fn load(&self, what: &str, address: &str) -> Result<f64> {
        number(&self.beside(&self.own, &["load", what, address, SECONDS])?)
    }
}

fn number(printed: &str) -> Result<f64> {
    Ok(printed.trim().parse()?)
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
