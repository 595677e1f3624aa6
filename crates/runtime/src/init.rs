//! `berth init`: pid 1 of containers that want one. It runs the program, passes signals on to it, reaps orphans, and ends
//! with the program's code.

use std::ffi::{CString, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use linux::child::{self, How};
use linux::pidfd::PidFd;
use linux::process::{self, Strings};
use linux::signalfd::SignalFd;
use linux::watch::{self, Interest};

use crate::program;

/// A child ended.
const CHLD: i32 = 17;
/// How long one wait may take: in effect for ever.
const LONG: Duration = Duration::from_secs(3600);

/// Runs `-- PROGRAM ARGUMENTS`; answers with the program's exit code, 127 when there is no such program.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> i32 {
    let mut arguments: Vec<OsString> = arguments;
    if arguments.first().is_some_and(|first| first == "--") {
        arguments.remove(0);
    }
    if arguments.is_empty() {
        eprintln!("init: no program to run");
        return 1;
    }
    match supervise(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("init: {error}");
            1
        }
    }
}

fn supervise(arguments: &[OsString]) -> linux::Result<i32> {
    // All but those that a fault of our own raises (signal(7)), and those that cannot be blocked.
    let signals: Vec<i32> =
        (1..=64).filter(|signal| ![4, 5, 7, 8, 9, 11, 19, 31, 32, 33].contains(signal)).collect();
    let signals = SignalFd::block(&signals)?;
    let child = process::fork(|| run(arguments))?;
    let program = PidFd::from(child.pidfd);
    loop {
        watch::wait(&[(signals.as_fd(), Interest::Readable)], LONG)?;
        while let Some(signal) = signals.take()? {
            if signal != CHLD {
                program.send(signal)?;
            }
        }
        while let Some(ended) = child::reap()? {
            if ended.pid == child.pid {
                return Ok(match ended.how {
                    How::Exited(code) => code,
                    How::Signalled(signal) => 128 + signal,
                });
            }
        }
    }
}

/// In the child: a group of its own in the foreground of the terminal, then the program.
fn run(arguments: &[OsString]) -> i32 {
    let failed = |code: i32, words: &str| {
        let name = arguments.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        eprintln!("init: exec {name} failed: {words}");
        code
    };
    if let Err(error) = process::foreground_group().and_then(|()| process::reset_signals()) {
        return failed(1, &error.to_string());
    }
    let texts: Option<Vec<String>> =
        arguments.iter().map(|text| String::from_utf8(text.clone().into_vec()).ok()).collect();
    let variables =
        std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let variables: Vec<String> = variables.filter_map(|variable| String::from_utf8(variable).ok()).collect();
    let Some(texts) = texts else { return failed(127, "not UTF-8") };
    let path: CString = match program::find(&texts[0], &variables) {
        Ok(path) => path,
        Err(error) => {
            return failed(if error.kind() == crate::Kind::NotFound { 127 } else { 126 }, error.message());
        }
    };
    let strings =
        (Strings::new(texts.iter().map(String::as_str)), Strings::new(variables.iter().map(String::as_str)));
    let (Some(arguments), Some(environment)) = strings else { return failed(127, "a zero byte") };
    let error = process::execute(&path, &arguments, &environment);
    failed(126, &program::words(error.errno()))
}
