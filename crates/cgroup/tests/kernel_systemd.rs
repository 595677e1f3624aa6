//! Scopes of a real systemd: a manager of a user, started for the test in a mount namespace of its own. Needs root,
//! systemd's program and its tree (`name=systemd` on v1).

#[expect(dead_code, reason = "shared with the other tests of groups")]
mod support;

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cgroup::device::{DEFAULT_RULES, Rule};
use cgroup::systemd::{Systemd, Unit};
use cgroup::{Amount, Cgroup, CgroupPath, Hierarchy, Limits};
use support::{PATIENCE, Waiting, skip};

const PROGRAM: &str = "/lib/systemd/systemd";

/// A manager in groups of its own, below which it puts all its units.
struct Manager {
    child: Child,
    directory: PathBuf,
    /// In the trees with controllers, and in that of v2 when it lies beside them: systemd prefers the latter.
    groups: Vec<Cgroup>,
}

impl Manager {
    fn start(hierarchy: &Hierarchy) -> Self {
        let name = format!("berth-test-{}-systemd", std::process::id());
        let directory = std::env::temp_dir().join(&name);
        std::fs::create_dir(&directory).unwrap();
        let ready = UnixDatagram::bind(directory.join("ready")).unwrap();
        ready.set_read_timeout(Some(PATIENCE)).unwrap();
        let path = CgroupPath::parse(&format!("/{name}")).unwrap();
        let mut groups = vec![Cgroup::create(hierarchy, &path).unwrap()];
        groups
            .extend(support::unified_beside(hierarchy).map(|unified| Cgroup::join(&unified, &path).unwrap()));
        // systemd only starts where it finds itself booted; that is pretended in a mount namespace of its own. A manager at
        // the top would move all processes of the machine into a scope, so it is not started unless it is below.
        let script = format!(
            "read -r _; ! grep -qE '^(0:|[0-9]+:name=systemd):/$' /proc/self/cgroup || exit 1; \
             mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec {PROGRAM} --user --unit=basic.target"
        );
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--mount", "/bin/sh", "-c", &script]).env("XDG_RUNTIME_DIR", &directory);
        command.env("NOTIFY_SOCKET", directory.join("ready")).stdin(Stdio::piped());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut manager = Self { child, directory, groups };
        manager.groups.iter().for_each(|group| group.add(manager.child.id()).unwrap());
        std::io::Write::write_all(&mut manager.child.stdin.take().unwrap(), b"\n").unwrap();
        let mut message = [0; 4096];
        loop {
            let length = ready.recv(&mut message).unwrap();
            if String::from_utf8_lossy(&message[..length]).lines().any(|line| line == "READY=1") {
                return manager;
            }
        }
    }

    fn connect(&self) -> Systemd {
        Systemd::connect(&self.directory.join("systemd/private")).unwrap()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let killed: Vec<_> = self.groups.iter().map(|group| group.kill(PATIENCE)).collect();
        let reaped = self.child.wait();
        let removed: Vec<_> = self.groups.drain(..).map(Cgroup::remove).collect();
        let cleared = std::fs::remove_dir_all(&self.directory);
        if !std::thread::panicking() {
            killed.into_iter().chain(removed).for_each(|result| result.unwrap());
            reaped.unwrap();
            cleared.unwrap();
        }
    }
}

#[test]
fn a_scope_is_made_limited_updated_and_stopped() {
    if !Path::new(PROGRAM).exists() || !Path::new("/usr/bin/unshare").exists() || !support::is_root() {
        skip("needs root, systemd and unshare");
        return;
    }
    let hierarchy = Hierarchy::detect().unwrap();
    let manager = Manager::start(&hierarchy);
    let mut systemd = manager.connect();
    assert!(systemd.version() >= 240, "{}", systemd.version());
    let unit = Unit::parse("berth-test.slice:berth:c1", "c1", true).unwrap();
    let mut devices = vec![Rule::everything(false)];
    devices.extend(DEFAULT_RULES);
    let limits = Limits { pids: Some(Amount::Of(50)), devices, ..Limits::default() };
    let mut shell = Waiting::new("exit");
    let group = systemd.create(&hierarchy, &unit, "berth container c1", shell.0.id(), &limits).unwrap();
    assert!(
        group.path().to_string().ends_with("-systemd/berth.slice/berth-test.slice/berth-c1.scope"),
        "{}",
        group.path()
    );
    assert_eq!(group.pids().unwrap(), [shell.0.id()]);
    group.set(&limits).unwrap();
    let more = Limits { pids: Some(Amount::Of(60)), ..Limits::default() };
    systemd.update(&unit, &more, hierarchy.version()).unwrap();

    let refused = systemd.create(&hierarchy, &unit, "again", shell.0.id(), &limits).unwrap_err().to_string();
    assert!(refused.contains("UnitExists"), "{refused}");

    group.kill(PATIENCE).unwrap();
    assert_eq!(shell.0.wait().unwrap().signal(), Some(9));
    systemd.stop(&unit).unwrap();
    systemd.stop(&unit).unwrap();
    group.remove().unwrap();
}

#[test]
fn nobody_listening_is_an_error_that_names_the_socket() {
    let error = Systemd::connect(Path::new("/nonexistent/private")).unwrap_err().to_string();
    assert_eq!(error, "connect(\"/nonexistent/private\") = ENOENT: No such file or directory");
}
