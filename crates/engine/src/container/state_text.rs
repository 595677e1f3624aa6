//! How states, inputs and effects print: in logs, and in the table that specifies them.

use std::fmt;

use super::state::{Effect, Input, State};

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stop = |flag: &bool| if *flag { " told-to-stop" } else { "" };
        match self {
            State::Created(ended) if ended.error.is_empty() => write!(f, "Created"),
            State::Created(ended) => write!(f, "Created(failed {})", ended.code),
            State::Starting { tally, restart, stop_wanted, .. } => {
                write!(f, "Starting(restarts {}", tally.restarts)?;
                f.write_str(if *restart { ", restart" } else { "" })?;
                stop_wanted.map_or(Ok(()), |then| write!(f, ", then {then:?}"))?;
                f.write_str(")")
            }
            State::Running(r) => write!(f, "Running(restarts {}{})", r.tally.restarts, stop(&r.told_to_stop)),
            State::Paused(r) => write!(f, "Paused(restarts {}{})", r.tally.restarts, stop(&r.told_to_stop)),
            State::Stopping { then, attempt, .. } => write!(f, "Stopping(then {then:?}, attempt {attempt})"),
            State::Exited { ended, told_to_stop, .. } => {
                write!(f, "Exited({}{})", ended.code, stop(told_to_stop))
            }
            State::Restarting { ended, tally } => {
                write!(f, "Restarting({}, restarts {}, {} ms)", ended.code, tally.restarts, tally.backoff_ms)
            }
            State::Removing { .. } => write!(f, "Removing"),
            State::Dead { .. } => write!(f, "Dead"),
            State::Gone { .. } => write!(f, "Gone"),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Launched(process) => write!(f, "Launched(pid {})", process.pid),
            Input::ProcessExited { code, oom_killed, .. } => {
                write!(f, "ProcessExited({code}{})", if *oom_killed { ", oom" } else { "" })
            }
            Input::Stop { signal, grace_seconds } => {
                write!(f, "Stop(signal {signal}, grace {grace_seconds:?})")
            }
            Input::Restart { signal, grace_seconds } => {
                write!(f, "Restart(signal {signal}, grace {grace_seconds:?})")
            }
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Announce(action) => write!(f, "Announce {action:?}"),
            other => write!(f, "{other:?}"),
        }
    }
}
