//! Crashing at each step: the daemon runs under a tracer, which ends it just before the n-th system call that others can
//! see the effect of, for every n until the operation is through.

use super::api::Api;
use super::ground::Ground;
use super::operations::{Operation, Side};
use super::random::Random;
use anyhow::{Context, Result, anyhow};
use linux::pidfd::PidFd;
use linux::trace::{Decision, Entry, Tracer};
use std::sync::{Mutex, PoisonError, mpsc};

/// What one try found.
struct Try {
    /// The step that was not made; `None` when the operation made fewer.
    step: Option<String>,
    /// Whether the daemon said that it was done.
    acknowledged: bool,
}

/// Crashes at every step of an operation, or at some; how many tries went wrong.
pub(super) fn crash_at_each(
    ground: &mut Ground,
    operation: &Operation,
    limit: Option<usize>,
    random: &mut Random,
) -> Result<usize> {
    let total = steps_of(ground, operation)?.len();
    let mut failed = 0;
    let chosen = choose(total, limit, random);
    for at in &chosen {
        if let Err(error) = attempt(ground, operation, *at) {
            println!("FAILED  {}, crash at step {at} of about {total}: {error:#}", operation.name);
            failed += 1;
            restore(ground, operation)?;
        }
    }
    let verdict = if failed == 0 { "ok    " } else { "FAILED" };
    println!("{verdict}  {}: {} of about {total} steps, {failed} wrong", operation.name, chosen.len());
    Ok(failed)
}

/// The steps to crash at, counted from 1; the last one is the moment after the answer.
pub(super) fn choose(total: usize, limit: Option<usize>, random: &mut Random) -> Vec<usize> {
    let mut steps: Vec<usize> = (1..=total + 1).collect();
    while limit.is_some_and(|limit| steps.len() > limit.max(1)) {
        // The moment after the answer stays: what was acknowledged must be there.
        steps.remove(random.below(steps.len() - 1));
    }
    steps
}

/// The steps that the operation makes. Threads take turns as they like, so it is about right and no more.
pub(super) fn steps_of(ground: &mut Ground, operation: &Operation) -> Result<Vec<String>> {
    (operation.prepare)(&ground.api).with_context(|| format!("prepare {}", operation.name))?;
    let (made, steps) = traced(ground, usize::MAX, operation.act)?;
    made.with_context(|| format!("{}, undisturbed", operation.name))?;
    ground.revive()?;
    let side = (operation.judge)(&ground.api)?;
    (operation.finish)(&ground.api, side)?;
    Ok(steps)
}

fn attempt(ground: &mut Ground, operation: &Operation, at: usize) -> Result<()> {
    (operation.prepare)(&ground.api).context("prepare")?;
    let (made, steps) = traced(ground, at, operation.act)?;
    let found = Try { step: steps.get(at - 1).cloned(), acknowledged: made.is_ok() };
    if found.step.is_none() && !found.acknowledged {
        return Err(made.err().unwrap_or_else(|| anyhow!("no answer")).context("refused, undisturbed"));
    }
    ground.revive().context("the daemon does not come back")?;
    let place = || found.step.clone().map_or("after the answer".to_owned(), |step| format!("before {step}"));
    let side = (operation.judge)(&ground.api).with_context(place)?;
    if found.acknowledged && side == Side::Before {
        return Err(anyhow!("acknowledged, and lost").context(place()));
    }
    (operation.finish)(&ground.api, side).with_context(|| format!("{}: working on, {side:?}", place()))?;
    let left = ground.leftovers()?;
    if left.is_empty() {
        Ok(())
    } else {
        Err(anyhow!("left behind:\n        {}", left.join("\n        ")).context(place()))
    }
}

/// After a failure: a daemon that runs, and nothing of this operation.
fn restore(ground: &mut Ground, operation: &Operation) -> Result<()> {
    drop(ground.daemon.kill_hard());
    ground.revive()?;
    ground.api.clear().with_context(|| format!("clear up after {}", operation.name))?;
    ground.put_up_with_leftovers()
}

/// Does something while the daemon is watched, and ends the daemon at the `at`th step or once it is done. What came of
/// it, and the steps.
fn traced(ground: &mut Ground, at: usize, act: fn(&Api) -> Result<()>) -> Result<(Result<()>, Vec<String>)> {
    let found = watched(ground.daemon.pid(), at, || act(&ground.api));
    ground.daemon.kill_hard()?;
    found
}

/// Does something while a process is watched, and ends that process at its `at`th step or once it is done.
pub(super) fn watched(
    process: u32,
    at: usize,
    act: impl FnOnce() -> Result<()>,
) -> Result<(Result<()>, Vec<String>)> {
    observed(&[process], at, |_, _| {}, act)
}

/// What several tracers have seen.
struct Seen<F> {
    steps: Vec<String>,
    /// The step was reached: nobody makes another one.
    is_over: bool,
    see: F,
}

/// As [`watched`], of several processes that end together; `see` is told of each step before it is made.
pub(super) fn observed(
    processes: &[u32],
    at: usize,
    see: impl FnMut(&Entry, &str) + Send,
    act: impl FnOnce() -> Result<()>,
) -> Result<(Result<()>, Vec<String>)> {
    let victims: Vec<PidFd> =
        processes.iter().filter_map(|process| PidFd::open(*process).transpose()).collect::<Result<_, _>>()?;
    let seen = Mutex::new(Seen { steps: Vec::new(), is_over: false, see });
    let (seized, wait) = mpsc::channel();
    let outcome = std::thread::scope(|threads| {
        let tracers: Vec<_> = processes
            .iter()
            .map(|process| {
                let (seen, victims, seized) = (&seen, &victims, seized.clone());
                threads.spawn(move || trace(*process, at, seen, victims, &seized))
            })
            .collect();
        drop(seized);
        // When a tracer could not begin, its own error is the one to tell.
        let began = processes.iter().try_for_each(|_| wait.recv().map_err(anyhow::Error::from));
        let outcome = began.and_then(|()| act());
        for victim in &victims {
            victim.send(9)?;
        }
        for tracer in tracers {
            tracer.join().map_err(|_| anyhow!("a tracer panicked"))??;
        }
        Ok::<_, anyhow::Error>(outcome)
    })?;
    Ok((outcome, seen.into_inner().unwrap_or_else(PoisonError::into_inner).steps))
}

/// Watches one process to its end, which comes at the latest when all of them together have come to the `at`th step.
fn trace<F: FnMut(&Entry, &str)>(
    process: u32,
    at: usize,
    seen: &Mutex<Seen<F>>,
    victims: &[PidFd],
    seized: &mpsc::Sender<()>,
) -> Result<()> {
    let tracer = Tracer::seize(process)?;
    seized.send(())?;
    tracer.run(|entry| {
        let Some(call) = entry.effect() else { return Decision::Continue };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_over {
            return Decision::Kill;
        }
        seen.steps.push(describe(entry, call));
        if seen.steps.len() == at {
            seen.is_over = true;
            for victim in victims {
                // One that has ended is as good.
                let _ = victim.send(9);
            }
            return Decision::Kill;
        }
        (seen.see)(entry, call);
        Decision::Continue
    })?;
    Ok(())
}

/// A step with the file it is about, as far as its first argument tells.
fn describe(entry: &Entry, call: &str) -> String {
    let file = std::fs::read_link(format!("/proc/{}/fd/{}", entry.thread, entry.arguments[0]));
    let call = call.trim_start_matches("SYS_");
    file.map_or_else(|_| call.to_owned(), |file| format!("{call}({})", file.display()))
}
