//! Containers whose control groups are scopes of the system's own systemd. Needs systemd as process 1.

#[expect(dead_code, unreachable_pub, reason = "shared with the tests of every machine")]
#[path = "support/rootless.rs"]
mod rootless;
#[expect(dead_code, unreachable_pub, reason = "shared with the tests of every machine")]
mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use rootless::{Rootless, USER};
use serde_json::json;
use support::Bundle;

/// Whether this machine is the one that these tests are for.
fn unable() -> bool {
    if support::unable() {
        return true;
    }
    if Path::new("/run/systemd/private").exists() {
        return false;
    }
    assert!(std::env::var_os("CI").is_none(), "the guest must have systemd as process 1");
    println!("SKIP: systemd is not process 1");
    true
}

/// A bundle whose control group is a scope below `berth-test.slice`.
fn bundle(script: &str) -> Bundle {
    Bundle::new().script(script).with(|config| {
        let id =
            config["linux"]["cgroupsPath"].as_str().unwrap_or_default().trim_start_matches('/').to_owned();
        config["linux"]["cgroupsPath"] = json!(format!("berth-test.slice:berth:{id}"));
    })
}

fn scope(bundle: &Bundle) -> String {
    format!("berth-{}.scope", bundle.id)
}

fn directory(bundle: &Bundle) -> String {
    format!("/sys/fs/cgroup/berth.slice/berth-test.slice/{}", scope(bundle))
}

fn read(bundle: &Bundle, file: &str) -> String {
    let path = format!("{}/{file}", directory(bundle));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")).trim().to_owned()
}

/// A property of the scope, as systemd knows it.
fn property(bundle: &Bundle, name: &str) -> String {
    let output = Command::new("systemctl").args(["show", "--value", "-p", name, &scope(bundle)]).output();
    String::from_utf8_lossy(&output.expect("systemctl").stdout).trim().to_owned()
}

/// Starts the container, detached.
fn start(bundle: &Bundle) {
    bundle.save();
    let status = bundle
        .command(&["--systemd-cgroup", "run", "-d", &bundle.id])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .expect("runc");
    assert!(status.success());
}

#[test]
fn a_container_lives_in_a_scope_with_its_limits_and_leaves_nothing() {
    if unable() {
        return;
    }
    let container = bundle("exec sleep 1000").with(|config| {
        config["linux"]["resources"] = json!({
            "memory": { "limit": 64 << 20, "swap": 64 << 20 },
            "cpu": { "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0" },
            "pids": { "limit": 50 },
            "unified": { "memory.high": "50331648" }
        });
    });
    start(&container);
    assert_eq!(property(&container, "ActiveState"), "active");
    assert_eq!(property(&container, "Delegate"), "yes");
    assert_eq!(property(&container, "MemoryMax"), (64 << 20).to_string());
    assert_eq!(property(&container, "TasksMax"), "50");
    assert_eq!(property(&container, "CPUQuotaPerSecUSec"), "500ms");
    assert_eq!(read(&container, "memory.max"), (64 << 20).to_string());
    assert_eq!(read(&container, "memory.swap.max"), "0");
    assert_eq!(read(&container, "memory.high"), "50331648");
    assert_eq!(read(&container, "cpu.max"), "50000 100000");
    assert_eq!(read(&container, "cpuset.cpus"), "0");
    assert_eq!(read(&container, "pids.max"), "50");
    // The process that stood in is gone: only the container's own is there.
    assert_eq!(read(&container, "cgroup.procs").lines().count(), 1);
    assert_eq!(container.exec("cat /proc/self/cgroup").out, "0::/");

    let updated = container.runc(&[
        "update",
        "--memory",
        "128m",
        "--memory-swap",
        "128m",
        "--pids-limit",
        "70",
        &container.id,
    ]);
    assert_eq!(updated.code, 0, "{}", updated.err);
    assert_eq!(property(&container, "MemoryMax"), (128 << 20).to_string());
    // What systemd puts in force again is what was asked for last.
    assert!(Command::new("systemctl").arg("daemon-reload").status().expect("systemctl").success());
    assert_eq!(
        (read(&container, "memory.max"), read(&container, "pids.max")),
        ((128 << 20).to_string(), "70".to_owned())
    );

    for (command, state) in [("pause", "paused"), ("resume", "running")] {
        assert_eq!(container.runc(&[command, &container.id]).code, 0);
        assert!(container.runc(&["state", &container.id]).out.contains(&format!("\"status\": \"{state}\"")));
    }
    let deleted = container.runc(&["delete", "--force", &container.id]);
    assert_eq!(deleted.code, 0, "{}", deleted.err);
    assert!(!Path::new(&directory(&container)).exists());
    assert_eq!(property(&container, "LoadState"), "not-found");
}

#[test]
fn a_container_of_one_process_is_made_although_another_stands_in() {
    if unable() {
        return;
    }
    let container = bundle("echo one; (echo two); echo three")
        .with(|config| config["linux"]["resources"] = json!({ "pids": { "limit": 1 } }));
    container.save();
    let result = container.runc(&["--systemd-cgroup", "run", &container.id]);
    assert!(result.out.starts_with("one"), "{result:?}");
    assert_eq!(result.out.lines().count(), 1, "{result:?}");
    assert_eq!(property(&container, "LoadState"), "not-found");
}

#[test]
fn a_device_stays_denied_when_systemd_is_reloaded() {
    if unable() {
        return;
    }
    let container = bundle("exec sleep 1000").with(|config| {
        config["linux"]["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
        config["process"]["capabilities"]["bounding"] = json!(["CAP_MKNOD"]);
        config["process"]["capabilities"]["effective"] = json!(["CAP_MKNOD"]);
        config["process"]["capabilities"]["permitted"] = json!(["CAP_MKNOD"]);
    });
    start(&container);
    let script = "mknod /dev/kmsg c 1 11; cat /dev/kmsg 2>&1 >/dev/null; head -c1 /dev/zero | wc -c";
    for _ in 0..2 {
        let result = container.exec(script);
        assert!(result.out.contains("Operation not permitted") && result.out.ends_with('1'), "{result:?}");
        assert!(Command::new("systemctl").arg("daemon-reload").status().expect("systemctl").success());
    }
}

#[test]
fn rates_of_a_disk_stay_when_systemd_is_reloaded() {
    if unable() {
        return;
    }
    let numbers = std::fs::read_to_string("/sys/block/vda/dev").expect("the guest's disk");
    let (major, minor) = numbers.trim().split_once(':').expect("two numbers");
    let numbers = [major, minor].map(|number| number.parse::<u32>().expect("a number"));
    let rate = |rate: u64| json!([{ "major": numbers[0], "minor": numbers[1], "rate": rate }]);
    let container = bundle("exec sleep 1000").with(|config| {
        config["linux"]["resources"] = json!({ "blockIO": {
            "throttleReadBpsDevice": rate(10_485_760), "throttleWriteIOPSDevice": rate(900)
        } });
    });
    start(&container);
    let line = format!("{major}:{minor} rbps=10485760 wbps=max riops=max wiops=900");
    for _ in 0..2 {
        assert_eq!(read(&container, "io.max"), line);
        assert!(Command::new("systemctl").arg("daemon-reload").status().expect("systemctl").success());
    }
    assert!(property(&container, "IOReadBandwidthMax").contains("10485760"));
}

#[test]
fn an_exec_joins_init_where_it_handed_controllers_down() {
    if unable() {
        return;
    }
    // What systemd does as the first process of a container.
    let script = "mkdir /sys/fs/cgroup/init && echo 1 > /sys/fs/cgroup/init/cgroup.procs && \
                  echo +memory +pids > /sys/fs/cgroup/cgroup.subtree_control && touch /tmp/ready && exec sleep 1000";
    let container = bundle(script).with(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        mounts.push(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup" }));
    });
    start(&container);
    let ready = container.root().join("tmp/ready");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !ready.exists() {
        assert!(std::time::Instant::now() < deadline, "the container is not ready");
        std::thread::yield_now();
    }
    let result = container.exec("cat /proc/self/cgroup");
    assert_eq!((result.code, result.out.as_str()), (0, "0::/init"), "{result:?}");
}

#[test]
fn a_path_that_names_no_unit_is_refused() {
    if unable() {
        return;
    }
    let container = Bundle::new();
    container.save();
    let result = container.runc(&["--systemd-cgroup", "run", &container.id]);
    assert_ne!(result.code, 0);
    assert!(result.err.contains("slice:prefix:name"), "{}", result.err);
}

/// A user's own manager, as `user@.service` starts it: in a group that was delegated to the user.
struct UserManager {
    unit: String,
}

impl UserManager {
    fn start() -> Self {
        let unit = format!("berth-test-user-{}", std::process::id());
        let words = [
            &format!("--unit={unit}"),
            "--property=Type=notify",
            "--property=Delegate=yes",
            &format!("--property=User={USER}"),
            &format!("--property=RuntimeDirectory={unit}"),
            &format!("--setenv=XDG_RUNTIME_DIR=/run/{unit}"),
            "/lib/systemd/systemd",
            "--user",
            "--unit=basic.target",
        ];
        let output = Command::new("systemd-run").args(words).output().expect("systemd-run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { unit }
    }

    fn group(&self) -> String {
        let words = ["show", "--value", "-p", "ControlGroup", &self.unit];
        let output = Command::new("systemctl").args(words).output().expect("systemctl");
        format!("/sys/fs/cgroup{}", String::from_utf8_lossy(&output.stdout).trim())
    }

    /// A command of that user's, begun below the manager's group as everything of a session is.
    fn inside(&self, command: &Command) -> Command {
        let caller = format!("{}/caller", self.group());
        std::fs::create_dir_all(&caller).expect("mkdir");
        let script =
            "echo 0 > $0/cgroup.procs && exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
        let mut inside = Command::new("sh");
        inside.arg("-c").arg(script).arg(caller).arg(command.get_program()).args(command.get_args());
        inside.current_dir(command.get_current_dir().expect("a directory")).stdin(Stdio::null());
        inside.env("XDG_RUNTIME_DIR", format!("/run/{}", self.unit));
        inside
    }
}

impl Drop for UserManager {
    fn drop(&mut self) {
        let _ = Command::new("systemctl").args(["stop", &self.unit]).status();
    }
}

#[test]
fn a_users_container_lives_in_a_scope_of_the_users_manager() {
    if unable() {
        return;
    }
    let manager = UserManager::start();
    let rootless = Rootless::new(|config| {
        config["process"]["args"] = json!(["sleep", "1000"]);
        config["linux"]["cgroupsPath"] = json!(":berth:c");
        config["linux"]["resources"] = json!({ "pids": { "limit": 20 }, "memory": { "limit": 33_554_432 } });
    });
    let command = |words: &[&str]| manager.inside(&rootless.command(words));
    let log = rootless.bundle.directory.join("log");
    let mut run = command(&["--systemd-cgroup", "run", "-d", "c"]);
    let status = run.stdout(Stdio::null()).stderr(std::fs::File::create(&log).expect("log")).status();
    assert!(status.expect("runc").success(), "{}", std::fs::read_to_string(&log).unwrap_or_default());
    let scope = format!("{}/user.slice/berth-c.scope", manager.group());
    let read = |file: &str| {
        let path = format!("{scope}/{file}");
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")).trim().to_owned()
    };
    assert_eq!((read("pids.max"), read("memory.max")), ("20".to_owned(), "33554432".to_owned()));
    assert_eq!(read("cgroup.procs").lines().count(), 1);
    for words in [&["update", "--pids-limit", "30", "c"][..], &["exec", "c", "true"], &["pause", "c"]] {
        let done = support::result(command(words).output().expect("runc"));
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{words:?}");
    }
    assert_eq!((read("pids.max"), read("cgroup.freeze")), ("30".to_owned(), "1".to_owned()));
    let done = support::result(command(&["delete", "--force", "c"]).output().expect("runc"));
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    assert!(!Path::new(&scope).exists());
}
