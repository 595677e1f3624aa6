//! Mounts inside the root: every target is opened inside it first, and attached to by descriptor.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::file::Kind as Inode;
use linux::mount::{self, Change, FileSystem, Propagation, attribute};
use linux::mount_table::{self, Entry};
use linux::root::Root;

use super::{Inside, kind_of, missing};
use crate::error::While;
use crate::plan::{Attributes, BindSource, Mount, NewFileSystem, RootMount, What};
use crate::{Error, Result};

/// The longest table of mounts that is read, in bytes.
const MOUNT_TABLE: usize = 16 << 20;

impl Inside<'_> {
    pub(super) fn attach_root(&mut self, root: &RootMount, apart: Propagation) -> Result<()> {
        let attached = match root {
            RootMount::Bind(..) | RootMount::Overlay { .. } | RootMount::OverlayMapped { .. } => {
                let detached = match (self.root_mount.take(), root) {
                    (Some(opened), _) => opened,
                    (None, RootMount::Bind(source, _)) => self.take_source(*source)?,
                    (None, _) => return Err(missing("root mount")),
                };
                let change = Change { propagation: Some(apart), ..Change::default() };
                mount::change(&detached, true, &change)?;
                mount::attach(&detached, self.place_of(root)?)?;
                detached
            }
            RootMount::OverlayByOptions { lower, upper, work, volatile } => {
                // Mounted over the upper directory: only this mount namespace sees it, and only until the root is entered.
                mount::mount_with_options(
                    "overlay",
                    Root::open(upper)?,
                    &overlay_options(lower, upper, work, *volatile)?,
                )?;
                OwnedFd::from(Root::open(upper)?)
            }
        };
        self.root = Some(Root::from(attached));
        Ok(())
    }

    /// Where the root is attached until it is entered. The root of a user namespace may not be able to walk to where it
    /// came from.
    fn place_of(&self, root: &RootMount) -> Result<Root> {
        let anywhere = Path::new("/");
        Ok(match root {
            RootMount::Bind(_, path) => match Root::open(path) {
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Root::open(anywhere)?,
                other => other?,
            },
            _ => Root::open(anywhere)?,
        })
    }

    pub(super) fn mount(&mut self, asked: &Mount) -> Result<()> {
        let (mounted, target) = match &asked.what {
            What::Bind { source, id_map } => {
                let detached = self.bind_source(source, *id_map)?;
                let target = self.target_for(&detached, &asked.target)?;
                (detached, target)
            }
            What::New(new) => self.new_mount(asked, new)?,
        };
        change(&mounted, &asked.attributes, matches!(asked.what, What::Bind { .. }))?;
        for propagate in &asked.propagation {
            // To be shared with the host, a bind mount stays what it is until it is in place.
            let propagation = Some(propagate.kind);
            if propagate.kind != Propagation::Shared {
                mount::change(&mounted, propagate.recursive, &Change { propagation, ..Change::default() })?;
            }
        }
        mount::attach(&mounted, &target)?;
        for propagate in &asked.propagation {
            let propagation = Some(propagate.kind);
            if propagate.kind == Propagation::Shared {
                mount::change(&mounted, propagate.recursive, &Change { propagation, ..Change::default() })?;
            }
        }
        Ok(())
    }

    /// What is bound, detached: opened by the host's side, or copied now.
    fn bind_source(&mut self, source: &BindSource, id_map: Option<(usize, bool)>) -> Result<OwnedFd> {
        let copy = match source {
            // Its ids are mapped already.
            BindSource::Opened(number) => return self.take_source(*number),
            BindSource::Host { path, recursive } => {
                mount::clone_path(path, *recursive).during(|| "bind source")?
            }
            BindSource::Inside { path, recursive } => {
                let handle = self.root()?.handle(path).during(|| "bind source")?;
                mount::clone_fd(handle, *recursive).during(|| "bind source")?
            }
        };
        if let Some((map, below)) = id_map {
            let users = self.id_maps.get(map).ok_or_else(|| missing("id map"))?;
            let change = Change { id_map: Some(users.as_fd()), ..Change::default() };
            match mount::change(&copy, below, &change) {
                // The file system is the host's, and the container's user namespace may not map its ids.
                Err(error) if error.errno() == 1 => {
                    self.channel.map_ids(&copy, users, below)?;
                    self.await_go()?;
                }
                other => other.during(|| "mapping ids")?,
            }
        }
        Ok(copy)
    }

    /// A new file system, detached, and where it goes. A tmpfs looks like the directory it hides, unless it is told its
    /// mode, and may start with its content.
    fn new_mount(&self, asked: &Mount, new: &NewFileSystem) -> Result<(OwnedFd, OwnedFd)> {
        self.refuse_link(new, &asked.target)?;
        let is_new = matches!(self.root()?.handle(&asked.target), Err(error) if error.errno() == 2);
        let target = self.root()?.make_dir_all(&asked.target, 0o755)?;
        if new.kind != "tmpfs" {
            return Ok((new_file_system(new, asked.attributes.set)?, target));
        }
        let mut like = new.clone();
        if !is_new && !new.parameters.iter().any(|(key, _)| key == "mode") {
            let mode = linux::file::stat(&target)?.mode & 0o7777;
            like.parameters.push(("mode".to_owned(), Some(format!("{mode:o}"))));
        }
        let copied = asked.copy_up && !is_new;
        let last = if copied { asked.attributes.set & attribute::READ_ONLY } else { 0 };
        let mounted = new_file_system(&like, asked.attributes.set & !last)?;
        if copied {
            crate::copy_up::copy(&target, &mounted)?;
        }
        if last != 0 {
            mount::change(&mounted, false, &Change { set: last, ..Change::default() })?;
        }
        Ok((mounted, target))
    }

    /// The way for roots that cannot be pivoted. What is mounted elsewhere stays mounted below the root, where nobody
    /// comes; but a procfs or sysfs among it that is all visible would let a user namespace of the container mount another.
    pub(super) fn move_root(&self) -> Result<()> {
        let table = self.procfs()?.read("self/mountinfo", MOUNT_TABLE)?;
        let table = String::from_utf8_lossy(&table);
        let entries: Vec<Entry<'_>> = mount_table::entries(&table).collect();
        let root = mount_table::id_of(self.root()?)?;
        let shows_kernel = |entry: &&Entry<'_>| ["proc", "sysfs"].contains(&entry.kind);
        for entry in entries.iter().filter(shows_kernel).filter(|entry| !lies_on(&entries, entry, root)) {
            mount::detach_or_cover(&entry.mount_point)?;
        }
        Ok(mount::move_over_root(self.root()?)?)
    }

    /// A directory for a directory and a file for anything else, made when it is missing.
    fn target_for(&self, source: impl AsFd, target: &Path) -> Result<OwnedFd> {
        target_in(self.root()?, source, target)
    }

    /// What shows the kernel's own state is found where everybody looks for it, or nowhere.
    fn refuse_link(&self, new: &NewFileSystem, target: &Path) -> Result<()> {
        if !["proc", "sysfs"].contains(&new.kind.as_str()) {
            return Ok(());
        }
        match self.root()?.handle_no_follow(target) {
            Ok(found) if kind_of(&found)? != Inode::Dir => {
                Err(Error::invalid(format!("{} must be mounted on ordinary directory", new.kind)))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn read_only(&mut self, path: &Path) -> Result<()> {
        let Some(target) = self.existing(path)? else { return Ok(()) };
        let copy = mount::clone_fd(&target, true)?;
        let change = Change { set: attribute::READ_ONLY, ..Change::default() };
        mount::change(&copy, true, &change)?;
        Ok(mount::attach(copy, target)?)
    }

    pub(super) fn mask(&mut self, path: &Path, null: usize) -> Result<()> {
        let Some(target) = self.existing(path)? else { return Ok(()) };
        let cover = match kind_of(&target)? {
            Inode::Dir => self.empty_directory()?,
            _ => self.null(null)?,
        };
        Ok(mount::attach(cover, target)?)
    }

    /// A handle on what is to be protected; nothing is there to protect when it does not exist.
    fn existing(&self, path: &Path) -> Result<Option<OwnedFd>> {
        match self.root()?.handle(path) {
            Ok(target) => Ok(Some(target)),
            Err(error) if matches!(error.errno(), 2 | 20) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn empty_directory(&mut self) -> Result<OwnedFd> {
        if let Some(empty) = &self.empty {
            return Ok(mount::clone_fd(empty, false)?);
        }
        let file_system = FileSystem::open("tmpfs")?;
        file_system.set("mode", "755")?;
        file_system.set("nr_inodes", "2")?;
        let flags = attribute::READ_ONLY | attribute::NO_SUID | attribute::NO_DEVICES | attribute::NO_EXEC;
        let empty = file_system.mount(flags)?;
        self.empty = Some(empty.as_fd().try_clone_to_owned().map_err(|error| duplicate(&error))?);
        Ok(empty)
    }

    /// The host's /dev/null: the first time the detached mount itself, which stays known, then copies of it.
    fn null(&mut self, number: usize) -> Result<OwnedFd> {
        let null = self.sources.get(number).and_then(Option::as_ref).ok_or_else(|| missing("source"))?;
        if self.null_is_attached {
            return Ok(mount::clone_fd(null, false)?);
        }
        let first = null.try_clone().map_err(|error| duplicate(&error))?;
        self.null_is_attached = true;
        Ok(first)
    }
}

/// Whether a mount lies on another, or on one that does.
fn lies_on(entries: &[Entry<'_>], entry: &Entry<'_>, other: u64) -> bool {
    let mut at = entry;
    // The kernel's tree has no loops; a table that was read while it changed may.
    for _ in 0..entries.len() {
        match entries.iter().find(|above| above.id == at.parent) {
            _ if at.parent == other => return true,
            Some(above) => at = above,
            None => return false,
        }
    }
    false
}

/// The place in a root for what `source` shows: a directory for a directory and a file for anything else, made when it is
/// missing.
pub(crate) fn target_in(root: &Root, source: impl AsFd, target: &Path) -> Result<OwnedFd> {
    Ok(match kind_of(source)? {
        Inode::Dir => root.make_dir_all(target, 0o755)?,
        _ => root.make_file(target, 0o644)?,
    })
}

fn duplicate(error: &std::io::Error) -> Error {
    linux::Error::new("fcntl(F_DUPFD_CLOEXEC)", error.raw_os_error().unwrap_or_default()).into()
}

pub(crate) fn change(mounted: &OwnedFd, attributes: &Attributes, bind: bool) -> Result<()> {
    let Attributes { set, clear, set_below, clear_below } = *attributes;
    // A new file system was mounted with its attributes already.
    if bind && (set != 0 || clear != 0) {
        mount::change(mounted, false, &Change { set, clear, ..Change::default() })?;
    }
    if set_below != 0 || clear_below != 0 {
        mount::change(mounted, true, &Change { set: set_below, clear: clear_below, ..Change::default() })?;
    }
    Ok(())
}

pub(crate) fn new_file_system(new: &NewFileSystem, attributes: u64) -> Result<OwnedFd> {
    let file_system = FileSystem::open(&new.kind)?;
    if !new.source.is_empty() {
        file_system.set("source", &new.source)?;
    }
    for (key, value) in &new.parameters {
        match value {
            Some(value) => file_system.set(key, value)?,
            None => file_system.set_flag(key)?,
        }
    }
    Ok(file_system.mount(attributes)?)
}

/// The overlay of layers, detached.
pub(crate) fn overlay(lower: &[PathBuf], upper: &Path, work: &Path, volatile: bool) -> Result<OwnedFd> {
    let file_system = FileSystem::open("overlay")?;
    file_system.set("source", "overlay")?;
    for layer in lower {
        file_system.set("lowerdir+", layer)?;
    }
    file_system.set("upperdir", upper)?;
    file_system.set("workdir", work)?;
    // With an index, a layer could not be mounted again while someone still reads its last mount.
    file_system.set("index", "off")?;
    if volatile {
        file_system.set_flag("volatile")?;
    }
    Ok(file_system.mount(0)?)
}

/// The options of mount(2), in which "\", ":" and "," are written with a backslash; they must fit into a page.
fn overlay_options(lower: &[PathBuf], upper: &Path, work: &Path, volatile: bool) -> Result<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let escaped = |path: &Path| -> Vec<u8> {
        let bytes = path.as_os_str().as_bytes();
        bytes
            .iter()
            .flat_map(|byte| if b"\\:,".contains(byte) { vec![b'\\', *byte] } else { vec![*byte] })
            .collect()
    };
    let layers: Vec<Vec<u8>> = lower.iter().map(|layer| escaped(layer)).collect();
    let mut options = b"lowerdir=".to_vec();
    options.extend(layers.join(&b':'));
    options.extend([b",upperdir=".to_vec(), escaped(upper), b",workdir=".to_vec(), escaped(work)].concat());
    options.extend(b",index=off");
    if volatile {
        options.extend(b",volatile");
    }
    if options.len() >= 4096 {
        return Err(Error::invalid(format!(
            "{} layers do not fit into the options of mount(2) on this kernel: Linux 6.7 is needed",
            lower.len()
        )));
    }
    Ok(options)
}
