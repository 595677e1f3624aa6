//! Shims that die: before each step of an operation on their container, and together with the daemon. Nobody keeps the
//! container's program any more, so the container has ended, however it came to that; it can be removed, and nothing of it
//! stays.

use super::ground::Ground;
use super::operations::running;
use super::random::Random;
use super::steps::{choose, watched};
use crate::scope::eventually;
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};

/// The container whose shim dies.
const NAME: &str = "orphan";

/// What is asked while the shim dies; any answer is one.
type Act = fn(&super::api::Api) -> Result<()>;

const ACTS: &[(&str, Act)] = &[
    ("nothing", |_| Ok(())),
    ("stop", |api| api.post(&format!("/containers/{NAME}/stop?t=5"), &Value::Null).map(drop)),
    ("exec", |api| {
        let body = json!({ "Cmd": ["true"], "AttachStdout": true });
        let exec = api.post(&format!("/containers/{NAME}/exec"), &body)?.expect(201)?.json()?;
        let path = format!("/exec/{}/start", exec["Id"].as_str().unwrap_or_default());
        api.post(&path, &json!({ "Detach": true })).map(drop)
    }),
    ("remove", |api| api.delete(&format!("/containers/{NAME}?force=1")).map(drop)),
];

/// Kills shims at the steps of each act, at most `limit` of them; how many tries went wrong.
pub(super) fn run(ground: &mut Ground, limit: Option<usize>, random: &mut Random) -> Result<usize> {
    let mut failed = 0;
    for (what, act) in ACTS {
        running(&ground.api, NAME)?;
        let total = watched(shim(ground, NAME)?, usize::MAX, || act(&ground.api))?.1.len();
        settle(ground)?;
        let steps = choose(total, limit, random);
        let mut wrong = 0;
        for at in &steps {
            for with_daemon in [false, true] {
                if let Err(error) = attempt(ground, *act, *at, with_daemon) {
                    let both = if with_daemon { ", and the daemon" } else { "" };
                    println!("FAILED  the shim dies at step {at} of {what}{both}: {error:#}");
                    wrong += 1;
                    drop(ground.daemon.kill_hard());
                    ground.revive()?;
                    ground.api.clear()?;
                }
            }
        }
        let verdict = if wrong == 0 { "ok    " } else { "FAILED" };
        println!(
            "{verdict}  the shim dies during {what}: {} of about {total} steps, {wrong} wrong",
            steps.len()
        );
        failed += wrong;
    }
    Ok(failed)
}

fn attempt(ground: &mut Ground, act: Act, at: usize, with_daemon: bool) -> Result<()> {
    running(&ground.api, NAME).context("prepare")?;
    let steps = watched(shim(ground, NAME)?, at, || act(&ground.api))?.1;
    let place = steps.get(at - 1).map_or("at the end".to_owned(), |step| format!("before {step}"));
    if with_daemon {
        ground.daemon.kill_hard()?;
        ground.revive().context("the daemon does not come back")?;
    }
    settle(ground).context(place)
}

/// The container ends, can be removed, and leaves nothing.
fn settle(ground: &Ground) -> Result<()> {
    eventually("the end of a container without a shim", || {
        let status = ground.api.status(NAME)?;
        Ok(matches!(status.as_str(), "exited" | "absent").then_some(()))
    })?;
    ground.api.remove(NAME)?;
    let left = ground.leftovers()?;
    ensure!(left.is_empty(), "left behind:\n        {}", left.join("\n        "));
    Ok(())
}

/// The shim of a container: the parent of its first process.
pub(super) fn shim(ground: &Ground, name: &str) -> Result<u32> {
    let state = ground.api.state(name)?.unwrap_or_default();
    let stat =
        std::fs::read_to_string(format!("/proc/{}/stat", state["Pid"])).context("the first process")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let parent = after_name.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    parent.ok_or_else(|| anyhow!("the parent of process {}", state["Pid"]))
}
