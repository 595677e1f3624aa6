//! Where errors go: to standard error, and to the file that the caller reads them from.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// How errors, warnings and, with `--debug`, steps are written.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    /// The file; none for standard error alone.
    pub(super) path: Option<PathBuf>,
    /// JSON instead of text.
    pub(super) json: bool,
    /// Whether steps are written too.
    pub(super) debug: bool,
}

impl Log {
    /// Writes an error: to standard error for people, and to the file for the caller. What cannot be written to the file
    /// is still on standard error.
    pub(super) fn error(&self, message: &str) {
        eprintln!("{message}");
        if self.path.is_some() {
            self.write("error", message);
        }
    }

    /// Writes something that is not as it was asked for, and no reason to give up.
    pub(super) fn warning(&self, message: &str) {
        self.write("warning", message);
    }

    /// Writes a step, when steps are wanted.
    pub(super) fn debug(&self, message: &str) {
        if self.debug {
            self.write("debug", message);
        }
    }

    fn write(&self, level: &str, message: &str) {
        let time = now();
        let line = if self.json {
            serde_json::json!({ "level": level, "msg": message, "time": time }).to_string()
        } else {
            format!("time={time:?} level={level} msg={message:?}")
        };
        let Some(path) = &self.path else {
            eprintln!("{line}");
            return;
        };
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| writeln!(file, "{line}"));
        if let Err(error) = written {
            eprintln!("writing {}: {error}", path.display());
        }
    }
}

/// The present time in UTC (RFC 3339, nanoseconds).
pub(super) fn now() -> String {
    timestamp::Timestamp::now().to_fixed()
}
