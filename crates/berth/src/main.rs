//! One binary, many roles: the role is chosen from argv before anything else is initialised.
#![cfg_attr(not(test), no_main)]

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What the process is, and how many arguments said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Daemon(usize),
    Shim,
    Runtime(usize),
    Init(usize),
    IdMap,
    Check(usize),
    CommandLine,
}

#[cfg(not(test))]
linux::entry!(run);

/// Does what the arguments ask for, and answers with the exit code.
#[cfg_attr(test, expect(dead_code, reason = "tests have an entry of their own"))]
fn run() -> i32 {
    let args: Vec<OsString> = std::env::args_os().collect();
    match role(&args) {
        Role::Daemon(taken) => daemon::main(args.into_iter().skip(taken)),
        Role::Shim => shim::main(&args[2..]),
        Role::Runtime(taken) => runtime::cli::main(args.into_iter().skip(taken).collect()),
        Role::Init(taken) => runtime::init::main(args.into_iter().skip(taken).collect()),
        Role::IdMap => runtime::id_map::main(),
        Role::Check(taken) => daemon::check::main(args.into_iter().skip(taken)),
        Role::CommandLine => cli::main(args),
    }
}

/// The role by the program's name (`dockerd`), else by the first argument (`berth daemon`).
fn role(args: &[OsString]) -> Role {
    let name = args.first().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str);
    let first = args.get(1).and_then(|arg| arg.to_str());
    match (name, first) {
        (Some("dockerd" | "berthd"), _) => Role::Daemon(1),
        (Some("runc"), _) => Role::Runtime(1),
        (Some("docker-init"), _) => Role::Init(1),
        (_, Some("daemon")) => Role::Daemon(2),
        (_, Some("runtime")) => Role::Runtime(2),
        (_, Some("init")) => Role::Init(2),
        (_, Some("shim")) => Role::Shim,
        (_, Some(runtime::id_map::ROLE)) => Role::IdMap,
        // Without a daemon, which may be unable to start.
        (_, Some("system")) if is_offline_check(args) => Role::Check(3),
        _ => Role::CommandLine,
    }
}

/// `system check` of a directory, in place of asking a daemon.
fn is_offline_check(args: &[OsString]) -> bool {
    let words = |at: usize| args.get(at).and_then(|arg| arg.to_str()).unwrap_or_default();
    words(2) == "check" && (3..args.len()).any(|at| words(at).split('=').next() == Some("--data-root"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_chosen() {
        let check = |args: &[&str], expected: Role| {
            assert_eq!(role(&args.iter().map(OsString::from).collect::<Vec<_>>()), expected, "{args:?}");
        };
        check(&["/usr/bin/berth", "daemon", "-D"], Role::Daemon(2));
        check(&["/usr/sbin/dockerd", "-D"], Role::Daemon(1));
        check(&["berthd"], Role::Daemon(1));
        check(&["berth", "shim", "--exec-dir", "/run/x"], Role::Shim);
        check(&["/usr/sbin/runc", "state", "x"], Role::Runtime(1));
        check(&["berth", "runtime", "state", "x"], Role::Runtime(2));
        check(&["/sbin/docker-init", "--", "sh"], Role::Init(1));
        check(&["/proc/self/fd/9", "hold-user-namespace"], Role::IdMap);
        check(&["berth", "system", "check", "--data-root=/d"], Role::Check(3));
        check(&["berth", "system", "check", "--repair"], Role::CommandLine);
        check(&["docker", "ps"], Role::CommandLine);
        check(&["berth", "run", "daemon"], Role::CommandLine);
        check(&[], Role::CommandLine);
    }
}
