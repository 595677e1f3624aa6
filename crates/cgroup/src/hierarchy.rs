//! What the kernel offers: where groups are mounted, which controllers live there, and where the caller is.

use std::fs;
use std::path::{Path, PathBuf};

use linux::mount_table::{self, Entry};

use crate::{CgroupPath, Error, Result};

/// The version of the hierarchy that holds the controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One tree per controller (cgroups(7), "Cgroups version 1").
    V1,
    /// One tree for all (cgroups(7), "Cgroups version 2").
    V2,
}

macro_rules! controllers {
    ($($(#[$doc:meta])* $variant:ident = $v1:literal, $v2:literal;)*) => {
        /// A controller. On v2, `Devices` is an eBPF program and `Freezer` a core feature, so both are always there.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Controller { $($(#[$doc])* $variant,)* }

        impl Controller {
            /// Every controller.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in messages, and on v1.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $v1,)* }
            }

            /// The name in `cgroup.controllers` of v2; empty for what is no controller there.
            #[must_use]
            pub fn unified_name(self) -> &'static str {
                match self { $(Self::$variant => $v2,)* }
            }
        }
    };
}

controllers! {
    /// Shares and bandwidth of processors.
    Cpu = "cpu", "cpu";
    /// Accounting of processor time; part of `cpu` on v2.
    Cpuacct = "cpuacct", "";
    /// Pinning to processors and memory nodes.
    Cpuset = "cpuset", "cpuset";
    /// Memory and swap.
    Memory = "memory", "memory";
    /// Access to device nodes.
    Devices = "devices", "";
    /// Stopping all processes at once.
    Freezer = "freezer", "";
    /// Block devices.
    Blkio = "blkio", "io";
    /// The number of processes.
    Pids = "pids", "pids";
    /// Huge pages.
    Hugetlb = "hugetlb", "hugetlb";
    /// Remote direct memory access.
    Rdma = "rdma", "rdma";
    /// Marks on packets.
    NetCls = "net_cls", "";
    /// Priorities of packets per interface.
    NetPrio = "net_prio", "";
    /// Monitoring by perf(1).
    PerfEvent = "perf_event", "perf_event";
    /// Scalar resources of accelerators.
    Misc = "misc", "misc";
}

/// One mounted tree of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The controllers whose files are in this tree; none for a v1 tree that only names groups (`name=systemd`).
    pub controllers: Vec<Controller>,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// The caller's own group as names below the mount point; empty for the top.
    pub own: Vec<String>,
    /// Whether the mount is read-only.
    pub read_only: bool,
    /// Whether it is the v2 tree that is mounted beside those of v1, and holds no controllers then.
    pub beside: bool,
}

/// The mounted trees: on v1 several, and after them the v2 tree if one is mounted beside them; one on v2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    version: Version,
    trees: Vec<Tree>,
}

impl Hierarchy {
    /// Reads what is mounted for the calling process.
    ///
    /// Where v1 trees hold controllers they win, whether or not a v2 tree is mounted beside them.
    pub fn detect() -> Result<Self> {
        let mounts = read(Path::new("/proc/self/mountinfo"))?;
        let own = read(Path::new("/proc/self/cgroup"))?;
        let mut hierarchy = Self::parse(&mounts, &own)?;
        if hierarchy.version == Version::V2 {
            let tree = &mut hierarchy.trees[0];
            let file = tree.mount_point.join("cgroup.controllers");
            tree.controllers = unified_controllers(&read(&file)?);
        }
        Ok(hierarchy)
    }

    /// The trees from the texts of `/proc/self/mountinfo` (proc_pid_mountinfo(5)) and `/proc/self/cgroup`
    /// (cgroups(7)); the controllers of a v2 tree are not in them and are left empty.
    pub fn parse(mountinfo: &str, self_cgroup: &str) -> Result<Self> {
        let mut trees: Vec<Tree> = Vec::new();
        let (mut unified, mut seen) = (None, Vec::new());
        for mount in mount_table::entries(mountinfo) {
            match mount.kind {
                "cgroup2" if unified.is_none() => {
                    let own = own_group(self_cgroup, |id, _| id == "0");
                    unified = Some(tree(mount, Vec::new(), own));
                }
                "cgroup" => {
                    let named = |field: &str| Controller::ALL.iter().copied().find(|c| c.name() == field);
                    let controllers: Vec<Controller> = mount.options.split(',').filter_map(named).collect();
                    let name = mount.options.split(',').find(|option| option.starts_with("name="));
                    let own = own_group(self_cgroup, |_, fields| {
                        fields.split(',').any(|field| {
                            Some(field) == name || named(field).is_some_and(|c| controllers.contains(&c))
                        })
                    });
                    let tree = tree(mount, controllers, own);
                    if !seen.contains(&(tree.controllers.clone(), name)) {
                        seen.push((tree.controllers.clone(), name));
                        trees.push(tree);
                    }
                }
                _ => {}
            }
        }
        if trees.iter().any(|tree| !tree.controllers.is_empty()) {
            // Without controllers, but its groups are joined as well: what is in them is found by them.
            trees.extend(unified.filter(|tree| !tree.read_only).map(|tree| Tree { beside: true, ..tree }));
            return Ok(Self { version: Version::V1, trees });
        }
        let tree = unified.ok_or(Error::NotMounted)?;
        Ok(Self { version: Version::V2, trees: vec![tree] })
    }

    /// The version that holds the controllers.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The mounted trees; exactly one on v2.
    #[must_use]
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// The same without the v2 tree beside those of v1, which nothing needs: for who was given groups of v1 only.
    #[must_use]
    pub fn without_beside(mut self) -> Self {
        self.trees.retain(|tree| !tree.beside);
        self
    }

    /// The tree that holds a controller.
    #[must_use]
    pub fn tree(&self, controller: Controller) -> Option<&Tree> {
        match (self.version, controller) {
            (Version::V2, Controller::Devices | Controller::Freezer) => self.trees.first(),
            (Version::V2, Controller::Cpuacct) => self.tree(Controller::Cpu),
            _ => self.trees.iter().find(|tree| tree.controllers.contains(&controller)),
        }
    }

    /// Whether a controller can be used.
    #[must_use]
    pub fn has(&self, controller: Controller) -> bool {
        self.tree(controller).is_some()
    }

    /// The directory of a group in each tree, in the order of [`trees`](Self::trees); it need not exist.
    #[must_use]
    pub fn directories(&self, path: &CgroupPath) -> Vec<PathBuf> {
        self.trees.iter().map(|tree| tree.mount_point.join(tree.names(path).join("/"))).collect()
    }
}

impl Hierarchy {
    /// On v2, the names that lead from a group down to the one that a process is in; `None` when it is not below.
    pub(crate) fn below(&self, path: &CgroupPath, pid: u32) -> Result<Option<String>> {
        let Some(tree) = self.trees.first() else { return Ok(None) };
        let membership = read(&PathBuf::from(format!("/proc/{pid}/cgroup")))?;
        let own = tree.names(path).join("/");
        let inside = own_group(&membership, |id, _| id == "0").trim_start_matches('/');
        let below = inside.strip_prefix(&own).and_then(|rest| rest.strip_prefix('/'));
        // The kernel's word, but only names that we would take ourselves.
        Ok(below.filter(|below| CgroupPath::parse(below).is_ok()).map(str::to_owned))
    }
}

impl Tree {
    /// The names that lead from the mount point to a group.
    pub(crate) fn names(&self, path: &CgroupPath) -> Vec<String> {
        let own: &[String] = if path.is_relative() { &self.own } else { &[] };
        own.iter().chain(path.components()).cloned().collect()
    }
}

/// The controllers listed in the text of `cgroup.controllers`.
pub(crate) fn unified_controllers(text: &str) -> Vec<Controller> {
    text.split_whitespace()
        .filter_map(|name| Controller::ALL.iter().copied().find(|c| c.unified_name() == name))
        .collect()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| {
        let errno = error.raw_os_error().unwrap_or_default();
        linux::Error::new(format!("read({path:?})"), errno).into()
    })
}

/// The tree that a mount shows.
fn tree(mount: Entry<'_>, controllers: Vec<Controller>, own: &str) -> Tree {
    // In a container without a cgroup namespace the mount shows a part of the tree only.
    let below = match own.strip_prefix(mount.root) {
        Some(rest) if mount.root == "/" || rest.is_empty() || rest.starts_with('/') => rest,
        _ => "",
    };
    let names = below.split('/').filter(|name| !name.is_empty());
    // A path with `..` lies outside of the cgroup namespace, and so outside of the mount.
    let own =
        if names.clone().any(|name| name == "..") { Vec::new() } else { names.map(str::to_owned).collect() };
    let read_only = mount.flags.split(',').any(|flag| flag == "ro");
    Tree { controllers, mount_point: mount.mount_point, own, read_only, beside: false }
}

/// The path of the first line of `/proc/self/cgroup` whose hierarchy number and controllers fit.
fn own_group(self_cgroup: &str, fits: impl Fn(&str, &str) -> bool) -> &str {
    let fields = self_cgroup.lines().filter_map(|line| {
        let (id, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        Some((id, controllers, path))
    });
    fields.into_iter().find(|(id, controllers, _)| fits(id, controllers)).map_or("/", |(_, _, path)| path)
}

#[cfg(test)]
mod tests;
