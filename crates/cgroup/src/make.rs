//! Making a group in one tree, with everything above it, so that processes can enter and limits can be set.

use linux::dir::Dir;

use crate::group::{Branch, ENOENT, pids_below, remove_below, text, text_if_present};
use crate::hierarchy::unified_controllers;
use crate::{CgroupPath, Controller, Error, Result, Tree, Version};

/// How often a group is made whose parents somebody removes meanwhile, as an engine does with a parent that it needs no more.
const ATTEMPTS: usize = 16;

/// Makes a group in one tree, level by level from the mount point; one that was there before is shown to `found`.
pub(crate) fn make_branch(version: Version, tree: &Tree, path: &CgroupPath, found: Found) -> Result<Branch> {
    let mut attempt = 1;
    loop {
        match descend(version, tree, path, found) {
            Err(error) if error.is(ENOENT) && attempt < ATTEMPTS => attempt += 1,
            made => return made,
        }
    }
}

fn descend(version: Version, tree: &Tree, path: &CgroupPath, found: Found) -> Result<Branch> {
    let names = tree.names(path);
    let mut parent = Dir::open(&tree.mount_point)?;
    for (level, name) in names.iter().enumerate() {
        if version == Version::V2 {
            hand_down(&parent)?;
        }
        let made = parent.make_dir(name, 0o755)?;
        let last = level + 1 == names.len();
        let dir = match parent.open_dir(name)? {
            dir if last && !made => found(&parent, name, dir)?,
            dir => dir,
        };
        if tree.controllers.contains(&Controller::Cpuset) && version == Version::V1 {
            inherit_cpuset(&parent, &dir)?;
        }
        if last {
            let controllers = own_controllers(version, tree, &dir)?;
            return Ok(Branch { controllers, beside: tree.beside, parent, dir });
        }
        parent = dir;
    }
    Err(Error::Path { path: path.to_string(), reason: "names no group" })
}

/// What is done about a group that was there before: given its parent, its name and itself.
pub(crate) type Found = fn(&Dir, &str, Dir) -> Result<Dir>;

/// The files that say whether a group is frozen, and what they say when it is not.
const FREEZERS: [(&str, &str); 2] = [("freezer.state", "THAWED"), ("cgroup.freeze", "0")];

/// Makes a group anew that was there before; fails when it has processes, in itself or below.
pub(crate) fn renew(parent: &Dir, name: &str, dir: Dir) -> Result<Dir> {
    let pids: Vec<u32> = pids_below(&dir)?.into_iter().take(16).collect();
    if !pids.is_empty() {
        return Err(Error::NotEmpty { path: dir.path().to_owned(), pids });
    }
    if remove_below(&dir, 0).is_ok() && parent.remove_dir(name).is_ok() {
        parent.make_dir(name, 0o755)?;
        return Ok(parent.open_dir(name)?);
    }
    for (file, thawed) in FREEZERS {
        if text_if_present(&dir, file)?.is_some_and(|state| state.trim() != thawed) {
            dir.write(file, thawed.as_bytes())?;
        }
    }
    Ok(dir)
}

/// As [`renew`], but fails when it is frozen.
pub(crate) fn renew_unfrozen(parent: &Dir, name: &str, dir: Dir) -> Result<Dir> {
    for (file, thawed) in FREEZERS {
        if text_if_present(&dir, file)?.is_some_and(|state| state.trim() != thawed) {
            return Err(Error::Frozen(dir.path().to_owned()));
        }
    }
    renew(parent, name, dir)
}

/// Turns on every available controller for the groups below a v2 group.
///
/// One that cannot be turned on (threaded groups, real-time processes with `cpu`) is passed over: limits that need it
/// are refused later, by its name.
fn hand_down(dir: &Dir) -> Result<()> {
    let available = text(dir, "cgroup.controllers")?;
    let enabled = text(dir, "cgroup.subtree_control")?;
    let missing: Vec<String> = available
        .split_whitespace()
        .filter(|name| !enabled.split_whitespace().any(|enabled| enabled == *name))
        .map(|name| format!("+{name}"))
        .collect();
    if missing.is_empty() || dir.write("cgroup.subtree_control", missing.join(" ").as_bytes()).is_ok() {
        return Ok(());
    }
    for name in &missing {
        let _ = dir.write("cgroup.subtree_control", name.as_bytes());
    }
    Ok(())
}

/// Gives a v1 cpuset the processors and memory nodes of its parent: no process can enter it while it has none.
fn inherit_cpuset(parent: &Dir, dir: &Dir) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if text(dir, file)?.trim().is_empty() {
            let inherited = text(parent, file)?;
            if !inherited.trim().is_empty() {
                dir.write(file, inherited.trim().as_bytes())?;
            }
        }
    }
    Ok(())
}

/// The controllers that a group really has: on v2 those that were handed down to it.
pub(crate) fn own_controllers(version: Version, tree: &Tree, dir: &Dir) -> Result<Vec<Controller>> {
    match version {
        Version::V1 => Ok(tree.controllers.clone()),
        Version::V2 => Ok(unified_controllers(&text(dir, "cgroup.controllers")?)),
    }
}
