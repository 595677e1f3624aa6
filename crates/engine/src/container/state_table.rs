//! Prints `step` for every state and every input and compares it with the reviewed table beside this file.

use super::*;

const SECOND: Nanos = 1_000_000_000;

fn running(restarts: u32, told_to_stop: bool) -> Running {
    let process = Process { pid: 42, start_time_ticks: 7, started_at: 100 * SECOND };
    Running { process, tally: Tally { restarts, backoff_ms: u64::from(restarts) * 100 }, told_to_stop }
}

fn ended(code: i32) -> Ended {
    Ended { code, at: 101 * SECOND, started_at: 100 * SECOND, ..Ended::default() }
}

fn states() -> Vec<State> {
    let starting = |before: Ended, restart, stop_wanted| State::Starting {
        before,
        tally: Tally::default(),
        restart,
        stop_wanted,
    };
    vec![
        State::Created(Ended::default()),
        State::Created(Ended { code: 127, error: "not found".into(), ..Ended::default() }),
        starting(Ended::default(), false, None),
        starting(ended(0), true, None),
        starting(Ended::default(), false, Some(Then::Rest)),
        starting(Ended::default(), false, Some(Then::Remove)),
        State::Running(running(0, false)),
        State::Running(running(3, false)),
        State::Running(running(0, true)),
        State::Paused(running(0, false)),
        State::Stopping { running: running(0, true), then: Then::Rest, attempt: 1 },
        State::Stopping { running: running(0, true), then: Then::Start, attempt: 1 },
        State::Stopping { running: running(0, true), then: Then::Remove, attempt: 1 },
        State::Exited { ended: ended(0), told_to_stop: false, tally: Tally::default() },
        State::Exited { ended: ended(137), told_to_stop: true, tally: Tally::default() },
        State::Restarting { ended: ended(1), tally: Tally { restarts: 2, backoff_ms: 200 } },
        State::Removing { ended: ended(0) },
        State::Dead { ended: ended(0) },
        State::Gone { ended: ended(0) },
    ]
}

fn inputs() -> Vec<Input> {
    let exited = |code, at, oom_killed| Input::ProcessExited { code, at: at * SECOND, oom_killed };
    vec![
        Input::Start,
        Input::Launched(Process { pid: 43, start_time_ticks: 8, started_at: 102 * SECOND }),
        Input::LaunchFailed { code: 127, message: "not found".into() },
        exited(0, 101, false),
        exited(1, 101, false),
        exited(1, 120, false),
        exited(137, 101, true),
        Input::Stop { signal: 15, grace_seconds: Some(10) },
        Input::Stop { signal: 15, grace_seconds: None },
        Input::Restart { signal: 15, grace_seconds: Some(10) },
        Input::GraceElapsed { attempt: 1 },
        Input::GraceElapsed { attempt: 9 },
        Input::Kill { signal: 9, stops: true },
        Input::Kill { signal: 1, stops: false },
        Input::Pause,
        Input::Unpause,
        Input::BackoffElapsed,
        Input::Remove { force: false },
        Input::Remove { force: true },
        Input::Erased,
        Input::EraseFailed("rmdir failed".into()),
    ]
}

fn print_step(result: &Step) -> String {
    match result {
        Step::Move(state, effects) if effects.is_empty() => state.to_string(),
        Step::Move(state, effects) => {
            let effects: Vec<String> = effects.iter().map(ToString::to_string).collect();
            format!("{state}: {}", effects.join(", "))
        }
        Step::Unchanged => "-".to_owned(),
        Step::Refused(refusal) => format!("refused: {refusal:?}"),
    }
}

fn table(policy: Policy) -> String {
    let mut text = format!("policy: restart {:?}, auto-remove {}\n", policy.restart, policy.auto_remove);
    for state in states() {
        text.push_str(&format!("\n{state}\n"));
        for input in inputs() {
            text.push_str(&format!(
                "    {:<40} {}\n",
                input.to_string(),
                print_step(&step(&state, &input, policy))
            ));
        }
    }
    text
}

/// A launch that a policy asked for and that failed for a reason of ours is made again; one whose program is not there is
/// not, nor one that was told to stop meanwhile, nor the first one.
#[test]
fn a_launch_of_a_policy_is_made_again() {
    let check = |restart, code, restarts, stop_wanted, expected: &str| {
        let tally = Tally { restarts, backoff_ms: 100 };
        let before = Ended { started_at: 5, ..Ended::default() };
        let state = State::Starting { before, tally, restart: false, stop_wanted };
        let input = Input::LaunchFailed { code, message: "no room".into() };
        let Step::Move(next, _) = step(&state, &input, Policy { restart, auto_remove: false }) else {
            panic!("{state} refuses");
        };
        assert_eq!(next.to_string(), expected, "{restart:?}, {code}");
    };
    check(Restart::Always, 128, 1, None, "Restarting(128, restarts 2, 200 ms)");
    check(Restart::OnFailure(3), 128, 2, None, "Restarting(128, restarts 3, 200 ms)");
    check(Restart::OnFailure(3), 128, 3, None, "Exited(128)");
    check(Restart::Always, 127, 1, None, "Exited(127)");
    check(Restart::Always, 128, 0, None, "Exited(128)");
    check(Restart::No, 128, 1, None, "Exited(128)");
    check(Restart::Always, 128, 1, Some(Then::Rest), "Exited(128 told-to-stop)");
}

#[test]
fn the_table_is_the_reviewed_one() {
    let policies = [
        Policy { restart: Restart::No, auto_remove: false },
        Policy { restart: Restart::No, auto_remove: true },
        Policy { restart: Restart::OnFailure(3), auto_remove: false },
        Policy { restart: Restart::Always, auto_remove: false },
    ];
    let printed = policies.map(table).join("\n");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/container/state_table.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, &printed).expect("write the table");
    }
    let reviewed = std::fs::read_to_string(file).expect("state_table.txt; run with BLESS=1 to write it");
    assert_eq!(
        printed, reviewed,
        "the life of a container changed: review the difference, then run with BLESS=1"
    );
}

#[test]
fn nothing_leaves_the_end() {
    for input in inputs() {
        let policy = Policy { restart: Restart::Always, auto_remove: true };
        assert!(
            matches!(step(&State::Gone { ended: ended(0) }, &input, policy), Step::Refused(_)),
            "{input}"
        );
    }
}

#[test]
fn a_policy_waits_longer_after_each_quick_failure_and_forgets_after_a_long_run() {
    let policy = Policy { restart: Restart::Always, auto_remove: false };
    let mut tally = Tally::default();
    let mut waits = Vec::new();
    for _ in 0..12 {
        let alive = State::Running(Running { tally, ..running(0, false) });
        let exit = Input::ProcessExited { code: 1, at: 101 * SECOND, oom_killed: false };
        let Step::Move(next, _) = step(&alive, &exit, policy) else { panic!("no move") };
        let State::Restarting { tally: next, .. } = *next else { panic!("{next}") };
        waits.push(next.backoff_ms);
        tally = next;
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
    let alive = State::Running(Running { tally, ..running(0, false) });
    let exit = Input::ProcessExited { code: 1, at: 110 * SECOND, oom_killed: false };
    let Step::Move(next, effects) = step(&alive, &exit, policy) else { panic!("no move") };
    assert!(effects.contains(&Effect::ArmBackoff(100)), "{next}: {effects:?}");
}
