//! From argv to a command: global flags, the path through the groups, help, and where failures are printed.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::Path;

use crate::failure::Failure;
use crate::grammar::{
    Absent, Command, Entry, Group, Node, Stop, Typed, Why, command_help, group_help, parse, question,
    root_help,
};
use crate::session::{self, Session};
use crate::tree::{COMMON, ROOT};

pub(crate) fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    let mut words = Vec::new();
    for arg in args {
        match arg.into_string() {
            Ok(word) => words.push(word),
            Err(raw) => {
                eprintln!("berth: the argument {} is not UTF-8", raw.display());
                return 125;
            }
        }
    }
    let program = program_name(words.first().map_or("berth", String::as_str));
    match dispatch(&program, words.get(1..).unwrap_or_default()) {
        Ok(code) => code,
        Err(failure) => {
            if !failure.words().is_empty() {
                // Nothing can be done for a user whose standard error is closed.
                let _ = writeln!(std::io::stderr(), "{failure}");
            }
            failure.exit_code()
        }
    }
}

/// `docker` when called so, `berth` otherwise.
fn program_name(argv0: &str) -> String {
    let name = Path::new(argv0).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name == "docker" { "docker".to_owned() } else { "berth".to_owned() }
}

fn dispatch(program: &str, args: &[String]) -> Result<i32, Failure> {
    let global = match parse(&[session::FLAGS], false, args) {
        Ok(typed) => typed,
        Err(Stop::Help) => return root(program),
        Err(Stop::Invalid(why)) => {
            let usage = format!("{program} [OPTIONS] COMMAND [ARG...]");
            return Err(misuse(&why, &usage, program, 125));
        }
    };
    if global.switch("version") {
        return print(&format!("{}\n", crate::command::version_line(program)));
    }
    let words = global.operands().to_vec();
    match words.first().map(String::as_str) {
        None => root(program),
        Some("help") => help(program, &words[1..]),
        Some(_) => walk(program, &global, &words),
    }
}

fn root(program: &str) -> Result<i32, Failure> {
    print(&root_help(program, &ROOT, COMMON, session::FLAGS, terminal_width()))
}

/// `berth help container run`.
fn help(program: &str, words: &[String]) -> Result<i32, Failure> {
    let mut path = program.to_owned();
    let mut group = &ROOT;
    for word in words {
        let entry = find(program, &path, group, word)?;
        path = format!("{path} {}", entry.name);
        match entry.node {
            Node::Group(inner) => group = inner,
            Node::Command(command) => return print(&command_help(&path, program, command, terminal_width())),
            Node::Absent(absent) => return print(&absent.help(&path)),
        }
    }
    if words.is_empty() { root(program) } else { print(&group_help(&path, group)) }
}

fn walk(program: &str, global: &Typed, words: &[String]) -> Result<i32, Failure> {
    let mut path = program.to_owned();
    let mut group: &'static Group = &ROOT;
    let mut rest = words;
    loop {
        let Some((word, after)) = rest.split_first() else { return print(&group_help(&path, group)) };
        if matches!(word.as_str(), "--help" | "-h") {
            return print(&group_help(&path, group));
        }
        if word.starts_with('-') {
            let what = if word.starts_with("--") { "flag" } else { "shorthand flag" };
            let why = format!("unknown {what}: {word}");
            return Err(misuse(&why, &format!("{path} COMMAND"), &path, 125));
        }
        let entry = find(program, &path, group, word)?;
        path = format!("{path} {}", entry.name);
        rest = after;
        match entry.node {
            Node::Group(inner) => group = inner,
            Node::Command(command) => return run(program, &path, global, command, rest),
            Node::Absent(absent) => return explain(program, &path, global, absent, rest),
        }
    }
}

/// Says why a command does nothing here.
fn explain(
    program: &str,
    path: &str,
    global: &Typed,
    absent: &Absent,
    words: &[String],
) -> Result<i32, Failure> {
    if words.iter().any(|word| matches!(word.as_str(), "--help" | "-h")) {
        return print(&absent.help(path));
    }
    match absent.why {
        Why::Words(why) => Err(Failure::text(format!("{path}: {why}"))),
        Why::Daemon(method, pattern) => {
            let request = question(method, pattern, path, words)?;
            let session = Session::open(program, path, global)?;
            on_runtime(async { Ok(session.daemon().await?.call(request).await.map(|()| 0)?) })
        }
    }
}

/// Runs a command to its end.
fn on_runtime(work: impl Future<Output = Result<i32, Failure>>) -> Result<i32, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::text(format!("cannot start the asynchronous runtime: {error}")))?;
    let result = runtime.block_on(work);
    // Threads that wait for input of the terminal must not keep the program.
    runtime.shutdown_background();
    result
}

fn find(program: &str, path: &str, group: &Group, word: &str) -> Result<&'static Entry, Failure> {
    group.find(word).ok_or_else(|| {
        let usage = if path == program { String::new() } else { format!("Usage:  {path}\n\n") };
        Failure::text(format!(
            "{program}: unknown command: {path} {word}\n\n{usage}Run '{path} --help' for more information"
        ))
    })
}

fn run(
    program: &str,
    path: &str,
    global: &Typed,
    command: &'static Command,
    args: &[String],
) -> Result<i32, Failure> {
    let usage = command.usage(path);
    let typed = match parse(command.flags, command.interspersed, args) {
        Ok(typed) => typed,
        Err(Stop::Help) => return print(&command_help(path, program, command, terminal_width())),
        Err(Stop::Invalid(why)) => return Err(misuse(&why, &usage, path, 125)),
    };
    if let Some((why, verb)) = command.operands.objection(path, typed.operands().len()) {
        return Err(Failure::text(format!(
            "{program}: {why}\n\nUsage:  {usage}\n\n{verb} '{path} --help' for more information"
        )));
    }
    let session = Session::open(program, path, global)?;
    on_runtime((command.run)(&session, &typed))
}

fn misuse(why: &str, usage: &str, path: &str, code: i32) -> Failure {
    Failure::coded(code, format!("{why}\n\nUsage:  {usage}\n\nRun '{path} --help' for more information"))
}

fn print(text: &str) -> Result<i32, Failure> {
    crate::output::write(text)?;
    Ok(0)
}

/// The width of the terminal on standard output; 80 when there is none.
fn terminal_width() -> usize {
    let stdout = std::io::stdout();
    let columns = stdout.is_terminal().then(|| linux::pty::size(&stdout).ok()).flatten();
    columns.map(|size| usize::from(size.columns)).filter(|columns| *columns > 0).unwrap_or(80)
}
