//! Reads files of a container's root without mounting it: layer by layer, as overlayfs would show them.
//!
//! Whiteouts hide, opaque directories cut off what is below, symbolic links stay inside the root. Every step opens one
//! name below a directory that is held open, so nothing outside the layers can be reached.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use linux::at;
use linux::file::{Kind, Stat};

use crate::{Error, Result};

/// Symbolic links followed in one lookup, as in the kernel.
const MAX_LINKS: usize = 40;
/// Names in one lookup.
const MAX_STEPS: usize = 4096;

/// Layers of a root, topmost first.
#[derive(Debug)]
pub(crate) struct Merged {
    layers: Vec<PathBuf>,
}

/// A directory as the layers have it, topmost first.
pub(crate) type Merge = Vec<OwnedFd>;

fn failed(error: linux::Error) -> Error {
    Error::system(format!("read a container's root: {error}"))
}

impl Merged {
    pub(crate) fn new(layers: Vec<PathBuf>) -> Self {
        Self { layers }
    }

    fn root(&self) -> Result<Merge> {
        let open = |path: &PathBuf| {
            let file = File::open(path);
            file.map(OwnedFd::from)
                .map_err(|error| Error::system(format!("open layer {}: {error}", path.display())))
        };
        self.layers.iter().map(open).collect()
    }

    /// Opens a regular file for reading; `None` when there is none, or when it is something else.
    pub(crate) fn open(&self, path: &Path) -> Result<Option<File>> {
        let Some(End::Other { directory, name }) = self.walk(path)? else { return Ok(None) };
        for layer in &directory {
            match at::stat(layer, &name).map_err(failed)? {
                Some(stat) if stat.kind == Kind::File => {
                    let file = at::open_read(layer, &name).map_err(failed)?;
                    return Ok(Some(File::from(file)));
                }
                Some(_) => return Ok(None),
                None => {}
            }
        }
        Ok(None)
    }

    /// Opens a directory; `None` when there is none, or when it is something else.
    pub(crate) fn directory(&self, path: &Path) -> Result<Option<Merge>> {
        Ok(match self.walk(path)? {
            Some(End::Directory(merge)) => Some(merge),
            _ => None,
        })
    }

    /// Follows a path and all its links to the end.
    fn walk(&self, path: &Path) -> Result<Option<End>> {
        let mut todo: VecDeque<Vec<u8>> = names(path.as_os_str().as_encoded_bytes()).collect();
        let mut trail = vec![self.root()?];
        let (mut links, mut steps) = (0, 0);
        while let Some(name) = todo.pop_front() {
            steps += 1;
            if steps > MAX_STEPS {
                return Ok(None);
            }
            if name == b".." {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            let Some(here) = trail.last() else { return Ok(None) };
            match find(here, &name)? {
                Found::Nothing => return Ok(None),
                Found::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Ok(None);
                    }
                    if target.starts_with(b"/") {
                        trail.truncate(1);
                    }
                    for part in names(&target).collect::<Vec<_>>().into_iter().rev() {
                        todo.push_front(part);
                    }
                }
                Found::Directory(merge) => trail.push(merge),
                Found::Other if todo.is_empty() => {
                    return Ok(trail.pop().map(|directory| End::Other { directory, name }));
                }
                Found::Other => return Ok(None),
            }
        }
        Ok(trail.pop().map(End::Directory))
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
}

/// What a name is in a directory.
pub(crate) enum Found {
    Nothing,
    Directory(Merge),
    Link(Vec<u8>),
    Other,
}

/// Where a path ends.
enum End {
    Directory(Merge),
    Other { directory: Merge, name: Vec<u8> },
}

/// All names in a directory, whiteouts included: [`find`] tells which of them are there.
pub(crate) fn list(directory: &Merge) -> Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for layer in directory {
        names.extend(linux::file::entry_names(layer).map_err(failed)?);
    }
    names.sort();
    names.dedup();
    Ok(names)
}

fn is_whiteout(stat: &Stat) -> bool {
    stat.kind == Kind::CharDevice && stat.device_number == (0, 0)
}

/// Looks a name up as overlayfs would.
pub(crate) fn find(directory: &Merge, name: &[u8]) -> Result<Found> {
    let mut merge = Merge::new();
    for layer in directory {
        let Some(stat) = at::stat(layer, name).map_err(failed)? else { continue };
        if stat.kind != Kind::Dir {
            if !merge.is_empty() || is_whiteout(&stat) {
                break;
            }
            return Ok(match stat.kind {
                Kind::Symlink => Found::Link(at::read_link(layer, name).map_err(failed)?),
                _ => Found::Other,
            });
        }
        let open = at::open_dir(layer, name).map_err(failed)?;
        let opaque = linux::xattr::get(&open, b"trusted.overlay.opaque").map_err(failed)?;
        merge.push(open);
        if opaque.as_deref() == Some(b"y") {
            break;
        }
    }
    Ok(if merge.is_empty() { Found::Nothing } else { Found::Directory(merge) })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn check(merged: &Merged, path: &str) -> Option<String> {
        let mut text = String::new();
        merged.open(Path::new(path)).expect("walk")?.read_to_string(&mut text).expect("read");
        Some(text)
    }

    #[test]
    fn a_lookup_sees_what_overlayfs_would_show_and_never_leaves_the_layers() {
        let base = std::env::temp_dir().join(format!("berth-merged-{}", std::process::id()));
        let (top, bottom) = (base.join("top"), base.join("bottom"));
        fs::create_dir_all(top.join("etc")).expect("top");
        fs::create_dir_all(bottom.join("etc")).expect("bottom");
        fs::create_dir_all(bottom.join("usr/lib")).expect("usr");
        fs::write(bottom.join("etc/passwd"), "below").expect("passwd");
        fs::write(bottom.join("etc/group"), "below").expect("group");
        fs::write(top.join("etc/group"), "above").expect("group");
        fs::write(bottom.join("usr/lib/os"), "os").expect("os");
        symlink("../usr/lib/os", top.join("etc/os")).expect("link");
        symlink("/usr/lib", bottom.join("lib")).expect("link");
        symlink("../../../../../../../../etc/hostname", top.join("etc/out")).expect("link");
        symlink("loop", top.join("etc/loop")).expect("link");
        let merged = Merged::new(vec![top, bottom]);
        assert_eq!(check(&merged, "/etc/passwd").as_deref(), Some("below"));
        assert_eq!(check(&merged, "/etc/group").as_deref(), Some("above"));
        assert_eq!(check(&merged, "/etc/os").as_deref(), Some("os"));
        assert_eq!(check(&merged, "/lib/os").as_deref(), Some("os"));
        for path in ["/etc/out", "/etc/loop", "/etc", "/", "/nothing", "/etc/passwd/x"] {
            assert_eq!(check(&merged, path), None, "{path}");
        }
        fs::remove_dir_all(base).expect("clean up");
    }
}
