//! Two million lines through the json-file driver, and back.

use super::engines::{self, Engine, Place};
use super::report::{Row, Table, Target};
use super::{Bench, Sample, sample};
use anyhow::{Context, Result, ensure};
use std::process::Stdio;

const LINES: usize = 2_000_000;
const QUICK_LINES: usize = 200_000;
const LINE: &str = "2026-01-01 12:00:00 INFO request served in 12 ms: GET /some/path?with=query 200";

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Table>> {
    let directory = bench.directory.join("logs");
    let lines = if bench.quick { QUICK_LINES } else { LINES };
    let engines =
        [engines::berth(bench, &directory, Place::Own)?, engines::docker(bench, &directory, Place::Own)?];
    let names: Vec<&str> = engines.iter().map(|engine| engine.name.as_str()).collect();
    let note = format!(
        "{lines} lines of {} bytes through `json-file`: from `run` to the program's end, then `logs` to nobody.",
        LINE.len() + 1
    );
    let mut table = Table::new("Logs", &names).note(&note);
    let (mut written, mut read, mut tail) = (Vec::new(), Vec::new(), Vec::new());
    for engine in &engines {
        eprintln!("    {}", engine.name);
        engine.load_busybox()?;
        written.push(vec![write(engine, lines)?]);
        let samples = (0..3).map(|_| read_back(engine, lines)).collect::<Result<Vec<_>>>()?;
        read.push(samples);
        tail.push(
            (0..5).map(|_| engine.time(&["logs", "--tail", "10", "lines"])).collect::<Result<Vec<_>>>()?,
        );
        engine.remove(&["lines".to_owned()])?;
    }
    let target = Target::AtMost { part: 0.2, of: 1, cpu: false };
    table.rows.push(Row::times("written", &written).target(target));
    table.rows.push(Row::times("read back", &read).target(target));
    table.rows.push(Row::times("logs --tail 10", &tail));
    for engine in engines {
        engine.stop()?;
    }
    Ok(vec![table])
}

/// A program that prints as fast as it is listened to. `yes` and `head` of busybox make about a million lines a second.
fn write(engine: &Engine, lines: usize) -> Result<Sample> {
    let script = format!("yes '{LINE}' | head -n {lines}");
    // Docker's own default has no limit, ours has one: here nothing may be rotated away.
    let words = [
        "run",
        "--name",
        "lines",
        "FLAGS",
        "--network",
        "none",
        "--log-driver",
        "json-file",
        "--log-opt",
        "max-size=10g",
    ];
    let words = [&words[..], &["--attach", "stderr", "IMAGE", "sh", "-c", &script]].concat();
    engine.time(&words)
}

fn read_back(engine: &Engine, lines: usize) -> Result<Sample> {
    let mut bytes = 0;
    let sample = sample(&engine.group, || {
        let mut child = engine.command(&["logs", "lines"]).stdout(Stdio::piped()).spawn()?;
        let mut stdout = child.stdout.take().context("a piped stdout")?;
        bytes = std::io::copy(&mut stdout, &mut std::io::sink())?;
        let status = child.wait()?;
        ensure!(status.success(), "logs: {status}");
        Ok(())
    })?;
    let expected = (lines * (LINE.len() + 1)) as u64;
    ensure!(bytes == expected, "{}: {bytes} bytes came back, not {expected}", engine.name);
    Ok(sample)
}
