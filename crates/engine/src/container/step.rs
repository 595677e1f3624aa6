//! The life of a container as one pure function: state × input → what it becomes and what must be done.
//!
//! The whole table is printed by a test into `state_table.txt`, which is the specification to review.

use super::state::{
    Action, Effect, Ended, Input, Nanos, Policy, Process, Refusal, Restart, Running, State, Step, Tally, Then,
};

/// First wait of a restart policy, and the shortest; it doubles with every quick failure.
const BACKOFF_FLOOR_MS: u64 = 100;
/// Longest wait of a restart policy.
const BACKOFF_CEILING_MS: u64 = 60_000;
/// A run of at least this long counts as healthy and resets the wait.
const BACKOFF_RESET: Nanos = 10 * 1_000_000_000;
/// SIGKILL.
const KILL: i32 = 9;
/// The code of a launch that failed for another reason than its program.
const LAUNCH_FAILED: i32 = 128;

use Effect::{Announce, ArmBackoff, ArmGrace, Erase, Freeze, Launch, Signal, Teardown, Thaw};
use Step::{Refused, Unchanged};

fn to(state: State, effects: Vec<Effect>) -> Step {
    Step::Move(Box::new(state), effects)
}

/// The whole life of a container. Pure: same state, input and policy give the same answer.
#[must_use]
pub(super) fn step(state: &State, input: &Input, policy: Policy) -> Step {
    match state {
        State::Created(ended) | State::Exited { ended, .. } => at_rest(ended, input),
        State::Starting { before, tally, restart, stop_wanted } => {
            let launch = Launching { before, tally, restart: *restart, stop_wanted: *stop_wanted };
            starting(&launch, input, policy)
        }
        State::Running(running) => alive(running, false, input, policy),
        State::Paused(running) => alive(running, true, input, policy),
        State::Stopping { running, then, attempt } => stopping(running, *then, *attempt, input, policy),
        State::Restarting { ended, tally } => waiting(ended, tally, input),
        State::Removing { ended } => removing(ended, input),
        State::Dead { ended } => match input {
            Input::Remove { .. } => to(State::Removing { ended: ended.clone() }, vec![Erase]),
            Input::Stop { .. } => Unchanged,
            _ => Refused(Refusal::Dead),
        },
        State::Gone { .. } => Refused(Refusal::Removing),
    }
}

/// Begins a launch.
fn launch(before: &Ended, tally: Tally, restart: bool) -> Step {
    to(State::Starting { before: before.clone(), tally, restart, stop_wanted: None }, vec![Launch])
}

/// Created or exited: no process.
fn at_rest(ended: &Ended, input: &Input) -> Step {
    match input {
        Input::Start => launch(ended, Tally::default(), false),
        Input::Restart { .. } => launch(ended, Tally::default(), true),
        Input::Remove { .. } => to(State::Removing { ended: ended.clone() }, vec![Erase]),
        Input::Stop { .. } => Unchanged,
        Input::Kill { .. } | Input::Pause => Refused(Refusal::NotRunning),
        Input::Unpause => Refused(Refusal::NotPaused),
        // A late report about a run that is already accounted for.
        _ => Unchanged,
    }
}

/// The fields of [`State::Starting`].
struct Launching<'a> {
    before: &'a Ended,
    tally: &'a Tally,
    restart: bool,
    stop_wanted: Option<Then>,
}

/// The launch is under way: requests that end it are remembered and honoured when it answers.
fn starting(launching: &Launching<'_>, input: &Input, policy: Policy) -> Step {
    let Launching { before, tally, restart, stop_wanted } = *launching;
    let wanting = |then| {
        let (before, tally) = (before.clone(), tally.clone());
        to(State::Starting { before, tally, restart, stop_wanted: Some(then) }, Vec::new())
    };
    match input {
        Input::Launched(process) => launched(launching, process),
        Input::LaunchFailed { code, message } => {
            let ended = Ended { code: *code, error: message.clone(), ..before.clone() };
            // What was missing for another run may be there again by and by; a program that is not there is not.
            if *code == LAUNCH_FAILED
                && tally.restarts > 0
                && stop_wanted.is_none()
                && goes_on(policy.restart, tally)
            {
                let (tally, backoff) = next_run(tally, 0);
                return to(State::Restarting { ended, tally }, vec![Teardown, backoff]);
            }
            if policy.auto_remove || stop_wanted == Some(Then::Remove) {
                to(State::Removing { ended }, vec![Teardown, Erase])
            } else if before.started_at == 0 {
                to(State::Created(ended), vec![Teardown])
            } else {
                let told_to_stop = stop_wanted.is_some();
                to(State::Exited { ended, told_to_stop, tally: tally.clone() }, vec![Teardown])
            }
        }
        Input::Stop { .. } | Input::Kill { stops: true, .. } => wanting(Then::Rest),
        Input::Remove { force: true } => wanting(Then::Remove),
        Input::Remove { force: false } => Refused(Refusal::StillRunning),
        Input::Kill { .. } | Input::Pause => Refused(Refusal::Starting),
        Input::Unpause => Refused(Refusal::NotPaused),
        _ => Unchanged,
    }
}

fn launched(launching: &Launching<'_>, process: &Process) -> Step {
    let mut effects = vec![Announce(Action::Start)];
    if launching.restart {
        effects.push(Announce(Action::Restart));
    }
    let told_to_stop = launching.stop_wanted.is_some();
    let running = Running { process: process.clone(), tally: launching.tally.clone(), told_to_stop };
    match launching.stop_wanted {
        None => to(State::Running(running), effects),
        Some(then) => {
            effects.extend([Signal(KILL), Announce(Action::Kill(KILL))]);
            to(State::Stopping { running, then, attempt: 0 }, effects)
        }
    }
}

/// Running, or frozen.
fn alive(running: &Running, paused: bool, input: &Input, policy: Policy) -> Step {
    let same = |running: Running| if paused { State::Paused(running) } else { State::Running(running) };
    match input {
        Input::Start if paused => Refused(Refusal::Paused),
        Input::Start => Unchanged,
        Input::Stop { signal, grace_seconds } => {
            halt(running, paused, Then::Rest, 1, *signal, *grace_seconds)
        }
        Input::Restart { signal, grace_seconds } => {
            halt(running, paused, Then::Start, 1, *signal, *grace_seconds)
        }
        Input::Remove { force: true } => halt(running, paused, Then::Remove, 1, KILL, None),
        Input::Remove { force: false } if paused => Refused(Refusal::StillPaused),
        Input::Remove { force: false } => Refused(Refusal::StillRunning),
        Input::Kill { signal, stops } => {
            let mut effects = vec![Signal(*signal)];
            if paused && *signal == KILL {
                effects.push(Thaw);
            }
            effects.push(Announce(Action::Kill(*signal)));
            to(same(Running { told_to_stop: running.told_to_stop || *stops, ..running.clone() }), effects)
        }
        Input::Pause if paused => Refused(Refusal::AlreadyPaused),
        Input::Pause => to(State::Paused(running.clone()), vec![Freeze, Announce(Action::Pause)]),
        Input::Unpause if paused => {
            to(State::Running(running.clone()), vec![Thaw, Announce(Action::Unpause)])
        }
        Input::Unpause => Refused(Refusal::NotPaused),
        Input::ProcessExited { code, at, oom_killed } => {
            let ended = end_of(running, *code, *at, *oom_killed);
            after_exit(running, ended, policy)
        }
        // Found alive again after the daemon was away.
        Input::Launched(process) => {
            to(same(Running { process: process.clone(), ..running.clone() }), Vec::new())
        }
        _ => Unchanged,
    }
}

/// Sends the signal and arms the grace; a frozen process is thawed so that it can hear.
fn halt(
    running: &Running,
    paused: bool,
    then: Then,
    attempt: u32,
    signal: i32,
    grace_seconds: Option<u64>,
) -> Step {
    let mut effects = vec![Signal(signal), Announce(Action::Kill(signal))];
    if paused {
        effects.push(Thaw);
    }
    if signal != KILL
        && let Some(seconds) = grace_seconds
    {
        effects.push(ArmGrace { seconds, attempt });
    }
    let running = Running { told_to_stop: true, ..running.clone() };
    to(State::Stopping { running, then, attempt }, effects)
}

fn stopping(running: &Running, then: Then, attempt: u32, input: &Input, policy: Policy) -> Step {
    match input {
        Input::ProcessExited { code, at, oom_killed } => {
            let ended = end_of(running, *code, *at, *oom_killed);
            let mut effects = death(&ended);
            match then {
                Then::Start => {
                    effects.extend([Announce(Action::Stop), Launch]);
                    let tally = Tally::default();
                    to(State::Starting { before: ended, tally, restart: true, stop_wanted: None }, effects)
                }
                Then::Rest if policy.auto_remove => {
                    effects.extend([Announce(Action::Stop), Erase]);
                    to(State::Removing { ended }, effects)
                }
                Then::Rest => {
                    effects.push(Announce(Action::Stop));
                    to(State::Exited { ended, told_to_stop: true, tally: running.tally.clone() }, effects)
                }
                Then::Remove => {
                    effects.push(Erase);
                    to(State::Removing { ended }, effects)
                }
            }
        }
        Input::GraceElapsed { attempt: fired } if *fired == attempt => to(
            State::Stopping { running: running.clone(), then, attempt },
            vec![Signal(KILL), Announce(Action::Kill(KILL))],
        ),
        Input::Stop { signal, grace_seconds } => {
            halt(running, false, then, attempt + 1, *signal, *grace_seconds)
        }
        Input::Restart { signal, grace_seconds } => {
            let then = if then == Then::Rest { Then::Start } else { then };
            halt(running, false, then, attempt + 1, *signal, *grace_seconds)
        }
        Input::Remove { force: true } => halt(running, false, Then::Remove, attempt + 1, KILL, None),
        Input::Remove { force: false } => Refused(Refusal::StillRunning),
        Input::Kill { signal, .. } => to(
            State::Stopping { running: running.clone(), then, attempt },
            vec![Signal(*signal), Announce(Action::Kill(*signal))],
        ),
        Input::Pause => Refused(Refusal::NotRunning),
        Input::Unpause => Refused(Refusal::NotPaused),
        _ => Unchanged,
    }
}

/// Between two runs of a restart policy.
fn waiting(ended: &Ended, tally: &Tally, input: &Input) -> Step {
    match input {
        Input::BackoffElapsed => launch(ended, tally.clone(), false),
        Input::Start => launch(ended, Tally::default(), false),
        Input::Restart { .. } => launch(ended, Tally::default(), true),
        Input::Stop { .. } | Input::Kill { stops: true, .. } => to(
            State::Exited { ended: ended.clone(), told_to_stop: true, tally: tally.clone() },
            vec![Announce(Action::Stop)],
        ),
        Input::Remove { force: true } => to(State::Removing { ended: ended.clone() }, vec![Erase]),
        Input::Remove { force: false } => Refused(Refusal::StillRunning),
        Input::Kill { .. } | Input::Pause => Refused(Refusal::Restarting),
        Input::Unpause => Refused(Refusal::NotPaused),
        _ => Unchanged,
    }
}

fn removing(ended: &Ended, input: &Input) -> Step {
    match input {
        Input::Erased => to(State::Gone { ended: ended.clone() }, vec![Announce(Action::Destroy)]),
        Input::EraseFailed(words) => {
            to(State::Dead { ended: Ended { error: words.clone(), ..ended.clone() } }, Vec::new())
        }
        Input::Stop { .. } => Unchanged,
        Input::ProcessExited { .. } | Input::GraceElapsed { .. } | Input::BackoffElapsed => Unchanged,
        _ => Refused(Refusal::Removing),
    }
}

fn end_of(running: &Running, code: i32, at: Nanos, oom_killed: bool) -> Ended {
    Ended { code, at, started_at: running.process.started_at, oom_killed, error: String::new() }
}

fn death(ended: &Ended) -> Vec<Effect> {
    let mut effects = Vec::new();
    if ended.oom_killed {
        effects.push(Announce(Action::Oom));
    }
    effects.extend([
        Teardown,
        Announce(Action::Die { code: ended.code, ran: (ended.at - ended.started_at).max(0) }),
    ]);
    effects
}

/// The program ended by itself or by a signal that no stop request sent.
fn after_exit(running: &Running, ended: Ended, policy: Policy) -> Step {
    let mut effects = death(&ended);
    let tally = &running.tally;
    let is_failure = ended.code != 0 || !matches!(policy.restart, Restart::OnFailure(_));
    if !running.told_to_stop && is_failure && goes_on(policy.restart, tally) {
        let (tally, backoff) = next_run(tally, ended.at - ended.started_at);
        effects.push(backoff);
        return to(State::Restarting { ended, tally }, effects);
    }
    if policy.auto_remove {
        effects.push(Erase);
        return to(State::Removing { ended }, effects);
    }
    to(State::Exited { ended, told_to_stop: running.told_to_stop, tally: tally.clone() }, effects)
}

/// Whether a policy asks for another run after one that it is concerned with.
fn goes_on(restart: Restart, tally: &Tally) -> bool {
    match restart {
        Restart::No => false,
        Restart::Always | Restart::UnlessStopped => true,
        Restart::OnFailure(limit) => limit == 0 || tally.restarts < limit,
    }
}

/// What is counted after a run of this length, and the wait before the next one.
fn next_run(tally: &Tally, ran: Nanos) -> (Tally, Effect) {
    let backoff_ms = match tally.backoff_ms {
        last if last == 0 || ran >= BACKOFF_RESET => BACKOFF_FLOOR_MS,
        last => (last * 2).min(BACKOFF_CEILING_MS),
    };
    (Tally { restarts: tally.restarts + 1, backoff_ms }, ArmBackoff(backoff_ms))
}

#[cfg(test)]
#[path = "state_table.rs"]
mod table;
