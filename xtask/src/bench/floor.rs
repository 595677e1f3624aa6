//! What this machine needs at least, from a program that does nothing else.

use super::picture;
use crate::{fixtures, process, workspace};
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The floor's numbers, by the names that the program gives them.
pub(super) struct Floor(HashMap<String, f64>);

impl Floor {
    pub(super) fn measure(directory: &Path) -> Result<Self> {
        let (root, scratch) = (directory.join("floor-root"), directory.join("floor"));
        unpack_busybox(&root)?;
        std::fs::create_dir(&scratch)?;
        let program = workspace::release_program().with_file_name("examples").join("floor");
        let mut words = vec![root, scratch.clone()];
        words.extend(picture::archives()?.blobs()?);
        let words: Vec<String> = words.iter().map(|path| path.display().to_string()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = process::output(&program.display().to_string(), &words)?;
        std::fs::remove_dir_all(&scratch)?;
        let lines = said.lines().filter_map(|line| line.split_once('\t'));
        Ok(Self(lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()))
    }

    pub(super) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(f64::NAN)
    }

    /// Milliseconds of the least that a container takes.
    pub(super) fn container(&self) -> f64 {
        self.get("container, us") / 1000.0
    }

    /// Seconds for inflating, hashing and writing the big image, one after the other.
    pub(super) fn image(&self) -> ImageFloor {
        let (packed, inflated) = (self.get("packed bytes") / 1e6, self.get("inflated bytes") / 1e6);
        ImageFloor {
            inflate: inflated / self.get("gzip inflate, MB/s"),
            hash_packed: packed / self.get("sha256, MB/s"),
            hash_inflated: inflated / self.get("sha256, MB/s"),
            write_packed: packed / self.get("disk, MB/s"),
            write_inflated: inflated / self.get("disk, MB/s"),
        }
    }
}

/// Seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImageFloor {
    pub(super) inflate: f64,
    pub(super) hash_packed: f64,
    pub(super) hash_inflated: f64,
    pub(super) write_packed: f64,
    pub(super) write_inflated: f64,
}

/// The small image's files.
pub(super) fn unpack_busybox(root: &Path) -> Result<()> {
    std::fs::create_dir_all(root).with_context(|| root.display().to_string())?;
    let archive: PathBuf = fixtures::busybox()?.busybox;
    let (archive, root) = (archive.display(), root.display());
    let script = format!("tar -xOf '{archive}' --wildcards '*/layer.tar' | tar -x -C '{root}'");
    process::output("sh", &["-c", &script]).map(drop)
}
