//! A procfs of our own: never mounted anywhere, so nothing can be mounted over it or put in its place.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::error::Named;
use crate::mount::{FileSystem, attribute};
use crate::{Error, Result};

/// A private, detached procfs of the pid namespace of whoever opened it.
#[derive(Debug)]
pub struct Procfs {
    directory: OwnedFd,
    private: bool,
}

const PROC_SUPER_MAGIC: i64 = 0x9fa0;

impl Procfs {
    /// Makes one; where the kernel does not let us (no full procfs is visible), the one at `/proc` is used after it was
    /// verified to be the root of a procfs.
    pub fn open() -> Result<Self> {
        let flags = attribute::NO_SUID | attribute::NO_DEVICES | attribute::NO_EXEC;
        let (directory, private) = match FileSystem::open("proc").and_then(|proc| proc.mount(flags)) {
            Ok(directory) => (directory, true),
            Err(error) if error.errno() == libc::EPERM => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let directory = rustix::fs::open("/proc", flags, Mode::empty());
                (directory.named(|| "open(\"/proc\", O_PATH|O_DIRECTORY)")?, false)
            }
            Err(error) => return Err(error),
        };
        let magic = rustix::fs::fstatfs(&directory).named(|| "fstatfs(proc)")?.f_type;
        let inode = crate::file::stat(&directory)?.inode;
        match (magic, inode) {
            (PROC_SUPER_MAGIC, 1) => Ok(Self { directory, private }),
            _ => Err(Error::new(
                format!("fstatfs(proc) is {magic:#x}, inode {inode}: not a procfs"),
                libc::EXDEV,
            )),
        }
    }

    /// A second descriptor of the same procfs.
    pub fn try_clone(&self) -> Result<Self> {
        let copy = self.directory.try_clone();
        copy.map(|directory| Self { directory, private: self.private })
            .map_err(|error| Error::new("fcntl(F_DUPFD_CLOEXEC)", error.raw_os_error().unwrap_or_default()))
    }

    /// Whether it is one of our own, and not the one at `/proc`.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Opens `path` below the procfs; neither links to other files nor other mounts are followed.
    fn open_file(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        rustix::fs::openat2(&self.directory, path, flags | OFlags::CLOEXEC, Mode::empty(), how)
            .named(|| format!("openat2({}/proc, {path:?})", self.directory.as_raw_fd()))
    }

    /// Writes a file in one write(2).
    pub fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        let file = self.open_file(path, OFlags::WRONLY)?;
        let call = || format!("write(/proc/{path}, \"{}\")", content.escape_ascii());
        match rustix::io::write(&file, content).named(call)? {
            written if written == content.len() => Ok(()),
            _ => Err(Error::new(call(), libc::EIO)),
        }
    }

    /// Reads a file of at most `limit` bytes.
    pub fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>> {
        let file = self.open_file(path, OFlags::RDONLY)?;
        let mut content = vec![0; limit];
        let mut length = 0;
        while length < limit {
            match rustix::io::read(&file, &mut content[length..]).named(|| format!("read(/proc/{path})"))? {
                0 => break,
                more => length += more,
            }
        }
        content.truncate(length);
        Ok(content)
    }

    /// Whether there is such a file.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.open_file(path, OFlags::PATH).is_ok()
    }

    /// The file of a namespace of a process, for example `ns/net`: the one link that is meant to be followed.
    pub fn namespace(&self, pid: u32, name: &str) -> Result<OwnedFd> {
        let path = format!("{pid}/ns/{name}");
        rustix::fs::openat(&self.directory, Path::new(&path), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .named(|| format!("openat(/proc, {path:?})"))
    }

    /// The same of the calling process, in whatever pid namespace it is.
    pub fn own_namespace(&self, name: &str) -> Result<OwnedFd> {
        let path = format!("self/ns/{name}");
        rustix::fs::openat(&self.directory, Path::new(&path), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .named(|| format!("openat(/proc, {path:?})"))
    }

    /// The root directory of a process, as a handle (O_PATH): another link that is meant to be followed.
    pub fn root_of(&self, pid: u32) -> Result<OwnedFd> {
        let path = format!("{pid}/root");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, Path::new(&path), flags, Mode::empty())
            .named(|| format!("openat(/proc, {path:?}, O_PATH)"))
    }

    /// Opens again, for reading and writing, what a handle (O_PATH) of the calling process is.
    pub fn open_handle(&self, handle: impl AsFd) -> Result<OwnedFd> {
        let path = format!("self/fd/{}", handle.as_fd().as_raw_fd());
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, Path::new(&path), flags, Mode::empty())
            .named(|| format!("openat(/proc, {path:?}, O_RDWR|O_NOCTTY)"))
    }

    /// When the process was started, in clock ticks since boot: with its number, this identifies it for ever.
    pub fn start_time_ticks(&self, pid: u32) -> Result<u64> {
        let path = format!("{pid}/stat");
        let stat = self.read(&path, 4096)?;
        let text = String::from_utf8_lossy(&stat);
        // The name, in parentheses, may contain anything; the 20th field after it is the start time.
        let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let field = after_name.split_ascii_whitespace().nth(19).and_then(|field| field.parse().ok());
        field.ok_or_else(|| Error::new(format!("read(/proc/{path}): unreadable"), libc::EIO))
    }
}

impl AsFd for Procfs {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.directory.as_fd()
    }
}
