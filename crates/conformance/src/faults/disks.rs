//! Disks that do what real ones do on bad days: take nothing for a while, or stop for good.

use crate::scope::eventually;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of a disk.
const DISK: u64 = 600 << 20;

/// A file with a file system, mounted where the daemon has its data.
pub(super) struct Disk {
    image: PathBuf,
    place: PathBuf,
}

impl Disk {
    pub(super) fn mount(place: &Path) -> Result<Self> {
        fs::create_dir_all(place)?;
        let image = place.with_extension("img");
        fs::File::create(&image)?.set_len(DISK)?;
        let file = image.display().to_string();
        call("mkfs.ext4", &["-q", "-F", &file])?;
        let disk = Self { image, place: place.to_owned() };
        disk.attach()?;
        Ok(disk)
    }

    fn attach(&self) -> Result<()> {
        call("mount", &["-o", "loop", &self.image.display().to_string(), &self.place.display().to_string()])?;
        // A daemon expects a directory of its own.
        let found = self.place.join("lost+found");
        if found.exists() { fs::remove_dir_all(found).context("lost+found") } else { Ok(()) }
    }

    /// Everything that was written is safe, and from now on nothing can be: the file system has stopped as after an error of
    /// its device (EROFS).
    pub(super) fn fail(&self) -> Result<()> {
        let place = self.place.display().to_string();
        call("sync", &["--file-system", &place])?;
        call("mount", &["-o", "remount,abort", &place])
    }

    /// The disk as it is after the machine has been started again and fsck(8) has been over it. Nobody may use it.
    pub(super) fn repair(&self) -> Result<()> {
        let (file, place) = (self.image.display().to_string(), self.place.display().to_string());
        eventually("the end of all who use the disk", || Ok(call("umount", &[&place]).ok()))?;
        // 1 says that something was repaired.
        let output = Command::new("fsck.ext4").args(["-y", &file]).output().context("fsck.ext4")?;
        if !matches!(output.status.code(), Some(0 | 1)) {
            bail!("fsck.ext4: {}", String::from_utf8_lossy(&output.stdout));
        }
        self.attach()
    }

    /// From now on whoever writes waits, until the answer is told to go on or dropped.
    pub(super) fn freeze(&self) -> Result<Still> {
        call("fsfreeze", &["--freeze", &self.place.display().to_string()])?;
        Ok(Still { place: self.place.clone(), is_over: false })
    }

    pub(super) fn unmount(self) -> Result<()> {
        let place = self.place.display().to_string();
        eventually("the end of all who use the disk", || Ok(call("umount", &[&place]).ok()))?;
        Ok(fs::remove_file(&self.image)?)
    }
}

/// A frozen disk.
pub(super) struct Still {
    place: PathBuf,
    is_over: bool,
}

impl Still {
    pub(super) fn go_on(mut self) -> Result<()> {
        self.is_over = true;
        call("fsfreeze", &["--unfreeze", &self.place.display().to_string()])
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        if !self.is_over
            && let Err(error) = call("fsfreeze", &["--unfreeze", &self.place.display().to_string()])
        {
            eprintln!("{error:#}");
        }
    }
}

/// Runs a program; what it says is the error.
pub(super) fn call(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
