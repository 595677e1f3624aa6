//! At boot: what each container was when the daemon went, and what is found of it, decide what happens next.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use tokio::sync::oneshot;

use super::adopt::adopt;
use super::launch::Places;
use super::owner::{self, Adopted};
use super::record::Record;
use super::registry::{Handle, Registry};
use super::resolve;
use super::state::{Input, Policy, Restart, State, Tally, Then};
use super::teardown;
use crate::engine::Engine;
use crate::shim_process::LastRun;
use crate::{Result, id, time};

/// Exit code of a program whose end nobody recorded, as when the machine lost power.
const UNKNOWN: i32 = 255;

/// What is found of a container at boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A shim that keeps a running program.
    Running,
    /// An exit record.
    Ended(Input),
    /// That a program was started, and nothing that keeps it: its shim was killed, or the machine was started again and
    /// forgot what ran on it.
    Died,
    /// Nothing.
    Nothing,
}

/// What is done with a container at boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Its owner goes on with the living program.
    Adopt,
    /// What is left of it is swept, then its owner takes these inputs.
    Settle(Vec<Input>),
}

/// Decides, from the recorded state and what was found. Pure; `now` dates an end that nobody recorded.
pub(crate) fn plan(state: &State, found: &Found, policy: Policy, now: i64) -> Plan {
    let lost = || Input::ProcessExited { code: UNKNOWN, at: now, oom_killed: false };
    let ended = || match found {
        Found::Ended(input) => input.clone(),
        _ => lost(),
    };
    match (state, found) {
        (
            State::Running(_) | State::Paused(_) | State::Stopping { .. } | State::Starting { .. },
            Found::Running,
        ) => Plan::Adopt,
        (State::Running(_) | State::Paused(_), _) => Plan::Settle(vec![ended()]),
        // A stop that was under way is fulfilled: the program has ended. What is always to run runs again at boot.
        (State::Stopping { then: Then::Rest, .. }, _) if policy.restart == Restart::Always => {
            Plan::Settle(vec![ended(), Input::Start])
        }
        (State::Stopping { .. }, _) => Plan::Settle(vec![ended()]),
        // The program may have run to its end while nobody looked: its record tells.
        (State::Starting { .. }, Found::Ended(exit)) => Plan::Settle(vec![exit.clone()]),
        (State::Starting { .. }, Found::Died) => Plan::Settle(vec![lost()]),
        (State::Starting { .. }, Found::Nothing) => Plan::Settle(vec![Input::LaunchFailed {
            code: 128,
            message: "the daemon was stopped while the container was being started".to_owned(),
        }]),
        (State::Restarting { .. }, _) => Plan::Settle(vec![Input::BackoffElapsed]),
        (State::Removing { .. }, _) => Plan::Settle(vec![Input::Remove { force: true }]),
        // Its removal was under way, or about to be.
        (State::Exited { .. }, _) if policy.auto_remove => Plan::Settle(vec![Input::Remove { force: true }]),
        (State::Exited { told_to_stop, .. }, _) => match policy.restart {
            Restart::Always => Plan::Settle(vec![Input::Start]),
            Restart::UnlessStopped if !told_to_stop => Plan::Settle(vec![Input::Start]),
            _ => Plan::Settle(Vec::new()),
        },
        (State::Created(_) | State::Dead { .. } | State::Gone { .. }, _) => Plan::Settle(Vec::new()),
    }
}

/// The state to go on from, where what is found says more than what was recorded: a start that its policy asked for, or
/// would have asked for by now, is made again when nothing came of it. Pure.
fn resumed(state: State, found: &Found, policy: Policy) -> State {
    match state {
        State::Starting { before, tally, stop_wanted: None, .. }
            if *found == Found::Nothing && before.started_at != 0 && wants_again(&tally, policy.restart) =>
        {
            State::Restarting { ended: before, tally }
        }
        state => state,
    }
}

fn wants_again(tally: &Tally, restart: Restart) -> bool {
    match restart {
        Restart::No => false,
        Restart::Always | Restart::UnlessStopped => true,
        Restart::OnFailure(_) => tally.restarts > 0,
    }
}

/// Looks what is there of a container: its shim first, then what the shim recorded.
async fn find(engine: &Engine, record: &Record, machine: Machine) -> Result<(Found, Option<Adopted>)> {
    let places = Places::of(engine, &record.id);
    let exec_dir = places.exec_dir.clone();
    let socket: Option<OwnedFd> = crate::blocking(move || crate::shim_process::connect(&exec_dir)).await?;
    if let Some(socket) = socket {
        match adopt(socket).await {
            Ok(adopted) => return Ok((Found::Running, Some(adopted))),
            Err(error) => {
                tracing::info!(container = id::short(&record.id), %error, "its shim keeps nothing that runs")
            }
        }
    }
    let data_dir = places.data_dir;
    let exec_dir = places.exec_dir;
    let state = record.state.clone();
    let found = crate::blocking(move || {
        let last = crate::shim_process::exit_record(&data_dir).filter(|last| is_of_this_run(&state, last));
        let exit = last.map(|last| last.input);
        // A start is recorded before it is made, and that it was made perhaps not: after a loss of power it counts as made.
        let has_run = || machine == Machine::StartedAgain || crate::shim_process::was_started(&exec_dir);
        let died = || if has_run() { Found::Died } else { Found::Nothing };
        Ok(exit.map_or_else(died, Found::Ended))
    });
    Ok((found.await?, None))
}

/// Whether an exit record is that of the run which the state is about. One of an earlier run may be there still, or again:
/// it goes when a run begins, and a loss of power may bring it back. Pure.
fn is_of_this_run(state: &State, last: &LastRun) -> bool {
    match (state, &last.input) {
        (State::Starting { before, .. }, Input::ProcessExited { at, .. }) => *at != before.at,
        (State::Running(running) | State::Paused(running) | State::Stopping { running, .. }, _) => {
            let process = &running.process;
            // The process of a run that nobody saw begin is not known.
            process.pid == 0
                || (i64::from(process.pid), process.start_time_ticks)
                    == (i64::from(last.pid), last.start_time_ticks)
        }
        _ => true,
    }
}

/// Whether a container is paused is what the kernel says: the record of it may be older, or newer, than the crash. Pure.
fn as_frozen(state: State, frozen: bool) -> State {
    match (state, frozen) {
        (State::Paused(running), false) => State::Running(running),
        (State::Running(running), true) => State::Paused(running),
        (state, _) => state,
    }
}

/// Whether the control group of a living container is frozen.
async fn is_frozen(engine: &Engine, record: &Record) -> Result<bool> {
    let (engine, record) = (engine.clone(), record.clone());
    crate::blocking(move || {
        let group = super::group::open(&engine, &record)?;
        group.is_frozen().map_err(|error| crate::Error::system(error.to_string()))
    })
    .await
}

/// Reserves the recorded name. A container whose name another one has is called by its short identifier: out of sight,
/// it could neither be stopped nor removed.
fn take_name(containers: &Registry, name: &str, container_id: &str) -> Result<String> {
    let Err(error) = containers.reserve(name, container_id) else { return Ok(name.to_owned()) };
    let short = id::short(container_id);
    tracing::error!(container = short, %error, "it is called by its identifier instead");
    containers.reserve(short, container_id)?;
    Ok(short.to_owned())
}

/// How long a boot waits for what it found to be settled. What takes longer goes on while requests are answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// A container on its way to what its recorded state and what was found of it say.
#[derive(Debug)]
pub(crate) struct Settling {
    handle: Handle,
    taken: oneshot::Receiver<()>,
}

/// Waits until none of these is what it was when the last daemon went: an end that happened meanwhile is known, a removal
/// that was cut short is done. A client that asks first of all must not be told what is no longer so.
pub(crate) async fn settle(all: Vec<Settling>) {
    let each = async {
        for Settling { handle, taken } in all {
            // An owner that has ended has removed its container.
            if taken.await.is_ok() {
                let _ = handle.until(|view| !matches!(view.record.state, State::Removing { .. })).await;
            }
        }
    };
    if tokio::time::timeout(PATIENCE, each).await.is_err() {
        tracing::warn!("some containers are still being settled; requests are answered meanwhile");
    }
}

/// Whether the last daemon was on this boot of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    /// Whatever was started may run.
    Same,
    /// Nothing runs any more.
    StartedAgain,
}

/// Brings back one container. A container that cannot be brought back is reported and left as recorded.
pub(crate) async fn recover(engine: &Engine, mut record: Record, machine: Machine) -> Result<Settling> {
    record.name = take_name(&engine.containers, &record.name, &record.id)?;
    let policy = resolve::policy(&record.host_config)?;
    let active = !matches!(record.state, State::Created(_) | State::Exited { .. } | State::Dead { .. });
    if active {
        crate::volume::adopt(engine, &record);
    }
    if !matches!(record.state, State::Created(_)) && !Places::of(engine, &record.id).data_dir.exists() {
        tracing::warn!(container = id::short(&record.id), "its directory is gone, and what it had written");
    }
    let (found, adopted) =
        if active { find(engine, &record, machine).await? } else { (Found::Nothing, None) };
    if adopted.is_some() {
        let frozen = is_frozen(engine, &record).await?;
        record.state = as_frozen(record.state, frozen);
    }
    record.state = resumed(record.state, &found, policy);
    let plan = plan(&record.state, &found, policy, time::now());
    tracing::debug!(container = id::short(&record.id), state = %record.state, ?found, ?plan, "recovered");
    let was_held = std::mem::take(&mut record.held);
    let (handle, taken) = match (plan, adopted) {
        (Plan::Adopt, Some(adopted)) => {
            let netns = adopted.live.netns.as_ref().map(|netns| netns.as_fd());
            if let Err(error) = engine.networks.restore(&record, netns) {
                tracing::error!(container = id::short(&record.id), %error, "its networks are not what they should be");
            }
            record.reshaping = false;
            settle_mounts(engine, &mut record, &adopted).await;
            let process = super::state::Process {
                started_at: record
                    .state
                    .running()
                    .map_or_else(time::now, |running| running.process.started_at),
                ..adopted.process.clone()
            };
            let inputs = match &record.state {
                State::Paused(_) if was_held => vec![Input::Launched(process), Input::Unpause],
                State::Starting { .. } | State::Running(_) | State::Paused(_) => {
                    vec![Input::Launched(process)]
                }
                // The grace of a stop that was under way begins anew.
                State::Stopping { .. } => {
                    let signal = resolve::stop_signal_of(&record.config.stop_signal)?;
                    let grace_seconds = u64::try_from(record.spec.stop_timeout).ok();
                    vec![Input::Stop { signal, grace_seconds }]
                }
                _ => Vec::new(),
            };
            owner::spawn_with(engine, record, Some(adopted), inputs)
        }
        (Plan::Adopt, None) => owner::spawn_with(engine, record, None, Vec::new()),
        (Plan::Settle(mut inputs), _) => {
            if active {
                sweep(engine, &record, matches!(found, Found::Ended(_))).await;
            }
            record.reshaping = false;
            // A removal that was cut short is taken up where the life ends, from a state that can be removed.
            if let State::Removing { ended } = &record.state {
                record.state = State::Dead { ended: ended.clone() };
            }
            // A run that ended while its start was being recorded: it had begun before it ended.
            if let (State::Starting { .. }, Some(Input::ProcessExited { .. })) =
                (&record.state, inputs.first())
            {
                let process = super::state::Process { pid: 0, start_time_ticks: 0, started_at: time::now() };
                inputs.insert(0, Input::Launched(process));
            }
            owner::spawn_with(engine, record, None, inputs)
        }
    };
    Ok(Settling { handle, taken })
}

/// Finishes or undoes a change of mounts that the last daemon did not come to record.
async fn settle_mounts(engine: &Engine, record: &mut Record, adopted: &Adopted) {
    let (owned, changed) = (engine.clone(), record.clone());
    let (process, live) = (adopted.process.clone(), adopted.live.clone());
    let settled = crate::blocking(move || super::unsettled::settle(&owned, &changed, &process, &live)).await;
    if let Err(error) = settled {
        tracing::error!(container = id::short(&record.id), %error, "its mounts are not what its record says");
    }
    record.unsettled.clear();
}

/// Kills and removes what the last run left behind, its shim first: one that cleans up by and by would take away what the
/// next run makes.
async fn sweep(engine: &Engine, record: &Record, has_recorded: bool) {
    let (engine, record) = (engine.clone(), record.clone());
    let name = id::short(&record.id).to_owned();
    let swept = crate::blocking(move || {
        let shim = crate::shim_process::end(&Places::of(&engine, &record.id).exec_dir, has_recorded);
        let processes = teardown::sweep_processes(&engine, &record);
        teardown::teardown(&engine, &record, None).and(processes).and(shim)
    });
    if let Err(error) = swept.await {
        tracing::error!(container = name, %error, "cannot sweep what is left of its last run");
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::{Ended, Process, Running};
    use super::*;

    fn running() -> Running {
        let process = Process { pid: 1, start_time_ticks: 1, started_at: 1 };
        Running { process, tally: Tally::default(), told_to_stop: false }
    }

    #[test]
    fn a_container_whose_name_is_taken_is_called_by_its_identifier() {
        let containers = Registry::default();
        let ids = ["a".repeat(64), "b".repeat(64)];
        let names = ids.each_ref().map(|id| take_name(&containers, "web", id).expect("a name"));
        assert_eq!(names, ["web".to_owned(), "b".repeat(12)]);
    }

    #[test]
    fn the_end_of_an_earlier_run_is_not_that_of_this_one() {
        let last = |at, pid| LastRun {
            input: Input::ProcessExited { code: 3, at, oom_killed: false },
            pid,
            start_time_ticks: 1,
        };
        let starting = State::Starting {
            before: Ended { code: 3, at: 7, ..Ended::default() },
            tally: Tally::default(),
            restart: false,
            stop_wanted: None,
        };
        assert!(!is_of_this_run(&starting, &last(7, 1)), "the record that was there before the start");
        assert!(is_of_this_run(&starting, &last(8, 1)));
        assert!(is_of_this_run(&State::Running(running()), &last(7, 1)));
        assert!(!is_of_this_run(&State::Paused(running()), &last(7, 2)), "another process");
        let mut unseen = running();
        unseen.process.pid = 0;
        assert!(is_of_this_run(&State::Running(unseen), &last(7, 2)));
    }

    #[test]
    fn the_kernel_says_what_is_paused() {
        let check = |state: State, frozen: bool, expected: &str| {
            assert_eq!(as_frozen(state.clone(), frozen).to_string(), expected, "{state}, frozen: {frozen}");
        };
        let (is_running, is_paused) = (State::Running(running()), State::Paused(running()));
        check(is_paused.clone(), false, &is_running.to_string());
        check(is_paused.clone(), true, &is_paused.to_string());
        check(is_running.clone(), true, &is_paused.to_string());
        check(is_running.clone(), false, &is_running.to_string());
        let created = State::Created(Ended::default());
        check(created.clone(), true, &created.to_string());
    }

    #[test]
    fn a_start_that_came_to_nothing_is_made_again_when_the_policy_says_so() {
        let check = |restart, restarts, started_at, stop_wanted, expected: &str| {
            let before = Ended { started_at, ..Ended::default() };
            let tally = Tally { restarts, ..Tally::default() };
            let state = State::Starting { before, tally, restart: false, stop_wanted };
            let policy = Policy { restart, auto_remove: false };
            assert_eq!(resumed(state.clone(), &Found::Nothing, policy).to_string(), expected, "{restart:?}");
            assert_eq!(resumed(state.clone(), &Found::Died, policy), state, "something came of it");
        };
        check(Restart::Always, 1, 7, None, "Restarting(0, restarts 1, 0 ms)");
        check(Restart::UnlessStopped, 0, 7, None, "Restarting(0, restarts 0, 0 ms)");
        check(Restart::OnFailure(3), 2, 7, None, "Restarting(0, restarts 2, 0 ms)");
        check(Restart::OnFailure(3), 0, 7, None, "Starting(restarts 0)");
        check(Restart::No, 0, 7, None, "Starting(restarts 0)");
        check(Restart::Always, 0, 0, None, "Starting(restarts 0)");
        check(Restart::Always, 1, 7, Some(Then::Rest), "Starting(restarts 1, then Rest)");
    }

    /// The whole table of recovery: every state, everything that may be found.
    #[test]
    fn what_was_recorded_and_what_is_found_decide() {
        let exit = Input::ProcessExited { code: 3, at: 9, oom_killed: false };
        let found = [Found::Running, Found::Ended(exit), Found::Died, Found::Nothing];
        let exited =
            |told_to_stop| State::Exited { ended: Ended::default(), told_to_stop, tally: Tally::default() };
        let starting = State::Starting {
            before: Ended::default(),
            tally: Tally::default(),
            restart: false,
            stop_wanted: None,
        };
        let states = [
            State::Created(Ended::default()),
            starting,
            State::Running(running()),
            State::Paused(running()),
            State::Stopping { running: running(), then: Then::Rest, attempt: 1 },
            exited(false),
            exited(true),
            State::Restarting { ended: Ended::default(), tally: Tally::default() },
            State::Removing { ended: Ended::default() },
            State::Dead { ended: Ended::default() },
        ];
        let mut table = String::new();
        for restart in [Restart::No, Restart::Always, Restart::UnlessStopped] {
            let policy = Policy { restart, auto_remove: false };
            table.push_str(&format!("restart {restart:?}\n"));
            for state in &states {
                let plans = found.iter().map(|found| match plan(state, found, policy, 7) {
                    Plan::Adopt => "adopt".to_owned(),
                    Plan::Settle(inputs) if inputs.is_empty() => "-".to_owned(),
                    Plan::Settle(inputs) => {
                        inputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                    }
                });
                let plans: Vec<String> = plans.collect();
                table.push_str(&format!(
                    "  {state}: running → {}; exit record → {}; died → {}; nothing → {}\n",
                    plans[0], plans[1], plans[2], plans[3]
                ));
            }
        }
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/container/recover_table.txt");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(file, &table).expect("write the table");
        }
        assert_eq!(
            table,
            std::fs::read_to_string(file).expect("run with BLESS=1 to write recover_table.txt")
        );
    }
}
