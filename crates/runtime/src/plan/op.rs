//! The steps that make a container, each of which prints as one line.

use std::fmt;
use std::path::PathBuf;

use linux::credentials::{CapabilitySets, Scheduling};
use linux::mount::Propagation;

use crate::capability;

/// Something on the host that is opened, as a detached copy of its mount, before the container exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path, with the mounts below it when `recursive`.
    Path {
        /// Absolute path.
        path: PathBuf,
        /// Whether mounts below come along.
        recursive: bool,
    },
    /// A device node, which must have these numbers.
    Device {
        /// Absolute path.
        path: PathBuf,
        /// Whether it is a block device.
        block: bool,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// The container's group in one v1 tree, by its place in the hierarchy.
    CgroupTree(usize),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { path, recursive: false } => write!(f, "{}", path.display()),
            Self::Path { path, recursive: true } => write!(f, "{} and below", path.display()),
            Self::Device { path, block, major, minor } => {
                let kind = if *block { "block" } else { "char" };
                write!(f, "{} ({kind} {major}:{minor})", path.display())
            }
            Self::CgroupTree(number) => write!(f, "own group in tree {number}"),
        }
    }
}

/// Attributes to set and to clear on a mount ([`linux::mount::attribute`]).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Set on the mount itself.
    pub set: u64,
    /// Cleared on the mount itself.
    pub clear: u64,
    /// Set on it and everything below.
    pub set_below: u64,
    /// Cleared on it and everything below.
    pub clear_below: u64,
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use linux::mount::attribute as a;
        let names = [
            (a::READ_ONLY, "ro"),
            (a::NO_SUID, "nosuid"),
            (a::NO_DEVICES, "nodev"),
            (a::NO_EXEC, "noexec"),
            (a::NO_ACCESS_TIME, "noatime"),
            (a::STRICT_ACCESS_TIME, "strictatime"),
            (a::NO_DIR_ACCESS_TIME, "nodiratime"),
            (a::NO_SYMLINK_FOLLOW, "nosymfollow"),
        ];
        for (bits, prefix) in
            [(self.set, " +"), (self.clear, " -"), (self.set_below, " +r"), (self.clear_below, " -r")]
        {
            for (bit, name) in names {
                if bits & bit != 0 {
                    write!(f, "{prefix}{name}")?;
                }
            }
        }
        Ok(())
    }
}

/// A change of propagation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagate {
    /// What it becomes.
    pub kind: Propagation,
    /// Whether mounts below change as well.
    pub recursive: bool,
}

impl fmt::Display for Propagate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.recursive { "r" } else { "" };
        let word = match self.kind {
            Propagation::Shared => "shared",
            Propagation::Slave => "slave",
            Propagation::Private => "private",
            Propagation::Unbindable => "unbindable",
        };
        write!(f, "{prefix}{word}")
    }
}

/// A new file system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewFileSystem {
    /// Its type.
    pub kind: String,
    /// Its source, as /proc/self/mountinfo shows it.
    pub source: String,
    /// Parameters; those without a value are flags.
    pub parameters: Vec<(String, Option<String>)>,
}

/// Where a bind mount comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindSource {
    /// Opened on the host, by its place in [`super::Plan::sources`].
    Opened(usize),
    /// A path of the host, copied when its turn comes: the kernel lists mounts by when they were made.
    Host {
        /// Absolute path.
        path: PathBuf,
        /// Whether mounts below come along.
        recursive: bool,
    },
    /// A path inside the container's root, where earlier mounts are to be seen.
    Inside {
        /// Absolute path inside the root.
        path: PathBuf,
        /// Whether mounts below come along.
        recursive: bool,
    },
}

impl fmt::Display for BindSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, recursive, place) = match self {
            Self::Opened(source) => return write!(f, "source {source}"),
            Self::Host { path, recursive } => (path, recursive, ""),
            Self::Inside { path, recursive } => (path, recursive, " inside"),
        };
        write!(f, "{}{}{place}", path.display(), if *recursive { " and below" } else { "" })
    }
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A bind; when ids are mapped, the user namespace by its place in [`super::Plan::id_maps`].
    Bind {
        /// The source.
        source: BindSource,
        /// The id map, and whether it holds for mounts below.
        id_map: Option<(usize, bool)>,
    },
    /// A new file system.
    New(NewFileSystem),
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What.
    pub what: What,
    /// Path inside the container.
    pub target: PathBuf,
    /// Attributes.
    pub attributes: Attributes,
    /// Propagation.
    pub propagation: Vec<Propagate>,
    /// Whether a tmpfs starts with a copy of what it hides.
    pub copy_up: bool,
}

/// Where the root file system comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootMount {
    /// A source, by its place in [`super::Plan::sources`], attached where it came from: hooks that join the container
    /// before its root is entered find it there.
    Bind(usize, PathBuf),
    /// An overlay whose layers are given one by one, made on the host and detached.
    Overlay {
        /// The layers, the top one first.
        lower: Vec<PathBuf>,
        /// Where changes go.
        upper: PathBuf,
        /// Overlayfs' own directory.
        work: PathBuf,
        /// Whether the changes need not survive a loss of power.
        volatile: bool,
    },
    /// The same with the ids of all layers mapped, by the number of the map ([`super::Plan::id_maps`]).
    OverlayMapped {
        /// The layers, the top one first.
        lower: Vec<PathBuf>,
        /// Where changes go.
        upper: PathBuf,
        /// Overlayfs' own directory.
        work: PathBuf,
        /// Whether the changes need not survive a loss of power.
        volatile: bool,
        /// The map.
        map: usize,
        /// Whether layers have to be attached for overlayfs to take them: by a process that has a mount namespace to itself.
        attached: bool,
    },
    /// The same by the options of mount(2), in the container's mount namespace, for kernels before 6.7.
    OverlayByOptions {
        /// The layers, the top one first.
        lower: Vec<PathBuf>,
        /// Where changes go.
        upper: PathBuf,
        /// Overlayfs' own directory.
        work: PathBuf,
        /// Whether the changes need not survive a loss of power.
        volatile: bool,
    },
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Path inside the container.
    pub path: PathBuf,
    /// `c`, `b` or `p`.
    pub kind: char,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// One step, taken inside the container's namespaces, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Becomes root of the new user namespace.
    BecomeRoot,
    /// Waits until the host's side is done: id maps are written.
    AwaitHost,
    /// Can be looked into by nobody from here on: who is not root could not have written the id maps before.
    NotDumpable,
    /// Opens the sources of the plan, inside the user namespace of the container's.
    OpenSources,
    /// Makes a time namespace with these lines of timens_offsets, inside the user namespace of the container's.
    NewTimeNamespace(Vec<String>),
    /// Leaves the cgroup namespace for one whose root is the group just entered.
    NewCgroupNamespace,
    /// A session keyring of its own.
    NewKeyring(String),
    /// Host name.
    HostName(String),
    /// NIS domain name.
    DomainName(String),
    /// Propagation of everything that was copied from the host.
    PropagateAll(Propagate),
    /// Attaches the root file system, which becomes private, or hears of what happens on the host (slave).
    AttachRoot(RootMount, Propagation),
    /// Mounts.
    Mount(Box<Mount>),
    /// Makes a device node.
    MakeNode(Node),
    /// Binds a device node of the host: (source, path).
    BindNode(usize, PathBuf),
    /// Makes a symbolic link: (path, what it says); `true` replaces what is there.
    Link(PathBuf, &'static str, bool),
    /// Opens a terminal on the container's own devpts; (rows, columns) when given.
    OpenTerminal(Option<(u16, u16)>),
    /// Binds the terminal onto /dev/console.
    BindConsole,
    /// Asks the host's side to run the hooks of the runtime's namespaces.
    HostHooks,
    /// Runs the `createContainer` hooks.
    CreateHooks,
    /// Joins the mount namespace of the configuration.
    JoinMounts,
    /// Makes the root file system the root.
    PivotRoot,
    /// Makes it the root of the process alone, in the host's mount namespace.
    ChangeRoot,
    /// Moves it over the old root instead.
    MoveRoot,
    /// Propagation of the root.
    PropagateRoot(Propagate),
    /// Makes the root mount read-only.
    ReadOnlyRoot,
    /// Makes a mount read-only.
    ReadOnlyMount(PathBuf),
    /// A kernel parameter: (path below /proc/sys, value).
    Sysctl(String, String),
    /// Makes a path read-only.
    ReadOnly(PathBuf),
    /// Makes a path unreadable; the number is that of the source that is the host's /dev/null.
    Mask(PathBuf, usize),
    /// A resource limit: (name, number, soft, hard).
    Limit(String, u32, u64, u64),
    /// CPU scheduling.
    Scheduler(Scheduling),
    /// I/O priority: (class, level).
    IoPriority(u32, u32),
    /// CPUs.
    Affinity(Vec<usize>),
    /// Every CPU that the control group allows, whatever the caller was bound to.
    AnyCpu,
    /// Memory policy: (mode and flags, one bit for each node).
    MemoryPolicy(u32, Vec<u64>),
    /// Execution domain.
    Personality(u64),
    /// Places standard input, output and error, or the terminal, and gives them to this user.
    Stdio {
        /// Whether it is the terminal.
        terminal: bool,
        /// The user they are given to.
        uid: u32,
    },
    /// The AppArmor profile of the program.
    AppArmor(String),
    /// The SELinux label of the program.
    SeLinux(String),
    /// Loads the system-call filter.
    Filter,
    /// Changes the working directory, which must be inside the root.
    WorkingDir(PathBuf),
    /// Drops capabilities from the bounding set, keeping these; the highest number that the kernel has.
    Bound(u64, u8),
    /// Sets groups, group and user: (uid, gid, supplementary groups).
    Ids(u32, u32, Vec<u32>),
    /// Sets capabilities.
    Capabilities(CapabilitySets),
    /// Sets the ambient capabilities.
    Ambient(u64),
    /// File mode mask.
    Umask(u32),
    /// Finds the program.
    FindProgram,
    /// Closes what was copied from the runtime, says that everything is there, and waits for `start`.
    AwaitStart {
        /// How many descriptors from 3 on stay open.
        preserve_fds: u32,
    },
    /// Runs the `startContainer` hooks, each of which takes these steps first: they confine it as the program.
    StartHooks(Vec<Op>),
    /// Gives up gaining privileges.
    NoNewPrivileges,
    /// Makes everything ready for the program, so that no call is left that a filter could forbid.
    Ready {
        /// How many descriptors from 3 on stay open.
        preserve_fds: u32,
    },
    /// Runs the program.
    Execute {
        /// Whether our own init is pid 1.
        init: bool,
    },
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { source, id_map: None } => write!(f, "bind of {source}"),
            Self::Bind { source, id_map: Some((map, _)) } => write!(f, "bind of {source}, ids by map {map}"),
            Self::New(new) => {
                write!(f, "{}", new.kind)?;
                for (key, value) in &new.parameters {
                    match value {
                        Some(value) => write!(f, " {key}={value}")?,
                        None => write!(f, " {key}")?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mount {}: {}{}", self.target.display(), self.what, self.attributes)?;
        for propagation in &self.propagation {
            write!(f, " {propagation}")?;
        }
        if self.copy_up { write!(f, " with a copy of what it hides") } else { Ok(()) }
    }
}

impl fmt::Display for RootMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lower, upper, volatile, how) = match self {
            Self::Bind(source, at) => return write!(f, "bind of source {source} onto {}", at.display()),
            Self::Overlay { lower, upper, volatile, .. } => {
                (lower, upper, volatile, "layer by layer".to_owned())
            }
            Self::OverlayMapped { lower, upper, volatile, map, attached, .. } => {
                let how = if *attached { "attached apart" } else { "detached" };
                (lower, upper, volatile, format!("of {how} layers, ids by map {map}"))
            }
            Self::OverlayByOptions { lower, upper, volatile, .. } => {
                (lower, upper, volatile, "by options".to_owned())
            }
        };
        let volatile = if *volatile { "volatile " } else { "" };
        let layers: Vec<String> = lower.iter().map(|layer| layer.display().to_string()).collect();
        write!(f, "{volatile}overlay {how}, {} over {}", upper.display(), layers.join(" over "))
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BecomeRoot => write!(f, "become root"),
            Self::AwaitHost => write!(f, "await host"),
            Self::NotDumpable => write!(f, "not dumpable"),
            Self::OpenSources => write!(f, "open the sources"),
            Self::NewTimeNamespace(offsets) => write!(f, "new time namespace {offsets:?}"),
            Self::NewCgroupNamespace => write!(f, "new cgroup namespace"),
            Self::NewKeyring(name) => write!(f, "new session keyring {name}"),
            Self::HostName(name) => write!(f, "hostname {name}"),
            Self::DomainName(name) => write!(f, "domainname {name}"),
            Self::PropagateAll(to) => write!(f, "make everything from the host {to}"),
            Self::AttachRoot(root, Propagation::Private) => write!(f, "attach private root: {root}"),
            Self::AttachRoot(root, _) => write!(f, "attach root: {root}"),
            Self::Mount(mount) => write!(f, "{mount}"),
            Self::MakeNode(node) => {
                let Node { path, kind, major, minor, mode, uid, gid } = node;
                write!(f, "mknod {} {kind} {major}:{minor} {mode:04o} {uid}:{gid}", path.display())
            }
            Self::BindNode(source, path) => write!(f, "bind node {} to source {source}", path.display()),
            Self::Link(path, text, _) => write!(f, "link {} -> {text}", path.display()),
            Self::OpenTerminal(None) => write!(f, "open terminal"),
            Self::OpenTerminal(Some((rows, columns))) => write!(f, "open terminal {columns}x{rows}"),
            Self::BindConsole => write!(f, "bind /dev/console to the terminal"),
            Self::HostHooks => write!(f, "await host hooks"),
            Self::CreateHooks => write!(f, "run createContainer hooks"),
            Self::JoinMounts => write!(f, "join the mount namespace"),
            Self::PivotRoot => write!(f, "pivot root"),
            Self::ChangeRoot => write!(f, "change root"),
            Self::MoveRoot => write!(f, "move root"),
            Self::PropagateRoot(to) => write!(f, "make root {to}"),
            Self::ReadOnlyRoot => write!(f, "make root read-only"),
            Self::Sysctl(path, value) => write!(f, "sysctl {path} = {value}"),
            Self::ReadOnlyMount(path) => write!(f, "make mount {} read-only", path.display()),
            Self::ReadOnly(path) => write!(f, "read-only {}", path.display()),
            Self::Mask(path, _) => write!(f, "mask {}", path.display()),
            other => other.fmt_process(f),
        }
    }
}

impl Op {
    fn fmt_process(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(name, _, soft, hard) => write!(f, "limit {name} {soft} {hard}"),
            Self::Scheduler(scheduling) => write!(f, "{scheduling:?}"),
            Self::IoPriority(class, level) => write!(f, "I/O priority {class}:{level}"),
            Self::Affinity(cpus) => write!(f, "CPUs {cpus:?}"),
            Self::AnyCpu => write!(f, "any CPU"),
            Self::MemoryPolicy(mode, nodes) => write!(f, "memory policy {mode:#x} {nodes:x?}"),
            Self::Personality(domain) => write!(f, "personality {domain:#x}"),
            Self::Stdio { terminal: true, uid } => write!(f, "terminal is 0, 1, 2, of user {uid}"),
            Self::Stdio { terminal: false, uid } => write!(f, "place 0, 1, 2, of user {uid}"),
            Self::AppArmor(profile) => write!(f, "apparmor {profile}"),
            Self::SeLinux(label) => write!(f, "selinux {label}"),
            Self::Filter => write!(f, "load seccomp filter"),
            Self::WorkingDir(path) => write!(f, "cd {}", path.display()),
            Self::Bound(kept, _) => write!(f, "bound capabilities to {}", capability::names(*kept)),
            Self::Ids(uid, gid, groups) => write!(f, "user {uid}:{gid} groups {groups:?}"),
            Self::Capabilities(sets) => write!(
                f,
                "capabilities: effective {}; permitted {}; inheritable {}",
                capability::names(sets.effective),
                capability::names(sets.permitted),
                capability::names(sets.inheritable)
            ),
            Self::Ambient(set) => write!(f, "ambient capabilities: {}", capability::names(*set)),
            Self::Ready { .. } => write!(f, "make ready"),
            Self::Umask(mask) => write!(f, "umask {mask:04o}"),
            Self::FindProgram => write!(f, "find program"),
            Self::AwaitStart { .. } => write!(f, "await start"),
            Self::StartHooks(confinement) => {
                write!(f, "run startContainer hooks")?;
                for (number, op) in confinement.iter().enumerate() {
                    write!(f, "{}{op}", if number == 0 { ", each after: " } else { ", " })?;
                }
                Ok(())
            }
            Self::NoNewPrivileges => write!(f, "no new privileges"),
            Self::Execute { init: true } => write!(f, "execute program below our init"),
            Self::Execute { init: false } => write!(f, "execute program"),
            _ => Ok(()),
        }
    }
}
