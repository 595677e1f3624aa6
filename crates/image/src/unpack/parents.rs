//! The directory an entry lies in: opened inside the root, made when it is missing, and kept open for the next entry.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use linux::file::{Kind, Time};

use super::path::{clean, join, or_dot, split};
use super::{Base, Extractor, MAX_NEEDED};
use crate::Result;

/// Open directories by their cleaned path.
#[derive(Default)]
pub(crate) struct Cache {
    open: HashMap<Vec<u8>, Rc<OwnedFd>>,
}

/// How many directories are kept open.
const ROOM: usize = 128;
/// How many symbolic links a path may pass (the kernel's limit).
const MAX_LINKS: u32 = 40;

impl Cache {
    fn insert(&mut self, path: &[u8], dir: OwnedFd) -> Rc<OwnedFd> {
        if self.open.len() >= ROOM {
            self.open.clear();
        }
        let dir = Rc::new(dir);
        self.open.insert(path.to_vec(), Rc::clone(&dir));
        dir
    }

    /// Forgets everything: to be called when something is removed that a path may lead through.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
    }
}

/// The directory of an entry, or the news that the layers below are needed to find it.
pub(crate) enum Parent {
    Open(Rc<OwnedFd>),
    NeedsParents,
}

impl Extractor<'_> {
    /// Opens the directory `path` (cleaned) inside the root and makes what is missing of it.
    pub(crate) fn parent(&mut self, path: &[u8]) -> Result<Parent> {
        if let Some(dir) = self.parents.open.get(path) {
            return Ok(Parent::Open(Rc::clone(dir)));
        }
        match linux::resolve::dir(&self.root, or_dot(path)) {
            Ok(dir) => return Ok(Parent::Open(self.parents.insert(path, dir))),
            // ENOTDIR: a whiteout of the same layer may be in the way, which gives place to a directory.
            Err(error) if matches!(error.name(), Some("ENOENT" | "ENOTDIR")) => {}
            Err(error) => return Err(self.bad(format!("cannot enter a directory: {error}"))),
        }
        match self.make_path(path.to_vec())? {
            Some(made) => Ok(Parent::Open(self.parents.insert(path, made))),
            None => Ok(Parent::NeedsParents),
        }
    }

    /// Makes the directories of a path one by one; symbolic links to what does not exist yet are followed inside the
    /// root. `None` when such a link can only be followed with the layers below.
    fn make_path(&mut self, mut path: Vec<u8>) -> Result<Option<OwnedFd>> {
        let mut links = 0;
        'again: loop {
            let mut done: Vec<u8> = Vec::new();
            let mut dir = linux::resolve::dir(&self.root, b".")?;
            for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
                let here = join(&done, part);
                match linux::at::stat(&dir, part)?.map(|stat| stat.kind) {
                    Some(Kind::Dir) => {}
                    None => self.make_implied(&dir, part, &here)?,
                    Some(Kind::Symlink) => {
                        if self.base == Base::Alone && linux::resolve::dir(&self.root, &here).is_err() {
                            return Ok(None);
                        }
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(
                                self.bad(format!("too many links in {:?}", String::from_utf8_lossy(&path)))
                            );
                        }
                        path = self.through_link(&linux::at::read_link(&dir, part)?, &path, &done, &here);
                        continue 'again;
                    }
                    Some(Kind::CharDevice) if self.is_whiteout(&dir, part)? => {
                        linux::at::unlink(&dir, part)?;
                        self.make_implied(&dir, part, &here)?;
                        self.make_opaque(&dir, part, &here)?;
                        self.implied.remove(&here);
                    }
                    Some(_) => {
                        let show = String::from_utf8_lossy(&here).into_owned();
                        return Err(self.bad(format!("{show:?} is used as a directory and is none")));
                    }
                }
                dir = linux::at::open_handle(&dir, part)?;
                done = here;
            }
            return Ok(Some(dir));
        }
    }

    /// `path` with the link at `here` replaced by what it says.
    fn through_link(&self, target: &[u8], path: &[u8], done: &[u8], here: &[u8]) -> Vec<u8> {
        let rest = path.get(here.len()..).unwrap_or_default();
        let base = if target.starts_with(b"/") { &[][..] } else { done };
        // Inside the root there is nothing above it: `..` that would leave it stays.
        let mut parts: Vec<&[u8]> =
            base.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
        for part in target.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let mut followed = parts.join(&b'/');
        followed.extend_from_slice(b"/");
        followed.extend_from_slice(rest);
        clean(&followed).unwrap_or_default()
    }

    /// Makes a directory that the layer does not list.
    fn make_implied(&mut self, dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<()> {
        linux::at::make_dir(dir, name, 0o755)?;
        let (uid, gid) = self.place.ids.to_tree(self.place.owner.unwrap_or_default())?;
        linux::at::set_owner(dir, name, uid, gid)?;
        linux::at::set_mode(dir, name, 0o755)?;
        self.account(super::DISK_BLOCK)?;
        self.note_time(path, Time::default())?;
        self.note_made(path);
        // Inside an opaque directory there is nothing below that could differ.
        if self.base == Base::Alone && !self.is_covered(path) {
            self.implied.insert(path.to_vec());
            if self.implied.len() > MAX_NEEDED {
                self.done.needs.parents = true;
            }
        }
        Ok(())
    }

    /// Whether a directory above `path` hides the layers below.
    pub(crate) fn is_covered(&self, path: &[u8]) -> bool {
        let mut path = path;
        while !path.is_empty() {
            path = split(path).0;
            if self.opaque.contains(path) {
                return true;
            }
        }
        false
    }

    /// Remembers what this layer has made, and the directories it lies in.
    pub(crate) fn note_made(&mut self, path: &[u8]) {
        let mut path = path;
        while self.base == Base::Merged && !path.is_empty() && self.made.insert(path) {
            path = split(path).0;
        }
    }
}
