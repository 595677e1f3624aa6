//! Loss of power while a container begins or ends, with what its shim syncs: it has ended afterwards, with the exit code
//! that was recorded, or with the one that says that nobody knows; never with that of an earlier run. Of its log there are
//! whole lines, and it can run again.

use super::super::api::Api;
use super::super::ground::Ground;
use super::super::operations::{ask, end, running};
use super::super::random::Random;
use super::super::shims::shim;
use super::super::steps::observed;
use super::moments::{self, Moment};
use super::{Boot, Lost, lose};
use crate::scope::eventually;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The container that is in the dark.
const NAME: &str = "benighted";

/// The exit code of an end that nobody recorded.
const UNKNOWN: i64 = 255;

/// A moment of a container's life.
struct Passage {
    name: &'static str,
    prepare: fn(&Api) -> Result<()>,
    act: fn(&Api) -> Result<()>,
    /// Whether a shim is there whose syncs count.
    has_shim: bool,
}

const PASSAGES: &[Passage] = &[
    Passage {
        name: "stop",
        prepare: |api| running(api, NAME),
        act: |api| ask(api, &format!("/containers/{NAME}/stop?t=20")),
        has_shim: true,
    },
    Passage {
        name: "kill",
        prepare: |api| running(api, NAME),
        act: |api| {
            ask(api, &format!("/containers/{NAME}/kill?signal=TERM"))?;
            api.wait(NAME).map(drop)
        },
        has_shim: true,
    },
    Passage {
        name: "another start",
        prepare: |api| {
            // A run that has ended, with its end recorded and safe.
            running(api, NAME)?;
            ask(api, &format!("/containers/{NAME}/stop?t=20"))
        },
        act: |api| ask(api, &format!("/containers/{NAME}/start")),
        has_shim: false,
    },
];

pub(super) fn run(
    ground: &mut Ground,
    boot: &Boot,
    limit: Option<usize>,
    random: &mut Random,
) -> Result<usize> {
    let mut failed = 0;
    for passage in PASSAGES {
        (passage.prepare)(&ground.api)?;
        let processes = processes(ground, passage)?;
        let (made, all) = observed(&processes, usize::MAX, |_, _| {}, || (passage.act)(&ground.api))?;
        made.with_context(|| format!("{}, undisturbed", passage.name))?;
        drop(ground.daemon.kill_hard());
        ground.revive()?;
        ground.api.remove(NAME)?;
        let moments = moments::choose(&all, &ground.daemon.setup().data_root(), limit, random);
        let (mut wrong, mut known) = (0, 0);
        for moment in &moments {
            match attempt(ground, boot, passage, *moment, random) {
                Ok(is_known) => known += usize::from(is_known),
                Err(error) => {
                    let (at, loss) = moment;
                    println!(
                        "FAILED  {}, {loss:?} at step {at} of about {}: {error:#}",
                        passage.name,
                        all.len()
                    );
                    wrong += 1;
                    ground.begin_anew()?;
                }
            }
        }
        println!(
            "{}  loss of power during {}: {} moments of about {} steps of daemon and shim, the exit code known after {known}, \
             {wrong} wrong",
            if wrong == 0 { "ok    " } else { "FAILED" },
            passage.name,
            moments.len(),
            all.len()
        );
        failed += wrong;
    }
    Ok(failed)
}

fn processes(ground: &Ground, passage: &Passage) -> Result<Vec<u32>> {
    let mut all = vec![ground.daemon.pid()];
    if passage.has_shim {
        all.push(shim(ground, NAME)?);
    }
    Ok(all)
}

/// One loss; whether the exit code is known afterwards.
fn attempt(
    ground: &mut Ground,
    boot: &Boot,
    passage: &Passage,
    moment: Moment,
    random: &mut Random,
) -> Result<bool> {
    (passage.prepare)(&ground.api).context("prepare")?;
    let before = ground.api.state(NAME)?.unwrap_or_default();
    let processes = processes(ground, passage)?;
    let Lost { place, .. } = lose(ground, boot, &processes, moment, passage.act, random)?;
    let after = ground.api.state(NAME)?.context("the container is gone")?;
    let is_known = judge(&before, &after).with_context(|| place.clone())?;
    work_on(&ground.api).with_context(|| format!("{place}: working on"))?;
    let left = ground.leftovers()?;
    ensure!(left.is_empty(), "{place}: left behind:\n        {}", left.join("\n        "));
    Ok(is_known)
}

/// Whether the exit code is known; an error when it is another run's.
fn judge(before: &Value, after: &Value) -> Result<bool> {
    ensure!(after["Status"] == "exited", "after the loss it is {after}");
    let had_ended = before["Status"] == "exited";
    let is_same_end = after["FinishedAt"] == before["FinishedAt"];
    match after["ExitCode"].as_i64() {
        // The run before, as if there had been no other; or the run that was told to end.
        Some(5) if is_same_end || !had_ended => Ok(true),
        Some(UNKNOWN) if !is_same_end => Ok(false),
        _ => bail!("it was {before}, and is {after}"),
    }
}

/// Its log has whole lines only; it runs again, and ends as it should.
fn work_on(api: &Api) -> Result<()> {
    let said = api.logs(NAME)?;
    ensure!(said.lines().all(|line| matches!(line, "hello" | "bye")), "its log says {said:?}");
    ask(api, &format!("/containers/{NAME}/start"))?;
    eventually("another first word", || {
        Ok((api.logs(NAME)?.matches("hello").count() > said.matches("hello").count()).then_some(()))
    })?;
    end(api, NAME)
}
