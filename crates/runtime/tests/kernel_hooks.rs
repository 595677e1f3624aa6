//! Hooks that are confined as the program, and scheduling that only some may have.

#[expect(unreachable_pub, dead_code, reason = "shared by several test binaries, each of which uses a part")]
mod support;

use serde_json::{Value, json};
use support::{Bundle, Result, unable};

/// Runs a startContainer hook in a container whose filter knows no mkdir.
fn hook(script: &str, no_new_privileges: bool, action: &str) -> Result {
    let bundle = Bundle::new().script("echo ran").with(|config| {
        config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }]);
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": action }]
        });
        config["hooks"] = json!({ "startContainer": [
            { "path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 10 }
        ] });
    });
    bundle.run()
}

#[test]
fn a_hook_inside_is_confined_as_the_program() {
    if unable() {
        return;
    }
    for no_new_privileges in [false, true] {
        let got = hook("exec mkdir /tmp/made", no_new_privileges, "SCMP_ACT_KILL_PROCESS");
        assert_eq!(got.code, 1);
        for words in ["error running startContainer hook #0", "signal: bad system call"] {
            assert!(got.err.contains(words), "{words}: {got:?}");
        }
        let got = hook("mkdir /tmp/made >&2; exit 3", no_new_privileges, "SCMP_ACT_ERRNO");
        assert!(got.err.contains("exit status: 3, stderr: mkdir: can't create"), "{got:?}");
        let reads = "read state; case $state in *'\"status\":\"created\"'*) ls /proc/self/fd | wc -l >/dev/null;; *) exit 3;; esac";
        let got = hook(reads, no_new_privileges, "SCMP_ACT_ERRNO");
        assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, "ran", ""));
    }
    let got = hook("sleep 1000", false, "SCMP_ACT_ERRNO");
    assert!(got.err.contains("took longer than 10 s"), "{got:?}");
}

#[test]
fn flags_of_the_filter_are_told_and_known() {
    if unable() {
        return;
    }
    let features: Value =
        serde_json::from_str(&Bundle::new().runc(&["features"]).out).expect("a document of features");
    let seccomp = &features["linux"]["seccomp"];
    let names = |list: &Value| -> Vec<String> { serde_json::from_value(list.clone()).expect("names") };
    let (known, supported) = (names(&seccomp["knownFlags"]), names(&seccomp["supportedFlags"]));
    assert!(!supported.is_empty() && supported.iter().all(|flag| known.contains(flag)), "{seccomp}");
    let bits = |flags: Option<Value>| {
        let bundle = Bundle::new().script("true").with(|config| {
            config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
            if let Some(flags) = flags {
                config["linux"]["seccomp"]["flags"] = flags;
            }
        });
        bundle.save();
        let told = bundle.runc(&["--debug", "run", &bundle.id]).err;
        let line =
            told.lines().find_map(|line| line.split_once("seccomp filter flags: ")).map(|(_, rest)| rest);
        line.and_then(|rest| rest.trim_end_matches('"').parse::<u32>().ok()).expect("a number")
    };
    // Without a list speculation is left alone (4); TSYNC says nothing about one thread.
    assert_eq!(bits(None), 4);
    assert_eq!(bits(Some(json!([]))), 0);
    assert_eq!(bits(Some(json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]))), 2);
}

#[test]
fn a_deadline_needs_every_processor() {
    if unable() {
        return;
    }
    let deadline = |cpus: Option<&str>| {
        let bundle = Bundle::new().script("grep -w policy /proc/self/sched").with(|config| {
            config["process"]["scheduler"] = json!({
                "policy": "SCHED_DEADLINE", "runtime": 42_000, "deadline": 1_000_000, "period": 1_000_000
            });
            if let Some(cpus) = cpus {
                config["linux"]["resources"] = json!({ "cpu": { "cpus": cpus } });
            }
        });
        bundle.run()
    };
    let got = deadline(None);
    // sched(7): refused when the machine's processors are shared out to groups of cpusets (EPERM), or when the bandwidth
    // is used up (EBUSY).
    if got.code != 0 && !got.err.contains("EPERM") && !got.err.contains("EBUSY") {
        panic!("{got:?}");
    }
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        println!("SKIP: one processor");
        return;
    }
    let got = deadline(Some("0"));
    let words = "process scheduler can't be used together with AllowedCPUs";
    assert!(got.code == 1 && got.err.contains(words), "{got:?}");
}

#[test]
fn every_hook_under_a_filter_has_a_listener_of_its_own() {
    if unable() {
        return;
    }
    let bundle = Bundle::new();
    let path = bundle.directory.join("agent.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("bind");
    // An agent that hangs up once it has what it was sent.
    let agent = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut connection, _) = listener.accept().expect("accept");
            let mut bytes = [0; 4096];
            assert!(std::io::Read::read(&mut connection, &mut bytes).expect("read") > 0);
        }
    });
    let bundle = bundle.script("echo ran").with(|config| {
        let hook = json!({ "path": "/bin/true", "args": ["true"] });
        config["hooks"] = json!({ "startContainer": [hook, hook] });
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
            "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }]
        });
    });
    let got = bundle.run();
    assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, "ran", ""));
    agent.join().expect("the agent");
}
