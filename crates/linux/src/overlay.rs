//! An overlay file system that is mounted nowhere: only the holder of its descriptor sees it, and the kernel frees it
//! when the last descriptor is closed.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::error::Named;
use crate::mount::{self, Change, Propagation};
use crate::{Error, Result, at};

/// Mounts `lower` (the topmost first) and, above them, an upper and a work directory, without a place in any tree.
/// Without an upper directory the mount is read-only, and at least two lower directories are needed.
pub fn detached(lower: &[&Path], upper: Option<(&Path, &Path)>) -> Result<OwnedFd> {
    let own = upper.map(|(upper, work)| Own { upper, work, volatile: false });
    mounted(lower, own)
}

/// The layer that takes what is written.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// Its directory.
    pub upper: &'a Path,
    /// Overlayfs' own directory.
    pub work: &'a Path,
    /// What is written need not survive a loss of power.
    pub volatile: bool,
}

fn mounted(lower: &[&Path], own: Option<Own<'_>>) -> Result<OwnedFd> {
    match configure(lower, own, true) {
        // Before Linux 6.5 there is only one string for all lower directories.
        Err(error) if error.errno() == libc::EINVAL => configure(lower, own, false),
        result => result,
    }
}

/// The same with the ids of all layers mapped as a user namespace has them: what the disk has as 0 shows as what 0 is in
/// that namespace, and what is made as that is 0 on the disk. `upper` and the work directory must have one parent, which
/// belongs to root on the disk.
///
/// Layers that are mounted nowhere are taken by overlayfs since Linux 6.15; before, see [`mapped_in_own_namespace`].
pub fn mapped(lower: &[&Path], own: Option<Own<'_>>, users: BorrowedFd<'_>) -> Result<OwnedFd> {
    let named = |fd: &OwnedFd| PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let layers: Vec<OwnedFd> = lower.iter().map(|path| layer(path, users)).collect::<Result<_>>()?;
    let paths: Vec<PathBuf> = layers.iter().map(named).collect();
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let Some(own) = own else { return mounted(&paths, None) };
    let place = place_of(own)?;
    let parent = layer(place.parent, users)?;
    let (upper, work) = (named(&parent).join(place.upper), named(&parent).join(place.work));
    as_owner(&parent, || mounted(&paths, Some(Own { upper: &upper, work: &work, ..own })))
}

/// Overlayfs works in the name of who mounts: somebody whom the maps know, and who may do everything. That is whose the
/// directory with the container's own layer is, as it shows: root, mapped.
fn as_owner(parent: &OwnedFd, mount: impl FnOnce() -> Result<OwnedFd>) -> Result<OwnedFd> {
    let owner = crate::file::stat(parent)?;
    crate::credentials::with_file_ids(owner.uid, owner.gid, mount)?
}

/// The same for kernels whose overlayfs takes layers of the caller's mount namespace alone. They are attached in a memory
/// file system over the directory `scratch`: only for who has a copy of the mount namespace to itself, from which nothing
/// is heard of outside. Changes the working directory.
pub fn mapped_in_own_namespace(
    lower: &[&Path],
    own: Option<Own<'_>>,
    users: BorrowedFd<'_>,
    scratch: &Path,
) -> Result<OwnedFd> {
    let place = own.map(place_of).transpose()?;
    let mut options = Vec::new();
    let mut layers = Vec::new();
    for (number, path) in lower.iter().enumerate() {
        layers.push((number.to_string(), layer(path, users)?));
    }
    let names: Vec<&str> = layers.iter().map(|(name, _)| name.as_str()).collect();
    options.extend_from_slice(format!("lowerdir={},index=off", names.join(":")).as_bytes());
    if own.is_some_and(|own| own.volatile) {
        options.extend_from_slice(b",volatile");
    }
    if let Some(place) = &place {
        layers.push(("u".to_owned(), layer(place.parent, users)?));
        for (key, name) in [("upperdir", place.upper), ("workdir", place.work)] {
            options.extend_from_slice(format!(",{key}=u/").as_bytes());
            options.extend(name.as_os_str().as_bytes().iter().flat_map(|byte| match byte {
                b',' | b'\\' => vec![b'\\', *byte],
                _ => vec![*byte],
            }));
        }
    }
    if options.len() >= PAGE {
        return Err(Error::new(format!("mount(overlay, {} layers)", lower.len()), libc::E2BIG));
    }
    let memory = mount::FileSystem::open("tmpfs")?.mount(0)?;
    mount::attach(&memory, mount::open_path(scratch)?)?;
    let memory = crate::resolve::readable_dir(&memory, b".")?;
    for (name, layer) in &layers {
        at::make_dir(&memory, name.as_bytes(), 0o700)?;
        mount::attach(layer, at::open_dir(&memory, name.as_bytes())?)?;
    }
    at::make_dir(&memory, b"root", 0o700)?;
    mount::set_working_dir_to(&memory)?;
    let root = at::open_dir(&memory, b"root")?;
    let mount = || {
        mount::mount_with_options("overlay", &root, &options)?;
        mount::clone_path(Path::new("root"), false)
    };
    match layers.last().filter(|_| own.is_some()) {
        Some((_, parent)) => as_owner(parent, mount),
        None => mount(),
    }
}

/// Bytes of the options of mount(2).
const PAGE: usize = 4096;

/// Where the layer that takes what is written is: its directories by their names in their parent.
struct Place<'a> {
    parent: &'a Path,
    upper: &'a Path,
    work: &'a Path,
}

fn place_of(own: Own<'_>) -> Result<Place<'_>> {
    let Own { upper, work, .. } = own;
    match (upper.parent(), upper.file_name(), work.file_name()) {
        (Some(parent), Some(upper), Some(name)) if work.parent() == Some(parent) => {
            let (upper, work) = (Path::new(upper), Path::new(name));
            Ok(Place { parent, upper, work })
        }
        _ => {
            Err(Error::new(format!("overlay({upper:?}, {work:?}): they have no common parent"), libc::EXDEV))
        }
    }
}

/// A directory as a mount of its own that nobody sees, with mapped ids.
fn layer(path: &Path, users: BorrowedFd<'_>) -> Result<OwnedFd> {
    let copy = mount::clone_path(path, false)?;
    let change = Change { id_map: Some(users), propagation: Some(Propagation::Private), ..Change::default() };
    mount::change(&copy, false, &change)?;
    Ok(copy)
}

fn configure(lower: &[&Path], own: Option<Own<'_>>, one_by_one: bool) -> Result<OwnedFd> {
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
    if let Some(Own { upper, work, volatile }) = own {
        set(&context, "upperdir", upper.as_os_str().as_bytes())?;
        set(&context, "workdir", work.as_os_str().as_bytes())?;
        if volatile {
            rustix::mount::fsconfig_set_flag(context.as_fd(), "volatile")
                .named(|| "fsconfig(overlay, SET_FLAG, \"volatile\")")?;
        }
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
