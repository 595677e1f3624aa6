//! Which steps are kept before their effects, which are passed over, and what happens also when nothing can be kept.

use super::super::state::{Effect, Input, State, Then};

/// Whether a state must be on the disk before its effects. The others are found out again after a kill or a loss of
/// power: a start is recorded together with what it reserves, a living process is found by its shim, an end by the
/// record that the shim wrote. What a removal takes away cannot be brought back: that it has begun is known first.
pub(super) fn must_survive(state: &State, removes_itself: bool) -> bool {
    match state {
        State::Created(_) | State::Paused(_) | State::Stopping { .. } | State::Dead { .. } => true,
        // One that removes itself is removed again whatever is found of it.
        State::Removing { .. } => !removes_itself,
        State::Running(running) => running.told_to_stop,
        State::Starting { .. } | State::Exited { .. } | State::Restarting { .. } | State::Gone { .. } => {
            false
        }
    }
}

/// Whether the state before, which is on the disk, leads to this one whatever is found of the container: a forced removal
/// of one that runs is carried out by the next boot, also when it has not got further than telling the program to end.
pub(super) fn is_foreseen(before: &State, now: &State) -> bool {
    matches!((before, now), (State::Stopping { then: Then::Remove, .. }, State::Removing { .. }))
}

/// Whether a step begins a removal and does nothing before it.
pub(super) fn is_only_removal(state: &State, effects: &[Effect]) -> bool {
    matches!(state, State::Removing { .. }) && matches!(effects, [Effect::Erase])
}

/// Whether a step goes on to a durable record, or to none at all, before anything happens that its own would tell of.
pub(super) fn is_passed_over(state: &State, removes_itself: bool) -> bool {
    match state {
        // What a launch reserves is recorded before anything is done, and the state with it.
        State::Starting { .. } => true,
        // Whatever is found of it, it is removed.
        State::Removing { .. } => removes_itself,
        _ => false,
    }
}

/// Whether an input is no wish that could be refused when the disk takes nothing: what has happened has happened, and a
/// removal makes room.
pub(super) fn happens_anyway(input: &Input) -> bool {
    match input {
        Input::Launched(_)
        | Input::LaunchFailed { .. }
        | Input::ProcessExited { .. }
        | Input::GraceElapsed { .. }
        | Input::BackoffElapsed
        | Input::Remove { .. }
        | Input::Erased
        | Input::EraseFailed { .. } => true,
        Input::Start
        | Input::Stop { .. }
        | Input::Restart { .. }
        | Input::Kill { .. }
        | Input::Pause
        | Input::Unpause => false,
    }
}
