//! What an engine takes that has nothing to do, and how long its program takes to start.

use super::engines::{self, Place};
use super::report::{Row, Table};
use super::{Bench, WARM_UP};
use anyhow::Result;

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Table>> {
    let directory = bench.directory.join("idle");
    let engines = [
        engines::berth(bench, &directory, Place::Own)?,
        engines::docker(bench, &directory, Place::Own)?,
        engines::podman(bench, &directory)?,
    ];
    let names: Vec<&str> = engines.iter().map(|engine| engine.name.as_str()).collect();
    let mut table = Table::new("Nothing to do", &names);
    let mut memory = Vec::new();
    for engine in &engines {
        // Podman has no daemon.
        memory.push(if engine.pid().is_some() { Some(engine.group.memory()? as f64 / 1024.0) } else { None });
    }
    table.rows.push(Row::numbers("memory of the daemon (PSS)", "MB", &memory));
    for (name, words) in [("start of the command line (--version)", ["--version"]), ("info", ["info"])] {
        let mut samples = vec![Vec::new(); engines.len()];
        for round in 0..bench.rounds + WARM_UP {
            for (engine, samples) in engines.iter().zip(&mut samples) {
                let sample = engine.time(&words)?;
                if round >= WARM_UP {
                    samples.push(sample);
                }
            }
        }
        let floor = format!(
            "{:.1} ms (clone3 and exec)",
            bench.floor.get("clone3 and exec of a static program, us") / 1000.0
        );
        table.rows.push(Row::times(name, &samples).floor(floor));
    }
    for engine in engines {
        engine.stop()?;
    }
    Ok(vec![table])
}
