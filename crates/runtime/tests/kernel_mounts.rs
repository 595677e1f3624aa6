//! Mounts that depend on others, on links, on id maps and on how the root is entered.

#[expect(unreachable_pub, dead_code, reason = "shared by several test binaries, each of which uses a part")]
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};
use support::{Bundle, unable};

fn add(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().expect("mounts").push(mount);
}

fn bind(source: impl serde::Serialize, destination: impl serde::Serialize, options: &[&str]) -> Value {
    json!({ "source": source, "destination": destination, "type": "bind", "options": options })
}

#[track_caller]
fn check(bundle: &Bundle, expected: &str) {
    let got = bundle.run();
    assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, expected, ""));
}

#[test]
fn the_kernel_lists_mounts_in_the_order_of_the_configuration() {
    if unable() {
        return;
    }
    let names = ["one", "two", "three", "four"];
    let bundle = Bundle::new();
    for name in names {
        fs::create_dir(bundle.directory.join(name)).expect("mkdir");
    }
    let bundle = bundle
        .script("while read -r a b c d at rest; do echo $at; done </proc/self/mountinfo")
        .with(|config| {
            config["mounts"] = json!([]);
            add(config, json!({ "destination": "/proc", "type": "proc", "source": "proc" }));
            for name in names {
                add(config, bind(name, format!("/tmp/{name}"), &["rbind"]));
                add(config, json!({ "destination": format!("/tmp/{name}-tmpfs"), "type": "tmpfs" }));
            }
            config["linux"]["maskedPaths"] = json!([]);
            config["linux"]["readonlyPaths"] = json!([]);
        });
    let expected: Vec<String> =
        names.iter().flat_map(|name| [format!("/tmp/{name}"), format!("/tmp/{name}-tmpfs")]).collect();
    check(&bundle, &format!("/\n/proc\n{}", expected.join("\n")));
}

#[test]
fn a_source_inside_the_root_shows_what_was_mounted_there_before() {
    if unable() {
        return;
    }
    for mapped in [false, true] {
        let bundle = Bundle::new();
        fs::create_dir_all(bundle.directory.join("volume/below")).expect("mkdir");
        fs::write(bundle.directory.join("volume/below/file"), "from the volume").expect("write");
        fs::set_permissions(&bundle.directory, fs::Permissions::from_mode(0o755)).expect("chmod");
        // An absolute link in the root leads inside of it, and to nothing of the host.
        symlink("/first", bundle.root().join("link")).expect("link");
        for name in ["first", "second", "third"] {
            fs::create_dir(bundle.root().join(name)).expect("mkdir");
        }
        let root = bundle.root();
        let bundle = bundle.script("cat /second/below/file /third/file").with(|config| {
            if mapped {
                support::mapped(config);
            }
            add(config, bind("volume", "/first", &["rbind"]));
            add(config, bind(root.join("first"), root.join("second"), &["rbind"]));
            add(config, bind(root.join("link/below"), "/third", &["rbind"]));
        });
        check(&bundle, "from the volumefrom the volume");
    }
}

#[test]
fn a_source_inside_the_root_is_mapped_by_who_may() {
    if unable() {
        return;
    }
    for mapped in [false, true] {
        let bundle = Bundle::new();
        fs::create_dir(bundle.directory.join("volume")).expect("mkdir");
        fs::write(bundle.directory.join("volume/file"), "").expect("write");
        fs::set_permissions(&bundle.directory, fs::Permissions::from_mode(0o755)).expect("chmod");
        for name in ["first", "second"] {
            fs::create_dir(bundle.root().join(name)).expect("mkdir");
        }
        let root = bundle.root();
        let bundle = bundle.script("stat -c %u /second/file").with(|config| {
            if mapped {
                support::mapped(config);
            }
            add(config, bind("volume", "/first", &["bind"]));
            let mut second = bind(root.join("first"), "/second", &["bind"]);
            // The owner on disk, 0, is 100,007 of the host on this mount.
            let map = json!([{ "containerID": 0, "hostID": 100_007, "size": 1 }]);
            second["uidMappings"] = map.clone();
            second["gidMappings"] = map;
            add(config, second);
        });
        check(&bundle, if mapped { "7" } else { "100007" });
    }
}

#[test]
fn targets_that_are_links_to_nowhere_are_made_inside() {
    if unable() {
        return;
    }
    let bundle = Bundle::new();
    let secret = bundle.directory.join("outside");
    symlink(&secret, bundle.root().join("etc/hosts")).expect("link");
    symlink("/tmp/far/away", bundle.root().join("jump")).expect("link");
    symlink("/jump/deep", bundle.root().join("dir")).expect("link");
    fs::write(bundle.directory.join("file"), "bound").expect("write");
    let bundle =
        bundle.script("cat /etc/hosts; cat /tmp/far/away/deep/x/config.json | wc -l").with(|config| {
            add(config, bind("file", "/etc/hosts", &["bind"]));
            add(config, bind(".", "/dir/x", &["bind"]));
        });
    check(&bundle, "bound0");
    assert!(!secret.exists(), "nothing was made on the host");
}

#[test]
fn a_tmpfs_says_the_mode_it_took_over() {
    if unable() {
        return;
    }
    let bundle = Bundle::new();
    let hidden = bundle.root().join("hidden");
    fs::create_dir(&hidden).expect("mkdir");
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o1710)).expect("chmod");
    let script = "stat -c %a /hidden /told /new; grep -c '^tmpfs /hidden .*mode=1710' /proc/mounts";
    let bundle = bundle.script(script).with(|config| {
        add(
            config,
            json!({ "destination": "/hidden", "type": "tmpfs", "source": "tmpfs", "options": ["ro"] }),
        );
        add(config, json!({ "destination": "/told", "type": "tmpfs", "options": ["mode=700"] }));
        add(config, json!({ "destination": "/new", "type": "tmpfs" }));
    });
    check(&bundle, "1710\n700\n1777\n1");
}

#[test]
fn a_shared_root_has_peers_of_its_own() {
    if unable() {
        return;
    }
    for (word, expected) in
        [("shared", "shared"), ("rshared", "shared"), ("private", ""), ("unbindable", "unbindable")]
    {
        let script = "while read -r a b c d at f tags; do test $at = / && echo \"${tags%%- *}\"; done </proc/self/mountinfo; true";
        let bundle = Bundle::new().script(script).with(|config| {
            config["linux"]["rootfsPropagation"] = json!(word);
        });
        let got = bundle.run();
        let tags: Vec<&str> =
            got.out.split(' ').map(|tag| tag.split(':').next().unwrap_or_default()).collect();
        assert_eq!((got.code, tags.join(" ").trim(), got.err.as_str()), (0, expected, ""), "{word}");
    }
}

/// What a user of this number of the host sees its files as, and those of a mount below.
fn owners(change: impl FnOnce(&mut Value), options: &[&str], maps: Option<Value>) -> support::Result {
    let bundle = Bundle::new();
    let volume = bundle.directory.join("volume");
    fs::create_dir_all(volume.join("below")).expect("mkdir");
    fs::create_dir_all(bundle.directory.join("other")).expect("mkdir");
    fs::create_dir(bundle.root().join("volume")).expect("mkdir");
    for path in ["volume/file", "other/file"] {
        fs::write(bundle.directory.join(path), "").expect("write");
        std::os::unix::fs::chown(bundle.directory.join(path), Some(7), Some(8)).expect("chown");
    }
    let bundle = bundle.script("stat -c %u:%g /volume/file /volume/below/file").with(|config| {
        config["process"]["user"] = json!({ "uid": 0, "gid": 0 });
        change(config);
        let mut mount = bind("volume", "/volume", options);
        if let Some(maps) = maps {
            (mount["uidMappings"], mount["gidMappings"]) = (maps.clone(), maps);
        }
        add(config, mount);
    });
    fs::set_permissions(&bundle.directory, fs::Permissions::from_mode(0o755)).expect("chmod");
    bundle.save();
    let script = r#"mount --bind other volume/below && exec "$@""#;
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(support::runc());
    command.arg("--root").arg(bundle.directory.join("state")).args(["run", &bundle.id]);
    let output = command.current_dir(&bundle.directory).stdin(std::process::Stdio::null()).output();
    support::result(output.expect("unshare"))
}

const NOBODY: &str = "65534:65534";

#[test]
fn mounts_are_id_mapped_alone_or_with_what_is_below() {
    if unable() {
        return;
    }
    let map = || Some(json!([{ "containerID": 0, "hostID": 1000, "size": 100 }]));
    let host = |_: &mut Value| {};
    let cases: [(&[&str], Option<Value>, &str); 4] = [
        (&["rbind", "idmap"], map(), "1007:1008\n7:8"),
        (&["rbind", "ridmap"], map(), "1007:1008\n1007:1008"),
        (&["rbind"], map(), "1007:1008\n7:8"),
        (&["rbind"], None, "7:8\n7:8"),
    ];
    for (options, maps, expected) in cases {
        let got = owners(host, options, maps);
        assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, expected, ""), "{options:?}");
    }
    let got = owners(host, &["rbind", "idmap"], None);
    assert!(got.code == 1 && got.err.contains("neither it nor the container has id mappings"), "{got:?}");
    // Without maps of its own, a mount has those of the container's user namespace: its users are the host's.
    let cases: [(&[&str], &str); 3] = [
        (&["rbind", "idmap"], &format!("7:8\n{NOBODY}")),
        (&["rbind", "ridmap"], "7:8\n7:8"),
        (&["rbind"], &format!("{NOBODY}\n{NOBODY}")),
    ];
    for (options, expected) in cases {
        let got = owners(support::mapped, options, None);
        assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, expected, ""), "{options:?}");
    }
}

#[test]
fn mounts_are_id_mapped_by_a_joined_user_namespace() {
    if unable() {
        return;
    }
    let first = Bundle::new().script("sleep 1000").with(support::mapped);
    first.start();
    let state: Value = serde_json::from_str(&first.runc(&["state", &first.id]).out).expect("state");
    let join = |config: &mut Value| {
        let list = config["linux"]["namespaces"].as_array_mut().expect("list");
        list.push(json!({ "type": "user", "path": format!("/proc/{}/ns/user", state["pid"]) }));
    };
    let got = owners(join, &["rbind", "ridmap"], None);
    assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, "7:8\n7:8", ""));
    let got = owners(join, &["rbind", "idmap"], None);
    assert_eq!((got.code, got.out, got.err.as_str()), (0, format!("7:8\n{NOBODY}"), ""));
}

#[test]
fn without_a_pivot_the_hosts_procfs_is_no_leave_to_mount_another() {
    if unable() {
        return;
    }
    let script = "unshare -mrpf sh -c 'mount -t proc none /tmp; mount -t sysfs none /tmp'; ls /tmp";
    let bundle = Bundle::new().script(script).with(|config| {
        let capabilities = json!(["CAP_SETFCAP", "CAP_SETUID", "CAP_SETGID"]);
        for set in ["bounding", "permitted", "effective"] {
            config["process"]["capabilities"][set] = capabilities.clone();
        }
    });
    symlink("busybox", bundle.root().join("bin/unshare")).expect("link");
    bundle.save();
    for pivots in [true, false] {
        let way: &[&str] = if pivots { &["run"] } else { &["run", "--no-pivot"] };
        let got = bundle.runc(&[way, &[bundle.id.as_str()]].concat());
        assert!(got.out.is_empty(), "{got:?}");
        assert_eq!(got.err.matches("permission denied").count(), 2, "{got:?}");
    }
    let host = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    assert!(host.contains(" - proc ") && host.contains(" - sysfs "), "the host's are where they were");
}

/// Runs the runtime and then a script in a mount namespace of the test's own, which is the host for both.
fn in_own_mounts(bundle: &Bundle, arguments: &[&str], then: &str) -> support::Result {
    bundle.save();
    let script = format!(r#"state=$1; shift; "$@" </dev/null 2>&1 >log; cat log; {then}"#);
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
    command.arg(bundle.directory.join("state")).arg(support::runc());
    command.arg("--root").arg(bundle.directory.join("state")).args(arguments);
    support::result(command.current_dir(&bundle.directory).output().expect("unshare"))
}

fn of_the_host(config: &mut Value) {
    let list = config["linux"]["namespaces"].as_array_mut().expect("list");
    list.retain(|one| one["type"] != "mount");
    config["linux"]["maskedPaths"] = json!([]);
    config["linux"]["readonlyPaths"] = json!([]);
    config["root"]["readonly"] = json!(true);
}

#[test]
fn a_container_can_have_the_hosts_mounts() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("ls /; touch /x 2>/dev/null || sleep 1000").with(of_the_host);
    let runc = support::runc().display().to_string();
    let then = format!(
        "readlink /proc/self/ns/mnt; {runc} --root $state exec {id} sh -c 'readlink /proc/self/ns/mnt; ls -d /rootfs /bin'; \
         grep -c ' {root}/proc ' /proc/mounts; {runc} --root $state delete --force {id}; cat {root}/etc/passwd",
        id = bundle.id,
        root = bundle.root().display(),
    );
    fs::write(bundle.root().join("etc/passwd"), "still there\n").expect("write");
    let got = in_own_mounts(&bundle, &["run", "-d", &bundle.id], &then);
    let lines: Vec<&str> = got.out.lines().collect();
    let mounts: Vec<&&str> = lines.iter().filter(|line| line.starts_with("mnt:[")).collect();
    assert!(mounts.len() == 2 && mounts[0] == mounts[1], "{got:?}");
    let ends = ["/bin", "1", "still there"];
    assert!(lines.ends_with(&ends) && !lines.contains(&"/rootfs"), "{got:?}");
    // What would change something of the host's is refused, and one that does not come to be leaves no mount.
    let masked = Bundle::new().with(of_the_host).with(|config| {
        config["linux"]["maskedPaths"] = json!(["/proc/kcore"]);
    });
    let got = in_own_mounts(&masked, &["run", &masked.id], "true");
    assert!(got.out.contains("without a private MNT namespace"), "{got:?}");
    let failing = Bundle::new().with(of_the_host).with(|config| {
        config["process"]["args"] = json!(["/nowhere"]);
    });
    let then = format!("grep -c {} /proc/self/mountinfo", failing.root().display());
    let got = in_own_mounts(&failing, &["run", &failing.id], &then);
    assert!(got.out.contains("no such file") && got.out.ends_with('0'), "{got:?}");
}

#[test]
fn an_existing_mount_namespace_is_joined() {
    if unable() {
        return;
    }
    let mut other = std::process::Command::new("unshare");
    other.args(["--mount", "--propagation", "private", "sleep", "1000"]);
    let mut other = other.spawn().expect("unshare");
    let path = format!("/proc/{}/ns/mnt", other.id());
    let own = fs::read_link("/proc/self/ns/mnt").expect("link");
    let joined = loop {
        let link = fs::read_link(&path).expect("link");
        if link != own {
            break link;
        }
        std::thread::yield_now();
    };
    let bundle =
        Bundle::new().script("readlink /proc/self/ns/mnt; ls -d /rootfs /bin 2>/dev/null").with(|config| {
            let list = config["linux"]["namespaces"].as_array_mut().expect("list");
            list.retain(|one| one["type"] != "mount");
            list.push(json!({ "type": "mount", "path": path }));
        });
    let got = bundle.run();
    other.kill().and_then(|()| other.wait()).expect("kill");
    assert_eq!((got.code, got.out, got.err.as_str()), (1, format!("{}\n/bin", joined.display()), ""));
}
