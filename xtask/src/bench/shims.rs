//! What waits beside every container: how much memory it takes when there are a hundred of them.

use super::Bench;
use super::engines::{self, Engine, Place};
use super::report::{Row, Table, Target};
use anyhow::Result;

const COUNT: usize = 100;
/// Those of the peers are large enough for a few to say how large they are.
const PEERS_COUNT: usize = 20;

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Table>> {
    let directory = bench.directory.join("shims");
    let engines = [
        (engines::berth(bench, &directory, Place::Own)?, COUNT, " shim "),
        (engines::docker(bench, &directory, Place::Own)?, PEERS_COUNT, "containerd-shim"),
        (engines::podman(bench, &directory)?, PEERS_COUNT, "conmon"),
    ];
    let names: Vec<&str> = engines.iter().map(|(engine, ..)| engine.name.as_str()).collect();
    let note =
        format!("With {COUNT} containers of ours and {PEERS_COUNT} of each peer alive; the mean of them.");
    let mut table = Table::new("Memory of what waits beside a container", &names).note(&note);
    let (mut proportional, mut private) = (Vec::new(), Vec::new());
    for (engine, count, word) in &engines {
        let (pss, own) = waiting(engine, *count, word)?;
        proportional.push(Some(pss));
        private.push(Some(own));
    }
    table.rows.push(Row::numbers("proportional (PSS)", "kB", &proportional).target(Target::Below(120.0)));
    table.rows.push(Row::numbers("private", "kB", &private).target(Target::Below(80.0)));
    for (engine, ..) in engines {
        engine.stop()?;
    }
    Ok(vec![table])
}

/// The mean proportional and private memory, in kB, of the processes whose command line has a word.
fn waiting(engine: &Engine, count: usize, word: &str) -> Result<(f64, f64)> {
    engine.load_busybox()?;
    let names: Vec<String> = (0..count).map(|number| format!("idle{number}")).collect();
    for name in &names {
        let words = ["run", "-d", "--name", name, "FLAGS", "--network", "none", "IMAGE", "sleep", "100000"];
        engine.outside(&words)?;
    }
    let mut processes = engine.group.processes_of_engine()?;
    processes.retain(|process| process.line.contains(word));
    anyhow::ensure!(processes.len() == count, "{} processes are {word:?}, not {count}", processes.len());
    let proportional: u64 = processes.iter().map(|process| process.proportional).sum();
    let private: u64 = processes.iter().map(|process| process.private).sum();
    engine.remove(&names)?;
    Ok((proportional as f64 / count as f64, private as f64 / count as f64))
}
