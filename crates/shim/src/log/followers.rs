//! Files that a rotation takes away are lent to those who follow the log and have not come to them yet.
//!
//! ```text
//! x.log.followers/<number>/     made and locked by a follower (flock), removed by it, or by the shim once nobody has the lock
//!   00000000000000000001.gz     made by the shim: a link to the file that a rotation removes, numbered in their order
//! ```
//!
//! The shim waits for nobody: a follower that is too far behind is lent nothing more, and counts what it has missed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::files;

/// Bytes that are lent to one follower, and the most files.
const MOST_BYTES: u64 = 64 << 20;
const MOST_FILES: u64 = 1024;
/// How often a directory is made again that somebody has just removed.
const ATTEMPTS: usize = 100;

/// One who follows a log, until it is dropped.
pub(super) struct Follower {
    directory: PathBuf,
    _lock: File,
}

/// A file that was lent.
pub(super) struct Lent {
    pub(super) path: PathBuf,
    pub(super) compressed: bool,
}

impl Follower {
    /// From now on, files of the log at `log` that are taken away are lent.
    pub(super) fn begin(log: &Path) -> io::Result<Self> {
        let all = files::followers(log);
        for number in 0..ATTEMPTS {
            let made = all.join(format!("new{number}"));
            match fs::create_dir(&made) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::create_dir(&all) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => continue,
                },
                Err(error) => return Err(error),
            }
            // Locked before it has a name that the shim looks at.
            let lock = File::open(&made)?;
            linux::file::try_lock(&lock)?;
            let directory = all.join(lock.metadata()?.ino().to_string());
            fs::rename(&made, &directory)?;
            return Ok(Self { directory, _lock: lock });
        }
        Err(io::Error::other(format!("{}: too many at once", all.display())))
    }

    /// What has been lent and not given back, the oldest first.
    pub(super) fn lent(&self) -> io::Result<Vec<Lent>> {
        let mut lent = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            lent.push(Lent { compressed: path.extension().is_some(), path });
        }
        lent.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(lent)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the shim, or with the container.
        drop(fs::remove_dir_all(&self.directory));
        if let Some(all) = self.directory.parent() {
            // There may be other followers.
            drop(fs::remove_dir(all));
        }
    }
}

/// Lends a file that is about to be taken away to every follower that is not too far behind. `size` is that of the log's files.
pub(super) fn lend(log: &Path, file: &Path, size: u64) -> io::Result<()> {
    let followers = match fs::read_dir(files::followers(log)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        followers => followers?,
    };
    let most = (MOST_BYTES / size.max(1)).clamp(1, MOST_FILES);
    for follower in followers {
        let follower = follower?;
        if follower.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            lend_to(&follower.path(), file, most)?;
        }
    }
    Ok(())
}

fn lend_to(follower: &Path, file: &Path, most: u64) -> io::Result<()> {
    let directory = match File::open(follower) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        directory => directory?,
    };
    if linux::file::try_lock(&directory)? {
        // Its daemon was killed.
        return fs::remove_dir_all(follower);
    }
    let (mut count, mut last) = (0, 0);
    for entry in fs::read_dir(follower)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.split('.').next()?.parse::<u64>().ok());
        (count, last) = (count + 1, last.max(number.unwrap_or(0)));
    }
    if count >= most {
        return Ok(());
    }
    let extension = if file.extension().is_some_and(|extension| extension == "gz") { ".gz" } else { "" };
    match fs::hard_link(file, follower.join(format!("{:020}{extension}", last + 1))) {
        // It has just left, or there is no such file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        linked => linked,
    }
}
