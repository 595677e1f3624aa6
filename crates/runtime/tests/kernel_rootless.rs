//! Containers of a user who is not root: nothing but what the kernel lets everybody do, and what was delegated.

#[expect(unreachable_pub, reason = "shared by two test binaries")]
#[path = "support/rootless.rs"]
mod rootless;
#[expect(unreachable_pub, dead_code, reason = "shared by several test binaries, each of which uses a part")]
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rootless::{Rootless, USER};
use serde_json::{Value, json};
use support::{result, unable};

fn closed() -> bool {
    if unable() {
        return true;
    }
    let number = |path: &str| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let none = ["/proc/sys/user/max_user_namespaces", "/proc/sys/kernel/unprivileged_userns_clone"]
        .into_iter()
        .find(|path| number(path) == Some(0));
    if let Some(path) = none {
        println!("SKIP: {path} is 0: user namespaces are root's");
    }
    none.is_some()
}

fn script(text: &str) -> impl FnOnce(&mut Value) {
    let text = text.to_owned();
    move |config| config["process"]["args"] = json!(["sh", "-c", text])
}

#[test]
fn a_user_alone_is_root_inside_and_nobody_else_outside() {
    if closed() {
        return;
    }
    let words = "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; echo $$; hostname; \
                 echo kept >/tmp/file; test -s /proc/kcore || echo masked; (echo x >/proc/sys/kernel/domainname) 2>/dev/null || \
                 echo read-only; echo given >/dev/null; cat /volume/file";
    let rootless = Rootless::new(|config| {
        script(words)(config);
        config["root"]["readonly"] = json!(false);
        let mount = json!({ "destination": "/volume", "type": "bind", "source": "volume", "options": ["rbind", "ro"] });
        config["mounts"].as_array_mut().expect("mounts").push(mount);
    });
    fs::create_dir(rootless.bundle.directory.join("volume")).expect("mkdir");
    fs::write(rootless.bundle.directory.join("volume/file"), "bound").expect("write");
    let got = rootless.run(&["run", "c"]);
    let lines: Vec<&str> = got.out.lines().map(str::trim).collect();
    let map = format!("0      {USER}          1");
    assert_eq!(
        (got.code, lines, got.err.as_str()),
        (0, vec!["0", "0", &map, &map, "deny", "1", "runc", "masked", "read-only", "bound"], "")
    );
    let kept = rootless.bundle.root().join("tmp/file");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(kept).expect("stat")), USER);
}

#[test]
fn the_whole_life_of_a_container_is_its_users() {
    if closed() {
        return;
    }
    let rootless = Rootless::new(|config| {
        script("trap 'exit 3' TERM; while :; do sleep 1000 & wait $!; done")(config);
        config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1_000_000_000, "nanosecs": 0 } });
        config["linux"]["namespaces"].as_array_mut().expect("namespaces").push(json!({ "type": "time" }));
    });
    let detached = |arguments: &[&str]| {
        let mut command = rootless.command(arguments);
        let log = rootless.bundle.directory.join("log");
        let status = command.stdout(Stdio::null()).stderr(fs::File::create(&log).expect("log")).status();
        assert!(status.expect("runtime").success(), "{}", fs::read_to_string(&log).unwrap_or_default());
    };
    detached(&["create", "c"]);
    let state = |key: &str| {
        let got = rootless.run(&["state", "c"]);
        serde_json::from_str::<Value>(&got.out).unwrap_or_else(|_| panic!("{got:?}"))[key].clone()
    };
    assert_eq!(state("status"), "created");
    detached(&["start", "c"]);
    assert_eq!(state("status"), "running");
    let status = fs::read_to_string(format!("/proc/{}/status", state("pid"))).expect("status");
    assert!(status.contains(&format!("Uid:\t{USER}\t{USER}\t{USER}\t{USER}")), "{status}");
    rootless.check(
        &[
            "exec",
            "c",
            "sh",
            "-c",
            "id -u; cut -d. -f1 /proc/uptime | wc -c; echo $$ | grep -vx 1 >/dev/null; hostname",
        ],
        "0\n11\nrunc",
    );
    let got = rootless.run(&["exec", "c", "nope"]);
    assert!(got.code == 255 && got.err.contains("executable file not found in $PATH"), "{got:?}");
    let got = rootless.run(&["exec", "--additional-gids", "5", "c", "true"]);
    assert!(
        got.code == 255 && got.err.contains("cannot set any additional groups in a rootless container"),
        "{got:?}"
    );
    rootless.check(&["kill", "c", "KILL"], "");
    let began = std::time::Instant::now();
    while state("status") != "stopped" {
        assert!(began.elapsed() < std::time::Duration::from_secs(120), "it does not end");
    }
    assert!(rootless.run(&["kill", "c", "0"]).err.contains("container not running"));
    rootless.check(&["kill", "--all", "c", "0"], "");
    rootless.check(&["delete", "c"], "");
    assert_eq!(rootless.run(&["state", "c"]).code, 1);
}

#[test]
fn what_is_not_a_users_to_give_is_refused() {
    if closed() {
        return;
    }
    Rootless::new(|config| {
        config["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "pid" }]);
        config["linux"]["uidMappings"] = json!([]);
        config["linux"]["gidMappings"] = json!([]);
    })
    .refused("rootless container requires user namespaces");
    let words = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
    Rootless::new(|config| config["linux"]["resources"] = json!({ "pids": { "limit": 10 } })).refused(words);
    Rootless::new(|config| config["linux"]["cgroupsPath"] = json!("/berth-test-nobodys")).refused(words);
    Rootless::new(|config| config["process"]["user"]["additionalGids"] = json!([5]))
        .refused("cannot set any additional groups in a rootless container");
    Rootless::new(|config| {
        let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
        config["linux"]["uidMappings"] = map;
    })
    .refused("newuidmap");
    // Somebody else's files stay somebody else's.
    let secret = Rootless::new(|config| {
        script("cat /secret")(config);
        config["mounts"].as_array_mut().expect("mounts").push(
            json!({ "destination": "/secret", "type": "bind", "source": "secret", "options": ["bind"] }),
        );
    });
    let path = secret.bundle.directory.join("secret");
    fs::write(&path, "root's").expect("write");
    chown(&path, Some(0), Some(0)).expect("chown");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
    let got = secret.run(&["run", "c"]);
    assert!(got.code == 1 && got.out.is_empty() && got.err.contains("Permission denied"), "{got:?}");
}

#[test]
fn several_ids_are_mapped_by_the_programs_that_may() {
    if closed() {
        return;
    }
    if Command::new("newuidmap").output().is_err() {
        println!("SKIP: no newuidmap (Debian package uidmap)");
        return;
    }
    let rootless = Rootless::new(|config| {
        script("id -u; cat /proc/self/uid_map | wc -l; touch /tmp/file; stat -c %u:%g /tmp/file")(config);
        let maps = json!([
            { "containerID": 0, "hostID": USER, "size": 1 }, { "containerID": 1, "hostID": 700_000, "size": 2000 }
        ]);
        config["linux"]["uidMappings"] = maps.clone();
        config["linux"]["gidMappings"] = maps;
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1001 });
        config["root"]["readonly"] = json!(false);
    });
    let directory = &rootless.bundle.directory;
    fs::set_permissions(rootless.bundle.root().join("tmp"), fs::Permissions::from_mode(0o1777))
        .expect("chmod");
    fs::write(directory.join("sub"), format!("{USER}:700000:2000\nnobody:700000:2000\n")).expect("write");
    // The files that say who may map what are the machine's: others are put in their place for this program alone.
    let text = "set -e; for file in /etc/subuid /etc/subgid; do test -e $file || { echo none; exit 9; }; mount --bind sub $file; done; \
                exec setpriv --reuid 65534 --regid 65534 --clear-groups ./runc --root state run c";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", text]);
    let got = result(command.current_dir(directory).stdin(Stdio::null()).output().expect("unshare"));
    if got.code == 9 {
        println!("SKIP: no /etc/subuid or no /etc/subgid to put others in the place of");
        return;
    }
    assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, "1000\n2\n1000:1001", ""));
    let made = fs::metadata(rootless.bundle.root().join("tmp/file")).expect("stat");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 700_999);
}

/// A control group in every tree that was given to the user, as an administrator does; removed with it.
struct Delegated(Vec<PathBuf>);

impl Delegated {
    fn new(name: &str) -> Self {
        let hierarchy = cgroup::Hierarchy::detect().expect("cgroups");
        let trees = hierarchy.trees().iter().filter(|tree| !tree.beside);
        let made: Vec<PathBuf> = trees.map(|tree| tree.mount_point.join(name)).collect();
        let path = cgroup::CgroupPath::parse(&format!("/{name}")).expect("path");
        cgroup::Cgroup::create(&hierarchy, &path).expect("group");
        for directory in &made {
            for file in ["", "cgroup.procs", "tasks", "cgroup.subtree_control"] {
                let file = directory.join(file);
                if file.exists() {
                    chown(&file, Some(USER), Some(USER)).expect("chown");
                }
            }
        }
        Self(made)
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let hierarchy = cgroup::Hierarchy::detect().expect("cgroups");
        for directory in &self.0 {
            let path = cgroup::CgroupPath::parse(&format!(
                "/{}",
                directory.file_name().unwrap_or_default().to_string_lossy()
            ));
            if let Ok(Some(group)) = cgroup::Cgroup::open(&hierarchy, &path.expect("path")) {
                let _ = fs::remove_dir(directory.join("caller"));
                let _ = group.remove();
            }
        }
    }
}

impl Delegated {
    /// A command that is begun inside the delegated group, where what it begins with may be moved from: on v2 that takes
    /// rights over the group that is above both (cgroups(7), "Delegation containment"). systemd's user manager does so.
    fn inside(&self, command: Command) -> Command {
        if cgroup::Hierarchy::detect().expect("cgroups").version() == cgroup::Version::V1 {
            return command;
        }
        let caller = self.0.first().expect("a tree").join("caller");
        fs::create_dir_all(&caller).expect("mkdir");
        let enter =
            "echo 0 > $0/cgroup.procs && exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
        let mut inside = Command::new("sh");
        inside.arg("-c").arg(enter).arg(caller).arg(command.get_program()).args(command.get_args());
        inside.current_dir(command.get_current_dir().expect("a directory")).stdin(Stdio::null());
        inside
    }
}

#[test]
fn groups_that_were_delegated_limit_a_users_container() {
    if closed() {
        return;
    }
    let name = format!("berth-test-rootless-{}", std::process::id());
    let delegated = Delegated::new(&name);
    let rootless = Rootless::new(|config| {
        script("sleep 1000")(config);
        config["linux"]["cgroupsPath"] = json!(format!("/{name}/c"));
        config["linux"]["resources"] = json!({ "pids": { "limit": 20 }, "memory": { "limit": 33_554_432 } });
    });
    let run =
        |arguments: &[&str]| result(delegated.inside(rootless.command(arguments)).output().expect("runtime"));
    let check = |arguments: &[&str], expected: &str| {
        let got = run(arguments);
        assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, expected, ""), "{arguments:?}");
    };
    let log = rootless.bundle.directory.join("log");
    let mut command = delegated.inside(rootless.command(&["run", "-d", "c"]));
    let status = command.stdout(Stdio::null()).stderr(fs::File::create(&log).expect("log")).status();
    assert!(status.expect("runtime").success(), "{}", fs::read_to_string(&log).unwrap_or_default());
    let hierarchy = cgroup::Hierarchy::detect().expect("cgroups");
    let read = |controller, file: &str| {
        let tree = hierarchy.tree(controller).expect("tree");
        let path = tree.mount_point.join(&name).join("c").join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")).trim().to_owned()
    };
    // Without a namespace of groups on v1, with one on v2.
    let (memory, is_own) = match hierarchy.version() {
        cgroup::Version::V1 => ("memory.limit_in_bytes", "grep -c pids:/$ /proc/self/cgroup; true"),
        cgroup::Version::V2 => ("memory.max", "grep -c -v ::/$ /proc/self/cgroup; true"),
    };
    assert_eq!(read(cgroup::Controller::Pids, "pids.max"), "20");
    assert_eq!(read(cgroup::Controller::Memory, memory), "33554432");
    assert_eq!(read(cgroup::Controller::Pids, "pids.current"), "1");
    check(&["pause", "c"], "");
    let state = run(&["state", "c"]).out;
    assert!(state.contains("\"paused\""), "{state}");
    check(&["resume", "c"], "");
    check(&["update", "--pids-limit", "30", "c"], "");
    assert_eq!(read(cgroup::Controller::Pids, "pids.max"), "30");
    check(&["exec", "c", "sh", "-c", is_own], "0");
    check(&["delete", "--force", "c"], "");
    assert!(delegated.0.iter().all(|directory| !directory.join("c").exists()));
}
