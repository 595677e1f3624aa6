//! The life of one container, step by step, over the engines' command lines.

use super::engines::{self, Engine, Place};
use super::report::{Row, Table, Target};
use super::{Bench, Sample, WARM_UP};
use anyhow::{Context, Result};

/// One thing to measure: what is done before, what is timed, and what after.
struct Workload {
    name: &'static str,
    before: &'static [&'static [&'static str]],
    timed: &'static [&'static str],
    after: &'static [&'static [&'static str]],
    /// How many times faster than Docker it has to be.
    target: f64,
}

const NOTHING: &[&[&str]] = &[];
const REMOVE: &[&[&str]] = &[&["rm", "-f", "bench"]];
/// Ends at once on SIGTERM, as a good service does.
const SERVICE: &str = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done";
const RUN_SERVICE: &[&str] =
    &["run", "-d", "--name", "bench", "FLAGS", "--network", "none", "IMAGE", "sh", "-c", SERVICE];
const CREATE_SERVICE: &[&str] =
    &["create", "--name", "bench", "FLAGS", "--network", "none", "IMAGE", "sh", "-c", SERVICE];
const CREATE_ON_BRIDGE: &[&str] = &["create", "--name", "bench", "FLAGS", "IMAGE", "sh", "-c", SERVICE];

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "run --rm busybox true, bridge",
        before: NOTHING,
        timed: &["run", "--rm", "FLAGS", "IMAGE", "true"],
        after: NOTHING,
        target: 10.0,
    },
    Workload {
        name: "run --rm busybox true, no network",
        before: NOTHING,
        timed: &["run", "--rm", "FLAGS", "--network", "none", "IMAGE", "true"],
        after: NOTHING,
        target: 10.0,
    },
    Workload { name: "create", before: NOTHING, timed: CREATE_SERVICE, after: REMOVE, target: 8.0 },
    Workload {
        name: "start, no network",
        before: &[CREATE_SERVICE],
        timed: &["start", "bench"],
        after: REMOVE,
        target: 8.0,
    },
    Workload {
        name: "start, bridge",
        before: &[CREATE_ON_BRIDGE],
        timed: &["start", "bench"],
        after: REMOVE,
        target: 8.0,
    },
    Workload {
        name: "exec true",
        before: NOTHING,
        timed: &["exec", "running", "true"],
        after: NOTHING,
        target: 6.0,
    },
    Workload {
        name: "stop of a program that ends on SIGTERM",
        before: &[RUN_SERVICE],
        timed: &["stop", "bench"],
        after: REMOVE,
        target: 8.0,
    },
    Workload {
        name: "rm of a stopped container",
        before: &[RUN_SERVICE, &["stop", "bench"]],
        timed: &["rm", "bench"],
        after: NOTHING,
        target: 8.0,
    },
    Workload {
        name: "rm -f of a running container",
        before: &[RUN_SERVICE],
        timed: &["rm", "-f", "bench"],
        after: NOTHING,
        target: 8.0,
    },
    Workload { name: "ps", before: NOTHING, timed: &["ps"], after: NOTHING, target: 0.0 },
    Workload {
        name: "inspect",
        before: NOTHING,
        timed: &["inspect", "running"],
        after: NOTHING,
        target: 0.0,
    },
];

/// Every workload on every engine, one after the other within a round, so that noise hits all alike.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Table>> {
    let directory = bench.directory.join("containers");
    let engines = [
        engines::berth(bench, &directory, Place::Own)?,
        engines::docker(bench, &directory, Place::Own)?,
        engines::podman(bench, &directory)?,
    ];
    let names: Vec<&str> = engines.iter().map(|engine| engine.name.as_str()).collect();
    let mut table = Table::new("Containers, over the command lines", &names);
    for engine in &engines {
        engine.load_busybox()?;
        engine.outside(&[
            "run",
            "-d",
            "--name",
            "running",
            "FLAGS",
            "--network",
            "none",
            "IMAGE",
            "sleep",
            "100000",
        ])?;
    }
    for workload in WORKLOADS {
        eprintln!("    {}", workload.name);
        let mut samples = vec![Vec::new(); engines.len()];
        for round in 0..bench.rounds + WARM_UP {
            for (engine, samples) in engines.iter().zip(&mut samples) {
                let sample = once(engine, workload).with_context(|| workload.name)?;
                if round >= WARM_UP {
                    samples.push(sample);
                }
            }
        }
        let mut row = Row::times(workload.name, &samples);
        if workload.target > 0.0 {
            row = row.target(Target::AtMost { part: 1.0 / workload.target, of: 1, cpu: false });
        }
        if workload.name.starts_with("run") {
            row = row.floor(format!("{:.1} ms", bench.floor.container()));
        }
        table.rows.push(row);
    }
    for engine in engines {
        engine.remove(&["running".to_owned()])?;
        engine.stop()?;
    }
    Ok(vec![table])
}

fn once(engine: &Engine, workload: &Workload) -> Result<Sample> {
    for words in workload.before {
        engine.outside(words)?;
    }
    let sample = engine.time(workload.timed)?;
    for words in workload.after {
        engine.outside(words)?;
    }
    Ok(sample)
}
