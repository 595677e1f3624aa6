//! The bundle of a container that another runtime makes: its root file system and what it mounts, in a mount namespace of
//! the shim's own, so that nothing of it is in the host's table; and the configuration with the paths of all that.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use linux::mount::{self, Change, Propagation};
use linux::process::{namespace, unshare};
use oci::runtime::{Mount, NamespaceKind, Spec};

use super::container::file_error;
use crate::protocol::{Create, Error, Root};

/// Where our init is in a container.
const INIT: &str = "/sbin/docker-init";

/// What every runtime knows.
const VERSION: &str = "1.0.2";

/// Directories and files below the directory of the bundle.
#[derive(Debug)]
pub(super) struct Bundle {
    dir: PathBuf,
    /// What is mounted in our namespace, in order.
    mounted: Vec<PathBuf>,
}

/// A file or directory that is to be mounted, and where.
struct Held {
    source: OwnedFd,
    target: PathBuf,
}

impl Bundle {
    /// Makes the bundle. The mount namespace of the calling process, which has one thread, is its own from then on.
    pub(super) fn make(dir: &Path, request: &Create) -> Result<Self, Error> {
        let mut bundle = Self { dir: dir.to_owned(), mounted: Vec::new() };
        for path in [dir.to_owned(), dir.join("rootfs"), dir.join("held"), bundle.state()] {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|error| file_error(&path, &error))?;
        }
        let mut spec = request.spec.clone();
        // What only a descriptor of the daemon names is copied before the namespace is left.
        let held = bundle.take_held(&mut spec)?;
        if request.init {
            bundle.add_init(&mut spec)?;
        }
        let root = match &request.root {
            Root::Path { path } => path.clone(),
            Root::Overlay { .. } => dir.join("rootfs"),
        };
        leave_namespace()?;
        bundle.mount_root(&request.root)?;
        for Held { source, target } in held {
            bundle.attach(source, target)?;
        }
        plain(&mut spec, &root);
        let path = dir.join("config.json");
        let text = serde_json::to_vec(&spec).map_err(|error| super::foreign::other(error.to_string()))?;
        fs::write(&path, text).map_err(|error| file_error(&path, &error))?;
        Ok(bundle)
    }

    /// Where the runtime keeps its state.
    pub(super) fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// A file in the bundle's directory.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Unmounts everything, so that the layers can be mounted again.
    pub(super) fn unmount(&mut self) -> Result<(), Error> {
        while let Some(path) = self.mounted.pop() {
            mount::detach(&path)?;
        }
        Ok(())
    }

    /// Sources of the form `/proc/<pid>/fd/<number>`: the runtime gets paths in their place.
    fn take_held(&self, spec: &mut Spec) -> Result<Vec<Held>, Error> {
        let mut held = Vec::new();
        for entry in spec.mounts.iter_mut().filter(|entry| is_descriptor(&entry.source)) {
            let source = Path::new(&entry.source);
            let is_dir = fs::metadata(source).map_err(|error| file_error(source, &error))?.is_dir();
            let target = self.dir.join("held").join(held.len().to_string());
            let made = if is_dir { fs::create_dir_all(&target) } else { fs::write(&target, b"") };
            made.map_err(|error| file_error(&target, &error))?;
            // A mount that is attached nowhere cannot be copied, but it can be attached.
            let source = mount::clone_path(source, true).or_else(|_| mount::open_path(source))?;
            entry.source = target.display().to_string();
            held.push(Held { source, target });
        }
        Ok(held)
    }

    /// Our own binary as pid 1, with the program as its argument.
    fn add_init(&self, spec: &mut Spec) -> Result<(), Error> {
        let path = self.file("init");
        fs::copy("/proc/self/exe", &path).map_err(|error| file_error(&path, &error))?;
        spec.mounts.push(Mount {
            destination: INIT.to_owned(),
            kind: "bind".to_owned(),
            source: path.display().to_string(),
            options: ["bind", "ro"].map(str::to_owned).to_vec(),
            ..Mount::default()
        });
        if let Some(process) = &mut spec.process {
            process.args.splice(0..0, [INIT, "--"].map(str::to_owned));
        }
        Ok(())
    }

    fn mount_root(&mut self, root: &Root) -> Result<(), Error> {
        let Root::Overlay { lower, upper, work, .. } = root else { return Ok(()) };
        let lower: Vec<&Path> = lower.iter().map(PathBuf::as_path).collect();
        let mounted = linux::overlay::detached(&lower, Some((upper, work)))?;
        self.attach(mounted, self.dir.join("rootfs"))
    }

    fn attach(&mut self, source: OwnedFd, target: PathBuf) -> Result<(), Error> {
        mount::attach(source.as_fd(), mount::open_path(&target)?)?;
        self.mounted.push(target);
        Ok(())
    }
}

fn is_descriptor(source: &str) -> bool {
    source
        .strip_prefix("/proc/")
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(pid, rest)| pid.bytes().all(|byte| byte.is_ascii_digit()) && rest.starts_with("fd/"))
}

/// Leaves the host's mount namespace for a copy: what the host unmounts is unmounted here too, and never the other way.
fn leave_namespace() -> Result<(), Error> {
    unshare(namespace::MOUNT)?;
    let slave = Change { propagation: Some(Propagation::Slave), ..Change::default() };
    Ok(mount::change(mount::open_path(Path::new("/"))?, true, &slave)?)
}

/// Leaves out what runtimes of today do not all know.
fn plain(spec: &mut Spec, root: &Path) {
    if let Some(linux) = &mut spec.linux {
        linux.namespaces.retain(|namespace| namespace.kind != NamespaceKind::Time);
    }
    VERSION.clone_into(&mut spec.oci_version);
    let readonly = spec.root.as_ref().is_some_and(|root| root.readonly);
    spec.root = Some(oci::runtime::Root { path: root.display().to_string(), readonly });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_of_processes_are_told_from_other_sources() {
        for (source, expected) in [
            ("/proc/12/fd/3", true),
            ("/proc/self/fd/3", false),
            ("/proc/12/root", false),
            ("/srv/proc/1/fd/2", false),
            ("proc", false),
        ] {
            assert_eq!(is_descriptor(source), expected, "{source}");
        }
    }
}
