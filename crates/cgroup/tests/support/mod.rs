//! Groups and processes made for one test, and gone after it.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use cgroup::{Cgroup, CgroupPath, Controller, Hierarchy};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Says why a test cannot run here; on CI, where everything must be there, that is a failure.
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "cannot be skipped on CI: {reason}");
    println!("SKIP: {reason}");
}

/// A group of its own below `/berth-test-<pid>-<name>`.
pub(crate) struct TestGroup {
    pub(crate) hierarchy: Hierarchy,
    pub(crate) group: Option<Cgroup>,
}

impl TestGroup {
    /// Makes the group when root, and every controller that the test needs, is there.
    pub(crate) fn new(name: &str, needed: &[Controller]) -> Option<Self> {
        if !is_root() {
            skip("needs root");
            return None;
        }
        Self::within(Hierarchy::detect().unwrap(), name, needed)
    }

    /// Makes the group in the v2 tree, also where that lies empty beside the trees of v1.
    pub(crate) fn unified(name: &str) -> Option<Self> {
        match unified() {
            Some(hierarchy) if is_root() => Self::within(hierarchy, name, &[]),
            _ => {
                skip("needs root and a cgroup2 mount");
                None
            }
        }
    }

    fn within(hierarchy: Hierarchy, name: &str, needed: &[Controller]) -> Option<Self> {
        if let Some(missing) = needed.iter().find(|controller| !hierarchy.has(**controller)) {
            skip(&format!("needs the {} controller", missing.name()));
            return None;
        }
        let path = CgroupPath::parse(&format!("/berth-test-{}-{name}", std::process::id())).unwrap();
        let group = Some(Cgroup::create(&hierarchy, &path).unwrap());
        Some(Self { hierarchy, group })
    }

    pub(crate) fn group(&self) -> &Cgroup {
        self.group.as_ref().unwrap()
    }

    /// A shell that enters the group, and then runs a script.
    pub(crate) fn shell(&self, script: &str) -> Waiting {
        let waiting = Waiting::new(script);
        self.group().add(waiting.0.id()).unwrap();
        waiting
    }
}

impl Drop for TestGroup {
    fn drop(&mut self) {
        if let Some(group) = self.group.take() {
            let killed = group.kill(PATIENCE);
            let removed = group.remove();
            if !std::thread::panicking() {
                killed.unwrap();
                removed.unwrap();
            }
        }
    }
}

/// A shell that waits for a line before it runs its script.
pub(crate) struct Waiting(pub(crate) Child);

impl Waiting {
    pub(crate) fn new(script: &str) -> Self {
        let script = format!("read -r _ && {{ {script}\n}}");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(shell.spawn().unwrap())
    }

    /// Lets the script run.
    pub(crate) fn go(&mut self) {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
    }

    /// Lets the script run to its end.
    pub(crate) fn output(mut self) -> Output {
        self.go();
        self.0.wait_with_output().unwrap()
    }
}

/// The v2 tree, also where it lies empty beside the trees of v1.
fn unified() -> Option<Hierarchy> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let v2: Vec<&str> = mounts.lines().filter(|line| line.contains(" - cgroup2 ")).collect();
    Hierarchy::parse(&v2.join("\n"), "0::/\n").ok()
}

/// The v2 tree where it lies empty beside the trees of v1.
pub(crate) fn unified_beside(hierarchy: &Hierarchy) -> Option<Hierarchy> {
    unified().filter(|_| hierarchy.version() == cgroup::Version::V1)
}

pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Whether a directory is there.
pub(crate) fn exists(path: &Path) -> bool {
    path.is_dir()
}
