//! An overlay file system that is mounted nowhere: only the holder of its descriptor sees it, and the kernel frees it
//! when the last descriptor is closed.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::error::Named;
use crate::{Error, Result};

/// Mounts `lower` (the topmost first) and, above them, an upper and a work directory, without a place in any tree.
/// Without an upper directory the mount is read-only, and at least two lower directories are needed.
pub fn detached(lower: &[&Path], upper: Option<(&Path, &Path)>) -> Result<OwnedFd> {
    match configure(lower, upper, true) {
        // Before Linux 6.5 there is only one string for all lower directories.
        Err(error) if error.errno() == libc::EINVAL => configure(lower, upper, false),
        result => result,
    }
}

fn configure(lower: &[&Path], upper: Option<(&Path, &Path)>, one_by_one: bool) -> Result<OwnedFd> {
    let context =
        rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).named(|| "fsopen(overlay)")?;
    if one_by_one {
        for path in lower {
            set(&context, "lowerdir+", path.as_os_str().as_bytes())?;
        }
    } else {
        let parts: Vec<Vec<u8>> = lower.iter().map(|path| escaped(path)).collect();
        set(&context, "lowerdir", &parts.join(&b':'))?;
    }
    // With an index, a layer could not be mounted again while someone still reads it.
    set(&context, "index", b"off")?;
    if let Some((upper, work)) = upper {
        set(&context, "upperdir", upper.as_os_str().as_bytes())?;
        set(&context, "workdir", work.as_os_str().as_bytes())?;
    }
    rustix::mount::fsconfig_create(context.as_fd())
        .named(|| format!("fsconfig(overlay, CREATE, lower {lower:?})"))?;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        .named(|| "fsmount(overlay)")
}

fn set(context: &OwnedFd, key: &str, value: &[u8]) -> Result<()> {
    rustix::mount::fsconfig_set_string(context.as_fd(), key, value).map_err(|errno| {
        let value = String::from_utf8_lossy(value);
        Error::new(format!("fsconfig(overlay, {key:?}, {value:?})"), errno.raw_os_error())
    })
}

/// A path in a list joined by colons.
fn escaped(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b'\\') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colons_and_backslashes_are_escaped_in_a_list() {
        assert_eq!(escaped(Path::new("/a:b\\c,d")), b"/a\\:b\\\\c,d");
    }
}
