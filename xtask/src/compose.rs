//! Docker Compose, as Debian's next release packages it, below `target/fixtures/compose`: checks of the suite call it.

use crate::{fixtures, peers, process};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Its libraries are old enough for this machine's release.
const SUITE: &str = "trixie";
const PACKAGE: &str = "docker-compose";
const PROGRAM: &str = "usr/libexec/docker/cli-plugins/docker-compose";

/// The program, fetched when it is not there. Without a mirror there is none, which is said on stderr.
pub(crate) fn program() -> Option<PathBuf> {
    found().or_else(|| match fetch() {
        Ok(program) => Some(program),
        Err(error) => {
            eprintln!("no docker-compose: {error:#}");
            None
        }
    })
}

/// The program, if it has been fetched before.
pub(crate) fn found() -> Option<PathBuf> {
    Some(place()).filter(|program| program.exists())
}

fn place() -> PathBuf {
    fixtures::directory().join("compose").join(PACKAGE)
}

fn fetch() -> Result<PathBuf> {
    let program = place();
    let directory = program.parent().context("a directory")?;
    eprintln!("==> {PACKAGE} of Debian's {SUITE}, in {}", directory.display());
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    let apt = directory.join("apt");
    fs::create_dir_all(&apt).with_context(|| apt.display().to_string())?;
    peers::download(SUITE, &apt, &[PACKAGE])?;
    let archive = peers::archives(&apt)?.into_iter().find(|archive| is_it(archive)).context("no package")?;
    let root = apt.join("root");
    let text = |path: &Path| path.display().to_string();
    process::output("dpkg-deb", &["--extract", &text(&archive), &text(&root)])?;
    // Complete as soon as it has its name.
    fs::rename(root.join(PROGRAM), &program).with_context(|| text(&program))?;
    fs::remove_dir_all(&apt).with_context(|| text(&apt))?;
    Ok(program)
}

fn is_it(archive: &Path) -> bool {
    let name = archive.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split('_').next() == Some(PACKAGE)
}
