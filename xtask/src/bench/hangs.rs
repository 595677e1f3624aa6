//! How long questions take to be answered while something hangs: a container, its keeper, a registry, a file system.

use super::Bench;
use super::engines::{self, Engine, Place};
use super::report::{Row, Table, Target, quantile, sorted};
use anyhow::{Context, Result, bail};
use conformance::{HungMount, SlowRegistry};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// After which there is no answer to be waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked, by its name on the command line. `NAME` is the container.
const QUESTIONS: [(&str, &str); 5] = [
    ("ps", "/containers/json"),
    ("inspect", "/containers/NAME/json"),
    ("events (of the past)", "/events?since=0&until=1"),
    ("info", "/info"),
    ("stats --no-stream", "/containers/NAME/stats?stream=0"),
];

/// What hangs.
const STATES: [&str; 5] = [
    "nothing hangs",
    "the container is frozen",
    "its shim is stopped",
    "an image is being pulled from a slow registry",
    "a file system below the container hangs",
];

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Table>> {
    let directory = bench.directory.join("hangs");
    let engines = [
        engines::berth(bench, &directory, Place::Shared)?,
        engines::docker(bench, &directory, Place::Shared)?,
    ];
    let names: Vec<&str> = engines.iter().map(|engine| engine.name.as_str()).collect();
    let note = format!(
        "Over the socket, without a client's own time. A dash: no answer within {} s. Docker measures for a second or two \
         for `stats --no-stream`.",
        PATIENCE.as_secs()
    );
    let mut table = Table::new("While something hangs", &names).note(&note);
    let rounds = bench.rounds.min(5);
    let mut medians = Vec::new();
    for engine in &engines {
        engine.load_busybox()?;
        let states = STATES.iter().map(|state| {
            eprintln!("    {}: {state}", engine.name);
            in_state(engine, state, &directory, rounds).with_context(|| (*state).to_owned())
        });
        medians.push(states.collect::<Result<Vec<_>>>()?);
    }
    for (state, name) in STATES.iter().enumerate() {
        for (question, (asked, _)) in QUESTIONS.iter().enumerate() {
            let values: Vec<_> = medians.iter().map(|engine| engine[state][question]).collect();
            let row = Row::numbers(&format!("{name}: {asked}"), "ms", &values);
            table.rows.push(row.target(Target::Below(100.0)));
        }
    }
    for engine in engines {
        engine.stop()?;
    }
    Ok(vec![table])
}

/// The medians of all questions, in ms, while something hangs.
fn in_state(engine: &Engine, state: &str, directory: &Path, rounds: usize) -> Result<Vec<Option<f64>>> {
    let place = directory.join(format!("{}-hung", engine.name));
    std::fs::create_dir_all(&place)?;
    let hung = if state == STATES[4] { Some(HungMount::new(&place)?) } else { None };
    let bind = format!("{}:/hung", place.display());
    let script = "trap 'ls /hung' USR1; while :; do sleep 0.05; done";
    let words = ["run", "-d", "--name", "asked", "FLAGS", "--network", "none", "-v", &bind, "IMAGE"];
    engine.outside(&[&words[..], &["sh", "-c", script]].concat())?;
    let registry = if state == STATES[3] { Some(SlowRegistry::start()) } else { None };
    let mut pull = None;
    let mut shim = None;
    match STATES.iter().position(|one| *one == state) {
        Some(1) => engine.outside(&["pause", "asked"])?,
        Some(2) => shim = Some(StoppedShim::of(engine)?),
        Some(3) => {
            let image = registry.as_ref().context("a registry")?.image();
            pull = Some(engine.command(&["pull", &image]).stdout(std::process::Stdio::null()).spawn()?);
            registry.as_ref().context("a registry")?.wait_for_a_layer()?;
        }
        Some(4) => {
            hung.as_ref().context("a mount")?.hang();
            engine.outside(&["kill", "-s", "USR1", "asked"])?;
        }
        _ => {}
    }
    let medians = QUESTIONS.iter().map(|(_, path)| median(engine, path, rounds)).collect::<Result<Vec<_>>>();
    drop((hung, shim));
    if let Some(mut pull) = pull {
        pull.kill()?;
        pull.wait()?;
    }
    drop(registry);
    if state == STATES[1] {
        engine.outside(&["unpause", "asked"])?;
    }
    engine.remove(&["asked".to_owned()])?;
    medians
}

fn median(engine: &Engine, path: &str, rounds: usize) -> Result<Option<f64>> {
    let socket = engine.socket().context("an engine with a socket")?;
    let path = path.replace("NAME", "asked");
    let mut samples = Vec::new();
    for _ in 0..rounds {
        match ask(&socket, &path)? {
            Some(took) => samples.push(took.as_secs_f64() * 1000.0),
            None => return Ok(None),
        }
    }
    Ok(Some(quantile(&sorted(samples.into_iter()), 0.5)))
}

/// Asks, and reads the whole answer; how long it took. `None` when there was none in time.
fn ask(socket: &Path, path: &str) -> Result<Option<Duration>> {
    let began = Instant::now();
    let mut stream = UnixStream::connect(socket).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) if answer.starts_with(b"HTTP/1.1 200") => Ok(Some(began.elapsed())),
        Ok(_) => bail!("{path}: {}", String::from_utf8_lossy(&answer[..answer.len().min(200)])),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
        Err(error) => Err(error).with_context(|| path.to_owned()),
    }
}

/// The parent of the container's first process, stopped as long as this value lives.
struct StoppedShim(String);

impl StoppedShim {
    fn of(engine: &Engine) -> Result<Self> {
        let main = engine.answer(&["inspect", "--format", "{{.State.Pid}}", "asked"])?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", main.trim()))?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).context("PPid")?.trim();
        let words = std::fs::read(format!("/proc/{parent}/cmdline"))?;
        if !String::from_utf8_lossy(&words).contains("shim") {
            bail!("the parent of the container is no shim");
        }
        signal("STOP", parent)?;
        Ok(Self(parent.to_owned()))
    }
}

impl Drop for StoppedShim {
    fn drop(&mut self) {
        if let Err(error) = signal("CONT", &self.0) {
            eprintln!("{error:#}");
        }
    }
}

fn signal(name: &str, pid: &str) -> Result<()> {
    let told = Command::new("kill").args([&format!("-{name}"), pid]).status().context("kill(1)")?;
    if told.success() { Ok(()) } else { bail!("kill -{name} {pid}: {told}") }
}
