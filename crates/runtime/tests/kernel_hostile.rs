//! Attacks that must fail: each is what once broke an engine (the classes are paths, mounts, procfs, descriptors, binary,
//! and identity).

#[expect(unreachable_pub, dead_code, reason = "shared by several test binaries, each of which uses a part")]
mod support;

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use support::{Bundle, result, unable};

/// A file on the host that no container may touch.
fn treasure(bundle: &Bundle) -> std::path::PathBuf {
    let path = bundle.directory.join("treasure");
    fs::write(&path, "untouched").expect("write");
    path
}

#[test]
fn a_dev_that_is_a_link_stays_inside() {
    if unable() {
        return;
    }
    for target in ["/", "../../..", "/proc", "/tmp/new/deep"] {
        let bundle = Bundle::new().script("echo ran");
        let outside = bundle.directory.join("dev");
        fs::remove_dir(bundle.root().join("dev")).expect("rmdir");
        symlink(target, bundle.root().join("dev")).expect("link");
        let got = bundle.run();
        assert!(!outside.exists(), "{target}: {got:?}");
        assert!(!std::path::Path::new("/full-of-devices").exists());
        for name in ["null", "zero", "full"] {
            assert!(!std::path::Path::new("/").join(name).exists(), "{target} {got:?}");
            assert!(!std::path::Path::new("/tmp/new/deep").join(name).exists(), "{target} {got:?}");
        }
    }
}

#[test]
fn a_mount_target_that_is_a_link_stays_inside() {
    if unable() {
        return;
    }
    let bundle = Bundle::new();
    let path = treasure(&bundle);
    let link = bundle.root().join("link");
    symlink(&bundle.directory, &link).expect("link");
    symlink(&path, bundle.root().join("file")).expect("link");
    fs::write(bundle.directory.join("source"), "from the source").expect("write");
    let bundle = bundle.script("cat /file; ls /link/made").with(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts
            .push(json!({ "destination": "/file", "type": "bind", "source": "source", "options": ["bind"] }));
        mounts.push(json!({ "destination": "/link/made/here", "type": "tmpfs", "source": "tmpfs" }));
    });
    let got = bundle.run();
    assert_eq!(fs::read_to_string(&path).expect("treasure"), "untouched", "{got:?}");
    assert!(!bundle.directory.join("made").exists(), "{got:?}");
    // The links lead to the same places inside the root, which are made there.
    assert_eq!((got.code, got.out.as_str()), (0, "from the sourcehere"), "{got:?}");
    let inside = |path: &std::path::Path| bundle.root().join(path.strip_prefix("/").expect("absolute"));
    assert!(inside(&path).exists() && inside(&bundle.directory).join("made/here").exists());
}

#[test]
fn masked_files_show_the_hosts_null_whatever_the_image_has() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("stat -c %t:%T /etc/secret; cat /etc/secret").with(|config| {
        // No /dev is mounted: the image's own is used.
        config["mounts"]
            .as_array_mut()
            .expect("mounts")
            .retain(|mount| !mount["destination"].to_string().contains("/dev"));
        config["linux"]["maskedPaths"] = json!(["/etc/secret"]);
    });
    fs::write(bundle.root().join("etc/secret"), "secret").expect("write");
    symlink("/etc/secret", bundle.root().join("dev/null")).expect("link");
    let got = bundle.run();
    assert!(got.code != 0 && got.err.contains("something else is there already"), "{got:?}");
    fs::remove_file(bundle.root().join("dev/null")).expect("rm");
    let got = bundle.run();
    assert_eq!((got.code, got.out.as_str()), (0, "1:3"), "{got:?}");
}

#[test]
fn a_target_swapped_by_a_neighbour_never_leads_outside() {
    if unable() {
        return;
    }
    let stop = AtomicBool::new(false);
    let bundle = Bundle::new();
    let path = treasure(&bundle);
    let shared = bundle.root().join("volume");
    fs::create_dir_all(shared.join("a/b")).expect("mkdir");
    symlink(&bundle.directory, shared.join("evil")).expect("link");
    let bundle = bundle.script("true").with(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        for name in ["x", "y", "z"] {
            mounts.push(json!({ "destination": format!("/volume/a/{name}/deep"), "type": "tmpfs", "source": "tmpfs" }));
        }
    });
    let before = listing(&bundle.directory);
    std::thread::scope(|scope| {
        // What a second container on the same volume can do.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = fs::rename(shared.join("a"), shared.join("held"));
                let _ = fs::rename(shared.join("evil"), shared.join("a"));
                let _ = fs::rename(shared.join("a"), shared.join("evil"));
                let _ = fs::rename(shared.join("held"), shared.join("a"));
            }
        });
        for _ in 0..40 {
            let _ = bundle.run();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_to_string(&path).expect("treasure"), "untouched");
    assert_eq!(listing(&bundle.directory), before);
}

/// What is in a directory, besides what the runtime itself puts there.
fn listing(directory: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("readdir").flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name != "state" && name != "config.json");
    names.sort();
    names
}

#[test]
fn a_leaked_descriptor_is_no_working_directory() {
    if unable() {
        return;
    }
    let host = fs::File::open("/").expect("open");
    let number = host.as_raw_fd();
    for path in [
        format!("/proc/self/fd/{number}"),
        format!("/proc/self/fd/{number}/etc"),
        "/proc/self/fd/7/../..".into(),
    ] {
        let bundle = Bundle::new().script("pwd; ls").with(|config| config["process"]["cwd"] = json!(path));
        bundle.save();
        let mut command = bundle.command(&["run", &bundle.id]);
        // The descriptor reaches the runtime as number 7 and as its own.
        linux::process::leave_open(&host).expect("fcntl");
        let got = result(command.stdin(Stdio::null()).output().expect("runc"));
        assert!(got.code != 0 && got.err.contains("chdir to cwd"), "{path}: {got:?}");
    }
    let bundle = Bundle::new().script("ls /proc/self/fd | wc -l");
    assert_eq!(bundle.run().out, "4", "0, 1, 2 and the directory that ls reads");
}

#[test]
fn a_working_directory_that_is_a_link_stays_inside() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("pwd").with(|config| config["process"]["cwd"] = json!("/up"));
    symlink("../../../../../..", bundle.root().join("up")).expect("link");
    assert_eq!(bundle.run().out, "/");
}

#[test]
fn the_runtime_cannot_be_overwritten_from_inside() {
    if unable() {
        return;
    }
    let before = fs::read(support::runc()).expect("read");
    // The program is the runtime's own binary by way of /proc/self/exe; it finds no such role and ends.
    let bundle =
        Bundle::new().with(|config| config["process"]["args"] = json!(["/proc/self/exe", "version"]));
    let got = bundle.run();
    assert!(got.code != 0 || got.out.contains("runc version"), "{got:?}");
    // A container's process tries to write to the runtime while that runs a program in it.
    let script = "while true; do for pid in /proc/[0-9]*; do (echo evil > $pid/exe) 2>/dev/null; done; done";
    let bundle = Bundle::new().script(script);
    bundle.start();
    for _ in 0..20 {
        let got = bundle.exec("true");
        assert_eq!(got.code, 0, "{got:?}");
    }
    assert!(before == fs::read(support::runc()).expect("read"), "the runtime was overwritten");
}

#[test]
fn nobody_inside_can_look_into_a_joining_process() {
    if unable() {
        return;
    }
    let script = "while true; do for pid in /proc/[0-9]*; do for fd in $pid/fd/*; do readlink $fd; done; done; done \
                  2>/dev/null | grep -v -E '^(pipe|/dev/null|/proc|anon|/dev/pts|socket)' > /seen";
    let bundle = Bundle::new().script(script).with(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE"]);
        }
    });
    bundle.start();
    for _ in 0..20 {
        assert_eq!(bundle.exec("true").code, 0);
    }
    let seen = fs::read_to_string(bundle.root().join("seen")).unwrap_or_default();
    let seen = seen.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let host: Vec<&str> =
        seen.lines().filter(|line| line.contains(&bundle.id) && !line.contains("start.log")).collect();
    assert_eq!(host.len(), 0, "{:?}", host.first());
}

#[test]
fn ids_out_of_range_and_names_are_refused() {
    if unable() {
        return;
    }
    for user in [
        json!({ "uid": 2_147_483_648_u32, "gid": 0 }),
        json!({ "uid": 4_294_967_295_u32, "gid": 0 }),
        json!({ "uid": 0, "gid": 4_294_967_296_u64 }),
        json!({ "uid": "0", "gid": 0 }),
        json!({ "uid": -1, "gid": 0 }),
    ] {
        let bundle = Bundle::new().script("id").with(|config| config["process"]["user"] = user.clone());
        let got = bundle.run();
        assert!(got.code == 1 && got.out.is_empty(), "{user}: {got:?}");
    }
    let bundle = Bundle::new().script("sleep 1000");
    fs::write(bundle.root().join("etc/passwd"), "1000:x:0:0::/root:\nroot:x:0:0::/root:\n").expect("passwd");
    bundle.start();
    let exec = |user: &str| bundle.runc(&["exec", "--user", user, &bundle.id, "id", "-u"]);
    assert_eq!(exec("1000").out, "1000", "a number is never looked up as a name");
    for user in ["root", "-1", "4294967296", "0:root", " 0", "0x0"] {
        assert_ne!(exec(user).code, 0, "{user}");
    }
}

#[test]
fn hostile_passwd_files_neither_block_nor_fill_memory() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("echo $HOME");
    let passwd = bundle.root().join("etc/passwd");
    let made = std::process::Command::new("mkfifo").arg(&passwd).status().expect("mkfifo");
    assert!(made.success());
    assert_eq!(bundle.run().out, "/");
    fs::remove_file(&passwd).expect("rm");
    let huge = fs::File::create(&passwd).expect("create");
    huge.set_len(1 << 40).expect("sparse");
    assert_eq!(bundle.run().out, "/");
    fs::remove_file(&passwd).expect("rm");
    symlink("/proc/self/environ", &passwd).expect("link");
    assert_eq!(bundle.run().out, "/");
}

#[test]
fn no_capabilities_are_inherited() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("sleep 1000");
    bundle.start();
    let got = bundle.exec("grep CapInh /proc/1/status /proc/self/status");
    assert!(
        got.out.lines().count() == 2 && got.out.lines().all(|line| line.ends_with("0000000000000000")),
        "{got:?}"
    );
}

#[test]
fn configurations_that_lie_are_refused() {
    if unable() {
        return;
    }
    let bundle = Bundle::new();
    for text in
        ["", "[]", "{", "{\"root\":{\"path\":7}}", "{\"linux\":{\"namespaces\":[{\"type\":\"galaxy\"}]}}"]
    {
        fs::write(bundle.directory.join("config.json"), text).expect("write");
        let got = bundle.runc(&["run", &bundle.id]);
        assert_eq!(got.code, 1, "{text} {got:?}");
    }
    let nested = format!("{{\"annotations\":{}}}", "[".repeat(100_000));
    fs::write(bundle.directory.join("config.json"), nested).expect("write");
    assert_eq!(bundle.runc(&["run", &bundle.id]).code, 1);
    for id in ["../escape", "a/b", "", "."] {
        assert_eq!(bundle.runc(&["run", id]).code, 1, "{id}");
    }
    assert_eq!(
        fs::read_dir(bundle.directory.join("state")).map_or(0, Iterator::count),
        0,
        "nothing is left behind"
    );
}

#[test]
fn writes_to_procfs_cannot_be_redirected() {
    if unable() {
        return;
    }
    let bundle =
        Bundle::new().script("cat /p/sys/net/ipv4/ip_forward; ls -A /proc/sys | wc -l").with(|config| {
            let mounts = config["mounts"].as_array_mut().expect("mounts");
            mounts.push(json!({ "destination": "/p", "type": "proc", "source": "proc" }));
            mounts.push(json!({ "destination": "/proc/sys", "type": "tmpfs", "source": "tmpfs" }));
            config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
            config["linux"]["readonlyPaths"] = json!([]);
        });
    let got = bundle.run();
    assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, "1\n0", ""));
    let foreign = Bundle::new().script("true").with(|config| {
        config["linux"]["sysctl"] = json!({ "kernel.core_pattern": "|/bin/evil" });
    });
    assert!(foreign.run().err.contains("not in a separate kernel namespace"));
}

#[test]
fn a_terminal_that_is_no_devpts_is_refused() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("tty").with(|config| {
        config["process"]["terminal"] = json!(true);
        // The image brings a /dev of its own, in which the multiplexer is something else.
        config["mounts"]
            .as_array_mut()
            .expect("mounts")
            .retain(|mount| !mount["destination"].to_string().contains("/dev"));
    });
    fs::create_dir_all(bundle.root().join("dev/pts")).expect("mkdir");
    for target in ["/etc/passwd", "/proc/sysrq-trigger", "/dev/null", "/dev/tty"] {
        let _ = fs::remove_file(bundle.root().join("dev/pts/ptmx"));
        symlink(target, bundle.root().join("dev/pts/ptmx")).expect("link");
        let got = bundle.run();
        assert!(got.code == 1 && got.err.contains("terminal"), "{target}: {got:?}");
    }
}

#[test]
fn masked_paths_and_mounts_under_a_swapped_proc_never_reach_the_host() {
    if unable() {
        return;
    }
    // CVE-2019-18837, CVE-2023-27561: the image's /proc is a link, so that what is written there would be a plain file.
    for name in ["proc", "sys"] {
        let bundle = Bundle::new().script("echo ran");
        fs::remove_dir(bundle.root().join(name)).expect("rmdir");
        fs::create_dir(bundle.root().join("fake")).expect("mkdir");
        symlink("/fake", bundle.root().join(name)).expect("link");
        let got = bundle.run();
        assert!(
            got.code == 1 && got.err.contains("must be mounted on ordinary directory"),
            "{name}: {got:?}"
        );
    }
}

#[test]
fn a_label_or_profile_is_never_written_to_a_file_of_the_containers() {
    if unable() {
        return;
    }
    // CVE-2015-3631, CVE-2019-16884, CVE-2025-52881: a volume over /proc receives what should go to the kernel.
    let bundle = Bundle::new();
    let volume = bundle.directory.join("volume");
    for name in ["self/attr/apparmor", "sys/kernel", "sys/net/ipv4"] {
        fs::create_dir_all(volume.join(name)).expect("mkdir");
    }
    for name in
        ["self/attr/exec", "self/attr/apparmor/exec", "sys/kernel/hostname", "sys/net/ipv4/ip_forward"]
    {
        fs::write(volume.join(name), "").expect("write");
    }
    let bundle = bundle.script("cat /proc/sys/net/ipv4/ip_forward").with(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.push(
            json!({ "destination": "/proc", "type": "bind", "source": "volume", "options": ["rbind"] }),
        );
        config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1", "kernel.hostname": "x" });
        config["linux"]["readonlyPaths"] = json!([]);
        config["linux"]["maskedPaths"] = json!([]);
    });
    let got = bundle.run();
    for name in
        ["self/attr/exec", "self/attr/apparmor/exec", "sys/kernel/hostname", "sys/net/ipv4/ip_forward"]
    {
        assert_eq!(fs::read_to_string(volume.join(name)).expect("read"), "", "{name}: {got:?}");
    }
}

#[test]
fn a_kernel_parameter_is_one_line_of_one_file() {
    if unable() {
        return;
    }
    // CVE-2022-0811: a value that carries a second parameter; and names that lead elsewhere.
    let before = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("read");
    for (name, value) in [
        ("net.ipv4.ip_forward", "1+kernel.core_pattern=|/bin/evil"),
        ("net.ipv4.ip_forward", "1\nkernel.core_pattern=|/bin/evil"),
        ("net/../kernel/core_pattern", "|/bin/evil"),
        ("net.ipv4/../../kernel.core_pattern", "|/bin/evil"),
        ("kernel/core_pattern", "|/bin/evil"),
        ("kernel.shm_rmid_forced/../core_pattern", "|/bin/evil"),
    ] {
        let got = Bundle::new()
            .script("true")
            .with(|config| {
                config["linux"]["sysctl"] = json!({ name: value });
                config["linux"]["readonlyPaths"] = json!([]);
            })
            .run();
        assert_eq!(
            fs::read_to_string("/proc/sys/kernel/core_pattern").expect("read"),
            before,
            "{name}: {got:?}"
        );
    }
}

#[test]
fn devices_outside_of_the_rules_stay_shut_however_they_are_made() {
    if unable() {
        return;
    }
    // The memory of the host and a disk, made by the container itself and by its image.
    let bundle = Bundle::new().script(
        "mknod /tmp/mem c 1 1; mknod /tmp/disk b 254 0; for at in /tmp/mem /tmp/disk /imaged; do cat $at > /tmp/x 2>/dev/null && echo open $at; done; echo end",
    );
    let made =
        std::process::Command::new("mknod").arg(bundle.root().join("imaged")).args(["c", "1", "1"]).status();
    assert!(made.expect("mknod").success());
    let bundle = bundle.with(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] =
                json!(["CAP_MKNOD", "CAP_SYS_RAWIO", "CAP_DAC_OVERRIDE"]);
        }
        config["linux"]["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    });
    let got = bundle.run();
    assert!(got.out.ends_with("end") && !got.out.contains("open"), "{got:?}");
}

#[test]
fn a_release_agent_cannot_be_set_from_inside() {
    if unable() {
        return;
    }
    // CVE-2022-0492: control groups of version 1 run a program of the host's when a group empties.
    let script = "for at in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/release_agent; do (echo /evil > $at) 2>/dev/null && echo set $at; done; \
                  mkdir /tmp/c; mount -t cgroup -o memory cgroup /tmp/c 2>/dev/null && echo mounted; echo end";
    let got = Bundle::new().script(script).run();
    assert_eq!((got.code, got.out.as_str()), (0, "end"), "{got:?}");
}

#[test]
fn the_host_cannot_be_reached_by_file_handles() {
    if unable() {
        return;
    }
    // "Shocker": CAP_DAC_READ_SEARCH opens files by number; it is among no container's own capabilities, and the
    // default profile refuses the call without it.
    let profile = runtime::profile::default_seccomp::<&str>(&[], runtime::seccomp::Architecture::NATIVE);
    let named = |name: &str| profile.syscalls.iter().any(|rule| rule.names.iter().any(|known| known == name));
    assert!(!named("open_by_handle_at"));
    let got = Bundle::new().script("grep CapBnd /proc/self/status").run();
    let set = got.out.rsplit('\t').next().and_then(|text| u64::from_str_radix(text, 16).ok()).expect("a set");
    assert_eq!(set & (1 << 2), 0, "{got:?}");
}

#[test]
fn supplementary_groups_hold_the_primary_one() {
    if unable() {
        return;
    }
    // CVE-2022-36109: who leaves the primary group must not come back by a file's "others".
    let bundle = Bundle::new().script("sleep 1000").with(|config| {
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [7] });
    });
    bundle.start();
    let groups = "grep ^Groups: /proc/self/status";
    assert_eq!(bundle.exec(groups).out, "Groups:\t7 1001");
    let got = bundle.runc(&["exec", "--user", "5:6", &bundle.id, "grep", "^Groups:", "/proc/self/status"]);
    assert_eq!(got.out, "Groups:\t6");
}
