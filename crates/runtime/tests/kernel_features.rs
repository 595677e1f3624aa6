//! What runc's users rely on beside the plain life of a container: namespaces and interfaces of others, propagation,
//! agents, limits that change, and what is refused in clear words.

#[expect(unreachable_pub, reason = "shared by several test binaries")]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use linux::watch::{self, Interest};
use serde_json::{Value, json};
use support::{Bundle, mapped, result, unable};

fn host(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect(program);
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn pid(bundle: &Bundle) -> u32 {
    let state: Value = serde_json::from_str(&bundle.runc(&["state", &bundle.id]).out).expect("state");
    state["pid"].to_string().parse().expect("pid")
}

#[test]
fn a_user_namespace_is_joined_by_path() {
    if unable() {
        return;
    }
    let first = Bundle::new().script("sleep 1000").with(mapped);
    first.start();
    let path = format!("/proc/{}/ns/user", pid(&first));
    let expected = fs::read_link(&path).expect("link").display().to_string();
    let second = Bundle::new()
        .script("readlink /proc/self/ns/user; id -u; hostname; stat -c %t:%T /dev/null; echo $$")
        .with(|config| {
            let list = config["linux"]["namespaces"].as_array_mut().expect("list");
            list.push(json!({ "type": "user", "path": path }));
        });
    let got = second.run();
    assert_eq!(
        (got.code, got.out, got.err.as_str()),
        (0, format!("{expected}\n0\nbox\n1:3\n1"), ""),
        "the rest of its namespaces are new and belong to the joined one"
    );
    // A second process joins as well, and the network namespace of the first can be shared.
    let net = format!("/proc/{}/ns/net", pid(&first));
    let third = Bundle::new().script("sleep 1000").with(|config| {
        let list = config["linux"]["namespaces"].as_array_mut().expect("list");
        list.retain(|one| one["type"] != "network");
        list.push(json!({ "type": "user", "path": path }));
        list.push(json!({ "type": "network", "path": net }));
    });
    third.start();
    let got = third.exec("readlink /proc/self/ns/user; readlink /proc/self/ns/net");
    let net = fs::read_link(&net).expect("link").display().to_string();
    assert_eq!((got.code, got.out), (0, format!("{expected}\n{net}")));
}

#[test]
fn interfaces_of_the_host_are_moved_in_with_their_addresses() {
    if unable() {
        return;
    }
    // The host is a network namespace of our own; threads of this test do not share it.
    let script = r#"set -e
        ip link add berth0 type veth peer name berth1; ip addr add 10.9.8.7/24 dev berth0; ip -6 addr add fd00:9::7/64 dev berth0 nodad
        exec "$@""#;
    let bundle = Bundle::new()
        .script("ip -o addr show dev web0; ip -o link show dev web0; ls /sys/class/net")
        .with(|config| {
            config["linux"]["netDevices"] =
                json!({ "berth0": { "name": "web0" }, "berth1": { "name": "eth%d" } });
        });
    bundle.save();
    let inside = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", script, "sh"]).arg(support::runc());
        command.arg("--root").arg(bundle.directory.join("state")).args(arguments);
        result(command.current_dir(&bundle.directory).stdin(Stdio::null()).output().expect("unshare"))
    };
    let got = inside(&["run", &bundle.id]);
    assert_eq!((got.code, got.err.as_str()), (0, ""), "{got:?}");
    for words in ["inet 10.9.8.7/24", "inet6 fd00:9::7/64", ",UP", "eth0"] {
        assert!(got.out.contains(words), "{words}: {got:?}");
    }
    let refused = |change: Value, words: &str| {
        let bundle = Bundle::new().script("true").with(|config| config["linux"]["netDevices"] = change);
        let got = bundle.run();
        assert!(got.code == 1 && got.err.contains(words), "{got:?}");
    };
    refused(json!({ "berth-nowhere": {} }), "the host has no interface of this name");
    refused(json!({ "a/b": {} }), "is no name of an interface");
    refused(json!({ "a": { "name": "x" }, "b": { "name": "x" } }), "given twice");
}

#[test]
fn debug_tells_the_plan_and_the_log_takes_it() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("true");
    bundle.save();
    let got = bundle.runc(&["--debug", "run", &bundle.id]);
    assert_eq!(got.code, 0);
    assert!(got.err.contains("level=debug") && got.err.contains("pivot root"), "{got:?}");
    let got = bundle.runc(&["--debug", "--log", "log", "--log-format", "json", "run", &bundle.id]);
    assert_eq!((got.code, got.err.as_str()), (0, ""));
    let log = fs::read_to_string(bundle.directory.join("log")).expect("log");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.iter().all(|line| line["level"] == "debug"));
    assert!(lines.iter().any(|line| line["msg"] == "execute program"));
    let got = bundle.runc(&["--log-format", "xml", "list"]);
    assert!(got.code == 1 && got.err.contains("invalid log-format"), "{got:?}");
}

#[test]
fn the_root_can_be_moved_instead_of_pivoted() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("cat /mark; ls / | grep -c rootfs; cat /proc/mounts | grep -c ' / '");
    fs::write(bundle.root().join("mark"), "inside\n").expect("write");
    bundle.save();
    let got = bundle.runc(&["run", "--no-pivot", &bundle.id]);
    assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, "inside\n0\n1", ""));
}

#[test]
fn mounts_made_later_arrive_where_they_should() {
    if unable() {
        return;
    }
    // A volume of the host that is shared: what the host mounts on it arrives in the container (rslave), and what the
    // container mounts arrives on the host only where that was asked for (rshared).
    for (word, from_inside) in [("rslave", false), ("rshared", true), ("rprivate", false)] {
        let bundle = Bundle::new();
        let volume = bundle.directory.join("volume");
        fs::create_dir_all(&volume).expect("mkdir");
        let bundle = bundle.script("sleep 1000").with(|config| {
            config["linux"]["rootfsPropagation"] = json!(word);
            config["mounts"].as_array_mut().expect("mounts").push(json!({
                "destination": "/volume", "type": "bind", "source": volume, "options": ["rbind", word]
            }));
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
            }
        });
        bundle.save();
        let script = r#"set -e; volume=$1; id=$2; shift 2
            mount --bind $volume $volume; mount --make-shared $volume
            mkdir $volume/host $volume/inside
            "$@" run -d $id >/dev/null 2>&1 </dev/null
            mount -t tmpfs tmpfs $volume/host; touch $volume/host/seen
            "$@" exec $id sh -c 'mount -t tmpfs tmpfs /volume/inside; touch /volume/inside/made; ls /volume/host'
            ls $volume/inside
            "$@" delete --force $id"#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
        command.arg(&volume).arg(&bundle.id).arg(support::runc());
        command.arg("--root").arg(bundle.directory.join("state"));
        let output = command.current_dir(&bundle.directory).stdin(Stdio::null()).output().expect("unshare");
        let got = result(output);
        let expected = match (word, from_inside) {
            ("rprivate", _) => "",
            (_, true) => "seen\nmade",
            (_, false) => "seen",
        };
        assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, expected, ""), "{word}");
    }
}

#[test]
fn the_memory_policy_is_that_of_the_program() {
    if unable() {
        return;
    }
    let policy = |mode: &'static str| {
        move |config: &mut Value| config["linux"]["memoryPolicy"] = json!({ "mode": mode, "nodes": "0" })
    };
    // Kernels without NUMA know no policies.
    if !std::path::Path::new("/proc/self/numa_maps").exists() {
        let got = Bundle::new().script("true").with(policy("MPOL_BIND")).run();
        assert!(got.code == 0 || got.err.contains("set_mempolicy"), "{got:?}");
        return;
    }
    let got = Bundle::new().script("head -1 /proc/self/numa_maps").with(policy("MPOL_BIND")).run();
    assert!(got.code == 0 && got.out.contains("bind"), "{got:?}");
    let got = Bundle::new().script("true").with(policy("MPOL_NEVER")).run();
    assert!(got.code == 1 && got.err.contains("mode \"MPOL_NEVER\" is not known"), "{got:?}");
}

#[test]
fn the_listener_of_a_filter_goes_to_its_agent() {
    if unable() {
        return;
    }
    let bundle = Bundle::new();
    let path = bundle.directory.join("agent.sock");
    let listener = linux::socket::listen(&path, 1).expect("listen");
    let bundle = bundle.script("mkdir /tmp/x; echo ended").with(|config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "about this",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }]
        });
    });
    bundle.save();
    let mut command = bundle.command(&["run", &bundle.id]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("runc");
    watch::wait(&[(listener.as_fd(), Interest::Readable)], Duration::from_secs(120)).expect("wait");
    let connection = linux::socket::accept(&listener).expect("accept").expect("a connection");
    let (mut text, mut fds) = (Vec::new(), Vec::new());
    loop {
        linux::socket::ready(&connection, false, None).expect("ready");
        let mut bytes = [0; 4096];
        match linux::socket::receive(&connection, &mut bytes, &mut fds).expect("receive") {
            linux::socket::Received::Bytes(count) => text.extend_from_slice(&bytes[..count]),
            linux::socket::Received::Nothing => {}
            linux::socket::Received::End => break,
        }
        if serde_json::from_slice::<Value>(&text).is_ok() {
            break;
        }
    }
    let told: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!((&told["fds"], fds.len()), (&json!(["seccompFd"]), 1), "{told}");
    assert_eq!(told["metadata"], "about this", "{told}");
    assert_eq!(told["state"]["id"], json!(bundle.id), "{told}");
    assert!(told["pid"].as_u64().is_some_and(|pid| pid > 1), "{told}");
    // An agent that goes away leaves its calls unanswerable: they fail instead of hanging.
    drop(fds);
    let got = result(child.wait_with_output().expect("wait"));
    assert_eq!(got.out, "ended", "{got:?}");
}

#[test]
fn processors_of_an_exec_are_those_asked_for_and_otherwise_all() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("sleep 1000").with(|config| {
        config["process"]["execCPUAffinity"] = json!({ "initial": "0", "final": "0" });
    });
    bundle.start();
    let list = "grep Cpus_allowed_list /proc/self/status";
    assert_eq!(bundle.exec(list).out, "Cpus_allowed_list:\t0");
    // What the process itself found is among the steps that are told.
    let told = bundle.runc(&["--debug", "exec", &bundle.id, "true"]).err;
    assert!(told.contains(": affinity: 0x1\"") && told.contains("about to exec"), "{told}");
    // The caller's own binding does not reach the container.
    let all = host("grep", &["Cpus_allowed_list", "/proc/self/status"]);
    let bundle = Bundle::new().script(list);
    bundle.save();
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(support::runc()).arg("--root").arg(bundle.directory.join("state"));
    let output = command.args(["run", &bundle.id]).current_dir(&bundle.directory).output().expect("taskset");
    assert_eq!(result(output).out, all.trim_end());
}

#[test]
fn events_come_until_the_container_ends() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("sleep 1000");
    bundle.start();
    let mut command = bundle.command(&["events", "--interval", "50ms", &bundle.id]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("runc");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("pipe")));
    for _ in 0..3 {
        let line: Value = serde_json::from_str(&lines.next().expect("a line").expect("read")).expect("JSON");
        assert_eq!((&line["type"], &line["id"]), (&json!("stats"), &json!(bundle.id)));
        assert!(line["data"]["cpu"]["usage"]["total"].as_u64().is_some_and(|nanos| nanos > 0), "{line}");
    }
    assert_eq!(bundle.runc(&["kill", &bundle.id, "KILL"]).code, 0);
    assert!(child.wait().expect("wait").success());
}

#[test]
fn what_cannot_be_done_is_refused_in_clear_words() {
    if unable() {
        return;
    }
    let refused = |change: &dyn Fn(&mut Value), words: &str| {
        let got = Bundle::new().script("true").with(change).run();
        assert!(got.code == 1 && got.err.contains(words), "{words}: {got:?}");
    };
    refused(&|config| config["linux"]["intelRdt"] = json!({ "closID": "x" }), "intelRdt is not supported");
    refused(
        &|config| config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 20, "hard": 10 }]),
        "process.rlimits: RLIMIT_NOFILE",
    );
    refused(
        &|config| {
            config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 1, "hard": u64::MAX }]);
        },
        "RLIMIT_NOFILE",
    );
    let bundle = Bundle::new();
    for command in ["checkpoint", "restore"] {
        let got = bundle.runc(&[command, &bundle.id]);
        assert!(got.code == 1 && got.err.contains("is not supported"), "{got:?}");
        assert_eq!(bundle.runc(&[command, "-h"]).code, 0);
    }
    let got = bundle.runc(&["foo", "-h"]);
    assert!(got.code == 1 && got.err.contains("No help topic for 'foo'"), "{got:?}");
}

#[test]
fn features_are_a_document_of_the_specification() {
    if unable() {
        return;
    }
    let bundle = Bundle::new();
    let features: Value = serde_json::from_str(&bundle.runc(&["features"]).out).expect("JSON");
    assert_eq!((&features["ociVersionMin"], &features["ociVersionMax"]), (&json!("1.0.0"), &json!("1.3.0")));
    let linux = features["linux"].as_object().expect("linux");
    for key in [
        "namespaces",
        "capabilities",
        "cgroup",
        "seccomp",
        "apparmor",
        "selinux",
        "intelRdt",
        "mountExtensions",
        "netDevices",
    ] {
        assert!(linux.contains_key(key), "{key}");
    }
    let names = |list: &Value| -> Vec<String> {
        list.as_array().expect("list").iter().map(|one| one.as_str().expect("text").to_owned()).collect()
    };
    // What is said to be known is taken.
    for option in names(&features["mountOptions"]) {
        assert!(!option.contains('='), "{option}");
    }
    let architectures = names(&linux["seccomp"]["archs"]);
    let actions = names(&linux["seccomp"]["actions"]);
    for action in actions.iter().filter(|action| action.as_str() != "SCMP_ACT_NOTIFY") {
        let got = Bundle::new()
            .script("true")
            .with(|config| {
                config["linux"]["seccomp"] = json!({
                    "defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures,
                    "syscalls": [{ "names": ["acct"], "action": action }]
                });
            })
            .run();
        assert_eq!(got.code, 0, "{action}: {got:?}");
    }
}

#[test]
fn every_flag_of_exec_does_what_it_says() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("sleep 1000");
    bundle.start();
    let exec = |flags: &[&str], script: &str| {
        let mut arguments = vec!["exec"];
        arguments.extend(flags);
        arguments.extend([bundle.id.as_str(), "sh", "-c", script]);
        bundle.runc(&arguments)
    };
    let check = |flags: &[&str], script: &str, expected: &str| {
        let got = exec(flags, script);
        assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, expected, ""), "{flags:?}");
    };
    check(&["--cwd", "/etc"], "pwd", "/etc");
    check(&["-e", "A=2", "--env", "B=3"], "echo $A $B", "2 3");
    check(&["--user", "12:34", "--additional-gids", "56", "-g", "78"], "id -u; id -G", "12\n34 56 78");
    check(&["--no-new-privs"], "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1");
    check(&["--cap", "CAP_NET_ADMIN"], "grep CapBnd /proc/self/status", "CapBnd:\t00000000000010e3");
    check(&["--tty"], "test -t 0 && test -t 1 && echo a terminal", "a terminal");
    assert_eq!(exec(&["--pid-file", "exec.pid"], "true").code, 0);
    let number = fs::read_to_string(bundle.directory.join("exec.pid")).expect("pid file");
    assert!(number.parse::<u32>().is_ok_and(|pid| pid > 1), "{number}");
    assert_eq!(exec(&["--detach"], "exec sleep 1000 <&- >&- 2>&-").code, 0);
    let process = json!({ "args": ["sh", "-c", "echo $A; pwd; umask"], "cwd": "/tmp", "env": ["PATH=/bin", "A=file"], "user": { "uid": 5, "gid": 6, "umask": 7 } });
    fs::write(bundle.directory.join("process.json"), process.to_string()).expect("write");
    let got = bundle.runc(&["exec", "--process", "process.json", &bundle.id]);
    assert_eq!((got.code, got.out.as_str()), (0, "file\n/tmp\n0007"), "{got:?}");
    assert!(exec(&["--cgroup", "nowhere"], "true").err.contains("no such file or directory"));
    for flag in [["--apparmor", "x"], ["--process-label", "x"]] {
        let got = exec(&flag, "true");
        assert!(got.code == 255 && got.err.contains("requested, but"), "{got:?}");
    }
    let table = bundle.runc(&["ps", &bundle.id, "-o", "pid,args"]).out;
    assert!(table.starts_with("    PID") || table.contains("PID"), "{table}");
    assert_eq!(table.matches("sleep 1000").count(), 2, "{table}");
    let pids: Vec<u32> =
        serde_json::from_str(&bundle.runc(&["ps", "-f", "json", &bundle.id]).out).expect("JSON");
    assert_eq!(pids.len(), 2);
}

#[test]
fn limits_are_updated_from_standard_input() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("sleep 1000");
    bundle.start();
    let update = |resources: &Value| {
        let mut command = bundle.command(&["update", "--resources", "-", &bundle.id]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("runc");
        child.stdin.take().expect("pipe").write_all(resources.to_string().as_bytes()).expect("write");
        result(child.wait_with_output().expect("wait"))
    };
    let got = update(&json!({
        "memory": { "limit": 64 << 20, "reservation": 32 << 20 }, "pids": { "limit": 33 },
        "cpu": { "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0" }
    }));
    assert_eq!((got.code, got.err.as_str()), (0, ""));
    let hierarchy = cgroup::Hierarchy::detect().expect("hierarchy");
    let group = cgroup::Cgroup::open(
        &hierarchy,
        &cgroup::CgroupPath::parse(&format!("/{}", bundle.id)).expect("path"),
    );
    let stats = group.expect("open").expect("a group").stats().expect("stats");
    assert_eq!((stats.memory.memory.limit, stats.pids.limit), (Some(64 << 20), Some(33)));
    let status = bundle.exec("grep Cpus_allowed_list /proc/1/status").out;
    assert_eq!(status, "Cpus_allowed_list:\t0");
    assert_eq!(update(&json!("nonsense")).code, 1);
}

#[test]
fn hooks_that_take_too_long_are_ended() {
    if unable() {
        return;
    }
    let slow =
        json!({ "createRuntime": [{ "path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1 }] });
    let bundle = Bundle::new().script("true").with(|config| config["hooks"] = slow);
    let got = bundle.run();
    assert!(got.code == 1 && got.err.contains("took longer than 1 s"), "{got:?}");
    assert!(bundle.runc(&["state", &bundle.id]).err.contains("does not exist"));
}

#[test]
fn hooks_find_the_root_where_it_came_from() {
    if unable() {
        return;
    }
    let bundle = Bundle::new();
    let root = bundle.root().display().to_string();
    // What tools for devices do: join the container's mounts before its root is entered, and mount below the bundle.
    let runtime = format!(
        "read -r state; pid=${{state##*\\\"pid\\\":}}; pid=${{pid%%,*}}; \
         nsenter --mount --target $pid sh -c 'mkdir -p {root}/tool && mount -t tmpfs tmpfs {root}/tool && touch {root}/tool/made'"
    );
    let hooks = json!({
        "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", runtime], "env": ["PATH=/bin:/usr/bin:/sbin"] }],
        "createContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "echo here > ./tool/relative"], "env": ["PATH=/bin"] }]
    });
    let bundle = bundle.script("ls /tool").with(|config| config["hooks"] = hooks);
    let got = bundle.run();
    assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, "made\nrelative", ""));
    assert!(!bundle.root().join("tool/made").exists());
}

#[test]
fn a_profile_that_knows_only_old_calls_lets_containers_start() {
    if unable() {
        return;
    }
    let old: Vec<String> = [
        "execve",
        "capset",
        "capget",
        "exit",
        "exit_group",
        "read",
        "write",
        "brk",
        "mmap",
        "munmap",
        "mprotect",
        "arch_prctl",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "prlimit64",
        "getrandom",
        "readlink",
        "getuid",
        "rt_sigaction",
        "rt_sigprocmask",
        "getpid",
        "getppid",
        "getcwd",
        "stat",
        "lstat",
        "fstat",
        "newfstatat",
        "open",
        "close",
        "fcntl",
        "ioctl",
        "uname",
        "prctl",
        "geteuid",
        "getgid",
        "getegid",
        "setuid",
        "setgid",
    ]
    .map(str::to_owned)
    .to_vec();
    for no_new_privileges in [false, true] {
        let bundle = Bundle::new().with(|config| {
            config["process"]["args"] = json!(["echo", "ran"]);
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [{ "names": old, "action": "SCMP_ACT_ALLOW" }]
            });
        });
        let got = bundle.run();
        assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, "ran", ""), "{no_new_privileges}");
    }
}

#[test]
fn a_terminal_in_the_foreground_passes_lines_on_as_they_are() {
    if unable() {
        return;
    }
    let bundle =
        Bundle::new().script("echo one; echo two").with(|config| config["process"]["terminal"] = json!(true));
    bundle.save();
    let mut command = bundle.command(&["run", &bundle.id]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("runc");
    let mut text = String::new();
    child.stdout.take().expect("pipe").read_to_string(&mut text).expect("read");
    assert!(child.wait().expect("wait").success());
    assert_eq!(text, "one\ntwo\n");
}
