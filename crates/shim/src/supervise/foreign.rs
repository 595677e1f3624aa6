//! Containers that another OCI runtime makes (`--runtime`), driven by its command line as containerd drives it.
//!
//! ```text
//! create --bundle … --pid-file …   the program's streams are those of the call; a terminal comes over a socket
//! start
//! exec --detach --process …        as often as asked for
//! delete --force                   when the program has ended
//! ```
//!
//! The runtime's calls return; what they leave running becomes our child, for orphans are ours. Everything else is as
//! with containers of our own: we wait, we log, we kill by the control group.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio as Stream};
use std::time::Duration;

use linux::pidfd::PidFd;
use linux::socket;
use serde::Deserialize;

use super::container::{absent_is_fine, file_error};
use super::foreign_bundle::Bundle;
use super::held::Held;
use super::launch::{Launch, Launched, Stdio};
use crate::protocol::{CgroupDriver, Create, Error, ErrorKind, Exec, Runtime};

/// Where programs are that are named without a path.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The socket over which a terminal comes.
const CONSOLE: &str = "console";
/// The longest that one call may take, hooks included.
const CALL_LIMIT: Duration = Duration::from_secs(120);
/// How long the end of a terminal may be on its way after the call.
const CONSOLE_LIMIT: Duration = Duration::from_secs(10);
/// Of a runtime's log, the part that is read.
const LOG_LIMIT: usize = 64 * 1024;

/// Makes one container by another runtime.
pub(super) struct Foreign {
    runtime: Runtime,
    made: Option<Made>,
}

/// What is known of the container that was made.
struct Made {
    id: String,
    bundle: Bundle,
    held: Held,
    systemd: bool,
}

/// A process the runtime has left running.
struct Call<'a> {
    arguments: Vec<String>,
    stdio: Option<&'a Stdio>,
    terminal: bool,
}

impl Foreign {
    pub(super) fn new(runtime: Runtime) -> Self {
        Self { runtime, made: None }
    }

    fn made(&self) -> Result<&Made, Error> {
        self.made.as_ref().ok_or_else(|| Error::new(ErrorKind::Invalid, "there is no container"))
    }

    /// The runtime's command line up to its command.
    fn command(&self, made: &Made) -> Command {
        let mut command = Command::new(&self.runtime.program);
        command.env_clear().env("PATH", PATH).args(&self.runtime.arguments);
        command.arg("--root").arg(made.bundle.state());
        command.arg("--log").arg(made.bundle.file("log")).args(["--log-format", "json"]);
        if made.systemd {
            command.arg("--systemd-cgroup");
        }
        command
    }

    /// One call that has nothing to do with streams.
    fn call(&self, made: &Made, arguments: &[&str]) -> Result<(), Error> {
        let mut command = self.command(made);
        command.args(arguments).stdin(Stream::null()).stdout(Stream::null()).stderr(Stream::null());
        self.wait(made, command)
    }

    /// A call that leaves a process running.
    fn launch(&self, made: &Made, call: Call<'_>) -> Result<Launched, Error> {
        let pid_file = made.bundle.file("pid");
        absent_is_fine(fs::remove_file(&pid_file), &pid_file)?;
        let (words, id) = (call.arguments, made.id.as_str());
        let mut command = self.command(made);
        command.args(words).arg("--pid-file").arg(&pid_file);
        let dir = &self.runtime.dir;
        let directory = fs::File::open(dir).map_err(|error| file_error(dir, &error))?;
        let listener = match call.terminal {
            true => {
                let listener = socket::listen(&made.bundle.file(CONSOLE), 1)?;
                // Runtimes take no path that does not fit into an address of a socket.
                let short = format!("/proc/{}/fd/{}", std::process::id(), directory.as_raw_fd());
                command.arg("--console-socket").arg(Path::new(&short).join(CONSOLE));
                Some(listener)
            }
            false => None,
        };
        command.arg(id);
        connect(&mut command, call.stdio)?;
        self.wait(made, command)?;
        let console = listener.map(console).transpose()?;
        let text = fs::read_to_string(&pid_file).map_err(|error| file_error(&pid_file, &error))?;
        let pid: u32 = text
            .trim()
            .parse()
            .map_err(|_| other(format!("{} named no process: {text:?}", self.runtime.program)))?;
        let gone = || other(format!("the process {pid} that {} made is gone", self.runtime.program));
        let pidfd = PidFd::open(pid)?.ok_or_else(gone)?;
        let pidfd = pidfd.as_fd().try_clone_to_owned().map_err(|error| other(error.to_string()))?;
        Ok(Launched { pid, pidfd, console })
    }

    /// Runs a command to its end; what it logged is the error when it fails.
    fn wait(&self, made: &Made, mut command: Command) -> Result<(), Error> {
        let log = made.bundle.file("log");
        absent_is_fine(fs::remove_file(&log), &log)?;
        let program = &self.runtime.program;
        let mut child = command.spawn().map_err(|error| not_run(program, &error))?;
        // The descriptors of the program's streams are its own alone from here on.
        drop(command);
        if let Some(pidfd) = PidFd::open(child.id())?
            && !socket::ready(&pidfd, false, Some(CALL_LIMIT))?
        {
            // It is our child and not waited for, so killing it can fail only because it has just ended.
            let _ = child.kill();
            let _ = child.wait();
            return Err(other(format!("{program} did not return within {} s", CALL_LIMIT.as_secs())));
        }
        let status = child.wait().map_err(|error| other(format!("wait for {program}: {error}")))?;
        if status.success() {
            return Ok(());
        }
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("{program} ended with {code}"),
            (None, signal) => format!("{program} was killed by signal {}", signal.unwrap_or(0)),
        };
        let words = last_error(&log).unwrap_or(how);
        Err(failure(words))
    }
}

impl Launch for Foreign {
    fn create(
        &mut self,
        request: &Create,
        stdio: Option<&Stdio>,
        _on_process: &mut dyn FnMut(u32),
    ) -> Result<Launched, Error> {
        let held = Held::of(request)?;
        let systemd = request.cgroup.driver == CgroupDriver::Systemd;
        // What a shim that was killed left; its container's processes have been swept.
        absent_is_fine(fs::remove_dir_all(&self.runtime.dir), &self.runtime.dir)?;
        let bundle = Bundle::make(&self.runtime.dir, request)?;
        let mut made = Made { id: request.id.clone(), bundle, held, systemd };
        let arguments = ["create", "--bundle"].map(str::to_owned).into_iter().chain([self
            .runtime
            .dir
            .display()
            .to_string()]);
        let call = Call { arguments: arguments.collect(), stdio, terminal: request.io.terminal };
        let launched = self.launch(&made, call);
        if let Ok(Some(group)) = made.held.open() {
            made.held.watch(&group);
        }
        self.made = Some(made);
        if launched.is_err() {
            // What went wrong first is what counts.
            let _ = self.remove();
        }
        launched
    }

    fn start(&mut self) -> Result<(), Error> {
        let made = self.made()?;
        self.call(made, &["start", &made.id])
    }

    fn exec(&mut self, request: &Exec, stdio: Option<&Stdio>) -> Result<Launched, Error> {
        let made = self.made()?;
        let path = made.bundle.file("process.json");
        let text = serde_json::to_vec(&request.process).map_err(|error| other(error.to_string()))?;
        fs::write(&path, text).map_err(|error| file_error(&path, &error))?;
        let words = ["exec", "--detach", "--process"].map(str::to_owned).into_iter();
        let arguments = words.chain([path.display().to_string()]).collect();
        let launched = self.launch(made, Call { arguments, stdio, terminal: request.io.terminal });
        absent_is_fine(fs::remove_file(&path), &path)?;
        launched
    }

    fn held(&self) -> Option<&Held> {
        Some(&self.made.as_ref()?.held)
    }

    fn remove(&mut self) -> Result<(), Error> {
        let Some(mut made) = self.made.take() else { return Ok(()) };
        let deleted = self.call(&made, &["delete", "--force", &made.id]);
        let unmounted = made.bundle.unmount();
        let group = made.held.remove();
        let cleared = absent_is_fine(fs::remove_dir_all(&self.runtime.dir), &self.runtime.dir);
        deleted.and(unmounted).and(group).and(cleared)
    }
}

/// The program's streams; none with a terminal.
fn connect(command: &mut Command, stdio: Option<&Stdio>) -> Result<(), Error> {
    let Some(stdio) = stdio else {
        command.stdin(Stream::null()).stdout(Stream::null()).stderr(Stream::null());
        return Ok(());
    };
    let clone = |fd: &OwnedFd| fd.try_clone().map_err(|error| other(error.to_string()));
    command.stdin(clone(&stdio.input)?).stdout(clone(&stdio.output)?).stderr(clone(&stdio.error)?);
    Ok(())
}

/// The controlling end of a terminal, as the runtime has sent it.
fn console(listener: OwnedFd) -> Result<OwnedFd, Error> {
    let missing = || other("the runtime sent no terminal".to_owned());
    if !socket::ready(&listener, false, Some(CONSOLE_LIMIT))? {
        return Err(missing());
    }
    let connection = socket::accept(&listener)?.ok_or_else(missing)?;
    let mut descriptors = Vec::new();
    let mut name = [0; 4096];
    if socket::ready(&connection, false, Some(CONSOLE_LIMIT))? {
        socket::receive(&connection, &mut name, &mut descriptors)?;
    }
    descriptors.pop().ok_or_else(missing)
}

/// A line of a runtime's log.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    level: String,
    #[serde(default)]
    msg: String,
}

/// The last error that a runtime has logged.
fn last_error(log: &Path) -> Option<String> {
    let bytes = fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_LIMIT)..]).into_owned();
    last_message(&text)
}

fn last_message(text: &str) -> Option<String> {
    let lines = text.lines().rev().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let message =
        lines.filter(|line| matches!(line.level.as_str(), "error" | "fatal")).map(|line| line.msg).next();
    message.map(|message| message.trim().to_owned()).filter(|message| !message.is_empty())
}

/// A failure in a runtime's words, and in those that clients look for.
fn failure(words: String) -> Error {
    let kind = kind_of(&words);
    let known = ["no such file or directory", "executable file not found"];
    match kind {
        ErrorKind::NotFound if !known.iter().any(|part| words.contains(part)) => {
            Error::new(kind, format!("{words}: executable file not found in $PATH"))
        }
        _ => Error::new(kind, words),
    }
}

/// Which kind of failure a runtime's words are about: words are all that the interface of runtimes has.
fn kind_of(words: &str) -> ErrorKind {
    let lower = words.to_lowercase();
    let says = |part: &str| lower.contains(part);
    match () {
        () if says("executable file") && says("not found") => ErrorKind::NotFound,
        () if says("exec") && says("no such file or directory") => ErrorKind::NotFound,
        () if says("is a directory") => ErrorKind::IsDirectory,
        () if says("permission denied") => ErrorKind::Permission,
        () => ErrorKind::Other,
    }
}

fn not_run(program: &str, error: &std::io::Error) -> Error {
    let words = match error.kind() {
        std::io::ErrorKind::NotFound if !program.contains('/') => {
            format!("exec: \"{program}\": executable file not found in $PATH")
        }
        std::io::ErrorKind::NotFound => format!("fork/exec {program}: no such file or directory"),
        _ => format!("fork/exec {program}: {error}"),
    };
    // It is the runtime that is missing, not the container's program.
    other(words)
}

pub(super) fn other(words: String) -> Error {
    Error::new(ErrorKind::Other, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_a_log_is_the_reason() {
        let check = |text: &str, expected: Option<(&str, ErrorKind)>| {
            let found = last_message(text).map(|words| (kind_of(&words), words));
            let found = found.as_ref().map(|(kind, words)| (words.as_str(), *kind));
            assert_eq!(found, expected, "{text}");
        };
        let runc = r#"{"level":"warning","msg":"w"}
{"level":"error","msg":"runc create failed: unable to start container process: exec: \"x\": executable file not found in $PATH","time":"t"}
not json"#;
        check(
            runc,
            Some((
                "runc create failed: unable to start container process: exec: \"x\": executable file not found in $PATH",
                ErrorKind::NotFound,
            )),
        );
        let crun = r#"{"msg":"executable file `x` not found in $PATH: No such file or directory","level":"error","time":"t"}"#;
        check(
            crun,
            Some(("executable file `x` not found in $PATH: No such file or directory", ErrorKind::NotFound)),
        );
        check(r#"{"level":"info","msg":"all is well"}"#, None);
        check("", None);
    }
}
