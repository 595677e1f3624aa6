//! Asks a running container again and again how it is: one task for each run, which ends with the run.

use std::time::{Duration, Instant};

use api::exec::{ExecCreateRequest, ExecStartRequest};
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;

use super::{Finding, MAX_OUTPUT, Probe};
use crate::container::exec::{self, How};
use crate::container::owner::Command;
use crate::container::registry::Handle;
use crate::container::state::Nanos;
use crate::engine::Engine;
use crate::{Result, time};

/// How long the end of a probe that was killed may take to be told.
const PATIENCE: Duration = Duration::from_secs(10);

/// The task. Dropping it ends the questions; a probe that is under way is killed by the shim at its time.
#[derive(Debug)]
pub(crate) struct Monitor(tokio::task::JoinHandle<()>);

impl Drop for Monitor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins to ask. `started_at` is when the run began.
pub(crate) fn start(engine: &Engine, handle: &Handle, probe: Probe, started_at: Nanos) -> Monitor {
    let (engine, handle) = (engine.clone(), handle.clone());
    Monitor(tokio::spawn(async move { watch(&engine, &handle, &probe, started_at).await }))
}

async fn watch(engine: &Engine, handle: &Handle, probe: &Probe, started_at: Nanos) {
    loop {
        let Some(health) = handle.view().record.health.clone() else { return };
        let wait = health.wait(probe, started_at, time::now());
        tokio::time::sleep(Duration::from_nanos(u64::try_from(wait).unwrap_or(0))).await;
        let finding = ask(engine, handle, probe).await;
        let (reply, taken) = oneshot::channel();
        let sent = handle.send(Command::Probed { finding, reply }).await;
        // The container is gone; nobody wants to know.
        if sent.is_err() || taken.await.is_err() {
            return;
        }
    }
}

/// Runs the probe once.
async fn ask(engine: &Engine, handle: &Handle, probe: &Probe) -> Finding {
    let start = time::now();
    let (code, output) = run(engine, handle, probe).await.unwrap_or_else(|error| (-1, error.message));
    Finding { start, end: time::now(), code, output }
}

async fn run(engine: &Engine, handle: &Handle, probe: &Probe) -> Result<(i32, String)> {
    let request = ExecCreateRequest {
        cmd: Some(probe.command.clone()),
        attach_stdout: true,
        attach_stderr: true,
        ..ExecCreateRequest::default()
    };
    let exec_id = exec::create(engine, &handle.id, request).await?;
    let limit = Duration::from_nanos(u64::try_from(probe.time_limit).unwrap_or(u64::MAX));
    let begun = Instant::now();
    let how = How { raw: true, time_limit: Some(limit) };
    let attached = exec::start_as(engine, &exec_id, ExecStartRequest::default(), how).await?;
    let mut capture = Capture::default();
    let finished = async {
        if let Some(attached) = attached {
            capture.read(attached.stream).await;
        }
        exec::ended(engine, &exec_id).await;
    };
    let finished = tokio::time::timeout(limit.saturating_add(PATIENCE), finished).await;
    let code = exec::forget(engine, &exec_id);
    let output = capture.text();
    // The shim kills what takes too long.
    Ok(match code {
        Some(code) if finished.is_ok() && (code != KILLED || begun.elapsed() < limit) => (code, output),
        _ => {
            let words = format!("Health check exceeded timeout ({})", time::go_duration(probe.time_limit));
            (-1, if output.is_empty() { words } else { format!("{words}: {output}") })
        }
    })
}

/// The exit code of what SIGKILL has ended.
const KILLED: i32 = 137;

/// The beginning of a probe's output.
#[derive(Default)]
struct Capture {
    bytes: Vec<u8>,
    cut: bool,
}

impl Capture {
    /// Reads to the end, whatever is kept of it.
    async fn read(&mut self, mut stream: tokio::net::UnixStream) {
        let mut buffer = [0; MAX_OUTPUT];
        // A stream that breaks has ended: the exit code tells the rest.
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            let room = MAX_OUTPUT - self.bytes.len();
            self.bytes.extend_from_slice(&buffer[..count.min(room)]);
            self.cut |= count > room;
        }
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        if self.cut { format!("{text}...") } else { text.into_owned() }
    }
}
