//! Hooks: programs that are told the container's state on their standard input.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use linux::pidfd::PidFd;
use linux::watch::{self, Interest};
use oci::runtime::{Hook, State};

use crate::{Error, Kind, Result};

/// How long a hook without a timeout may take, in effect for ever.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Runs hooks in order until one fails; `name` is their kind.
pub fn run(name: &str, hooks: &[Hook], state: &State) -> Result<()> {
    let text = serde_json::to_vec(state)
        .map_err(|error| Error::new(Kind::System, format!("writing the container's state: {error}")))?;
    for (number, hook) in hooks.iter().enumerate() {
        run_one(hook, &text).map_err(|words| {
            Error::new(Kind::System, format!("error running {name} hook #{number}: {words}"))
        })?;
    }
    Ok(())
}

fn run_one(hook: &Hook, state: &[u8]) -> Result<(), String> {
    let path = std::path::Path::new(&hook.path);
    if !path.is_absolute() {
        return Err(format!("path {:?} is not absolute", hook.path));
    }
    let mut command = Command::new(path);
    if let Some((name, arguments)) = hook.args.split_first() {
        command.arg0(name).args(arguments);
    }
    command.env_clear().envs(hook.env.iter().filter_map(|variable| variable.split_once('=')));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{path:?}: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        // A hook need not read its input; one that has ended already is judged by its exit code.
        let _ = input.write_all(state);
    }
    let limit =
        hook.timeout.and_then(|seconds| u64::try_from(seconds).ok()).map_or(FOR_EVER, Duration::from_secs);
    let pidfd = PidFd::open(child.id()).map_err(|error| error.to_string())?;
    let mut timed_out = false;
    if let Some(pidfd) = &pidfd {
        let until = std::time::Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(std::time::Instant::now());
            let ready =
                watch::wait(&[(pidfd.as_fd(), Interest::Readable)], left).map_err(|e| e.to_string())?;
            timed_out = left.is_zero() && ready != [true];
            if timed_out || ready == [true] {
                break;
            }
        }
        if timed_out {
            pidfd.send(9).map_err(|error| error.to_string())?;
        }
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if timed_out {
        return Err(format!("{path:?} took longer than {} s", limit.as_secs()));
    }
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr[..output.stderr.len().min(4096)]).trim().to_owned();
    Err(format!("{path:?}: {}, stderr: {words}", output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(script: &str, timeout: Option<i64>) -> Hook {
        let args = ["sh", "-c", script].map(str::to_owned).to_vec();
        Hook { path: "/bin/sh".into(), args, env: vec!["A=1".into()], timeout }
    }

    #[test]
    fn a_hook_reads_the_state_and_only_its_own_environment() {
        let state = State { id: "box".into(), ..State::default() };
        let script = "read state; case $state in *'\"id\":\"box\"'*) ;; *) exit 3;; esac; test $A = 1 && test -z \"$HOME\"";
        assert_eq!(run("poststart", &[hook(script, None)], &state), Ok(()));
    }

    #[test]
    fn a_failing_or_slow_hook_is_named() {
        let state = State::default();
        let hooks = [hook("true", None), hook("echo no >&2; exit 3", None)];
        let words = run("prestart", &hooks, &state).unwrap_err().to_string();
        assert!(
            words.contains("prestart hook #1") && words.contains("status: 3") && words.contains("no"),
            "{words}"
        );
        let words = run("prestart", &[hook("exec sleep 60", Some(0))], &state).unwrap_err().to_string();
        assert!(words.contains("took longer than 0 s"), "{words}");
    }
}
