//! Networks: what attaching costs and how it grows, and what goes through them.

use super::engines::{self, Engine, Place};
use super::report::{Row, Table, Target};
use super::{Bench, flows};
use anyhow::Result;

/// How many containers are on the network when one more comes and goes. Docker is left out of the last.
const CROWDS: [usize; 3] = [10, 100, 500];
const DOCKERS_CROWD: usize = 100;
const ROUNDS: usize = 7;

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Table>> {
    let directory = bench.directory.join("networks");
    let engines =
        [engines::berth(bench, &directory, Place::Own)?, engines::docker(bench, &directory, Place::Own)?];
    for engine in &engines {
        engine.load_busybox()?;
    }
    // In this order: Docker takes minutes to take a thousand ports away again.
    let tables = vec![attaching(bench, &engines)?, flows::measure(bench, &engines)?];
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
