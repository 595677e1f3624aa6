//! What the unit tests of this crate share.

use std::path::PathBuf;

/// A directory of a test's own, removed at its end.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("berth-test-{}-image-{name}", std::process::id()));
        std::fs::create_dir(&path).expect("the test directory does not exist yet");
        Self { path }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.path).expect("the test directory can be removed");
    }
}
