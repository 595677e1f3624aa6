//! Bundles of a user who is not root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Bundle, Result, copy_program, result, runc};

/// A user and a group that have a name everywhere (nobody, nogroup), which newuidmap(1) asks for.
pub const USER: u32 = 65_534;

/// A bundle of that user's, with the runtime in it: the directory of the tests may be closed to others.
pub struct Rootless {
    pub bundle: Bundle,
}

impl Rootless {
    /// The configuration that `spec --rootless` writes, changed.
    pub fn new(change: impl FnOnce(&mut Value)) -> Self {
        let mut this = Self { bundle: Bundle::new() };
        let open = |path: &Path| path.ancestors().all(|above| mode(above) & 0o001 != 0);
        if !open(&this.bundle.directory) {
            let elsewhere = Path::new("/var/tmp").join(&this.bundle.id);
            assert!(
                Command::new("cp")
                    .arg("-a")
                    .arg(&this.bundle.directory)
                    .arg(&elsewhere)
                    .status()
                    .expect("cp")
                    .success()
            );
            fs::remove_dir_all(&this.bundle.directory).expect("rm");
            this.bundle.directory = elsewhere;
        }
        copy_program(&runc(), &this.runtime());
        let owner = format!("{USER}:{USER}");
        assert!(
            Command::new("chown")
                .arg("-hR")
                .arg(owner)
                .arg(&this.bundle.directory)
                .status()
                .expect("chown")
                .success()
        );
        let made = this.run(&["spec", "--rootless"]);
        assert_eq!((made.code, made.err.as_str()), (0, ""));
        let path = this.bundle.directory.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
        config["process"]["terminal"] = json!(false);
        change(&mut config);
        fs::write(&path, config.to_string()).expect("write");
        this
    }

    fn runtime(&self) -> PathBuf {
        self.bundle.directory.join("runc")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.runtime());
        command.arg("--root").arg(self.bundle.directory.join("state")).args(arguments);
        command.current_dir(&self.bundle.directory).stdin(Stdio::null());
        // Without any group but its own, and without any capability.
        command.uid(USER).gid(USER);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Result {
        result(self.command(arguments).output().expect("runtime"))
    }

    #[track_caller]
    pub fn check(&self, arguments: &[&str], expected: &str) {
        let got = self.run(arguments);
        assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, expected, ""), "{arguments:?}");
    }

    #[track_caller]
    pub fn refused(&self, words: &str) {
        let got = self.run(&["run", "c"]);
        assert!(got.code == 1 && got.err.contains(words), "{got:?}");
    }
}

/// Also after a test that failed: what runs would hold its control group.
impl Drop for Rootless {
    fn drop(&mut self) {
        let _ = self.run(&["delete", "--force", "c"]);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("stat").permissions().mode()
}
