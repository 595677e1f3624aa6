//! Paths inside a directory that is treated as the root: symbolic links and `..` stay inside (openat2(2)).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::{Error, Result};

/// How often a resolution is repeated that the kernel gave up because something was renamed meanwhile.
const ATTEMPTS: u32 = 64;

/// Opens the directory that `path` leads to, as a base for names ([`crate::at`]); it cannot be read itself.
pub fn dir(root: impl AsFd, path: &[u8]) -> Result<OwnedFd> {
    open(root, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Opens the directory that `path` leads to for reading its entries.
pub fn readable_dir(root: impl AsFd, path: &[u8]) -> Result<OwnedFd> {
    open(root, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens whatever `path` leads to as a handle (O_PATH); symbolic links are followed to their end.
pub fn handle(root: impl AsFd, path: &[u8]) -> Result<OwnedFd> {
    open(root, path, OFlags::PATH)
}

/// Opens whatever `path` names as a handle (O_PATH); a symbolic link at the end is opened itself.
pub fn handle_no_follow(root: impl AsFd, path: &[u8]) -> Result<OwnedFd> {
    open(root, path, OFlags::PATH | OFlags::NOFOLLOW)
}

/// Opens whatever `path` names as a handle (O_PATH), and refuses to pass any symbolic link (`ELOOP`).
pub fn handle_without_links(root: impl AsFd, path: &[u8]) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    open_how(root, path, OFlags::PATH | OFlags::NOFOLLOW, resolve)
}

fn open(root: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
    open_how(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

fn open_how(root: impl AsFd, path: &[u8], flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
    let mut attempt = 0;
    loop {
        match rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(fd) => return Ok(fd),
            Err(Errno::AGAIN | Errno::INTR) if attempt < ATTEMPTS => attempt += 1,
            Err(errno) => {
                let root = root.as_fd().as_raw_fd();
                let call = format!("openat2({root}, {:?}, {resolve:?})", String::from_utf8_lossy(path));
                return Err(Error::new(call, errno.raw_os_error()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_parents_stay_inside_the_root() {
        let path = std::env::temp_dir().join(format!("berth-test-{}-resolve", std::process::id()));
        std::fs::create_dir_all(path.join("root/etc")).unwrap();
        std::fs::create_dir(path.join("outside")).unwrap();
        std::os::unix::fs::symlink("/etc", path.join("root/absolute")).unwrap();
        std::os::unix::fs::symlink("../../../outside", path.join("root/up")).unwrap();
        std::os::unix::fs::symlink("loop", path.join("root/loop")).unwrap();
        std::os::unix::fs::symlink("/proc/self/root", path.join("root/magic")).unwrap();
        let root = std::fs::File::open(path.join("root")).unwrap();
        let inside = crate::file::stat(dir(&root, b"etc").unwrap()).unwrap().inode;
        for name in ["absolute", "/etc", "../etc", "../../etc", "absolute/../etc"] {
            let found = dir(&root, name.as_bytes()).unwrap();
            assert_eq!(crate::file::stat(found).unwrap().inode, inside, "{name}");
        }
        assert_eq!(dir(&root, b"up").unwrap_err().name(), Some("ENOENT"));
        assert_eq!(dir(&root, b"loop").unwrap_err().name(), Some("ELOOP"));
        assert_eq!(dir(&root, b"magic").unwrap_err().name(), Some("ENOENT"));
        let link = handle_no_follow(&root, b"absolute").unwrap();
        assert_eq!(crate::file::stat(link).unwrap().kind, crate::file::Kind::Symlink);
        std::fs::remove_dir_all(path).unwrap();
    }
}
