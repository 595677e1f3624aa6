//! A file system of a test's own, in a file behind a loop device.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is made in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    /// With projects.
    Ext4,
    /// With shared extents, and projects.
    Xfs,
}

impl Make {
    fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    fn command(self) -> Command {
        let mut command = Command::new(format!("mkfs.{}", self.name()));
        match self {
            Self::Ext4 => {
                command.args(["-q", "-F", "-O", "quota,project", "-E", "quotatype=prjquota"]);
            }
            Self::Xfs => {
                command.args(["-q", "-f", "-m", "reflink=1"]);
            }
        }
        command
    }

    /// The least that mkfs takes, and room for a test (mkfs.xfs(8): 300 MB).
    fn size(self) -> u64 {
        match self {
            Self::Ext4 => 128 << 20,
            Self::Xfs => 320 << 20,
        }
    }
}

/// A file system that is mounted until this is dropped.
pub(crate) struct Disk {
    /// Where it is.
    pub(crate) place: PathBuf,
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.place).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the disk can be unmounted");
    }
}

impl Disk {
    /// Makes and mounts a file system below `directory`. `None`, and why, where this machine has no such file system, or
    /// its kernel does not know the options: then the test cannot run, also on CI.
    pub(crate) fn mount(directory: &Path, make: Make, options: &str) -> Option<Self> {
        let (file, place) = (directory.join("disk.img"), directory.join("disk"));
        File::create(&file).and_then(|file| file.set_len(make.size())).expect("a file for the disk");
        std::fs::create_dir(&place).expect("a place for the disk");
        let mut mount = Command::new("mount");
        mount.args(["-t", make.name(), "-o", options]).arg(&file).arg(&place);
        for command in [make.command().arg(&file), &mut mount] {
            if let Err(reason) = run(command) {
                println!("SKIP: no {} with {options} here: {reason}", make.name());
                return None;
            }
        }
        Some(Self { place })
    }
}

/// Runs a program; when it fails, its last words.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(words.lines().next().unwrap_or("it failed without words").to_owned())
}
