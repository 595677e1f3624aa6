//! Mounts by descriptor: fsopen(2), open_tree(2), mount_setattr(2), move_mount(2), pivot_root(2).

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::error::Named;
use crate::{Error, Result};

/// Attributes of one mount (mount_setattr(2)).
pub mod attribute {
    #![expect(missing_docs, reason = "each is the MOUNT_ATTR_ constant of its name")]
    pub const READ_ONLY: u64 = 0x1;
    pub const NO_SUID: u64 = 0x2;
    pub const NO_DEVICES: u64 = 0x4;
    pub const NO_EXEC: u64 = 0x8;
    pub const ACCESS_TIME: u64 = 0x70;
    pub const RELATIVE_TIME: u64 = 0x0;
    pub const NO_ACCESS_TIME: u64 = 0x10;
    pub const STRICT_ACCESS_TIME: u64 = 0x20;
    pub const NO_DIR_ACCESS_TIME: u64 = 0x80;
    pub const ID_MAP: u64 = 0x0010_0000;
    pub const NO_SYMLINK_FOLLOW: u64 = 0x0020_0000;
}

/// How mounts below propagate (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// To and from its peers.
    Shared,
    /// From its master.
    Slave,
    /// Not at all.
    Private,
    /// Not at all, and it cannot be bound elsewhere.
    Unbindable,
}

impl Propagation {
    fn number(self) -> u64 {
        match self {
            Self::Shared => libc::MS_SHARED,
            Self::Slave => libc::MS_SLAVE,
            Self::Private => libc::MS_PRIVATE,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// A file system that is being configured.
#[derive(Debug)]
pub struct FileSystem {
    context: OwnedFd,
    kind: String,
}

impl FileSystem {
    /// Begins a file system of this kind; ENODEV when the kernel has none.
    pub fn open(kind: &str) -> Result<Self> {
        let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
            .named(|| format!("fsopen({kind:?}, FSOPEN_CLOEXEC)"))?;
        Ok(Self { context, kind: kind.to_owned() })
    }

    /// Sets a parameter without a value.
    pub fn set_flag(&self, key: &str) -> Result<()> {
        rustix::mount::fsconfig_set_flag(&self.context, key)
            .map_err(|errno| self.explain(format!("fsconfig({}, SET_FLAG, {key:?})", self.kind), errno))
    }

    /// Sets a parameter with a value.
    pub fn set(&self, key: &str, value: impl AsRef<Path>) -> Result<()> {
        let value = value.as_ref();
        rustix::mount::fsconfig_set_string(&self.context, key, value).map_err(|errno| {
            self.explain(format!("fsconfig({}, SET_STRING, {key:?}, {value:?})", self.kind), errno)
        })
    }

    /// Makes the file system and a detached mount of it with these [`attribute`]s.
    pub fn mount(self, attributes: u64) -> Result<OwnedFd> {
        rustix::mount::fsconfig_create(&self.context)
            .map_err(|errno| self.explain(format!("fsconfig({}, CMD_CREATE)", self.kind), errno))?;
        let flags = MountAttrFlags::from_bits_retain(attributes as u32);
        rustix::mount::fsmount(&self.context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
            .map_err(|errno| self.explain(format!("fsmount({}, {attributes:#x})", self.kind), errno))
    }

    /// The kernel says more in the context's log than in the error number.
    fn explain(&self, call: String, errno: rustix::io::Errno) -> Error {
        let mut message = [0; 512];
        let words = match rustix::io::read(&self.context, &mut message) {
            Ok(length) => String::from_utf8_lossy(&message[..length]).trim().to_owned(),
            Err(_) => String::new(),
        };
        let call = if words.is_empty() { call } else { format!("{call} [{words}]") };
        Error::new(call, errno.raw_os_error())
    }
}

/// A detached copy of the mount at `path` (links are followed), with everything below it when `recursive`.
pub fn clone_path(path: &Path, recursive: bool) -> Result<OwnedFd> {
    rustix::mount::open_tree(rustix::fs::CWD, path, clone_flags(recursive))
        .named(|| format!("open_tree(AT_FDCWD, {path:?}, OPEN_TREE_CLONE)"))
}

/// A detached copy of the mount of an open file or directory, showing that file or directory.
pub fn clone_fd(fd: impl AsFd, recursive: bool) -> Result<OwnedFd> {
    rustix::mount::open_tree(&fd, "", clone_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH)
        .named(|| format!("open_tree({}, \"\", OPEN_TREE_CLONE|AT_EMPTY_PATH)", fd.as_fd().as_raw_fd()))
}

/// A copy of the mount at a path. A mount that is attached nowhere, which the caller holds open and names through
/// procfs, can only be copied since Linux 6.15; before, it is taken itself.
pub fn clone_or_take(path: &Path, recursive: bool) -> Result<OwnedFd> {
    match clone_path(path, recursive) {
        Err(error) if error.errno() == libc::EINVAL => open_path(path),
        result => result,
    }
}

/// A handle on what is at `path`, links followed, also those of procfs to another process's descriptors. A handle on a
/// mount that is attached nowhere can be attached itself.
pub fn open_path(path: &Path) -> Result<OwnedFd> {
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::open(path, flags, rustix::fs::Mode::empty()).named(|| format!("open({path:?}, O_PATH)"))
}

fn clone_flags(recursive: bool) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive { flags | OpenTreeFlags::AT_RECURSIVE } else { flags }
}

/// Attaches a detached mount onto an open file or directory.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(&mount, "", &target, "", flags).named(|| {
        format!("move_mount({}, \"\", {}, \"\")", mount.as_fd().as_raw_fd(), target.as_fd().as_raw_fd())
    })
}

/// What [`change`] changes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// [`attribute`]s to set.
    pub set: u64,
    /// [`attribute`]s to clear.
    pub clear: u64,
    /// New propagation.
    pub propagation: Option<Propagation>,
    /// User namespace whose id maps the mount gets.
    pub id_map: Option<BorrowedFd<'a>>,
}

#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Changes a mount, and everything below it when `recursive`.
pub fn change(mount: impl AsFd, recursive: bool, change: &Change<'_>) -> Result<()> {
    let attributes = MountAttributes {
        set: change.set | change.id_map.map_or(0, |_| attribute::ID_MAP),
        clear: change.clear,
        propagation: change.propagation.map_or(0, Propagation::number),
        user_namespace: change.id_map.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let fd = mount.as_fd().as_raw_fd();
    // SAFETY: the structure is the kernel's `struct mount_attr` and its size is passed along.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(Error::last(format!(
            "mount_setattr({fd}, {flags:#x}, {{set={:#x}, clear={:#x}, propagation={:#x}}})",
            attributes.set, attributes.clear, attributes.propagation
        ))),
    }
}

/// mount(2) by options, for what a kernel cannot do through [`FileSystem`]; the target is an open directory.
pub fn mount_with_options(kind: &str, target: impl AsFd, options: &[u8]) -> Result<()> {
    let call = || format!("mount({kind:?}, {:?})", String::from_utf8_lossy(options));
    let data = CString::new(options).map_err(|_| Error::new(call(), libc::EINVAL))?;
    let path = format!("/proc/self/fd/{}", target.as_fd().as_raw_fd());
    rustix::mount::mount(kind, path, kind, MountFlags::empty(), Some(data.as_c_str())).named(call)
}

/// Makes the working directory, which must be a mount, the root of the mount namespace, and drops the old root.
pub fn pivot_into_working_dir() -> Result<()> {
    rustix::process::pivot_root(".", ".").named(|| "pivot_root(\".\", \".\")")?;
    // The old root is now mounted on top of the new one, at the same place.
    rustix::mount::unmount(".", UnmountFlags::DETACH).named(|| "umount2(\".\", MNT_DETACH)")?;
    set_working_dir(Path::new("/"))
}

/// The way for roots that cannot be pivoted (an initramfs): the mount is moved over the old root.
pub fn move_over_root(mount: impl AsFd) -> Result<()> {
    set_working_dir_to(&mount)?;
    rustix::mount::mount_move(".", "/").named(|| "mount(\".\", \"/\", MS_MOVE)")?;
    rustix::process::chroot(".").named(|| "chroot(\".\")")?;
    set_working_dir(Path::new("/"))
}

/// Makes an open directory the root of the process alone, which stays in its mount namespace.
pub fn change_root(directory: impl AsFd) -> Result<()> {
    set_working_dir_to(&directory)?;
    rustix::process::chroot(".").named(|| "chroot(\".\")")?;
    set_working_dir(Path::new("/"))
}

/// Changes the working directory to an open directory.
pub fn set_working_dir_to(directory: impl AsFd) -> Result<()> {
    rustix::process::fchdir(&directory).named(|| format!("fchdir({})", directory.as_fd().as_raw_fd()))
}

/// Changes the working directory by path.
pub fn set_working_dir(path: &Path) -> Result<()> {
    rustix::process::chdir(path).named(|| format!("chdir({path:?})"))
}

/// Whether the working directory can be reached from the root of the process.
pub fn working_dir_is_reachable() -> Result<bool> {
    match rustix::process::getcwd(Vec::new()) {
        Ok(path) => Ok(path.as_bytes().first() == Some(&b'/')),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).named(|| "getcwd()"),
    }
}

/// Whether a path is where something is mounted. Asks no server of a network file system.
///
/// # Errors
/// The `statx` call that failed.
pub fn is_mount_point(path: &Path) -> Result<bool> {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let found = rustix::fs::statx(rustix::fs::CWD, path, flags, StatxFlags::empty())
        .named(|| format!("statx({path:?}, AT_STATX_DONT_SYNC)"))?;
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Detaches the mount at a path, with everything below it; where a user namespace may not, covers it with an empty,
/// read-only file system.
pub fn detach_or_cover(path: &Path) -> Result<()> {
    match detach(path) {
        Err(error) if matches!(error.errno(), libc::EINVAL | libc::EPERM) => {}
        // It went with one that it lies on.
        Err(error) if error.errno() == libc::ENOENT => return Ok(()),
        done => return done,
    }
    let empty = FileSystem::open("tmpfs")?;
    empty.set("nr_inodes", "1")?;
    attach(empty.mount(attribute::READ_ONLY)?, open_path(path)?)
}

/// Detaches the mount at a path.
pub fn detach(path: &Path) -> Result<()> {
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).named(|| {
        format!("umount2({:?}, MNT_DETACH)", path.as_os_str().as_bytes().escape_ascii().to_string())
    })
}
