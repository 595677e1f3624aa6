//! Each operation on a disk that has become read-only under the daemon, as a file system does when its device fails. What needs
//! the disk is refused in words that say so, what only asks is answered; once the machine has been started again with a disk
//! that was repaired, everything that was safe is there.

use super::super::disks::Disk;
use super::super::ground::Ground;
use super::super::operations::{Operation, Side};
use super::super::power::{Boot, KEPT};
use super::super::random::Random;
use super::super::steps::choose;
use super::PROMPT;
use crate::daemon::{Daemon, Setup};
use crate::fixture::Archives;
use anyhow::{Context, Result, ensure};
use std::time::Instant;

/// What a refusal says, one of these.
const WORDS: &[&str] = &["ead-only file system", "EROFS"];

/// Answered whatever the disk does.
const QUESTIONS: &[&str] =
    &["/_ping", "/version", "/info", "/containers/json?all=1", "/images/json", "/volumes", "/networks"];

/// Tries each operation, at most `limit` of them; how many went wrong.
pub(super) fn run(
    setup: &Setup,
    archives: &Archives,
    operations: &[&Operation],
    limit: Option<usize>,
    random: &mut Random,
) -> Result<usize> {
    let setup = Setup { directory: setup.directory.with_file_name("failing"), ..setup.clone() };
    let disk = Disk::mount(&setup.data_root())?;
    let boot = Boot::fake(&setup.directory)?;
    let mut ground = Ground::prepare(Daemon::start(setup)?, archives)?;
    let (mut tried, mut refused, mut wrong) = (0, 0, 0);
    for at in choose(operations.len().saturating_sub(1), limit, random) {
        let operation = operations[at - 1];
        tried += 1;
        match attempt(&mut ground, (&disk, &boot), operation, random) {
            Ok(was_refused) => refused += usize::from(was_refused),
            Err(error) => {
                println!("FAILED  {} on a disk that became read-only: {error:#}", operation.name);
                wrong += 1;
                ground.cut_power()?;
                disk.repair()?;
                ground.begin_anew()?;
            }
        }
    }
    let verdict = if wrong == 0 { "ok    " } else { "FAILED" };
    println!(
        "{verdict}  a disk that becomes read-only: {tried} operations, {refused} refused, {wrong} wrong"
    );
    let failed = wrong + ground.close()?;
    disk.unmount()?;
    boot.close()?;
    Ok(failed)
}

/// One operation; whether it was refused.
fn attempt(
    ground: &mut Ground,
    (disk, boot): (&Disk, &Boot),
    operation: &Operation,
    random: &mut Random,
) -> Result<bool> {
    (operation.prepare)(&ground.api).context("prepare")?;
    disk.fail()?;
    let began = Instant::now();
    let made = (operation.act)(&ground.api);
    let took = began.elapsed();
    for path in QUESTIONS {
        ground.api.get(path)?.expect(200).with_context(|| format!("{path} while the disk is read-only"))?;
    }
    let words = ground.daemon.last_words();
    ground.cut_power()?;
    disk.repair()?;
    boot.again(random)?;
    ground.revive().context("the daemon does not come back")?;
    ensure!(took < PROMPT, "an answer took {:.1} s", took.as_secs_f64());
    if let Err(refusal) = &made {
        let said = format!("{refusal:#}");
        // One that was refused before everything was sent has its reason in the daemon's own log.
        let is_told = |text: &str| WORDS.iter().any(|expected| text.contains(expected));
        ensure!(
            is_told(&said) || (said.contains("reset by peer") && is_told(&words)),
            "refused without the reason: {said}"
        );
    }
    if KEPT.contains(&operation.name) {
        let side = (operation.judge)(&ground.api)?;
        ensure!(made.is_err() || side == Side::After, "acknowledged, and lost");
        (operation.finish)(&ground.api, side).with_context(|| format!("working on, {side:?}"))?;
    } else {
        // What ran has ended with the machine; it can be removed.
        ground.api.clear()?;
    }
    let left = ground.leftovers()?;
    ensure!(left.is_empty(), "left behind:\n        {}", left.join("\n        "));
    Ok(made.is_err())
}
