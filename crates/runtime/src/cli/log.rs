//! Where errors go: to standard error, and to the file that the caller reads them from.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

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
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format_time(since.as_secs(), since.subsec_nanos())
}

/// Days are turned into a date by counting 400-year cycles from March 1st of the year 0.
fn format_time(seconds: u64, nanoseconds: u32) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
}

#[cfg(test)]
mod tests {
    #[test]
    fn seconds_are_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_795_232_523, "2026-11-21T03:42:03"),
        ] {
            assert_eq!(super::format_time(seconds, 7), format!("{text}.000000007Z"));
        }
    }
}
