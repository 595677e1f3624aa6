//! Terminals for real: size, resizing, control keys, job control, programs that use the whole screen.

use crate::check::{Check, contains, same};
use crate::fixture::BUSYBOX;
use crate::scope::Scope;
use crate::terminal::{FIRST_SIZE, Terminal};
use anyhow::Result;
use linux::pty::Size;
use serde_json::json;

const AREA: &str = "terminals";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "a shell talks, and its exit code comes back", shell),
        Check::new(AREA, "the terminal is a console of the container's own devpts", device),
        Check::new(AREA, "TERM is set for a terminal and not without one", term),
        Check::new(AREA, "the first size is that of the client's terminal", first_size),
        Check::new(AREA, "resizing reaches the program, with SIGWINCH", resize),
        Check::new(AREA, "the API resizes a container", api_resize),
        Check::new(AREA, "Ctrl-C interrupts the program, not the client", interrupt),
        Check::new(AREA, "Ctrl-D ends a shell", end_of_input),
        Check::new(AREA, "Ctrl-Z stops a job, fg continues it", job_control),
        Check::new(AREA, "a program that uses the whole screen works", full_screen),
        Check::new(AREA, "exec -it is a terminal as well", exec),
        Check::new(AREA, "resizing reaches a program of exec", exec_resize),
        Check::new(AREA, "start -ai attaches to the same terminal", start_attached),
        Check::new(AREA, "a terminal cannot be had for a client without one", no_terminal),
    ]
}

fn shell(scope: &Scope<'_>) -> Result<()> {
    let mut terminal = scope.terminal_run(BUSYBOX, &["sh"])?;
    terminal.expect("# ")?;
    terminal.write("echo sum-$((40+2))\r")?;
    terminal.expect("sum-42\r\n")?;
    terminal.write("exit 17\r")?;
    same("exit code", terminal.end()?.0, 17)
}

fn device(scope: &Scope<'_>) -> Result<()> {
    let script =
        "tty; test -t 0 && test -t 1 && test -t 2 && echo all; stat -c %t:%T /dev/console; ls -l /dev/pts";
    let terminal = scope.terminal_run(BUSYBOX, &["sh", "-c", script])?;
    let (code, text) = terminal.end()?;
    same("exit code", code, 0)?;
    contains("streams", &text, "all\r\n")?;
    contains("tty", &text, "/dev/pts/0\r\n").or_else(|_| contains("tty", &text, "/dev/console\r\n"))?;
    contains("/dev/console is pts 0", &text, "88:0\r\n")
}

fn term(scope: &Scope<'_>) -> Result<()> {
    let (_, text) = scope.terminal_run(BUSYBOX, &["sh", "-c", "echo [$TERM]"])?.end()?;
    contains("with a terminal", &text, "[xterm]")?;
    same("without", scope.script(&[], "echo [$TERM]")?, "[]")
}

/// Asks for the size until it is `expected`: a client may resize right after the start.
const UNTIL_SIZE: &str = "while [ \"$(stty size)\" != \"$1\" ]; do sleep 0.02; done; echo it-is-$1";

fn first_size(scope: &Scope<'_>) -> Result<()> {
    let expected = format!("{} {}", FIRST_SIZE.rows, FIRST_SIZE.columns);
    let terminal = scope.terminal_run(BUSYBOX, &["sh", "-c", UNTIL_SIZE, "sh", &expected])?;
    contains("screen", &terminal.end()?.1, &format!("it-is-{expected}"))
}

fn resize(scope: &Scope<'_>) -> Result<()> {
    let script = format!("trap 'echo winch' WINCH; echo ready; {UNTIL_SIZE}");
    let mut terminal = scope.terminal_run(BUSYBOX, &["sh", "-c", &script, "sh", "50 123"])?;
    terminal.expect("ready")?;
    resize_until(scope, &terminal, Size { rows: 50, columns: 123 })?;
    contains("screen", &terminal.end()?.1, "winch")
}

/// Changes the size until the program has seen it: a client may miss a change that comes before it watches for changes.
fn resize_until(scope: &Scope<'_>, terminal: &Terminal, size: Size) -> Result<()> {
    scope.eventually("the new size", || {
        terminal.resize(Size { rows: size.rows - 1, ..size })?;
        terminal.resize(size)?;
        Ok(terminal.shows(&format!("it-is-{} {}", size.rows, size.columns)).then_some(()))
    })
}

fn api_resize(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start(
        "resized",
        &["-it"],
        &["sh", "-c", &format!("echo ready; {UNTIL_SIZE}"), "sh", "44 99"],
    )?;
    scope.logged(&name, "ready")?;
    same("status", scope.api("POST", &format!("/containers/{name}/resize?h=44&w=99"))?.status, 200)?;
    same(
        "a size that is none",
        scope.api("POST", &format!("/containers/{name}/resize?h=tall&w=99"))?.status,
        400,
    )?;
    scope.logged(&name, "it-is-44 99").map(drop)
}

fn interrupt(scope: &Scope<'_>) -> Result<()> {
    let script = "trap 'echo interrupted; exit 33' INT; echo ready; while :; do sleep 0.02; done";
    let mut terminal = scope.terminal_run(BUSYBOX, &["sh", "-c", script])?;
    terminal.expect("ready")?;
    terminal.write("\u{3}")?;
    terminal.expect("interrupted")?;
    same("exit code", terminal.end()?.0, 33)
}

fn end_of_input(scope: &Scope<'_>) -> Result<()> {
    let mut terminal = scope.terminal_run(BUSYBOX, &["sh"])?;
    terminal.expect("# ")?;
    terminal.write("\u{4}")?;
    same("exit code", terminal.end()?.0, 0)
}

fn job_control(scope: &Scope<'_>) -> Result<()> {
    let mut terminal = scope.terminal_run(scope.debian()?, &["bash", "--norc"])?;
    let greeting = terminal.expect("# ")?;
    same("bash has job control", greeting.contains("no job control"), false)?;
    // What is typed before the shell has handed the terminal over would be read in its own mode.
    terminal.write("echo go-$((1+1)); cat\r")?;
    terminal.expect("go-2\r\n")?;
    terminal.write("echoed\r")?;
    terminal.expect("echoed\r\nechoed\r\n")?;
    terminal.write("\u{1a}")?;
    terminal.expect("Stopped")?;
    terminal.expect("# ")?;
    terminal.write("fg\r")?;
    terminal.expect("cat\r\n")?;
    terminal.write("again\r")?;
    terminal.expect("again\r\nagain\r\n")?;
    terminal.write("\u{3}")?;
    terminal.expect("# ")?;
    terminal.write("echo code-$?; exit 0\r")?;
    terminal.expect("code-130")?;
    same("exit code", terminal.end()?.0, 0)
}

fn full_screen(scope: &Scope<'_>) -> Result<()> {
    let mut terminal = scope.terminal_run(
        BUSYBOX,
        &[
            "sh",
            "-c",
            "while [ \"$(stty size)\" != '37 111' ]; do sleep 0.02; done; vi /tmp/new; cat /tmp/new",
        ],
    )?;
    // vi puts its status line on the last line of the screen.
    terminal.expect("\u{1b}[37;1H")?;
    terminal.write("ifirst line\rsecond line\u{1b}")?;
    terminal.expect("second line")?;
    terminal.write(":wq\r")?;
    terminal.expect("first line\r\nsecond line\r\n")?;
    same("exit code", terminal.end()?.0, 0)
}

fn exec(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("host", &[], &["sleep", "300"])?;
    let mut terminal = scope.terminal(&["exec", "-it", &name, "sh"])?;
    terminal.expect("# ")?;
    terminal.write("test -t 0 && echo terminal-$((1+1)); exit 21\r")?;
    terminal.expect("terminal-2")?;
    same("exit code", terminal.end()?.0, 21)
}

fn exec_resize(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("host", &[], &["sleep", "300"])?;
    let mut terminal = scope.terminal(&[
        "exec",
        "-it",
        &name,
        "sh",
        "-c",
        &format!("echo ready; {UNTIL_SIZE}"),
        "sh",
        "61 132",
    ])?;
    terminal.expect("ready")?;
    resize_until(scope, &terminal, Size { rows: 61, columns: 132 })?;
    same("exit code", terminal.end()?.0, 0)
}

fn start_attached(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("revived");
    scope.ok(&["create", "-it", "--name", &name, BUSYBOX, "sh"])?;
    let mut terminal = scope.terminal(&["start", "-ai", &name])?;
    terminal.expect("# ")?;
    terminal.write("exit 5\r")?;
    same("exit code", terminal.end()?.0, 5)?;
    same("ExitCode", &scope.inspect(&name)?["State"]["ExitCode"], &json!(5))
}

fn no_terminal(scope: &Scope<'_>) -> Result<()> {
    let output = scope.run(&["-it"], &["true"])?;
    same("refused", output.code == 0, false)?;
    contains("stderr", &output.stderr, "the input device is not a TTY")
}
