//! Compose: a small project brought up and taken down, by the same program of Docker's against either daemon.

use super::engines::{self, Engine, Place};
use super::report::{Row, Table, quantile, sorted};
use super::{Bench, Sample, WARM_UP, sample};
use anyhow::{Context, Result, bail};
use conformance::BUSYBOX;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = "docker-compose";

/// Three services in a chain, on a network of the project's own and with a volume. They end at once on SIGTERM.
const PROJECT: &str = r#"
x-service: &service
  image: BUSYBOX
  cgroup_parent: PARENT
  command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]
services:
  store:
    <<: *service
    volumes: ["data:/data"]
  worker:
    <<: *service
    depends_on: [store]
  front:
    <<: *service
    depends_on: [worker]
    ports: ["18080:80"]
volumes:
  data: {}
"#;

/// What is timed, one after the other in every round.
const STEPS: [(&str, &[&str]); 4] = [
    ("up -d", &["up", "--detach"]),
    ("up -d, nothing to do", &["up", "--detach"]),
    ("ps", &["ps"]),
    ("down -v", &["down", "--volumes"]),
];

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Table>> {
    if bench.peers.is_none() {
        eprintln!(
            "    left out: this machine's own Debian release may have no docker-compose of today's kind"
        );
        return Ok(Vec::new());
    }
    let directory = bench.directory.join("compose");
    let engines =
        [engines::berth(bench, &directory, Place::Own)?, engines::docker(bench, &directory, Place::Own)?];
    let names: Vec<&str> = engines.iter().map(|engine| engine.name.as_str()).collect();
    let mut projects = Vec::new();
    for engine in &engines {
        engine.load_busybox()?;
        projects.push(Project::write(engine, &directory.join(format!("{}-project", engine.name)))?);
    }
    let mut samples = [const { [const { Vec::new() }; 2] }; STEPS.len()];
    let mut alone = Vec::new();
    for round in 0..bench.rounds + WARM_UP {
        for (column, project) in projects.iter().enumerate() {
            for (step, (name, words)) in STEPS.iter().enumerate() {
                let sample = project.time(words).with_context(|| (*name).to_owned())?;
                if round >= WARM_UP {
                    samples[step][column].push(sample);
                }
            }
            alone.push(project.time(&["version"])?.wall.as_secs_f64() * 1000.0);
        }
    }
    let alone = quantile(&sorted(alone.into_iter()), 0.5);
    let note = "Three services that depend on each other, a network, a volume, a published port; `docker-compose` of \
                Docker's against both. The floor is that program alone (`version`).";
    let mut table = Table::new("Compose", &names).note(note);
    for ((name, _), samples) in STEPS.iter().zip(&samples) {
        table.rows.push(Row::times(name, samples).floor(format!("{alone:.1} ms")));
    }
    for engine in engines {
        engine.stop()?;
    }
    Ok(vec![table])
}

/// A project on an engine.
struct Project<'a> {
    engine: &'a Engine,
    file: PathBuf,
}

impl<'a> Project<'a> {
    fn write(engine: &'a Engine, directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let file = directory.join("compose.yaml");
        let text = PROJECT.replace("BUSYBOX", BUSYBOX).replace("PARENT", &engine.group.containers());
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
        Ok(Self { engine, file })
    }

    fn time(&self, words: &[&str]) -> Result<Sample> {
        sample(&self.engine.group, || {
            run(self.engine.client(PROGRAM).arg("--file").arg(&self.file).args(words))
        })
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().context(PROGRAM)?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
