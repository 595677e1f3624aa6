//! Running a docker client (Docker's own, or berth's) against the engine, with a limit of time.

use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The longest a command may take before it is killed; coreutils' `timeout` answers 124 then.
const LONGEST_SECONDS: &str = "60";

/// What a finished command left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Fails unless the command ended with `code`.
    pub(crate) fn expect_code(self, code: i32) -> Result<Self> {
        if self.code != code {
            bail!(
                "expected exit code {code}, got {}\n  stdout: {:?}\n  stderr: {:?}",
                self.code,
                self.stdout,
                self.stderr
            );
        }
        Ok(self)
    }
}

/// A client program with the socket it talks to.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) program: PathBuf,
    pub(crate) socket: PathBuf,
    /// An empty directory: no contexts, credentials or plugins of whoever runs the suite.
    pub(crate) configuration: PathBuf,
}

impl Client {
    /// The environment every call gets.
    pub(crate) fn environment(&self) -> [(String, String); 4] {
        [
            ("DOCKER_HOST".to_owned(), format!("unix://{}", self.socket.display())),
            ("DOCKER_CONFIG".to_owned(), self.configuration.display().to_string()),
            ("DOCKER_CLI_HINTS".to_owned(), "false".to_owned()),
            ("FROM_THE_CLIENT".to_owned(), "yes".to_owned()),
        ]
    }

    /// Makes an image of an archive, through a pipe of the shell, as people do; the file is too large to go through memory.
    pub(crate) fn import(&self, archive: &Path, name: &str) -> Result<()> {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$1\" import --change 'CMD [\"bash\"]' - \"$2\" < \"$3\"", "import"]);
        command.arg(&self.program).arg(name).arg(archive).envs(self.environment());
        let output = run(command, b"")?;
        if output.code != 0 {
            bail!("import of {}: {}", archive.display(), output.stderr);
        }
        Ok(())
    }

    pub(crate) fn call<S: AsRef<str>>(&self, arguments: &[S]) -> Result<Output> {
        self.call_with_input(arguments, b"")
    }

    /// The same with further variables in the environment.
    pub(crate) fn call_in<S: AsRef<str>>(
        &self,
        environment: &[(&str, &str)],
        arguments: &[S],
        input: &[u8],
    ) -> Result<Output> {
        let line = command_line(&self.program, arguments);
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", LONGEST_SECONDS]).arg(&self.program);
        command.args(arguments.iter().map(AsRef::as_ref)).envs(self.environment());
        command.envs(environment.iter().copied());
        run(command, input).with_context(|| line.clone())
    }

    pub(crate) fn call_with_input<S: AsRef<str>>(&self, arguments: &[S], input: &[u8]) -> Result<Output> {
        self.call_in(&[], arguments, input)
    }

    /// [`Client::call`] that must end with 0; its standard output without the last line's end.
    pub(crate) fn expect<S: AsRef<str>>(&self, arguments: &[S]) -> Result<String> {
        let output = self.call(arguments)?;
        let line = || command_line(&self.program, arguments);
        Ok(output.expect_code(0).with_context(line)?.stdout.trim_end().to_owned())
    }
}

/// Runs a program to its end with `input` on its standard input.
pub(crate) fn run(mut command: Command, input: &[u8]) -> Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("a piped stdin")?;
    let input = input.to_vec();
    // A thread of its own: a program may write more than a pipe holds before it reads.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output()?;
    // A program may end without reading its input; that is not a failure of the check.
    match writer.join() {
        Ok(Ok(())) => {}
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Ok(Err(error)) => return Err(error).context("write to standard input"),
        Err(_) => bail!("the thread that writes to standard input panicked"),
    }
    Ok(Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn command_line<S: AsRef<str>>(program: &Path, arguments: &[S]) -> String {
    let name = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    arguments.iter().fold(name, |line, argument| format!("{line} {}", argument.as_ref()))
}
