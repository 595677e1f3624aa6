//! Bundles with a busybox root, and the runtime to run them with.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

/// Why the tests cannot run here; on CI they must.
pub fn unable() -> bool {
    let reason = if linux::credentials::effective_uid() != 0 {
        "not root"
    } else if !Path::new("/bin/busybox").exists() {
        "no /bin/busybox (Debian package busybox-static)"
    } else {
        return false;
    };
    assert!(std::env::var_os("CI").is_none(), "CI must be able to run this: {reason}");
    println!("SKIP: {reason}");
    true
}

/// A container's bundle in a directory of its own; everything is removed with it.
pub struct Bundle {
    pub directory: PathBuf,
    pub id: String,
    pub config: Value,
}

/// What came out of a command.
#[derive(Debug)]
pub struct Result {
    pub code: i32,
    pub out: String,
    pub err: String,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

const APPLETS: &[&str] = &[
    "sh", "cat", "ls", "true", "false", "id", "mount", "sleep", "echo", "hostname", "readlink", "stat",
    "env", "tty", "kill", "dd", "grep", "touch", "mkdir", "pwd", "wc", "date", "trap", "test", "mknod",
    "chmod", "ip", "uname", "ln",
];

/// Copies a program by a process of its own: what another test starts meanwhile has, for a moment, every file that is open
/// here, and nobody runs a program that somebody has open for writing (execve(2), ETXTBSY).
pub fn copy_program(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("--").arg(from).arg(to).status();
    assert!(status.expect("cp").success(), "{from:?} to {to:?}");
}

impl Bundle {
    pub fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("berth-test-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(&id);
        let root = directory.join("rootfs");
        for name in ["bin", "proc", "dev", "sys", "etc", "tmp", "root"] {
            fs::create_dir_all(root.join(name)).expect("mkdir");
        }
        copy_program(Path::new("/bin/busybox"), &root.join("bin/busybox"));
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).expect("link");
        }
        let config = config(&id);
        Self { directory, id, config }
    }

    pub fn root(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    /// The program is a shell with this script.
    pub fn script(mut self, script: &str) -> Self {
        self.config["process"]["args"] = json!(["sh", "-c", script]);
        self
    }

    /// Changes the configuration.
    pub fn with(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    pub fn save(&self) {
        fs::write(self.directory.join("config.json"), self.config.to_string()).expect("config.json");
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(runc());
        command.arg("--root").arg(self.directory.join("state")).args(arguments).current_dir(&self.directory);
        command
    }

    /// Runs a command of the runtime to its end.
    pub fn runc(&self, arguments: &[&str]) -> Result {
        result(self.command(arguments).stdin(Stdio::null()).output().expect("runc"))
    }

    /// Runs the container to its end.
    pub fn run(&self) -> Result {
        self.save();
        self.runc(&["run", &self.id])
    }

    /// Starts the container, detached, with its output thrown away.
    pub fn start(&self) {
        self.save();
        let mut command = self.command(&["run", "-d", &self.id]);
        let log = fs::File::create(self.directory.join("start.log")).expect("log");
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).status().expect("runc");
        let words = fs::read_to_string(self.directory.join("start.log")).unwrap_or_default();
        assert!(status.success(), "{words}");
    }

    pub fn exec(&self, script: &str) -> Result {
        self.runc(&["exec", &self.id, "sh", "-c", script])
    }
}

/// Gives the container a user namespace whose users are 100,000 and up.
pub fn mapped(config: &mut Value) {
    config["linux"]["namespaces"].as_array_mut().expect("list").push(json!({ "type": "user" }));
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = self.runc(&["delete", "--force", &self.id]);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

pub fn result(output: Output) -> Result {
    Result {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
        err: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
    }
}

/// The runtime alone.
pub fn runc() -> PathBuf {
    example("runc")
}

/// A program that cargo builds beside the tests.
pub fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    let path = own.parent().and_then(Path::parent).expect("target directory").join("examples").join(name);
    assert!(path.exists(), "{path:?} is missing: run cargo build -p runtime --examples");
    path
}

fn config(id: &str) -> Value {
    let capabilities = json!(["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE"]);
    json!({
        "ociVersion": "1.3.0",
        "hostname": "box",
        "root": { "path": "rootfs" },
        "process": {
            "args": ["true"], "cwd": "/", "env": ["PATH=/bin", "A=1"], "user": { "uid": 0, "gid": 0 },
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities }
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "ro"] }
        ],
        "linux": {
            "cgroupsPath": format!("/{id}"),
            "namespaces": [
                { "type": "mount" }, { "type": "network" }, { "type": "uts" }, { "type": "pid" }, { "type": "ipc" },
                { "type": "cgroup" }, { "type": "time" }
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/nowhere"],
            "readonlyPaths": ["/proc/bus", "/proc/sys"]
        }
    })
}
