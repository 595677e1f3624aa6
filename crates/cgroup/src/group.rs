//! One group across all the trees it is spread over: made, entered, walked and removed.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use linux::dir::Dir;

use crate::error::MAX_DEPTH;
use crate::make::{Found, make_branch, own_controllers, renew, renew_unfrozen};
use crate::{CgroupPath, Controller, Error, Hierarchy, Result, Version};

/// The longest control file that is read, in bytes.
pub(crate) const MAX_FILE: usize = 16 << 20;

/// How long [`Cgroup::remove`] waits for processes that are already dying.
const REMOVE_WITHIN: Duration = Duration::from_secs(5);

/// A group that exists, held open in every tree.
#[derive(Debug)]
pub struct Cgroup {
    version: Version,
    path: CgroupPath,
    branches: Vec<Branch>,
}

/// The group's directory in one tree, and the directory it lies in.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) controllers: Vec<Controller>,
    /// Whether it is in the v2 tree beside those of v1.
    pub(crate) beside: bool,
    pub(crate) parent: Dir,
    pub(crate) dir: Dir,
}

impl Cgroup {
    /// Makes a group, with all the groups above it, in every tree; on v2 the available controllers are handed down to it.
    ///
    /// A group that is left over from before is made anew when no process is in it, so that no limit and no rule of it
    /// stays; where that is not permitted it is thawed and taken as it is.
    pub fn create(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<Self> {
        Self::make(hierarchy, path, renew)
    }

    /// As [`create`](Self::create), but refuses a group that is frozen: somebody else may be waiting to thaw it.
    pub fn create_unfrozen(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<Self> {
        Self::make(hierarchy, path, renew_unfrozen)
    }

    /// As [`create`](Self::create), but takes a group that has processes as well: somebody else made it for us.
    pub fn join(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<Self> {
        Self::make(hierarchy, path, |_, _, dir| Ok(dir))
    }

    fn make(hierarchy: &Hierarchy, path: &CgroupPath, found: Found) -> Result<Self> {
        let mut branches: Vec<Branch> = Vec::new();
        for tree in hierarchy.trees() {
            match make_branch(hierarchy.version(), tree, path, found) {
                Ok(branch) => branches.push(branch),
                Err(error) => {
                    for branch in &branches {
                        // The reason for giving up is reported, not that some empty directory could not be taken back.
                        let _ = branch.parent.remove_dir(path.name());
                    }
                    return Err(error);
                }
            }
        }
        Ok(Self { version: hierarchy.version(), path: path.clone(), branches })
    }

    /// Opens a group that exists; `None` when it exists in no tree.
    pub fn open(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<Option<Self>> {
        let mut branches = Vec::new();
        for tree in hierarchy.trees() {
            let names = tree.names(path);
            let above = names[..names.len() - 1].join("/");
            let top = Dir::open(&tree.mount_point)?;
            let parent = match above.as_str() {
                "" => Some(top),
                above => absent_as_none(top.open_dir(above))?,
            };
            let Some(parent) = parent else { continue };
            let Some(dir) = absent_as_none(parent.open_dir(path.name()))? else { continue };
            let controllers = own_controllers(hierarchy.version(), tree, &dir)?;
            branches.push(Branch { controllers, beside: tree.beside, parent, dir });
        }
        let exists = !branches.is_empty();
        Ok(exists.then(|| Self { version: hierarchy.version(), path: path.clone(), branches }))
    }

    /// The version of the hierarchy it is in.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The path it was made or opened by.
    #[must_use]
    pub fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// The controllers whose files the group has.
    pub fn controllers(&self) -> impl Iterator<Item = Controller> {
        self.branches.iter().flat_map(|branch| branch.controllers.iter().copied())
    }

    /// The directory of the group in the v2 tree, for clone3(2) with CLONE_INTO_CGROUP; also of one beside those of v1.
    #[must_use]
    pub fn clone_fd(&self) -> Option<BorrowedFd<'_>> {
        let unified = |branch: &&Branch| self.version == Version::V2 || branch.beside;
        self.branches.iter().find(unified).map(|branch| branch.dir.as_fd())
    }

    /// The group's directories, to be bound into a container: for each one its controllers (none for a v1 tree that
    /// only has a name). The v2 tree beside those of v1 is not among them.
    pub fn directories(&self) -> impl Iterator<Item = (&[Controller], &Dir)> {
        let branches = self.branches.iter().filter(|branch| !branch.beside);
        branches.map(|branch| (branch.controllers.as_slice(), &branch.dir))
    }

    /// The same group, but a group below it in the tree of a controller (on v1 also by `name=…` or `systemd`), or in
    /// all trees when none is named.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a controller that is not there or a path that leaves the group, and the call that failed
    /// for a group that is not there.
    pub fn narrow(mut self, controller: Option<&str>, below: &str) -> Result<Self> {
        if below.split('/').any(|name| name == "..") {
            let what = format!("bad sub cgroup path: {below}");
            return Err(Error::Invalid { what, reason: ".. is not a sub cgroup path".to_owned() });
        }
        let names: Vec<&str> = below.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
        let below = names.join("/");
        let named = |branch: &&mut Branch| match controller {
            Some("systemd" | "name=systemd") => branch.controllers.is_empty() && !branch.beside,
            Some(name) => branch.controllers.iter().any(|controller| controller.name() == name),
            None => true,
        };
        let mut found = false;
        for branch in self.branches.iter_mut().filter(named) {
            found = true;
            if !below.is_empty() {
                branch.dir = branch.dir.open_dir(&below)?;
            }
        }
        match controller.filter(|_| !found) {
            Some(name) => {
                let what = format!("unknown controller {name}");
                Err(Error::Invalid { what, reason: "the container has no group of it".to_owned() })
            }
            None => Ok(self),
        }
    }

    /// Moves a process, with all its threads, into the group in every tree.
    ///
    /// After a quiet moment this costs an RCU grace period of the kernel, many milliseconds. A process that is being made
    /// gets in without: through [`clone_fd`](Self::clone_fd) on v2, through [`entrance`](Self::entrance) on v1.
    pub fn add(&self, pid: u32) -> Result<()> {
        let pid = pid.to_string();
        for branch in &self.branches {
            branch.dir.write("cgroup.procs", pid.as_bytes())?;
        }
        Ok(())
    }

    /// Moves a process into the group, as [`add`](Self::add), to where `sibling` is if the group itself takes none.
    ///
    /// A v2 group that hands controllers down has no processes of its own. A container whose init did that, as systemd
    /// does, still takes further programs: they join the group of init, which has to lie below this one.
    pub fn add_beside(&self, hierarchy: &Hierarchy, pid: u32, sibling: u32) -> Result<()> {
        let (refused, dir) = match (self.add(pid), self.unified_dir()) {
            (Err(error), Some(dir)) if error.is(EBUSY) || error.is(EOPNOTSUPP) => (error, dir),
            (result, _) => return result,
        };
        let Some(below) = hierarchy.below(&self.path, sibling)? else { return Err(refused) };
        let nested = dir.open_dir(&below)?;
        Ok(nested.write("cgroup.procs", pid.to_string().as_bytes())?)
    }

    /// The directory of the v2 group below this one that a process is in, for clone3(2) with CLONE_INTO_CGROUP where the
    /// group itself takes none; `None` when the process is elsewhere, and on v1.
    pub fn beside(&self, hierarchy: &Hierarchy, sibling: u32) -> Result<Option<Dir>> {
        let Some(dir) = self.unified_dir() else { return Ok(None) };
        let below = hierarchy.below(&self.path, sibling)?;
        Ok(below.map(|below| dir.open_dir(&below)).transpose()?)
    }

    /// The processes in the group itself, in no order.
    pub fn own_pids(&self) -> Result<Vec<u32>> {
        read_pids(self.listing_dir()?)
    }

    /// The processes in the group and in all groups below it, in ascending order.
    pub fn pids(&self) -> Result<Vec<u32>> {
        Ok(pids_below(self.listing_dir()?)?.into_iter().collect())
    }

    /// Gives the group to the owner of a user namespace: the directory and the files that the kernel lists in
    /// `/sys/kernel/cgroup/delegate` (cgroups(7), "Cgroups delegation"). On v1 nothing is given, because delegation
    /// is not safe there.
    pub fn delegate(&self, uid: u32, gid: u32) -> Result<()> {
        let (Version::V2, Some(branch)) = (self.version, self.branches.first()) else { return Ok(()) };
        branch.dir.chown(uid, gid)?;
        let listed = match Dir::open(std::path::Path::new("/sys/kernel/cgroup")) {
            Ok(dir) => text(&dir, "delegate")?,
            // Older than 4.15: these are the files that kernel would list.
            Err(error) if error.errno() == ENOENT => {
                "cgroup.procs\ncgroup.threads\ncgroup.subtree_control".to_owned()
            }
            Err(error) => return Err(error.into()),
        };
        for file in listed.lines().filter(|file| !file.contains('/')) {
            match branch.dir.chown_entry(file, uid, gid) {
                Err(error) if error.errno() != ENOENT => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the group and all groups below it in every tree; what is absent already counts as removed.
    ///
    /// Waits a bounded time for processes that are about to end, kills none, and fails with [`Error::NotEmpty`] when
    /// some stay. All trees are tried before the first failure is returned.
    pub fn remove(self) -> Result<()> {
        let deadline = Instant::now() + REMOVE_WITHIN;
        let mut first_failure = Ok(());
        for branch in &self.branches {
            let removed = self.remove_branch(branch, deadline);
            if first_failure.is_ok() {
                first_failure = removed;
            }
        }
        first_failure
    }

    /// Removes the group from every tree in which nobody uses it: it has no processes there, and no groups below it. What
    /// others have made below it meanwhile stays.
    pub fn remove_unused(self) -> Result<()> {
        for branch in &self.branches {
            match branch.parent.remove_dir(self.path.name()) {
                Err(error) if [EBUSY, ENOTEMPTY].contains(&error.errno()) => {}
                removed => drop(removed?),
            }
        }
        Ok(())
    }

    fn remove_branch(&self, branch: &Branch, deadline: Instant) -> Result<()> {
        loop {
            let removed = remove_below(&branch.dir, 0)
                .and_then(|()| Ok(branch.parent.remove_dir(self.path.name()).map(|_| ())?));
            match removed {
                Err(error) if error.is(EBUSY) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() || !self.wait_for_exit(&branch.dir, left)? {
                        let path = branch.dir.path().to_owned();
                        return Err(Error::NotEmpty { path, pids: self.pids().unwrap_or_default() });
                    }
                }
                other => return other,
            }
        }
    }

    /// The group's directory in the tree of a controller.
    pub(crate) fn dir(&self, controller: Controller) -> Option<&Dir> {
        let wanted = match (self.version, controller) {
            (Version::V2, Controller::Devices | Controller::Freezer) => {
                return self.branches.first().map(|b| &b.dir);
            }
            (Version::V2, Controller::Cpuacct) => Controller::Cpu,
            _ => controller,
        };
        self.branches.iter().find(|branch| branch.controllers.contains(&wanted)).map(|branch| &branch.dir)
    }

    /// The directory whose `cgroup.procs` is read: on v1 the freezer's, because that is where killing needs it.
    pub(crate) fn listing_dir(&self) -> Result<&Dir> {
        let preferred = [Controller::Freezer, Controller::Pids, Controller::Memory];
        let listing = preferred.iter().find_map(|controller| self.dir(*controller));
        listing.or_else(|| self.branches.first().map(|branch| &branch.dir)).ok_or(Error::NotMounted)
    }

    /// The group's only directory on v2.
    pub(crate) fn unified_dir(&self) -> Option<&Dir> {
        self.branches.first().filter(|_| self.version == Version::V2).map(|branch| &branch.dir)
    }
}

pub(crate) const ENOENT: i32 = 2;
pub(crate) const ENOTEMPTY: i32 = 39;
pub(crate) const EBUSY: i32 = 16;
pub(crate) const ENODEV: i32 = 19;
const EOPNOTSUPP: i32 = 95;

/// The text of a control file.
pub(crate) fn text(dir: &Dir, file: &str) -> Result<String> {
    let content = dir.read(file, MAX_FILE)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// The text of a control file; `None` when the group does not have it.
pub(crate) fn text_if_present(dir: &Dir, file: &str) -> Result<Option<String>> {
    absent_as_none(dir.read(file, MAX_FILE))
        .map(|content| content.map(|c| String::from_utf8_lossy(&c).into_owned()))
}

/// Takes "there is none" for an answer: the file or group does not exist, or went away while it was looked at.
pub(crate) fn absent_as_none<T>(result: linux::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if [ENOENT, ENODEV].contains(&error.errno()) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The process numbers in a group's `cgroup.procs`; none when the group went away.
pub(crate) fn read_pids(dir: &Dir) -> Result<Vec<u32>> {
    let listed = text_if_present(dir, "cgroup.procs")?.unwrap_or_default();
    let parse = |line: &str| {
        let malformed = || Error::Malformed { file: dir.path().join("cgroup.procs"), line: line.to_owned() };
        line.parse().map_err(|_| malformed())
    };
    // Zero stands for a process outside of the caller's pid namespace: it has no number here.
    let pids: Result<Vec<u32>> = listed.lines().map(parse).collect();
    Ok(pids?.into_iter().filter(|pid| *pid != 0).collect())
}

/// The processes in a group and in the groups below it.
pub(crate) fn pids_below(dir: &Dir) -> Result<BTreeSet<u32>> {
    let mut pids = BTreeSet::new();
    walk(dir, 0, &mut |dir| {
        pids.extend(read_pids(dir)?);
        Ok(())
    })?;
    Ok(pids)
}

/// Visits a group and all groups below it, parents first; groups that go away meanwhile are passed over.
pub(crate) fn walk(dir: &Dir, depth: usize, visit: &mut dyn FnMut(&Dir) -> Result<()>) -> Result<()> {
    visit(dir)?;
    for name in children(dir)? {
        if depth == MAX_DEPTH {
            return Err(Error::TooDeep(dir.path().to_owned()));
        }
        if let Some(child) = absent_as_none(dir.open_dir(&name))? {
            walk(&child, depth + 1, visit)?;
        }
    }
    Ok(())
}

/// The names of the groups directly below.
fn children(dir: &Dir) -> Result<Vec<String>> {
    // The kernel counts subdirectories as links, so a group without any need not be listed.
    if dir.link_count()? <= 2 {
        return Ok(Vec::new());
    }
    let entries = absent_as_none(dir.entries())?.unwrap_or_default();
    Ok(entries.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect())
}

/// Removes the groups below `dir`, deepest first.
pub(crate) fn remove_below(dir: &Dir, depth: usize) -> Result<()> {
    for name in children(dir)? {
        if depth == MAX_DEPTH {
            return Err(Error::TooDeep(dir.path().to_owned()));
        }
        if let Some(child) = absent_as_none(dir.open_dir(&name))? {
            remove_below(&child, depth + 1)?;
        }
        dir.remove_dir(&name)?;
    }
    Ok(())
}
