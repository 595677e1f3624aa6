//! The part that runs in the guest: carries out the steps of its boot and reports on the second serial line.
//!
//! ```text
//! vm begin NAME                    then whatever the program prints
//! vm end NAME ok|failed SECONDS WHY
//! vm finished
//! vm alive                         every few seconds, whatever a step does
//! ```

use super::payload::{INSIDE, STEPS};
use super::step::Step;
use crate::sandbox::Around;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The words that the lines about steps begin with.
pub(crate) const BEGIN: &str = "vm begin ";
pub(crate) const END: &str = "vm end ";
pub(crate) const FINISHED: &str = "vm finished";

pub(crate) const ALIVE: &str = "vm alive";

/// How often the guest says that it is alive.
const BEAT: Duration = Duration::from_secs(5);

/// The serial line that the machine outside reads.
const LINE: &str = "/dev/ttyS1";

/// Seconds that a step may take: ten times what a quiet machine needs.
const STEP_WITHIN: &str = "600";

type Port = Arc<Mutex<File>>;

/// Runs every step of this boot.
pub(crate) fn run_inside(words: &[String]) -> Result<()> {
    let boot = words.first().context("the guest's boot has no name")?;
    if boot == "conformance" {
        return conformance(&words[1..]);
    }
    if boot == "faults" {
        return crate::faults::run_in_machine(&words[1..]);
    }
    let port = open_port()?;
    let beating = Arc::clone(&port);
    std::thread::spawn(move || {
        loop {
            say(&beating, ALIVE);
            std::thread::sleep(BEAT);
        }
    });
    let text = fs::read(Path::new(INSIDE).join(STEPS)).context("the plan")?;
    let steps: Vec<Step> = serde_json::from_slice(&text).context("the plan")?;
    say(&port, &format!("vm {boot}: {}", describe()));
    for step in steps.iter().filter(|step| step.boot.to_string() == *boot) {
        say(&port, &format!("{BEGIN}{}", step.name));
        let began = Instant::now();
        let (word, why) = match carry_out(step, &port) {
            Ok(()) => ("ok", String::new()),
            Err(error) => ("failed", format!(" {error:#}")),
        };
        let seconds = began.elapsed().as_secs_f64();
        say(&port, &format!("{END}{} {word} {seconds:.1}{why}", step.name));
    }
    say(&port, FINISHED);
    Ok(())
}

/// A part of the black-box suite, with our own client, against a daemon with its defaults.
fn conformance(areas: &[String]) -> Result<()> {
    let berth = crate::workspace::berth_program().display().to_string();
    let mut words = vec!["--busybox-only".to_owned(), "--client".to_owned(), berth];
    words.extend_from_slice(areas);
    crate::suite::run_inside(&words, Around::Machine)
}

/// The line would become our terminal if it were opened without O_NOCTTY.
fn open_port() -> Result<Port> {
    const O_NOCTTY: i32 = 0o400;
    use std::os::unix::fs::OpenOptionsExt;
    let file = File::options().write(true).custom_flags(O_NOCTTY).open(LINE).context(LINE)?;
    Ok(Arc::new(Mutex::new(file)))
}

/// What kind of machine this is.
fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    format!(
        "kernel {}, controllers {}, security {}, up {} s",
        read("/proc/sys/kernel/osrelease"),
        read("/sys/fs/cgroup/cgroup.controllers"),
        read("/sys/kernel/security/lsm"),
        read("/proc/uptime").split(' ').next().unwrap_or_default()
    )
}

fn carry_out(step: &Step, port: &Port) -> Result<()> {
    let mut child = Command::new("timeout")
        .args(["--kill-after=5", STEP_WITHIN])
        .args(&step.command)
        .env("CI", "true")
        // What this kernel has and others need not: tests of it are not passed over here.
        .env("BERTH_GUEST", "true")
        .env("CARGO_MANIFEST_DIR", format!("{INSIDE}/xtask"))
        .current_dir("/tmp")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| step.command.join(" "))?;
    let streams: Vec<Box<dyn Read + Send>> = [
        child.stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>),
        child.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>),
    ]
    .into_iter()
    .flatten()
    .collect();
    for stream in streams {
        let port = Arc::clone(port);
        // Not joined: a process that the step left behind may hold the stream open.
        std::thread::spawn(move || copy_lines(stream, &port));
    }
    let status = child.wait()?;
    // What was printed last is on its way through the threads.
    std::thread::sleep(Duration::from_millis(50));
    anyhow::ensure!(status.success(), "{status}");
    Ok(())
}

fn copy_lines(stream: impl Read, port: &Port) {
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(1..) = lines.read_until(b'\n', &mut line) {
        say(port, String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

/// A line that cannot be sent cannot be reported either; the machine outside notices what is missing.
fn say(port: &Port, line: &str) {
    let mut file = port.lock().unwrap_or_else(PoisonError::into_inner);
    drop(file.write_all(format!("{line}\n").as_bytes()));
}
