//! Other engines with us as their runtime: Docker, Podman and containerd as Debian packages them run, join, pause, limit,
//! stop and remove containers through this binary, called as `runc`.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Why a peer cannot be tested here; on CI it must be.
fn unable(programs: &[&str]) -> bool {
    let missing = |program: &&&str| {
        !["/usr/bin", "/usr/sbin", "/bin"].iter().any(|at| Path::new(at).join(program).exists())
    };
    let reason = if linux::credentials::effective_uid() != 0 {
        "not root".to_owned()
    } else if let Some(program) = programs.iter().chain(&["busybox", "unshare", "nsenter"]).find(missing) {
        format!("{program} is not installed")
    } else {
        return false;
    };
    assert!(std::env::var_os("CI").is_none(), "CI must be able to run this: {reason}");
    println!("SKIP: {reason}");
    true
}

/// A directory, a network and a mount namespace for one peer; nothing of them is left.
struct Place {
    directory: PathBuf,
    name: String,
    holder: Child,
    /// The trees of control groups that were there before: a peer makes directories for those that are not.
    trees: Vec<PathBuf>,
}

/// What is in /sys/fs/cgroup.
fn trees() -> Vec<PathBuf> {
    fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

impl Place {
    fn new(peer: &str) -> Self {
        let name = format!("berth-test-{}-{peer}", std::process::id());
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir_all(&directory).expect("mkdir");
        symlink(env!("CARGO_BIN_EXE_berth"), directory.join("runc")).expect("link");
        root(&directory.join("rootfs"));
        // What engines keep in places of their own choice is kept in ours. The namespaces end with the holder, and that
        // with its input.
        let script =
            "ip link set lo up; for at in /run /dev/shm; do mount -t tmpfs tmpfs $at; done; echo; exec cat";
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "slave", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut ready = [0];
        holder.stdout.as_mut().expect("pipe").read_exact(&mut ready).expect("the holder");
        Self { directory, name, holder, trees: trees() }
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// A command in the namespaces; it becomes the program itself.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--mount", "--target", &self.holder.id().to_string(), "--", program]);
        command.args(arguments).current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    fn call(&self, program: &str, arguments: &[&str]) -> Answer {
        // Files, not pipes: what an engine leaves running may hold them open.
        let at = |name: &str| self.directory.join(name);
        let file = |name: &str| fs::File::create(at(name)).expect("create");
        let status = self.command(program, arguments).stdout(file("out")).stderr(file("err")).status();
        let read = |name: &str| fs::read_to_string(at(name)).unwrap_or_default().trim().replace('\r', "");
        Answer { code: status.expect("nsenter").code().unwrap_or(-1), out: read("out"), err: read("err") }
    }

    /// Starts a daemon and waits until `asks` succeeds.
    fn daemon(&self, program: &str, arguments: &[&str], asks: impl Fn() -> bool) -> Daemon {
        let log = fs::File::create(self.directory.join("daemon.log")).expect("create");
        let mut command = self.command(program, arguments);
        let child = command.stdout(log.try_clone().expect("dup")).stderr(log).spawn().expect(program);
        let mut daemon = Daemon(child);
        let began = Instant::now();
        while !asks() {
            let log = || fs::read_to_string(self.directory.join("daemon.log")).unwrap_or_default();
            assert!(daemon.0.try_wait().expect("wait").is_none(), "{program} ended: {}", log());
            assert!(began.elapsed() < Duration::from_secs(60), "{program} does not answer: {}", log());
        }
        daemon
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A test that failed leaves its container and what watches over it.
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
            let told = [read("cmdline"), read("cgroup")].concat();
            if String::from_utf8_lossy(&told).contains(&self.name) {
                end(&entry.file_name().to_string_lossy());
            }
        }
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
        remove_group(&Path::new("/sys/fs/cgroup").join(&self.name));
        for tree in trees() {
            remove_group(&tree.join(&self.name));
            if !self.trees.contains(&tree) {
                let _ = fs::remove_dir(&tree);
            }
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn end(pid: &str) {
    if let Ok(Some(process)) = linux::pidfd::PidFd::open(pid.parse().unwrap_or(u32::MAX)) {
        let _ = process.send(9);
    }
}

/// Removes a group and those below it, or the plain files that a peer wrote in place of a group.
fn remove_group(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_group(&entry.path());
        }
    }
    if fs::remove_dir(path).is_err()
        && !path.join("cgroup.controllers").exists()
        && !path.join("tasks").exists()
    {
        let _ = fs::remove_dir_all(path);
    }
}

/// A daemon that is told to end, and waited for.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(Some(process)) = linux::pidfd::PidFd::open(self.0.id()) {
            let _ = process.send(15);
        }
        let _ = self.0.wait();
    }
}

#[derive(Debug)]
struct Answer {
    code: i32,
    out: String,
    err: String,
}

impl Answer {
    fn says(&self, code: i32, out: &str) {
        assert_eq!((self.code, self.out.as_str()), (code, out), "{self:?}");
    }
}

/// A busybox root.
fn root(at: &Path) {
    for name in ["bin", "proc", "dev", "sys", "etc", "tmp", "root"] {
        fs::create_dir_all(at.join(name)).expect("mkdir");
    }
    // By a process of its own: nobody runs a program that somebody here has open for writing (ETXTBSY).
    let copied = Command::new("cp").arg("/bin/busybox").arg(at.join("bin/busybox")).status();
    assert!(copied.expect("cp").success());
    for applet in ["sh", "cat", "sleep", "echo", "id", "tty", "test", "grep", "true", "hostname"] {
        symlink("busybox", at.join("bin").join(applet)).expect("link");
    }
    fs::write(at.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("write");
}

/// The memory limit as the container sees it, on either version of control groups.
const LIMIT: &str =
    "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";

/// A life of a container in the words that Docker's and Podman's command lines share.
fn life(call: &dyn Fn(&[&str]) -> Answer, flags: &[&str]) {
    let with = |first: &[&str], last: &[&str]| call(&[first, flags, last].concat());
    with(&["run", "--rm"], &["box", "sh", "-c", "echo ran; exit 3"]).says(3, "ran");
    with(&["run", "--rm", "-t"], &["box", "tty"]).says(0, "/dev/pts/0");
    let missing = with(&["run", "--rm"], &["box", "nope"]);
    assert_eq!(missing.code, 127, "{missing:?}");
    let started =
        with(&["run", "-d", "--name", "one", "-m", "64m", "--pids-limit", "50"], &["box", "sleep", "100000"]);
    assert_eq!(started.code, 0, "{started:?}");
    call(&["exec", "one", "echo", "joined"]).says(0, "joined");
    call(&["exec", "-u", "12:34", "one", "id", "-u"]).says(0, "12");
    call(&["exec", "one", "sh", "-c", "exit 7"]).says(7, "");
    // Docker's codes for this changed with its versions.
    let missing = call(&["exec", "one", "nope"]);
    assert!(matches!(missing.code, 126 | 127), "{missing:?}");
    assert!(format!("{}{}", missing.out, missing.err).contains("executable file not found"), "{missing:?}");
    call(&["exec", "one", "sh", "-c", LIMIT]).says(0, "67108864");
    let state = |expected: &str| call(&["inspect", "-f", "{{.State.Status}}", "one"]).says(0, expected);
    assert_eq!(call(&["pause", "one"]).code, 0);
    state("paused");
    assert_eq!(call(&["unpause", "one"]).code, 0);
    state("running");
    let top = call(&["top", "one"]);
    assert!(top.code == 0 && top.out.contains("sleep"), "{top:?}");
    assert_eq!(call(&["kill", "one"]).code, 0);
    assert!(matches!(call(&["wait", "one"]).out.as_str(), "137"));
    state("exited");
    assert_eq!(call(&["start", "one"]).code, 0);
    state("running");
    let stopped = call(&["stop", "-t", "0", "one"]);
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert_eq!(call(&["rm", "one"]).code, 0);
    call(&["ps", "-aq"]).says(0, "");
}

fn archive(place: &Place) -> String {
    let made: Output = Command::new("tar")
        .args(["-C", &place.path("rootfs"), "-cf", &place.path("root.tar"), "."])
        .output()
        .expect("tar");
    assert!(made.status.success(), "{made:?}");
    place.path("root.tar")
}

#[test]
fn docker_runs_containers_through_us() {
    if unable(&["dockerd", "docker", "containerd"]) {
        return;
    }
    let place = Place::new("docker");
    let (socket, group) = (format!("unix://{}", place.path("s.sock")), format!("/{}", place.name));
    let call = |arguments: &[&str]| place.call("docker", &[&["-H", &socket], arguments].concat());
    let runtime = format!("berth={}", place.path("runc"));
    let [data, exec, pid] = ["data", "exec", "pid"].map(|name| place.path(name));
    let arguments = [
        "--host",
        &socket,
        "--data-root",
        &data,
        "--exec-root",
        &exec,
        "--pidfile",
        &pid,
        "--bridge",
        "none",
        "--iptables=false",
        "--add-runtime",
        &runtime,
        "--default-runtime",
        "berth",
        "--cgroup-parent",
        &group,
    ];
    let _daemon = place.daemon("dockerd", &arguments, || call(&["version"]).code == 0);
    assert_eq!(call(&["import", &archive(&place), "box"]).code, 0);
    life(&call, &["--network", "none"]);
    // Limits that change reach the container as well.
    let started = call(&["run", "-d", "--name", "two", "--network", "none", "box", "sleep", "100000"]);
    assert_eq!(started.code, 0, "{started:?}");
    let updated = call(&["update", "--memory", "32m", "--memory-swap", "64m", "two"]);
    assert_eq!(updated.code, 0, "{updated:?}");
    call(&["exec", "two", "sh", "-c", LIMIT]).says(0, "33554432");
    assert_eq!(call(&["rm", "-f", "two"]).code, 0);
}

#[test]
fn podman_runs_containers_through_us() {
    if unable(&["podman", "conmon"]) {
        return;
    }
    let place = Place::new("podman");
    let [root, run, tmp, runtime] = ["root", "runroot", "tmp", "runc"].map(|name| place.path(name));
    let globals = [
        "--root",
        &root,
        "--runroot",
        &run,
        "--tmpdir",
        &tmp,
        "--runtime",
        &runtime,
        "--cgroup-manager",
        "cgroupfs",
        "--storage-driver",
        "vfs",
        "--events-backend",
        "none",
    ];
    let call = |arguments: &[&str]| place.call("podman", &[&globals, arguments].concat());
    let imported = call(&["import", "-q", &archive(&place), "box"]);
    assert_eq!(imported.code, 0, "{imported:?}");
    let group = format!("--cgroup-parent=/{}", place.name);
    // Podman raises limits by itself, which a machine may not allow.
    let limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"];
    life(&call, &["--network", "none", "--pull=never", &group, limits[0], limits[1]]);
}

#[test]
fn containerd_runs_containers_through_us() {
    if unable(&["containerd", "ctr"]) {
        return;
    }
    let place = Place::new("containerd");
    let socket = place.path("c.sock");
    let [config, data, state, runtime, rootfs] =
        ["config.toml", "root", "state", "runc", "rootfs"].map(|name| place.path(name));
    fs::write(&config, "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n").expect("write");
    let call = |arguments: &[&str]| place.call("ctr", &[&["-a", &socket], arguments].concat());
    let arguments = ["--config", &config, "--root", &data, "--state", &state, "--address", &socket];
    let _daemon = place.daemon("containerd", &arguments, || call(&["version"]).code == 0);
    let group = format!("/{}/one", place.name);
    let flags = [
        "--rootfs",
        "--env",
        "PATH=/bin",
        "--runc-binary",
        &runtime,
        "--cgroup",
        &group,
        "--memory-limit",
        "67108864",
    ];
    let ran =
        call(&[&["run", "--rm"], &flags[..], &[&rootfs, "once", "sh", "-c", "echo ran; exit 3"]].concat());
    ran.says(3, "ran");
    let started = call(&[&["run", "-d"], &flags[..], &[&rootfs, "one", "sleep", "100000"]].concat());
    assert_eq!(started.code, 0, "{started:?}");
    let exec = |id: &str, words: &[&str]| call(&[&["task", "exec", "--exec-id", id, "one"], words].concat());
    exec("a", &["echo", "joined"]).says(0, "joined");
    exec("b", &["sh", "-c", "exit 7"]).says(7, "");
    let limit = |file: &str| fs::read_to_string(format!("/sys/fs/cgroup/{file}")).unwrap_or_default();
    let limit = limit(&format!("memory{group}/memory.limit_in_bytes"))
        + &limit(&format!("{}/memory.max", &group[1..]));
    assert_eq!(limit.trim(), "67108864");
    let missing = exec("d", &["nope"]);
    assert!(missing.code != 0 && missing.err.contains("executable file not found"), "{missing:?}");
    let status = |expected: &str| {
        let listed = call(&["task", "ls"]);
        assert!(listed.out.contains(expected), "{expected}: {listed:?}");
    };
    assert_eq!(call(&["task", "pause", "one"]).code, 0);
    status("PAUSED");
    assert_eq!(call(&["task", "resume", "one"]).code, 0);
    status("RUNNING");
    assert_eq!(call(&["task", "ps", "one"]).code, 0);
    assert_eq!(call(&["task", "kill", "-s", "SIGKILL", "one"]).code, 0);
    let began = Instant::now();
    while !call(&["task", "ls"]).out.contains("STOPPED") {
        assert!(began.elapsed() < Duration::from_secs(20), "never stopped");
    }
    let removed = call(&["task", "rm", "one"]);
    assert!(matches!(removed.code, 0 | 137), "{removed:?}");
    assert_eq!(call(&["container", "rm", "one"]).code, 0);
    call(&["container", "ls", "-q"]).says(0, "");
}
