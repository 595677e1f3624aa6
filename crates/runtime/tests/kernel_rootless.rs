//! Containers of a user who is not root: nothing but what the kernel lets everybody do, and what was delegated.

#[expect(unreachable_pub, dead_code, reason = "shared by several test binaries, each of which uses a part")]
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Bundle, result, unable};

/// A user and a group that have a name everywhere (nobody, nogroup), which newuidmap(1) asks for.
const USER: u32 = 65_534;

/// A bundle of that user's, with the runtime in it: the directory of the tests may be closed to others.
struct Rootless {
    bundle: Bundle,
}

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

impl Rootless {
    /// The configuration that `spec --rootless` writes, changed.
    fn new(change: impl FnOnce(&mut Value)) -> Self {
        let mut this = Self { bundle: Bundle::new() };
        let open = |path: &Path| path.ancestors().all(|above| mode(above) & 0o001 != 0);
        if !open(&this.bundle.directory) {
            let elsewhere = Path::new("/var/tmp").join(&this.bundle.id);
            assert!(
                Command::new("cp")
                    .arg("-a")
                    .arg(&this.bundle.directory)
                    .arg(&elsewhere)
                    .status()
                    .expect("cp")
                    .success()
            );
            fs::remove_dir_all(&this.bundle.directory).expect("rm");
            this.bundle.directory = elsewhere;
        }
        fs::copy(support::runc(), this.runtime()).expect("runtime");
        let owner = format!("{USER}:{USER}");
        assert!(
            Command::new("chown")
                .arg("-hR")
                .arg(owner)
                .arg(&this.bundle.directory)
                .status()
                .expect("chown")
                .success()
        );
        let made = this.run(&["spec", "--rootless"]);
        assert_eq!((made.code, made.err.as_str()), (0, ""));
        let path = this.bundle.directory.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
        config["process"]["terminal"] = json!(false);
        change(&mut config);
        fs::write(&path, config.to_string()).expect("write");
        this
    }

    fn runtime(&self) -> PathBuf {
        self.bundle.directory.join("runc")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.runtime());
        command.arg("--root").arg(self.bundle.directory.join("state")).args(arguments);
        command.current_dir(&self.bundle.directory).stdin(Stdio::null());
        // Without any group but its own, and without any capability.
        command.uid(USER).gid(USER);
        command
    }

    fn run(&self, arguments: &[&str]) -> support::Result {
        result(self.command(arguments).output().expect("runtime"))
    }

    #[track_caller]
    fn check(&self, arguments: &[&str], expected: &str) {
        let got = self.run(arguments);
        assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, expected, ""), "{arguments:?}");
    }

    #[track_caller]
    fn refused(&self, words: &str) {
        let got = self.run(&["run", "c"]);
        assert!(got.code == 1 && got.err.contains(words), "{got:?}");
    }
}

/// Also after a test that failed: what runs would hold its control group.
impl Drop for Rootless {
    fn drop(&mut self) {
        let _ = self.run(&["delete", "--force", "c"]);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("stat").permissions().mode()
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
                let _ = group.remove();
            }
        }
    }
}

#[test]
fn groups_that_were_delegated_limit_a_users_container() {
    if closed() {
        return;
    }
    if cgroup::Hierarchy::detect().expect("cgroups").version() == cgroup::Version::V2 {
        println!(
            "SKIP: on v2, entering a delegated group takes rights over the common group above, which is root's here"
        );
        return;
    }
    let name = format!("berth-test-rootless-{}", std::process::id());
    let delegated = Delegated::new(&name);
    let rootless = Rootless::new(|config| {
        script("sleep 1000")(config);
        config["linux"]["cgroupsPath"] = json!(format!("/{name}/c"));
        config["linux"]["resources"] = json!({ "pids": { "limit": 20 }, "memory": { "limit": 33_554_432 } });
    });
    let mut command = rootless.command(&["run", "-d", "c"]);
    let log = rootless.bundle.directory.join("log");
    let status = command.stdout(Stdio::null()).stderr(fs::File::create(&log).expect("log")).status();
    assert!(status.expect("runtime").success(), "{}", fs::read_to_string(&log).unwrap_or_default());
    let hierarchy = cgroup::Hierarchy::detect().expect("cgroups");
    let read = |controller, file: &str| {
        let tree = hierarchy.tree(controller).expect("tree");
        let path = tree.mount_point.join(&name).join("c").join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")).trim().to_owned()
    };
    assert_eq!(read(cgroup::Controller::Pids, "pids.max"), "20");
    assert_eq!(read(cgroup::Controller::Memory, "memory.limit_in_bytes"), "33554432");
    assert_eq!(read(cgroup::Controller::Pids, "pids.current"), "1");
    rootless.check(&["pause", "c"], "");
    let state = rootless.run(&["state", "c"]).out;
    assert!(state.contains("\"paused\""), "{state}");
    rootless.check(&["resume", "c"], "");
    rootless.check(&["update", "--pids-limit", "30", "c"], "");
    assert_eq!(read(cgroup::Controller::Pids, "pids.max"), "30");
    rootless.check(&["exec", "c", "sh", "-c", "grep -c pids:/$ /proc/self/cgroup; true"], "0");
    rootless.check(&["delete", "--force", "c"], "");
    assert!(delegated.0.iter().all(|directory| !directory.join("c").exists()));
}
