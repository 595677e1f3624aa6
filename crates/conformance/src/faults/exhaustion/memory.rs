//! A daemon whose control group has hardly any memory left: what it starts meanwhile has none either.

use super::super::ground::Ground;
use super::super::operations::{Operation, Side, end, running};
use super::super::random::Random;
use super::super::steps::choose;
use super::group::Group;
use anyhow::{Context, Result, ensure};
use std::fs;

/// Bytes that are left.
const LEFT: [u64; 5] = [0, 128 << 10, 512 << 10, 2 << 20, 6 << 20];

/// Those that start a program: its shim has no memory either, and may be ended for it. Then the program has ended.
const BEGINNING: &[&str] = &["start", "restart", "publish a port", "start in the network of another"];

/// Tries each operation, at most `limit` of them; how many went wrong.
pub(super) fn run(
    ground: &mut Ground,
    operations: &[&Operation],
    limit: Option<usize>,
    random: &mut Random,
) -> Result<usize> {
    let (mut tried, mut refused, mut ended, mut wrong) = (0, 0, 0, 0);
    for at in choose(operations.len().saturating_sub(1), limit, random) {
        let operation = operations[at - 1];
        let left = LEFT[random.below(LEFT.len())];
        tried += 1;
        match attempt(ground, operation, left) {
            Ok(Outcome::Done) => {}
            Ok(Outcome::Refused) => refused += 1,
            Ok(Outcome::Ended) => ended += 1,
            Err(error) => {
                println!("FAILED  {} with {left} bytes of memory left: {error:#}", operation.name);
                wrong += 1;
                ground.begin_anew()?;
            }
        }
    }
    let verdict = if wrong == 0 { "ok    " } else { "FAILED" };
    println!(
        "{verdict}  no memory left: {tried} operations, {refused} refused, in {ended} the daemon was ended, {wrong} wrong"
    );
    Ok(wrong)
}

/// How an operation went.
enum Outcome {
    Done,
    Refused,
    /// The kernel ended the daemon for it.
    Ended,
}

fn attempt(ground: &mut Ground, operation: &Operation, left: u64) -> Result<Outcome> {
    (operation.prepare)(&ground.api).context("prepare")?;
    let group = Group::of("memory", ground.daemon.pid())?;
    limit_to(&group, left)?;
    let made = (operation.act)(&ground.api);
    fs::write(group.file("memory.limit_in_bytes"), "-1")?;
    let has_ended = ground.api.get("/_ping").is_err();
    if has_ended {
        drop(ground.daemon.kill_hard());
        ground.revive().context("the daemon does not come back")?;
    }
    group.remove()?;
    match (operation.judge)(&ground.api) {
        Ok(side) => {
            ensure!(made.is_err() || side == Side::After, "acknowledged, and not done");
            (operation.finish)(&ground.api, side).with_context(|| format!("working on, {side:?}"))?;
        }
        Err(_) if made.is_err() && BEGINNING.contains(&operation.name) => ground.api.clear()?,
        Err(error) => return Err(error),
    }
    let left = ground.leftovers()?;
    ensure!(left.is_empty(), "left behind:\n        {}", left.join("\n        "));
    Ok(match (has_ended, made.is_err()) {
        (true, _) => Outcome::Ended,
        (false, true) => Outcome::Refused,
        (false, false) => Outcome::Done,
    })
}

/// Leaves so many bytes, or a little more: what is in use cannot be taken away.
fn limit_to(group: &Group, left: u64) -> Result<()> {
    for more in [0, 64 << 10, 256 << 10, 1 << 20] {
        let used: u64 = fs::read_to_string(group.file("memory.usage_in_bytes"))?.trim().parse()?;
        if fs::write(group.file("memory.limit_in_bytes"), (used + left + more).to_string()).is_ok() {
            return Ok(());
        }
    }
    anyhow::bail!("the limit of a group cannot be set")
}

/// A daemon whose control group has little memory left: it may be ended for it, and what runs is not.
pub(super) fn daemon(ground: &mut Ground) -> Result<()> {
    running(&ground.api, "witness")?;
    let group = Group::of("memory", ground.daemon.pid())?;
    let used: u64 = fs::read_to_string(group.file("memory.usage_in_bytes"))?.trim().parse()?;
    fs::write(group.file("memory.limit_in_bytes"), (used + (2 << 20)).to_string())?;
    for _ in 0..8 {
        // Any answer is one, and none when it is killed for it.
        drop(ground.api.load());
        drop(ground.api.get("/images/json"));
    }
    fs::write(group.file("memory.limit_in_bytes"), "-1")?;
    if ground.api.get("/_ping").is_err() {
        drop(ground.daemon.kill_hard());
        ground.revive()?;
    }
    let status = ground.api.status("witness")?;
    ensure!(status == "running", "a container is {status} after its daemon had no memory");
    end(&ground.api, "witness")?;
    ground.daemon.kill_hard()?;
    group.remove()?;
    ground.revive()?;
    ground.api.clear()
}
