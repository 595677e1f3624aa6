//! A container's control group: where it lies, and how it is made, changed and removed, by us or by systemd.
//!
//! A scope of systemd exists only while a process is in it, and the container's process is made inside of its group. So
//! a process that does nothing stands in until the container has one:
//!
//! ```text
//! stand-in forked ─► systemd makes the scope around it ─► limits ─► the container's process is made in the group
//!                                                                   └► settle: the stand-in ends
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use cgroup::systemd::{SYSTEM_SOCKET, Systemd, Unit};
use cgroup::{Amount, Cgroup, CgroupPath, Hierarchy, Limits};
use linux::process::{self as kernel, Child};

use crate::channel::Channel;
use crate::error::While;
use crate::{Error, Kind, Result};

/// How long killed processes may take to be gone.
const KILL_WITHIN: Duration = Duration::from_secs(10);

/// The directory that tells that systemd is process 1 (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// Who makes a container's group, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// We do, in the trees.
    Tree(CgroupPath),
    /// systemd does, as a unit of one of its managers.
    Unit(Unit, Manager),
}

/// A manager of systemd: the system's own, or that of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    socket: PathBuf,
    /// The group that its units lie in; empty for the system's own.
    group: String,
}

/// What is done about a frozen group that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frozen {
    /// Nobody but us makes groups of this name: it is left over from before.
    IsThawed,
    /// It is somebody else's.
    IsRefused,
}

/// A group that was made for a container.
#[derive(Debug)]
pub struct Group {
    cgroup: Cgroup,
    place: Place,
    stand_in: Option<StandIn>,
}

impl Place {
    /// Reads `linux.cgroupsPath` of a container: for systemd `slice:prefix:name`, else the path of a group.
    pub fn parse(systemd: bool, cgroups_path: &str, id: &str) -> Result<Self> {
        if systemd {
            let manager = Manager { socket: PathBuf::from(SYSTEM_SOCKET), group: String::new() };
            return Ok(Self::Unit(Unit::parse(cgroups_path, id, false)?, manager));
        }
        let default = format!("/{id}");
        let path = if cgroups_path.is_empty() { &default } else { cgroups_path };
        Ok(Self::Tree(CgroupPath::for_container(Some(path), id)?))
    }

    /// The same for a unit of the manager of a user who is not root, which listens in that user's `$XDG_RUNTIME_DIR`;
    /// it is asked where its groups are.
    pub fn parse_of_user(cgroups_path: &str, id: &str, runtime_directory: &Path) -> Result<Self> {
        let unit = Unit::parse(cgroups_path, id, true)?;
        let mut manager = Manager { socket: runtime_directory.join("systemd/private"), group: String::new() };
        manager.group = manager.connect()?.control_group().to_owned();
        Ok(Self::Unit(unit, manager))
    }

    /// Where the group lies.
    pub fn path(&self) -> Result<CgroupPath> {
        match self {
            Self::Tree(path) => Ok(path.clone()),
            Self::Unit(unit, manager) => Ok(unit.cgroup_path(&manager.group)?),
        }
    }

    /// The group, if it exists.
    pub fn open(&self, hierarchy: &Hierarchy) -> Result<Option<Cgroup>> {
        Cgroup::open(hierarchy, &self.path()?).during(|| "control group")
    }

    /// Makes the group with its limits; one that is there, empty, is made anew, unless it is frozen and that is to be
    /// `refused`. [`Group::settle`] has to be called once the container's process is in it.
    ///
    /// Only for a process with one thread: for systemd it makes a copy of itself.
    pub fn make(&self, hierarchy: &Hierarchy, id: &str, limits: &Limits, frozen: Frozen) -> Result<Group> {
        let group = match self {
            Self::Tree(path) => {
                let cgroup = match frozen {
                    Frozen::IsThawed => Cgroup::create(hierarchy, path),
                    Frozen::IsRefused => Cgroup::create_unfrozen(hierarchy, path),
                };
                let cgroup = cgroup.during(|| "control group")?;
                Group { cgroup, place: self.clone(), stand_in: None }
            }
            Self::Unit(unit, manager) => make_scope(unit, manager, hierarchy, id, limits)?,
        };
        let first = group.first_limits(limits);
        match group.cgroup.set(&first).during(|| "control group") {
            Ok(()) => Ok(group),
            Err(error) => {
                // The reason for giving up is what is reported.
                let _ = group.remove();
                Err(error)
            }
        }
    }

    /// Puts new limits in force; systemd is told first, so that it does not put the old ones back.
    pub fn update(&self, hierarchy: &Hierarchy, limits: &Limits) -> Result<()> {
        if let Self::Unit(unit, manager) = self {
            manager.connect()?.update(unit, limits, hierarchy.version()).during(|| "systemd")?;
        }
        let group = self.open(hierarchy)?;
        let group = group.ok_or_else(|| Error::new(Kind::State, "the container has no control group"))?;
        group.set(limits).during(|| "control group")
    }

    /// Ends what is left in the group and removes it; one that is gone counts as removed.
    pub fn remove(&self, hierarchy: &Hierarchy) -> Result<()> {
        let group = self.open(hierarchy)?;
        if let Some(group) = &group {
            group.kill(KILL_WITHIN).during(|| "control group")?;
        }
        self.remove_empty(group)
    }

    /// Removes a group in which nobody is any more.
    pub fn remove_empty(&self, group: Option<Cgroup>) -> Result<()> {
        if let Self::Unit(unit, manager) = self {
            manager.connect()?.stop(unit).during(|| "systemd")?;
        }
        group.map_or(Ok(()), Cgroup::remove).during(|| "control group")
    }
}

impl Group {
    /// The group in the trees.
    #[must_use]
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// What is set while the stand-in takes the place of one process: a limit that leaves no room beside it waits.
    fn first_limits(&self, limits: &Limits) -> Limits {
        let mut first = limits.clone();
        if self.stand_in.is_some() && leaves_no_room(limits) {
            first.pids = Some(Amount::Of(2));
        }
        first
    }

    /// Ends the stand-in: the container's process is in the group.
    pub fn settle(&mut self, hierarchy: &Hierarchy, limits: &Limits) -> Result<()> {
        let Some(stand_in) = self.stand_in.take() else { return Ok(()) };
        drop(stand_in);
        if !leaves_no_room(limits) {
            return Ok(());
        }
        self.place.update(hierarchy, &Limits { pids: limits.pids, ..Limits::default() })
    }

    /// Ends everybody in the group and removes it.
    pub fn remove(self) -> Result<()> {
        let Self { cgroup, place, stand_in } = self;
        drop(stand_in);
        cgroup.kill(KILL_WITHIN).during(|| "control group")?;
        place.remove_empty(Some(cgroup))
    }
}

fn leaves_no_room(limits: &Limits) -> bool {
    matches!(limits.pids, Some(Amount::Of(0 | 1)))
}

fn make_scope(
    unit: &Unit,
    manager: &Manager,
    hierarchy: &Hierarchy,
    id: &str,
    limits: &Limits,
) -> Result<Group> {
    let mut systemd = manager.connect()?;
    let stand_in = StandIn::new()?;
    let told = if leaves_no_room(limits) {
        Limits { pids: Some(Amount::Of(2)), ..limits.clone() }
    } else {
        limits.clone()
    };
    let description = format!("container {id}");
    let cgroup = systemd
        .create(hierarchy, unit, &description, stand_in.0.pid, &told)
        .during(|| format!("systemd unit {unit}"))?;
    Ok(Group { cgroup, place: Place::Unit(unit.clone(), manager.clone()), stand_in: Some(stand_in) })
}

impl Manager {
    fn connect(&self) -> Result<Systemd> {
        if !Path::new(BOOTED).is_dir() {
            let words = "systemd not running on this host, cannot use systemd cgroups manager";
            return Err(Error::invalid(words));
        }
        Systemd::connect(&self.socket).during(|| "systemd")
    }
}

/// A process that waits to be ended; it ends with its maker at the latest.
#[derive(Debug)]
struct StandIn(Child);

impl StandIn {
    fn new() -> Result<Self> {
        const SIGKILL: i32 = 9;
        let (here, there) = Channel::pair()?;
        let child = kernel::clone_into(0, None, move || {
            if linux::credentials::set_parent_death_signal(SIGKILL).is_ok() {
                // Ready; then nothing comes, and the wait ends with the process.
                let _ = there.go().and_then(|()| there.receive());
            }
            1
        })?;
        // Only once it dies with us may anything go wrong.
        here.receive()?;
        Ok(Self(child))
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        if let Ok(handle) = self.0.pidfd.try_clone() {
            let handle = linux::pidfd::PidFd::from(handle);
            // It can be gone already, as everybody in a group that was killed.
            let _ = handle.send(9).and_then(|_| linux::child::wait(&handle).map(drop));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_path_or_a_unit() {
        let path = |systemd, text: &str| {
            Place::parse(systemd, text, "c1").and_then(|place| place.path()).map(|path| path.to_string())
        };
        assert_eq!(path(false, "").as_deref(), Ok("/c1"));
        assert_eq!(path(false, "/a/b").as_deref(), Ok("/a/b"));
        assert_eq!(path(true, "").as_deref(), Ok("/system.slice/runc-c1.scope"));
        assert_eq!(path(true, "a-b.slice:x:c1").as_deref(), Ok("/a.slice/a-b.slice/x-c1.scope"));
        assert!(path(true, "/a/b").is_err());
    }
}
