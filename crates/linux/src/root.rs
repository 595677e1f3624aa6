//! Paths inside a directory that someone else controls: every look-up is held inside it by the kernel (openat2(2)).

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::error::Named;
use crate::{Error, Result};

/// A directory that is the root of every path looked up through it: absolute links and `..` stay inside, and links
/// of procfs to other files are not followed.
#[derive(Debug)]
pub struct Root(OwnedFd);

/// How often a look-up that the kernel could not finish, because something was renamed meanwhile, is repeated.
const ATTEMPTS: usize = 128;

impl Root {
    /// Opens a directory of the host as a root.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
            .named(|| format!("open({path:?}, O_PATH|O_DIRECTORY)"))
            .map(Self)
    }

    /// A handle (O_PATH) on what is at `path`; links are followed inside the root.
    pub fn handle(&self, path: &Path) -> Result<OwnedFd> {
        self.open_at(path, OFlags::PATH, 0)
    }

    /// A handle (O_PATH) on what is at `path`, on the link itself if the last name is one.
    pub fn handle_no_follow(&self, path: &Path) -> Result<OwnedFd> {
        self.open_at(path, OFlags::PATH | OFlags::NOFOLLOW, 0)
    }

    /// Opens a regular file for reading; devices, FIFOs and sockets are refused with EINVAL before they can block.
    pub fn read_file(&self, path: &Path) -> Result<OwnedFd> {
        let file = self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, 0)?;
        match crate::file::stat(&file)?.kind {
            crate::file::Kind::File => Ok(file),
            _ => Err(Error::new(
                format!("openat2({}, {path:?}): not a regular file", self.0.as_raw_fd()),
                libc::EINVAL,
            )),
        }
    }

    /// Opens for reading whatever is there, without waiting for it and without making it a controlling terminal.
    pub fn open_read(&self, path: &Path) -> Result<OwnedFd> {
        self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, 0)
    }

    /// Makes a directory and the missing ones above it (mode 0755 or `mode`), and returns a handle on it.
    pub fn make_dir_all(&self, path: &Path, mode: u32) -> Result<OwnedFd> {
        match self.open_at(path, OFlags::PATH | OFlags::DIRECTORY, 0) {
            Err(error) if error.errno() == libc::ENOENT => {}
            other => return other,
        }
        // What is missing is made name by name, each below the directory that was just opened.
        let mut names: Vec<_> = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => names.push(name),
                Component::ParentDir => {
                    return Err(Error::new(
                        format!("mkdir({path:?}): \"..\" in a missing path"),
                        libc::EINVAL,
                    ));
                }
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        let mut at = std::path::PathBuf::from(".");
        let mut directory = self.open_at(&at, OFlags::PATH | OFlags::DIRECTORY, 0)?;
        for name in names {
            at.push(name);
            directory = match self.open_at(&at, OFlags::PATH | OFlags::DIRECTORY, 0) {
                Ok(next) => next,
                Err(error) if error.errno() == libc::ENOENT => {
                    match rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(mode)) {
                        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                        Err(errno) => return Err(errno).named(|| format!("mkdirat({at:?}, {mode:#o})")),
                    }
                    open_below(
                        &directory,
                        Path::new(name),
                        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW,
                        0,
                    )?
                }
                Err(error) => return Err(error),
            };
        }
        Ok(directory)
    }

    /// A handle on the file at `path`, which is made, empty and with the directories above it, when nothing is there.
    pub fn make_file(&self, path: &Path, mode: u32) -> Result<OwnedFd> {
        match self.handle(path) {
            Err(error) if error.errno() == libc::ENOENT => {}
            other => return other,
        }
        let (parent, name) = self.parent_of(path)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDONLY;
        match open_below(&parent, Path::new(name), flags, mode) {
            Ok(file) => {
                drop(file);
                open_below(&parent, Path::new(name), OFlags::PATH | OFlags::NOFOLLOW, 0)
            }
            // A link that leads nowhere, or something that appeared meanwhile: only the latter can be opened.
            Err(error) if error.errno() == libc::EEXIST => self.handle(path),
            Err(error) => Err(error),
        }
    }

    /// The directory that holds `path`, made when it is missing, and the last name.
    pub fn parent_of<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a OsStr)> {
        let name =
            path.file_name().ok_or_else(|| Error::new(format!("open({path:?}): no name"), libc::EINVAL))?;
        let parent = self.make_dir_all(path.parent().unwrap_or(Path::new("/")), 0o755)?;
        Ok((parent, name))
    }

    /// The text of the link at `path`.
    pub fn read_link(&self, path: &Path) -> Result<Vec<u8>> {
        let link = self.handle_no_follow(path)?;
        rustix::fs::readlinkat(&link, "", Vec::new())
            .named(|| format!("readlinkat({path:?})"))
            .map(std::ffi::CString::into_bytes)
    }

    fn open_at(&self, path: &Path, flags: OFlags, mode: u32) -> Result<OwnedFd> {
        open_in(&self.0, path, flags, mode)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Root {
    fn from(directory: OwnedFd) -> Self {
        Self(directory)
    }
}

impl From<Root> for OwnedFd {
    fn from(root: Root) -> Self {
        root.0
    }
}

fn open_in(directory: &OwnedFd, path: &Path, flags: OFlags, mode: u32) -> Result<OwnedFd> {
    resolve(directory, path, flags, mode, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// Opens one name below a directory and nothing else.
fn open_below(directory: &OwnedFd, path: &Path, flags: OFlags, mode: u32) -> Result<OwnedFd> {
    resolve(directory, path, flags, mode, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

fn resolve(directory: &OwnedFd, path: &Path, flags: OFlags, mode: u32, how: ResolveFlags) -> Result<OwnedFd> {
    let call = || format!("openat2({}, {path:?}, {flags:?}, {how:?})", directory.as_raw_fd());
    for _ in 0..ATTEMPTS {
        match rustix::fs::openat2(directory, path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode), how) {
            Err(rustix::io::Errno::AGAIN) => {}
            other => return other.named(call),
        }
    }
    Err(Error::new(call(), libc::EAGAIN))
}
