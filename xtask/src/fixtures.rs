//! Base images: a Debian root by debootstrap and a busybox, made once and kept under `target/fixtures`.

use crate::{packages, process, workspace};
use anyhow::{Context, Result};
use conformance::Archives;
use std::fs;
use std::path::{Path, PathBuf};

/// Debian's release, the same as the one whose packages the peers come from.
const RELEASE: &str = "bookworm";

/// Packs what is missing. Without a mirror there is no Debian image, which is said on stderr.
pub(crate) fn archives() -> Result<Archives> {
    packages::install(&["busybox-static", "debootstrap"])?;
    let directory = directory();
    let busybox = Path::new("/bin/busybox");
    if directory.join("debian.tar").exists() {
        let archives = Archives::prepare(&directory, busybox, None)?;
        return Ok(Archives { debian: Some(directory.join("debian.tar")), ..archives });
    }
    match debian_root(&directory) {
        Ok(root) => {
            let archives = Archives::prepare(&directory, busybox, Some(&root))?;
            fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
            Ok(archives)
        }
        Err(error) => {
            eprintln!("no Debian image: {error:#}");
            Archives::prepare(&directory, busybox, None)
        }
    }
}

/// The busybox image alone; it needs no mirror.
pub(crate) fn busybox() -> Result<Archives> {
    packages::install(&["busybox-static"])?;
    Archives::prepare(&directory(), Path::new("/bin/busybox"), None)
}

pub(crate) fn directory() -> PathBuf {
    workspace::root().join("target/fixtures")
}

/// A minimal Debian; the directory gets its name when it is complete.
fn debian_root(directory: &Path) -> Result<PathBuf> {
    let root = directory.join("debian-root");
    if root.exists() {
        return Ok(root);
    }
    let partial = directory.join("debian-root.partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(directory)?;
    let target = partial.display().to_string();
    process::run("debootstrap", &["--variant=minbase", RELEASE, &target])?;
    for entry in fs::read_dir(partial.join("var/cache/apt/archives"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            fs::remove_file(path)?;
        }
    }
    fs::rename(&partial, &root)?;
    Ok(root)
}
