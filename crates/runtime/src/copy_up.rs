//! What a tmpfs hides, copied into it (`tmpcopyup`).

use std::os::fd::AsFd;

use linux::at::{self, Node};
use linux::file::{self, Kind};

use crate::error::While;
use crate::{Error, Result};

/// The deepest directory that is copied.
const MAX_DEPTH: usize = 64;

/// Copies the content of one directory into another, with owners, modes and links, but without sockets.
pub(crate) fn copy(from: impl AsFd, to: impl AsFd) -> Result<()> {
    // The handle cannot be read from; the same directory can.
    let from = at::open_dir(from, b".")?;
    let to = at::open_dir(to, b".")?;
    copy_dir(from.as_fd(), to.as_fd(), 0)
}

fn copy_dir(from: std::os::fd::BorrowedFd<'_>, to: std::os::fd::BorrowedFd<'_>, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid("tmpcopyup: directories are too deep"));
    }
    for name in file::entry_names(from)? {
        copy_one(from, to, &name, depth).during(|| format!("copying {}", name.escape_ascii()))?;
    }
    Ok(())
}

fn copy_one(
    from: std::os::fd::BorrowedFd<'_>,
    to: std::os::fd::BorrowedFd<'_>,
    name: &[u8],
    depth: usize,
) -> Result<()> {
    let Some(stat) = at::stat(from, name)? else { return Ok(()) };
    let (major, minor) = stat.device_number;
    match stat.kind {
        Kind::Dir => {
            at::make_dir(to, name, 0o700)?;
            copy_dir(at::open_dir(from, name)?.as_fd(), at::open_dir(to, name)?.as_fd(), depth + 1)?;
        }
        Kind::File => {
            let mut source = std::fs::File::from(at::open_read(from, name)?);
            let mut target = std::fs::File::from(at::create(to, name, 0o600)?);
            std::io::copy(&mut source, &mut target).map_err(|error| {
                linux::Error::new("copy_file_range()", error.raw_os_error().unwrap_or_default())
            })?;
        }
        Kind::Symlink => at::symlink(&at::read_link(from, name)?, to, name)?,
        Kind::CharDevice => at::make_node(to, name, Node::CharDevice(major, minor), 0)?,
        Kind::BlockDevice => at::make_node(to, name, Node::BlockDevice(major, minor), 0)?,
        Kind::Fifo => at::make_node(to, name, Node::Fifo, 0)?,
        Kind::Socket | Kind::Unknown => return Ok(()),
    }
    at::set_owner(to, name, stat.uid, stat.gid)?;
    if stat.kind != Kind::Symlink {
        at::set_mode(to, name, stat.mode)?;
    }
    Ok(())
}
