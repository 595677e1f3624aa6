//! Hooks: programs that are told the container's state on their standard input.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use linux::child::How;
use linux::pidfd::PidFd;
use linux::watch::{self, Interest};
use oci::runtime::{Hook, State};

use crate::{Error, Kind, Result};

/// How long a hook without a timeout may take, in effect for ever.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Runs hooks in order until one fails; `name` is their kind.
pub fn run(name: &str, hooks: &[Hook], state: &State) -> Result<()> {
    each(name, hooks, state, |_, hook, text| {
        let mut command = command(hook)?;
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{:?}: {error}", hook.path))?;
        tell(child.stdin.take(), text);
        let pidfd = PidFd::open(child.id()).map_err(|error| error.to_string())?;
        let in_time = pidfd.map_or(Ok(true), |pidfd| ends_in_time(hook, &pidfd))?;
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        judge(hook, in_time, output.status.success(), &output.status.to_string(), &output.stderr)
    })
}

/// The same, but each hook calls `confine` with its number in its own process before its program runs. Only for a process with one
/// thread.
pub(crate) fn run_confined(
    name: &str,
    hooks: &[Hook],
    state: &State,
    mut confine: impl FnMut(usize) -> Result<()>,
) -> Result<()> {
    each(name, hooks, state, |number, hook, text| {
        let failed = |error: std::io::Error| error.to_string();
        let ((input, to_input), (from_errors, errors)) =
            (std::io::pipe().map_err(failed)?, std::io::pipe().map_err(failed)?);
        let mut command = command(hook)?;
        let child = linux::process::fork(|| {
            let mut words = errors;
            let stderr = match words.try_clone() {
                Ok(stderr) => stderr,
                Err(_) => return 1,
            };
            command.stdin(input).stderr(stderr);
            let error = match confine(number) {
                Ok(()) => command.exec().to_string(),
                Err(error) => error.to_string(),
            };
            // The exit code says the same when nobody reads this.
            let _ = words.write_all(error.as_bytes());
            1
        });
        let child = child.map_err(|error| error.to_string())?;
        tell(Some(to_input), text);
        let pidfd = PidFd::from(child.pidfd);
        let in_time = ends_in_time(hook, &pidfd)?;
        let how = linux::child::wait(&pidfd).map_err(|error| error.to_string())?;
        let mut stderr = Vec::new();
        from_errors.take(4096).read_to_end(&mut stderr).map_err(failed)?;
        let words = match how {
            Some(How::Exited(code)) => format!("exit status: {code}"),
            Some(How::Signalled(BAD_SYSTEM_CALL)) => "signal: bad system call".to_owned(),
            Some(How::Signalled(signal)) => format!("signal: {signal}"),
            None => "nobody knows how it ended".to_owned(),
        };
        judge(hook, in_time, how == Some(How::Exited(0)), &words, &stderr)
    })
}

/// What a process gets for a call that its filter does not allow it at all (SIGSYS, signal(7)).
const BAD_SYSTEM_CALL: i32 = 31;

/// Runs hooks in order, with the state as text.
fn each(
    name: &str,
    hooks: &[Hook],
    state: &State,
    mut run_one: impl FnMut(usize, &Hook, &[u8]) -> Result<(), String>,
) -> Result<()> {
    let text = serde_json::to_vec(state)
        .map_err(|error| Error::new(Kind::System, format!("writing the container's state: {error}")))?;
    for (number, hook) in hooks.iter().enumerate() {
        run_one(number, hook, &text).map_err(|words| {
            Error::new(Kind::System, format!("error running {name} hook #{number}: {words}"))
        })?;
    }
    Ok(())
}

fn command(hook: &Hook) -> Result<Command, String> {
    let path = std::path::Path::new(&hook.path);
    if !path.is_absolute() {
        return Err(format!("path {:?} is not absolute", hook.path));
    }
    let mut command = Command::new(path);
    if let Some((name, arguments)) = hook.args.split_first() {
        command.arg0(name).args(arguments);
    }
    command.env_clear().envs(hook.env.iter().filter_map(|variable| variable.split_once('=')));
    command.stdout(Stdio::null());
    Ok(command)
}

/// Writes the state to a hook, which need not read it; one that has ended already is judged by its exit code.
fn tell(input: Option<impl Write>, text: &[u8]) {
    if let Some(mut input) = input {
        let _ = input.write_all(text);
    }
}

fn limit(hook: &Hook) -> Duration {
    hook.timeout.and_then(|seconds| u64::try_from(seconds).ok()).map_or(FOR_EVER, Duration::from_secs)
}

/// Waits until a hook has ended; when its time is over first, ends it and says `false`.
fn ends_in_time(hook: &Hook, pidfd: &PidFd) -> Result<bool, String> {
    let until = std::time::Instant::now() + limit(hook);
    loop {
        let left = until.saturating_duration_since(std::time::Instant::now());
        let ready = watch::wait(&[(pidfd.as_fd(), Interest::Readable)], left).map_err(|e| e.to_string())?;
        if ready == [true] {
            return Ok(true);
        }
        if left.is_zero() {
            pidfd.send(9).map_err(|error| error.to_string())?;
            return Ok(false);
        }
    }
}

fn judge(hook: &Hook, in_time: bool, success: bool, how: &str, stderr: &[u8]) -> Result<(), String> {
    if !in_time {
        return Err(format!("{:?} took longer than {} s", hook.path, limit(hook).as_secs()));
    }
    if success {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&stderr[..stderr.len().min(4096)]).trim().to_owned();
    Err(format!("{:?}: {how}, stderr: {words}", hook.path))
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
