//! What a plan says is what the kernel does: containers of a busybox root, made through the command line.

#[expect(unreachable_pub, dead_code, reason = "shared by several test binaries, each of which uses a part")]
mod support;

use std::fs;
use std::io::Read;
use std::process::Stdio;

use serde_json::{Value, json};
use support::{Bundle, unable};

/// Runs a script in a container whose configuration was changed, and compares its whole output.
fn check(change: impl FnOnce(&mut Value), script: &str, expected: &str) {
    if unable() {
        return;
    }
    let got = Bundle::new().script(script).with(change).run();
    assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, expected, ""), "{script}");
}

fn nothing(_: &mut Value) {}

#[test]
fn every_namespace_is_new() {
    if unable() {
        return;
    }
    let names = ["pid", "net", "mnt", "ipc", "uts", "cgroup", "time"];
    let script = names.map(|name| format!("readlink /proc/self/ns/{name}")).join("; ");
    let got = Bundle::new().script(&script).run();
    assert_eq!((got.code, got.err.as_str()), (0, ""));
    for (name, inside) in names.iter().zip(got.out.lines()) {
        let outside = fs::read_link(format!("/proc/self/ns/{name}")).expect("ns");
        assert_ne!(inside, outside.to_string_lossy(), "{name}");
    }
}

#[test]
fn the_program_sees_its_own_world() {
    check(nothing, "echo $$; hostname; pwd; id -u; echo $A $HOME", "1\nbox\n/\n0\n1 /");
    check(nothing, "cat /proc/self/cgroup | grep -v unified | grep -c -v ':/$'; true", "0");
    check(nothing, "cat /proc/mounts | grep -c ' / '", "1");
}

#[test]
fn home_comes_from_the_passwd_of_the_container() {
    if unable() {
        return;
    }
    let bundle =
        Bundle::new().script("echo $HOME").with(|config| config["process"]["user"]["uid"] = json!(7));
    fs::write(bundle.root().join("etc/passwd"), "root:x:0:0::/root:\nseven:x:7:7::/home/seven:\n")
        .expect("passwd");
    assert_eq!(bundle.run().out, "/home/seven");
}

#[test]
fn exit_codes_are_the_programs_own_or_a_shells() {
    if unable() {
        return;
    }
    for (args, code, words) in [
        (json!(["sh", "-c", "exit 42"]), 42, ""),
        (json!(["nope"]), 127, "exec: \"nope\": executable file not found in $PATH"),
        (json!(["/nope"]), 127, "exec: \"/nope\": stat /nope: no such file or directory"),
        (json!(["/etc"]), 126, "exec: \"/etc\": is a directory"),
        (json!(["/etc/plain"]), 126, "exec: \"/etc/plain\": permission denied"),
        (json!(["/bin/garbage"]), 1, "exec /bin/garbage: exec format error"),
        (json!(["/bin/orphan"]), 127, "exec /bin/orphan: no such file or directory"),
    ] {
        let bundle = Bundle::new().with(|config| config["process"]["args"] = args.clone());
        let make = |name: &str, text: &str, mode: u32| {
            use std::os::unix::fs::PermissionsExt;
            let path = bundle.root().join(name);
            let draft = path.with_extension("draft");
            fs::write(&draft, text).expect("write");
            fs::set_permissions(&draft, fs::Permissions::from_mode(mode)).expect("chmod");
            support::copy_program(&draft, &path);
        };
        make("etc/plain", "", 0o644);
        make("bin/garbage", "\u{7f}nonsense", 0o755);
        make("bin/orphan", "#!/no/such/interpreter\n", 0o755);
        let got = bundle.run();
        assert_eq!(got.code, code, "{args} {got:?}");
        assert!(got.err.contains(words), "{args} {got:?}");
        // Only execve(2) fails without a word about what was being done, as with runc.
        assert_eq!(got.err.starts_with("exec /"), words.starts_with("exec /"), "{got:?}");
    }
}

#[test]
fn users_groups_and_capabilities_are_exactly_those_asked_for() {
    let user = |config: &mut Value| {
        config["process"]["user"] =
            json!({ "uid": 1000, "gid": 1001, "umask": 63, "additionalGids": [5, 6] });
    };
    check(user, "id -u; id -g; id -G; umask", "1000\n1001\n1001 5 6\n0077");
    check(|_: &mut Value| {}, "umask", "0022");
    check(
        user,
        "grep -E 'CapEff|CapInh|CapAmb' /proc/self/status",
        "CapInh:\t0000000000000000\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000",
    );
    let ambient = |config: &mut Value| {
        user(config);
        let sets = &mut config["process"]["capabilities"];
        sets["inheritable"] = json!(["CAP_KILL"]);
        sets["ambient"] = json!(["CAP_KILL"]);
    };
    check(
        ambient,
        "grep -E 'CapEff|CapAmb' /proc/self/status",
        "CapEff:\t0000000000000020\nCapAmb:\t0000000000000020",
    );
    let none = |config: &mut Value| config["process"]["capabilities"] = json!({});
    check(none, "grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status | grep -c 0000000000000000", "3");
    check(
        nothing,
        "grep -E 'CapEff|CapBnd' /proc/self/status",
        "CapEff:\t00000000000000e3\nCapBnd:\t00000000000000e3",
    );
}

#[test]
fn limits_scheduling_and_privileges() {
    let limits = |config: &mut Value| {
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
        config["process"]["noNewPrivileges"] = json!(true);
        config["process"]["oomScoreAdj"] = json!(321);
        config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 5 });
        config["linux"]["personality"] = json!({ "domain": "LINUX32" });
    };
    let script = "ulimit -Sn; ulimit -Hn; grep NoNewPrivs /proc/self/status; cat /proc/self/oom_score_adj; uname -m; \
                  cut -d' ' -f19 /proc/self/stat 2>/dev/null || (read -r line < /proc/self/stat; set -- $line; echo ${19})";
    check(limits, script, "100\n200\nNoNewPrivs:\t1\n321\ni686\n5");
}

#[test]
fn filters_of_system_calls_work() {
    let filter = |config: &mut Value| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }]
        });
    };
    let script = "mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status";
    let expected = "mkdir: can't create directory '/tmp/x': Operation not supported\nSeccomp:\t2";
    check(filter, script, expected);
    check(
        |config| {
            filter(config);
            config["process"]["noNewPrivileges"] = json!(true);
        },
        script,
        expected,
    );
}

#[test]
fn paths_are_masked_and_read_only() {
    check(
        nothing,
        "wc -c < /proc/timer_list; ls /sys/firmware | wc -l; stat -c %t:%T /proc/timer_list",
        "0\n0\n1:3",
    );
    check(nothing, "(echo x > /proc/sys/kernel/hostname) 2>/dev/null || echo refused", "refused");
    check(
        |config| config["root"]["readonly"] = json!(true),
        "touch /x 2>/dev/null || echo refused; touch /dev/x && echo but not /dev",
        "refused\nbut not /dev",
    );
}

#[test]
fn devices_are_there() {
    let more = |config: &mut Value| {
        config["linux"]["devices"] = json!([{ "path": "/dev/deep/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 384, "uid": 3, "gid": 4 }]);
    };
    check(
        more,
        "stat -c '%n %t:%T %a %u:%g' /dev/null /dev/deep/zero; readlink /dev/fd; readlink /dev/ptmx",
        "/dev/null 1:3 666 0:0\n/dev/deep/zero 1:5 600 3:4\n/proc/self/fd\npts/ptmx",
    );
    // The default rules allow what every container has and nothing else.
    let denied = "mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg 2>&1; true";
    let capable = |config: &mut Value| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_MKNOD"]);
        }
    };
    check(capable, denied, "cat: can't open '/tmp/kmsg': Operation not permitted");
}

#[test]
fn mounts_have_their_options() {
    if unable() {
        return;
    }
    let bundle = Bundle::new();
    let host = bundle.directory.join("host");
    fs::create_dir_all(host.join("sub")).expect("mkdir");
    fs::write(host.join("file"), "text").expect("write");
    let bundle = bundle
        .with(|config| {
            let mounts = config["mounts"].as_array_mut().expect("mounts");
            mounts.push(json!({ "destination": "/a/b/dir", "type": "bind", "source": "host", "options": ["rbind", "ro", "nosuid"] }));
            mounts.push(json!({ "destination": "/etc/file", "type": "bind", "source": "host/file", "options": ["bind"] }));
            mounts.push(json!({ "destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "mode=1777", "noexec"] }));
            mounts.push(json!({ "destination": "/bin", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"] }));
        })
        .script(
            "cat /a/b/dir/file /etc/file; echo; touch /a/b/dir/x 2>/dev/null || echo ro; stat -c %a /t /bin; \
             grep -E ' (/a/b/dir|/t) ' /proc/mounts | while read -r d p t o rest; do echo $p $o; done",
        );
    let got = bundle.run();
    assert_eq!((got.code, got.err.as_str()), (0, ""));
    let lines: Vec<&str> = got.out.lines().collect();
    assert_eq!(lines[..4], ["texttext", "ro", "1777", "755"]);
    assert!(lines[4].starts_with("/a/b/dir ro,nosuid"), "{}", lines[4]);
    assert!(lines[5].starts_with("/t rw,noexec,relatime,size=64k"), "{}", lines[5]);
    assert!(!bundle.root().join("t/x").exists());
}

#[test]
fn nothing_is_mounted_on_the_host() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("sleep 1000");
    bundle.start();
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    assert!(!mounts.contains(&bundle.id), "{mounts}");
}

#[test]
fn limits_of_memory_and_tasks_hold() {
    if unable() {
        return;
    }
    let limited = |config: &mut Value| {
        config["linux"]["resources"] =
            json!({ "memory": { "limit": 16 << 20, "swap": 16 << 20 }, "pids": { "limit": 5 } });
    };
    let got = Bundle::new().script("dd if=/dev/zero of=/dev/null bs=64M count=1").with(limited).run();
    assert_ne!(got.code, 0, "{got:?}");
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done 2>/dev/null; true";
    let got = Bundle::new().script(script).with(limited).run();
    assert_ne!(got.code, 0, "{got:?}");
}

#[test]
fn a_container_lives_through_create_start_exec_kill_delete() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("trap 'exit 3' TERM; while true; do sleep 0.1; done");
    bundle.save();
    let id = bundle.id.as_str();
    let status = || -> Value { serde_json::from_str(&bundle.runc(&["state", id]).out).expect("state") };
    let mut create = bundle.command(&["create", "--pid-file", "pid", id]);
    let created = create.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(created.expect("runc").success());
    assert_eq!(status()["status"], "created");
    assert_eq!(status()["pid"].to_string(), fs::read_to_string(bundle.directory.join("pid")).expect("pid"));
    assert!(bundle.runc(&["create", id]).err.contains("container with given ID already exists"));
    assert_eq!(bundle.runc(&["start", id]).code, 0);
    assert_eq!(status()["status"], "running");
    assert!(bundle.runc(&["start", id]).err.contains("cannot start an already running container"));
    assert!(bundle.runc(&["delete", id]).err.contains("that is not stopped"));
    let got = bundle.exec("echo $A; readlink /proc/self/ns/pid; cat /proc/1/cmdline | grep -c trap; exit 7");
    assert_eq!(got.code, 7, "{got:?}");
    assert!(got.out.starts_with("1\npid:") && got.out.ends_with("\n1"), "{got:?}");
    assert_eq!(bundle.runc(&["exec", id, "nope"]).code, 255);
    assert_eq!(bundle.runc(&["pause", id]).code, 0);
    assert_eq!(status()["status"], "paused");
    assert!(bundle.runc(&["exec", id, "true"]).err.contains("paused container"));
    assert_eq!(bundle.runc(&["resume", id]).code, 0);
    assert_eq!(bundle.runc(&["ps", "--format", "json", id]).code, 0);
    let pid: u32 = status()["pid"].to_string().parse().expect("pid");
    let process = linux::pidfd::PidFd::open(pid).expect("pidfd").expect("alive");
    assert_eq!(bundle.runc(&["kill", id]).code, 0);
    let ended = [(std::os::fd::AsFd::as_fd(&process), linux::watch::Interest::Readable)];
    linux::watch::wait(&ended, std::time::Duration::from_secs(120)).expect("wait");
    assert_eq!(status()["status"], "stopped");
    assert!(bundle.runc(&["exec", id, "true"]).err.contains("stopped container"));
    assert_eq!(bundle.runc(&["delete", id]).code, 0);
    assert!(bundle.runc(&["state", id]).err.contains("does not exist"));
    assert!(!std::path::Path::new("/sys/fs/cgroup/memory").join(id).exists());
}

#[test]
fn a_terminal_is_one() {
    if unable() {
        return;
    }
    let bundle = Bundle::new()
        .script("tty; test -c /dev/console && echo console; stat -c %t:%T /dev/console")
        .with(|config| {
            config["process"]["terminal"] = json!(true);
            config["process"]["consoleSize"] = json!({ "height": 11, "width": 77 });
        });
    let got = bundle.run();
    assert_eq!(got.code, 0, "{got:?}");
    assert_eq!(got.out.replace('\r', ""), "/dev/pts/0\nconsole\n88:0");
}

#[test]
fn hooks_of_all_kinds_run_where_they_should() {
    if unable() {
        return;
    }
    let bundle = Bundle::new();
    let log = bundle.directory.join("hooks.log");
    let hook = |name: &str| {
        let script = format!("read -r state; echo {name} $(hostname) >> {}", log.display());
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }])
    };
    let names = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    let mut hooks = json!({});
    for name in names {
        hooks[name] = hook(name);
    }
    hooks["startContainer"] =
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", "hostname > /hooked"], "env": ["PATH=/bin"] }]);
    let bundle = bundle.with(|config| config["hooks"] = hooks).script("cat /hooked");
    let got = bundle.run();
    assert_eq!((got.code, got.out.as_str()), (0, "box"), "{got:?}");
    let outside = fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
    let outside = outside.trim();
    let expected: String = names
        .iter()
        .map(|name| format!("{name} {}\n", if *name == "createContainer" { "box" } else { outside }))
        .collect();
    assert_eq!(fs::read_to_string(&log).expect("log"), expected);
}

#[test]
fn a_failing_hook_leaves_nothing_behind() {
    if unable() {
        return;
    }
    let failing = json!({ "createRuntime": [{ "path": "/bin/false" }] });
    let bundle = Bundle::new().with(|config| config["hooks"] = failing).script("true");
    let got = bundle.run();
    assert_eq!(got.code, 1);
    assert!(got.err.contains("createRuntime hook #0"), "{got:?}");
    assert!(bundle.runc(&["state", &bundle.id]).err.contains("does not exist"));
    assert!(!std::path::Path::new("/sys/fs/cgroup/memory").join(&bundle.id).exists());
}

#[test]
fn ids_are_mapped_in_a_user_namespace() {
    let mapped = |config: &mut Value| {
        config["linux"]["namespaces"].as_array_mut().expect("list").push(json!({ "type": "user" }));
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
    };
    let script = "id -u; while read -r a b c; do echo $a $b $c; done < /proc/self/uid_map; stat -c %u:%t:%T /dev/null; echo x > /dev/null && echo works";
    check(mapped, script, "0\n0 100000 65536\n65534:1:3\nworks");
}

#[test]
fn clocks_have_their_offsets() {
    let offset =
        |config: &mut Value| config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1_000_000 } });
    check(offset, "read -r up rest < /proc/uptime; test ${up%.*} -ge 1000000 && echo far", "far");
}

#[test]
fn a_foreground_run_passes_signals_on() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("trap 'exit 33' TERM; echo ready; while true; do sleep 0.1; done");
    bundle.save();
    let mut command = bundle.command(&["run", &bundle.id]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("runc");
    let mut ready = [0; 6];
    child.stdout.as_mut().expect("pipe").read_exact(&mut ready).expect("read");
    let process = linux::pidfd::PidFd::open(child.id()).expect("pidfd").expect("alive");
    assert!(process.send(15).expect("signal"));
    assert_eq!(child.wait().expect("wait").code(), Some(33));
}

#[test]
fn a_created_container_that_died_cannot_be_started() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("true");
    bundle.save();
    let mut create = bundle.command(&["create", &bundle.id]);
    let created = create.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(created.expect("runc").success());
    assert_eq!(bundle.runc(&["kill", &bundle.id, "KILL"]).code, 0);
    let got = bundle.runc(&["start", &bundle.id]);
    assert_eq!(got.code, 1, "{got:?}");
    assert_eq!(bundle.runc(&["delete", "--force", &bundle.id]).code, 0);
}

#[test]
fn limits_change_and_use_is_reported() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("sleep 1000");
    bundle.start();
    let got = bundle.runc(&["update", "--memory", "32m", "--pids-limit", "77", &bundle.id]);
    assert_eq!((got.code, got.err.as_str()), (0, ""));
    let got = bundle.runc(&["events", "--stats", &bundle.id]);
    let report: Value = serde_json::from_str(&got.out).expect("a report");
    assert_eq!((&report["type"], &report["id"]), (&json!("stats"), &json!(bundle.id)));
    assert_eq!(report["data"]["memory"]["usage"]["limit"], json!(32 << 20));
    assert_eq!(report["data"]["pids"], json!({ "current": 1, "limit": 77 }));
}

#[test]
fn a_configuration_to_begin_with_runs() {
    if unable() {
        return;
    }
    let bundle = Bundle::new();
    assert_eq!(bundle.runc(&["spec"]).code, 0);
    assert_ne!(bundle.runc(&["spec"]).code, 0, "what is there is not overwritten");
    let text = fs::read_to_string(bundle.directory.join("config.json")).expect("config.json");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["echo", "ran"]);
    config["linux"]["cgroupsPath"] = json!(format!("/{}", bundle.id));
    let got = bundle.with(|own| *own = config).run();
    assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, "ran", ""));
}

/// Runs a script in a container whose root is an overlay of two layers.
fn on_overlay(how: &str, init: &str, script: &str) -> support::Result {
    let bundle = Bundle::new().script(script).with(|config| {
        config["mounts"].as_array_mut().expect("mounts").retain(|mount| mount["type"] != "cgroup");
        config["linux"]["namespaces"].as_array_mut().expect("list").retain(|one| one["type"] != "cgroup");
    });
    bundle.save();
    let at = |name: &str| bundle.directory.join(name);
    fs::rename(bundle.root(), at("1")).expect("rename");
    for name in ["2", "upper", "work"] {
        fs::create_dir_all(at(name)).expect("mkdir");
    }
    fs::write(at("1/lower"), "hidden").expect("write");
    fs::write(at("2/lower"), "top").expect("write");
    let mut command = std::process::Command::new(support::example("overlay"));
    let output =
        command.arg(&bundle.directory).args([how, init]).stdin(Stdio::null()).output().expect("overlay");
    assert_eq!(fs::read_to_string(at("1/lower")).expect("lower"), "hidden");
    assert!(!at("1/new").exists() && !at("2/new").exists());
    support::result(output)
}

#[test]
fn an_overlay_root_is_mounted_layer_by_layer_or_by_options() {
    if unable() {
        return;
    }
    for how in ["layers", "options"] {
        let got = on_overlay(
            how,
            "plain",
            "cat /lower; echo; echo x > /new; grep -c '^overlay / ' /proc/mounts; exit 5",
        );
        assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (5, "top\n1", ""), "{how}");
    }
}

#[test]
fn our_init_is_pid_1_and_reaps_orphans() {
    if unable() {
        return;
    }
    let script = "cat /proc/1/cmdline | tr '\\0' ' ' | grep -o '^/sbin/docker-init -- sh'; echo $$; \
                  sh -c 'true & true'; ls /proc | grep -c '^[0-9]'; (echo x > /proc/1/exe) 2>&1 | grep -o 'Read-only\\|busy\\|denied'; exit 9";
    let script = &format!("PATH=/bin; tr() {{ busybox tr \"$@\"; }}; {script}");
    let got = on_overlay("layers", "init", script);
    let lines: Vec<&str> = got.out.lines().collect();
    assert_eq!(got.code, 9, "{got:?}");
    assert_eq!(lines[0], "/sbin/docker-init -- sh");
    assert_eq!(lines[1], "2");
    assert_eq!(lines.len(), 4, "{got:?}");
}

#[test]
fn namespaces_of_another_container_are_joined() {
    if unable() {
        return;
    }
    let first = Bundle::new().script("sleep 1000");
    first.start();
    let names = [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")];
    let state: Value = serde_json::from_str(&first.runc(&["state", &first.id]).out).expect("state");
    let path = |file: &str| format!("/proc/{}/ns/{file}", state["pid"]);
    let script = names.map(|(_, file)| format!("readlink /proc/self/ns/{file}")).join("; ");
    let second = Bundle::new().script(&script).with(|config| {
        config.as_object_mut().expect("object").remove("hostname");
        for one in config["linux"]["namespaces"].as_array_mut().expect("list") {
            if let Some((_, file)) = names.iter().find(|(kind, _)| one["type"] == *kind) {
                one["path"] = json!(path(file));
            }
        }
    });
    let got = second.run();
    let expected: Vec<String> =
        names.iter().map(|(_, file)| fs::read_link(path(file)).expect("ns").display().to_string()).collect();
    assert_eq!((got.code, got.out, got.err.as_str()), (0, expected.join("\n"), ""));
    let wrong = Bundle::new().with(|config| {
        config["linux"]["namespaces"][1]["path"] = json!(path("uts"));
    });
    assert!(wrong.run().err.contains("namespace of another kind"));
}

#[test]
fn mounts_have_ids_of_their_own() {
    if unable() {
        return;
    }
    let bundle = Bundle::new();
    fs::write(bundle.directory.join("file"), "").expect("write");
    let map = json!([{ "containerID": 0, "hostID": 1234, "size": 1 }]);
    let bundle = bundle.script("stat -c %u:%g /file").with(|config| {
        config["mounts"].as_array_mut().expect("mounts").push(json!({
            "destination": "/file", "type": "bind", "source": "file", "options": ["bind"], "uidMappings": map, "gidMappings": map
        }));
    });
    let got = bundle.run();
    assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, "1234:1234", ""));
}

#[test]
fn descriptors_are_kept_only_when_asked_for() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("cat <&3 && ! cat <&4 2>/dev/null");
    bundle.save();
    fs::write(bundle.directory.join("text"), "kept").expect("write");
    let script = format!(
        "exec {} --root state run --preserve-fds 1 {} 3<text 4<text </dev/null",
        support::runc().display(),
        bundle.id
    );
    let mut command = std::process::Command::new("sh");
    let output = command.args(["-c", &script]).current_dir(&bundle.directory).output().expect("sh");
    let got = support::result(output);
    assert_eq!((got.code, got.out.as_str()), (0, "kept"), "{got:?}");
}
