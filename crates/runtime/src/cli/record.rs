//! What is remembered of a container between commands: `<root>/<id>/` with `state.json`, its `config.json`, and the socket
//! that starts it.

use std::fs;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cgroup::{Cgroup, CgroupPath, Hierarchy};
use linux::pidfd::PidFd;
use linux::procfs::Procfs;
use oci::runtime::{NamespaceKind, Spec};
use serde::{Deserialize, Serialize};

use crate::error::While;
use crate::group::Place;
use crate::{Error, Kind, Result};

/// The largest configuration that is read.
const CONFIG_LIMIT: u64 = 16 << 20;
/// Most files are smaller, and read by one call.
const USUAL_SIZE: usize = 4096;
/// The longest id.
const ID_LIMIT: usize = 1024;

/// A container's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// Its id.
    pub(super) id: String,
    /// Its first process.
    pub(super) pid: u32,
    /// When that was started, in clock ticks since boot.
    pub(super) start_time_ticks: u64,
    /// Absolute path of its bundle.
    pub(super) bundle: PathBuf,
    /// Absolute path of its root file system.
    pub(super) rootfs: PathBuf,
    /// When it was made (RFC 3339).
    pub(super) created: String,
    /// Its control group, absolute or relative to its maker's; none when it has none of its own.
    pub(super) cgroup: Option<String>,
    /// `linux.cgroupsPath` when systemd made the group: the unit's slice, prefix and name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<String>,
    /// The `$XDG_RUNTIME_DIR` of the user whose systemd that was; none when it was the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) manager: Option<PathBuf>,
    /// What later commands ask of the configuration; unknown in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) brief: Option<Brief>,
}

/// What most commands need to know of a configuration: reading all of it costs more than they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Brief {
    /// Whether there are `poststart` hooks.
    pub(super) poststart: bool,
    /// Whether there are `poststop` hooks.
    pub(super) poststop: bool,
    /// Whether there are annotations.
    pub(super) annotations: bool,
    /// Whether the container has a pid namespace that was made for it, and so ends with its first process.
    pub(super) own_pids: bool,
}

impl Brief {
    /// That of a configuration.
    pub(super) fn of(spec: &Spec) -> Self {
        let hooks = spec.hooks.as_ref();
        let mut namespaces = spec.linux.iter().flat_map(|linux| &linux.namespaces);
        Self {
            poststart: hooks.is_some_and(|hooks| !hooks.poststart.is_empty()),
            poststop: hooks.is_some_and(|hooks| !hooks.poststop.is_empty()),
            annotations: !spec.annotations.is_empty(),
            own_pids: namespaces.any(|namespace| {
                namespace.kind == NamespaceKind::Pid && namespace.path.as_deref().unwrap_or("").is_empty()
            }),
        }
    }
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    /// The specification's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// The directory of one container.
#[derive(Debug, Clone)]
pub(super) struct Home {
    path: PathBuf,
    id: String,
}

/// Refuses ids that are not plain names.
pub(super) fn check_id(id: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id.is_empty() || id.len() > ID_LIMIT || id == "." || id == ".." || !id.chars().all(fine) {
        return Err(Error::invalid(format!("invalid container ID format: {id:?}")));
    }
    Ok(())
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::System, format!("{what}({path:?}): {error}"))
}

/// Reads a file of at most `limit` bytes.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(USUAL_SIZE);
    let file = fs::File::open(path).map_err(|error| failed("open", path, &error))?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| failed("read", path, &error))?;
    if bytes.len() as u64 > limit {
        return Err(Error::invalid(format!("{} is larger than {limit} bytes", path.display())));
    }
    Ok(bytes)
}

fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value)
        .map_err(|error| Error::new(Kind::System, format!("{}: {error}", path.display())))?;
    fs::write(path, text).map_err(|error| failed("write", path, &error))
}

/// Reads a configuration.
pub(super) fn read_spec(path: &Path) -> Result<Spec> {
    serde_json::from_slice(&read(path, CONFIG_LIMIT)?)
        .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
}

impl Home {
    /// The directory of a container that may or may not exist.
    pub(super) fn of(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        Ok(Self { path: root.join(id), id: id.to_owned() })
    }

    /// Makes the directory; a container of that id must not exist.
    pub(super) fn make(root: &Path, id: &str) -> Result<Self> {
        let home = Self::of(root, id)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(|e| failed("mkdir", root, &e))?;
        fs::DirBuilder::new().mode(0o700).create(&home.path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Error::new(Kind::Exists, format!("container with given ID already exists: {id}"))
            }
            _ => failed("mkdir", &home.path, &error),
        })?;
        Ok(home)
    }

    /// The path of the socket that starts the container.
    pub(super) fn start_socket(&self) -> PathBuf {
        self.path.join("start.sock")
    }

    /// Whether the directory is there.
    pub(super) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Keeps the configuration, as the bundle may change. It counts once there is a record.
    pub(super) fn save_spec(&self, spec: &Spec) -> Result<()> {
        write(&self.path.join("config.json"), spec)
    }

    /// What most commands need to know of the configuration.
    pub(super) fn brief(&self, record: &Record) -> Result<Brief> {
        record.brief.map_or_else(|| self.spec().map(|spec| Brief::of(&spec)), Ok)
    }

    /// The configuration.
    pub(super) fn spec(&self) -> Result<Spec> {
        read_spec(&self.path.join("config.json"))
    }

    /// Keeps the record; it is replaced as a whole.
    pub(super) fn save_record(&self, record: &Record) -> Result<()> {
        let (path, new) = (self.path.join("state.json"), self.path.join("state.json.new"));
        write(&new, record)?;
        fs::rename(&new, &path).map_err(|error| failed("rename", &path, &error))
    }

    /// The record of a container that exists.
    pub(super) fn record(&self) -> Result<Record> {
        let path = self.path.join("state.json");
        let missing = || Error::new(Kind::NoContainer, format!("container {} does not exist", self.id));
        let text = match read(&path, CONFIG_LIMIT) {
            Err(_) if !path.exists() => return Err(missing()),
            other => other?,
        };
        serde_json::from_slice(&text)
            .map_err(|error| Error::new(Kind::System, format!("{}: {error}", path.display())))
    }

    /// Forgets the container.
    pub(super) fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failed("rmdir", &self.path, &error))
            }
            _ => Ok(()),
        }
    }

    /// Where the container is in its life: the kernel is asked, the record is not believed.
    pub(super) fn status(&self, record: &Record, procfs: &Procfs) -> Result<Status> {
        if record.process(procfs)?.is_none() {
            return Ok(Status::Stopped);
        }
        if self.start_socket().exists() {
            return Ok(Status::Created);
        }
        let frozen = match record.cgroup()? {
            Some(group) => group.is_frozen().unwrap_or(false),
            None => false,
        };
        Ok(if frozen { Status::Paused } else { Status::Running })
    }
}

/// Where a container's group is, and who makes it: we, the system's systemd, or that of a user.
pub(super) fn place(systemd: bool, manager: Option<&Path>, cgroups_path: &str, id: &str) -> Result<Place> {
    match manager {
        Some(directory) => Place::parse_of_user(cgroups_path, id, directory),
        None => Place::parse(systemd, cgroups_path, id),
    }
}

impl Record {
    /// A handle on the container's first process, if it is that one and alive.
    pub(super) fn process(&self, procfs: &Procfs) -> Result<Option<PidFd>> {
        // Opened first: what is read afterwards is about the process that the handle is on, or about none.
        let Some(pidfd) = PidFd::open(self.pid)? else { return Ok(None) };
        let stat = match procfs.read(&format!("{}/stat", self.pid), 4096) {
            Ok(stat) => stat,
            Err(error) if matches!(error.errno(), 2 | 3) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let text = String::from_utf8_lossy(&stat);
        let fields: Vec<&str> =
            text.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
        let dead = matches!(fields.first(), Some(&"Z" | &"X"));
        let same = fields.get(19).and_then(|field| field.parse().ok()) == Some(self.start_time_ticks);
        Ok((same && !dead).then_some(pidfd))
    }

    /// Who made the container's control group, and where; none when it has none of its own.
    pub(super) fn place(&self) -> Result<Option<Place>> {
        match (&self.unit, &self.cgroup) {
            (Some(unit), _) => place(true, self.manager.as_deref(), unit, &self.id).map(Some),
            (None, Some(path)) => Place::parse(false, path, &self.id).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The container's control group, if it has one that exists.
    pub(super) fn cgroup(&self) -> Result<Option<Cgroup>> {
        let Some(path) = &self.cgroup else { return Ok(None) };
        let hierarchy = Hierarchy::detect()?;
        Cgroup::open(&hierarchy, &CgroupPath::parse(path)?).during(|| "control group")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_names() {
        for id in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(1025)] {
            assert!(check_id(id).is_err(), "{id:?}");
        }
        assert_eq!(check_id("a-b_c.1+2"), Ok(()));
    }
}
