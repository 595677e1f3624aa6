//! Filters in the kernel: each test loads one for a thread of its own, where the programs that it starts inherit it.
//! Needs root, or else no_new_privs, which the test process does not set.

use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::time::Duration;

use linux::seccomp::{Answer, receive, respond};
use linux::watch::{Interest, wait};
use oci::runtime::{Seccomp, SeccompRule};
use runtime::profile::default_seccomp;
use runtime::seccomp::{Architecture, compile};

const SIGSYS: i32 = 31;

const EPERM: i32 = 1;
const EINVAL: i32 = 22;
const ENOSYS: i32 = 38;
const EAFNOSUPPORT: i32 = 97;

/// Says why a test cannot run here; on CI, where everything must be there, that is a failure.
fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "cannot be skipped on CI: {reason}");
    println!("SKIP: {reason}");
}

fn can_load() -> bool {
    use std::os::unix::fs::MetadataExt;
    let root = std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0);
    let perl = std::path::Path::new("/usr/bin/perl").exists();
    if !root || !perl {
        skip("needs root and perl");
    }
    root && perl
}

/// Loads a filter for a new thread and runs `inside` there.
fn filtered<T: Send + 'static>(config: &Seccomp, inside: impl FnOnce() -> T + Send + 'static) -> T {
    let program = compile(config).unwrap();
    let thread = std::thread::spawn(move || {
        assert!(linux::seccomp::load(&program.instructions, program.flags).unwrap().is_none());
        inside()
    });
    thread.join().unwrap()
}

/// Has perl make a system call by number, and print the error number it got; 0 for none.
fn call(number: u32, arguments: &[&str]) -> Output {
    let arguments = arguments.join(", ");
    let separator = if arguments.is_empty() { "" } else { ", " };
    let script = format!("my $r = syscall({number}{separator}{arguments}); print $r == -1 ? $! + 0 : 0");
    Command::new("/usr/bin/perl").args(["-e", &script]).output().unwrap()
}

fn errno(number: u32, arguments: &[&str]) -> i32 {
    let output = call(number, arguments);
    String::from_utf8_lossy(&output.stdout).parse().unwrap_or_else(|_| panic!("{output:?}"))
}

fn native(name: &str) -> u32 {
    Architecture::NATIVE.number(name).unwrap()
}

fn rule(name: &str, action: &str, errno_ret: Option<u32>) -> SeccompRule {
    SeccompRule {
        names: vec![name.to_owned()],
        action: action.to_owned(),
        errno_ret,
        ..SeccompRule::default()
    }
}

fn permissive(rules: Vec<SeccompRule>) -> Seccomp {
    Seccomp { default_action: "SCMP_ACT_ALLOW".to_owned(), syscalls: rules, ..Seccomp::default() }
}

#[test]
fn the_default_profile_lets_programs_run_and_refuses_the_rest() {
    if !can_load() {
        return;
    }
    let config = default_seccomp(&["CAP_CHOWN", "CAP_SYS_CHROOT"], Architecture::NATIVE);
    filtered(&config, || {
        assert_eq!(errno(native("getppid"), &[]), 0);
        assert_eq!(errno(native("mount"), &["0", "0", "0", "0", "0"]), EPERM);
        assert_eq!(errno(native("unshare"), &["0x10000000"]), EPERM);
        assert_eq!(errno(native("clone3"), &["0", "0"]), ENOSYS);
        assert_eq!(errno(native("open_tree_attr"), &["0"]), ENOSYS);
        assert_eq!(errno(4000, &["0"]), ENOSYS);
        let (alg, vsock, inet) = ("38", "40", "2");
        assert_eq!(errno(native("socket"), &[alg, "5", "0"]), EPERM);
        assert_eq!(errno(native("socket"), &[vsock, "1", "0"]), EPERM);
        assert_eq!(errno(native("socket"), &[inet, "1", "0"]), 0);
        // A bit above the lower half, which the kernel cuts off.
        assert_eq!(errno(native("socket"), &["38 | 1 << 32", "5", "0"]), EPERM);
        assert_eq!(errno(native("socket"), &["63", "1", "0"]), EAFNOSUPPORT);
        assert_eq!(errno(native("personality"), &["0xffffffff"]), 0);
        assert_eq!(errno(native("personality"), &["0x0040000"]), EPERM);
        assert_eq!(errno(native("pidfd_open"), &["0", "0"]), EINVAL);
        let shell =
            Command::new("/bin/sh").args(["-c", "ls / | sort | head -1; echo $((6 * 7))"]).output().unwrap();
        assert!(shell.status.success() && shell.stdout.ends_with(b"42\n"), "{shell:?}");
    });
}

#[test]
fn actions_do_what_they_say() {
    if !can_load() {
        return;
    }
    let rules = vec![
        rule("getpriority", "SCMP_ACT_ERRNO", Some(77)),
        rule("getpgrp", "SCMP_ACT_KILL_PROCESS", None),
        rule("getsid", "SCMP_ACT_TRAP", None),
        rule("getpgid", "SCMP_ACT_LOG", None),
        rule("times", "SCMP_ACT_TRACE", Some(1)),
        rule("sync", "SCMP_ACT_KILL", None),
    ];
    filtered(&permissive(rules), || {
        assert_eq!(errno(native("getpriority"), &["0", "0"]), 77);
        assert_eq!(errno(native("getpgid"), &["0"]), 0);
        // Nobody traces.
        assert_eq!(errno(native("times"), &["0"]), ENOSYS);
        for name in ["getpgrp", "getsid", "sync"] {
            assert_eq!(call(native(name), &["0"]).status.signal(), Some(SIGSYS), "{name}");
        }
    });
}

#[test]
fn a_listener_answers_for_the_kernel() {
    if !can_load() {
        return;
    }
    let program = compile(&permissive(vec![rule("getpriority", "SCMP_ACT_NOTIFY", None)])).unwrap();
    let (give, take) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        give.send(linux::seccomp::load(&program.instructions, program.flags).unwrap().unwrap()).unwrap();
        errno(native("getpriority"), &["3", "4"])
    });
    let listener = take.recv().unwrap();
    assert_eq!(wait(&[(listener.as_fd(), Interest::Readable)], Duration::from_secs(120)).unwrap(), [true]);
    let notification = receive(&listener).unwrap();
    assert_eq!(notification.number.cast_unsigned(), native("getpriority"));
    assert_eq!(notification.architecture, Architecture::NATIVE.audit());
    assert_eq!(notification.arguments[..2], [3, 4]);
    respond(&listener, notification.id, Answer::Error(55)).unwrap();
    assert_eq!(thread.join().unwrap(), 55);
}
