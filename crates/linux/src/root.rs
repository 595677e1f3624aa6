//! Paths inside a directory that someone else controls: every look-up is held inside it by the kernel (openat2(2)).

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::error::Named;
use crate::{Error, Result};

/// A directory that is the root of every path looked up through it: absolute links and `..` stay inside, and links
/// of procfs to other files are not followed.
#[derive(Debug)]
pub struct Root(OwnedFd);

/// How often a look-up that the kernel could not finish, because something was renamed meanwhile, is repeated.
const ATTEMPTS: usize = 128;

/// How many links that lead nowhere are followed to make what they name, as many as the kernel follows on a path.
const LINKS: usize = 40;

/// What became of making the directories of a path.
enum Made {
    /// They are there.
    There(OwnedFd),
    /// A link that leads nowhere is on the way: the path goes on there.
    Elsewhere(PathBuf),
}

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

    /// Makes a directory and the missing ones above it (mode 0755 or `mode`), and returns a handle on it. A link that
    /// leads nowhere is followed, inside the root, and what it names is made.
    pub fn make_dir_all(&self, path: &Path, mode: u32) -> Result<OwnedFd> {
        match self.open_at(path, OFlags::PATH | OFlags::DIRECTORY, 0) {
            Err(error) if error.errno() == libc::ENOENT => {}
            other => return other,
        }
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            match self.make_names(&path, mode)? {
                Made::There(directory) => return Ok(directory),
                Made::Elsewhere(through) => path = through,
            }
        }
        Err(Error::new(format!("mkdir({path:?}): too many links"), libc::ELOOP))
    }

    /// What is missing is made name by name, each below the directory that was just opened.
    fn make_names(&self, path: &Path, mode: u32) -> Result<Made> {
        const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
        let mut at = PathBuf::from(".");
        let mut directory = self.open_at(&at, DIRECTORY, 0)?;
        let mut made = false;
        let mut names = path.components();
        while let Some(component) = names.next() {
            let name = match component {
                Component::Normal(name) => name,
                Component::ParentDir if made => {
                    let call = format!("mkdir({path:?}): \"..\" in a missing path");
                    return Err(Error::new(call, libc::EINVAL));
                }
                Component::ParentDir => OsStr::new(".."),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            };
            at.push(name);
            directory = match self.open_at(&at, DIRECTORY, 0) {
                Ok(next) => next,
                Err(error) if error.errno() == libc::ENOENT => {
                    match rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(mode)) {
                        Ok(()) => made = true,
                        Err(rustix::io::Errno::EXIST) => {
                            at.pop();
                            if let Some(text) = link_text(&directory, name)? {
                                return Ok(Made::Elsewhere(at.join(text).join(names.as_path())));
                            }
                            at.push(name);
                        }
                        Err(errno) => return Err(errno).named(|| format!("mkdirat({at:?}, {mode:#o})")),
                    }
                    open_below(&directory, Path::new(name), DIRECTORY | OFlags::NOFOLLOW, 0)?
                }
                Err(error) => return Err(error),
            };
        }
        Ok(Made::There(directory))
    }

    /// A handle on the file at `path`, which is made, empty and with the directories above it, when nothing is there;
    /// where a link leads that leads nowhere, inside the root.
    pub fn make_file(&self, path: &Path, mode: u32) -> Result<OwnedFd> {
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            match self.handle(&path) {
                Err(error) if error.errno() == libc::ENOENT => {}
                other => return other,
            }
            let (parent, name) = self.parent_of(&path)?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDONLY;
            match open_below(&parent, Path::new(name), flags, mode) {
                Ok(file) => {
                    drop(file);
                    return open_below(&parent, Path::new(name), OFlags::PATH | OFlags::NOFOLLOW, 0);
                }
                // A link that leads nowhere, or something that appeared meanwhile.
                Err(error) if error.errno() == libc::EEXIST => {
                    if let Some(text) = link_text(&parent, name)? {
                        path = path.parent().unwrap_or(Path::new("/")).join(text);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(format!("open({path:?}, O_CREAT): too many links"), libc::ELOOP))
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

/// The text of a link; `None` when the name is something else, or gone.
fn link_text(directory: &OwnedFd, name: &OsStr) -> Result<Option<PathBuf>> {
    match rustix::fs::readlinkat(directory, name, Vec::new()) {
        Ok(text) => Ok(Some(PathBuf::from(std::ffi::OsString::from_vec(text.into_bytes())))),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).named(|| format!("readlinkat({name:?})")),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    /// A directory with `root` in it, in which links try to leave it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> (Self, Root) {
            let path = std::env::temp_dir().join(format!("berth-root-{}-{name}", std::process::id()));
            fs::create_dir_all(path.join("root/real")).expect("mkdir");
            fs::write(path.join("outside"), "outside").expect("write");
            fs::write(path.join("root/outside"), "inside").expect("write");
            symlink("..", path.join("root/up")).expect("link");
            symlink("/", path.join("root/top")).expect("link");
            symlink("/real", path.join("root/absolute")).expect("link");
            symlink("/proc/self/cwd", path.join("root/magic")).expect("link");
            symlink("/nowhere", path.join("root/broken")).expect("link");
            let root = Root::open(&path.join("root")).expect("root");
            (Self(path), root)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn inode(fd: impl AsFd) -> (u64, u64) {
        let stat = crate::file::stat(fd).expect("stat");
        (stat.file_system, stat.inode)
    }

    #[test]
    fn every_way_out_leads_back_inside() {
        let (_place, root) = Place::new("ways");
        let inside = inode(root.handle(Path::new("outside")).expect("handle"));
        for path in [
            "/outside",
            "../outside",
            "up/outside",
            "top/outside",
            "up/up/../../outside",
            "absolute/../outside",
        ] {
            assert_eq!(inode(root.handle(Path::new(path)).expect(path)), inside, "{path}");
        }
    }

    #[test]
    fn what_is_missing_is_made_inside() {
        let (place, root) = Place::new("made");
        for path in ["up/new/deep", "/top/other", "absolute/third"] {
            root.make_dir_all(Path::new(path), 0o755).expect(path);
        }
        root.make_file(Path::new("/up/files/one"), 0o644).expect("file");
        for path in ["new/deep", "other", "real/third", "files/one"] {
            assert!(place.0.join("root").join(path).exists(), "{path}");
        }
        assert!(!place.0.join("new").exists() && !place.0.join("files").exists());
        assert!(root.make_dir_all(Path::new("x/../../y"), 0o755).is_err());
    }

    #[test]
    fn links_that_lead_nowhere_lead_inside() {
        let (place, root) = Place::new("broken");
        let inside = place.0.join("root");
        for (link, text) in [
            ("hosts", "../../../etc/hosts"),
            ("jump", "/far/away"),
            ("through", "/jump/below/file"),
            ("loop", "pool"),
            ("pool", "loop"),
            ("out", "../../outside-new"),
        ] {
            symlink(text, inside.join(link)).expect("link");
        }
        root.make_file(Path::new("broken"), 0o644).expect("file");
        root.make_file(Path::new("/hosts"), 0o644).expect("file");
        root.make_file(Path::new("up/through"), 0o644).expect("file");
        root.make_dir_all(Path::new("out/deep"), 0o755).expect("dir");
        for path in ["nowhere", "etc/hosts", "far/away/below/file", "outside-new/deep"] {
            assert!(inside.join(path).exists(), "{path}");
        }
        assert!(!place.0.join("outside-new").exists() && !place.0.join("etc").exists());
        assert_eq!(root.make_file(Path::new("loop"), 0o644).expect_err("loop").errno(), libc::ELOOP);
        assert_eq!(root.make_dir_all(Path::new("loop/x"), 0o755).expect_err("loop").errno(), libc::ELOOP);
    }

    #[test]
    fn links_of_procfs_and_what_is_no_file_are_refused() {
        let (place, root) = Place::new("refused");
        assert!(root.handle(Path::new("magic/x")).is_err());
        let root_of_all = Root::open(Path::new("/")).expect("root");
        assert_eq!(root_of_all.handle(Path::new("proc/self/cwd")).expect_err("magic").errno(), libc::ELOOP);
        for path in ["dev/null", "etc"] {
            assert!(root_of_all.read_file(Path::new(path)).is_err(), "{path}");
        }
        assert_eq!(root.read_link(Path::new("top")).expect("link"), b"/");
        assert!(root.read_file(Path::new("outside")).is_ok());
        drop(place);
    }
}
