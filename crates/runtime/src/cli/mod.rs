//! The command line of an OCI runtime, with runc's commands and flags: `berth runtime …`, or this binary called as `runc`.

mod arguments;
mod create;
mod describe;
mod events;
mod exec;
mod log;
mod record;
mod relay;
mod signal;
mod state;
mod update;

use std::ffi::OsString;
use std::path::PathBuf;

use crate::{Error, Kind, Result};
use linux::credentials;

use arguments::{Flag, Given, switch, value};
use log::Log;

/// Where records are, unless `--root` says otherwise.
const DEFAULT_ROOT: &str = "/run/berth/runtime";

/// What applies to every command.
#[derive(Debug, Clone)]
struct Globals {
    /// Where records are.
    root: PathBuf,
    /// Whether systemd is to make the control groups.
    systemd_cgroup: bool,
    /// Whether a container that asks for nothing of control groups can do without those that may not be made.
    rootless: bool,
    /// Where errors, warnings and steps go.
    log: Log,
}

const GLOBAL: &[Flag] = &[
    switch("debug"),
    value("log"),
    value("log-format"),
    value("root"),
    value("criu"),
    switch("systemd-cgroup"),
    value("rootless"),
    switch("help").or('h'),
    switch("version").or('v'),
];

type Run = fn(&Globals, &Given) -> Result<i32>;

/// A command: its name, its flags, what it does in one line, and how it is done.
struct Command {
    name: &'static str,
    flags: &'static [Flag],
    about: &'static str,
    run: Run,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "create",
        flags: create::CREATE,
        about: "make a container from a bundle",
        run: create::create,
    },
    Command {
        name: "start",
        flags: &[],
        about: "run the program of a created container",
        run: create::start,
    },
    Command { name: "run", flags: create::RUN, about: "create and start a container", run: create::run },
    Command { name: "state", flags: &[], about: "print the state of a container", run: state::print },
    Command { name: "list", flags: state::LIST, about: "list containers", run: state::list },
    Command { name: "kill", flags: state::KILL, about: "send a signal to a container", run: state::kill },
    Command { name: "delete", flags: state::DELETE, about: "forget a container", run: state::delete },
    Command {
        name: "exec",
        flags: exec::EXEC,
        about: "run one more process in a container",
        run: exec::exec,
    },
    Command { name: "pause", flags: &[], about: "freeze a container", run: state::pause },
    Command { name: "resume", flags: &[], about: "thaw a container", run: state::resume },
    Command {
        name: "ps",
        flags: state::PS,
        about: "list the processes of a container",
        run: state::processes,
    },
    Command {
        name: "update",
        flags: update::UPDATE,
        about: "change the limits of a container",
        run: update::update,
    },
    Command {
        name: "events",
        flags: events::EVENTS,
        about: "report what a container uses",
        run: events::events,
    },
    Command {
        name: "spec",
        flags: describe::SPEC,
        about: "write a configuration to begin with",
        run: describe::spec,
    },
    Command { name: "features", flags: &[], about: "say what this runtime can do", run: describe::features },
];

/// Runs one command with the arguments that follow the program's name, and answers with its exit code.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> i32 {
    let (globals, rest) = match globals(arguments) {
        Ok(read) => read,
        Err(error) => {
            Log::default().error(&error.to_string());
            return 1;
        }
    };
    match run(&globals, rest) {
        Ok(code) => code,
        // The container was there: what runc's own process says then is the whole message.
        Err((name, error)) if name == "run" && error.is_of_execve() => {
            globals.log.error(&error.to_string());
            exit_code(&name, &error)
        }
        Err((name, error)) => {
            globals.log.error(&format!("runc {name} failed: {}{error}", what_failed(&name, &error)));
            exit_code(&name, &error)
        }
    }
}

/// What runc says was being done when there is no program to run: clients look for these words.
fn what_failed(command: &str, error: &Error) -> &'static str {
    match (error.kind(), command) {
        (Kind::NotFound | Kind::Permission | Kind::IsDirectory, "exec") => {
            "exec failed: unable to start container process: "
        }
        (Kind::NotFound | Kind::Permission | Kind::IsDirectory, _) => "unable to start container process: ",
        _ => "",
    }
}

/// A shell's codes for a program that could not be run, and 1 for the rest; `exec` answers 255 for everything, so that
/// its caller can tell a failure of ours from the program's.
fn exit_code(command: &str, error: &Error) -> i32 {
    match error.kind() {
        _ if command == "exec" => 255,
        Kind::NotFound => 127,
        Kind::Permission | Kind::IsDirectory => 126,
        _ => 1,
    }
}

fn globals(arguments: Vec<OsString>) -> Result<(Globals, Vec<OsString>)> {
    let given = Given::parse(GLOBAL, arguments)?;
    let rest = given.rest.iter().map(OsString::from).collect();
    let rest = match (given.on("help"), given.on("version")) {
        (true, _) => vec!["help".into()],
        (_, true) => vec!["version".into()],
        _ => rest,
    };
    let json = match given.get("log-format").unwrap_or("text") {
        "text" => false,
        "json" => true,
        other => return Err(Error::invalid(format!("invalid log-format: {other}"))),
    };
    let log = Log { path: given.get("log").map(PathBuf::from), json, debug: given.on("debug") };
    let root = given.get("root").map_or_else(default_root, PathBuf::from);
    let rootless = rootless(given.get("rootless").unwrap_or("auto"))?;
    Ok((Globals { root, systemd_cgroup: given.on("systemd-cgroup"), rootless, log }, rest))
}

/// `--rootless`: by itself for everybody but root of the host's own user namespace.
fn rootless(text: &str) -> Result<bool> {
    match text {
        "true" | "1" | "t" | "T" | "TRUE" | "True" => Ok(true),
        "false" | "0" | "f" | "F" | "FALSE" | "False" => Ok(false),
        "auto" if credentials::effective_uid() != 0 => Ok(true),
        "auto" => {
            let maps = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
            // The first user namespace maps every id to itself (user_namespaces(7)).
            let words: Vec<&str> = maps.split_ascii_whitespace().collect();
            Ok(!maps.is_empty() && words != ["0", "0", "4294967295"])
        }
        other => Err(Error::invalid(format!("invalid value for --rootless: {other:?}"))),
    }
}

/// Where records are kept: for root of the host, or for a user who has a directory for such things.
fn default_root() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty()) {
        Some(directory) if credentials::effective_uid() != 0 => {
            PathBuf::from(directory).join("berth/runtime")
        }
        _ => PathBuf::from(DEFAULT_ROOT),
    }
}

fn run(globals: &Globals, rest: Vec<OsString>) -> Result<i32, (String, Error)> {
    let mut rest = rest.into_iter();
    let name = rest.next().map_or_else(|| "help".to_owned(), |name| name.to_string_lossy().into_owned());
    match name.as_str() {
        "help" | "h" => {
            print!(
                "{}",
                rest.next().map_or_else(|| Ok(help()), |topic| topic_help(&topic.to_string_lossy()))?
            );
            return Ok(0);
        }
        "version" => {
            print!("{}", version());
            return Ok(0);
        }
        _ => {}
    }
    let rest: Vec<OsString> = rest.collect();
    if rest.first().is_some_and(|first| ["-h", "--help"].iter().any(|flag| first == flag)) {
        print!("{}", topic_help(&name)?);
        return Ok(0);
    }
    if NOT_SUPPORTED.contains(&name.as_str()) {
        let words = format!("{name} is not supported: containers cannot be checkpointed or restored");
        return Err((name, Error::invalid(words)));
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        return Err((name.clone(), Error::invalid(format!("no such command: {name}"))));
    };
    // What follows the container's id is a program's, or ps(1)'s.
    let parse = if ["exec", "ps"].contains(&command.name) {
        Given::parse(command.flags, rest)
    } else {
        Given::parse_anywhere(command.flags, rest)
    };
    let done = parse.and_then(|given| (command.run)(globals, &given));
    done.map_err(|error| (name, error))
}

/// Commands of runc that are refused.
const NOT_SUPPORTED: &[&str] = &["checkpoint", "restore"];

fn version() -> String {
    format!(
        "runc version {} (berth)\ncommit: {}\nspec: {}\n",
        env!("CARGO_PKG_VERSION"),
        option_env!("BERTH_COMMIT").unwrap_or("unknown"),
        oci::runtime::VERSION
    )
}

fn help() -> String {
    let mut text = "NAME:\n   runc - Open Container Initiative runtime, as berth speaks it\n\n\
                    USAGE:\n   runc [global flags] command [flags] [arguments]\n\nCOMMANDS:\n"
        .to_owned();
    for command in COMMANDS {
        text.push_str(&format!("   {:<10}{}\n", command.name, command.about));
    }
    text.push_str(&format!("\nGLOBAL FLAGS:\n{}", flags(GLOBAL)));
    text
}

fn flags(flags: &[Flag]) -> String {
    let line = |flag: &Flag| {
        let letter = flag.letter.map_or_else(String::new, |letter| format!(", -{letter}"));
        format!("   --{}{letter}{}\n", flag.name, if flag.value { " value" } else { "" })
    };
    flags.iter().map(line).collect()
}

/// What `runc help NAME` and `runc NAME -h` print.
fn topic_help(name: &str) -> Result<String, (String, Error)> {
    if NOT_SUPPORTED.contains(&name) {
        return Ok(format!("NAME:\n   runc {name} - not supported\n"));
    }
    let command = COMMANDS.iter().find(|command| command.name == name);
    let command =
        command.ok_or_else(|| ("help".to_owned(), Error::invalid(format!("No help topic for '{name}'"))))?;
    let mut text =
        format!("NAME:\n   runc {name} - {}\n\nUSAGE:\n   runc {name} [flags] arguments\n", command.about);
    if !command.flags.is_empty() {
        text.push_str(&format!("\nFLAGS:\n{}", flags(command.flags)));
    }
    Ok(text)
}
