//! Why a command ends without success: the words for standard error and the exit code.

use std::fmt;
use std::io;

/// A command that failed: what standard error gets, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    message: String,
    code: i32,
}

impl Failure {
    /// Words, and exit code 1.
    pub(crate) fn text(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// An exit code; everything has been said already.
    pub(crate) fn code(code: i32) -> Self {
        Self { message: String::new(), code }
    }

    /// Words and an exit code.
    pub(crate) fn coded(code: i32, message: impl Into<String>) -> Self {
        Self { message: message.into(), code }
    }

    /// A file of the user's that cannot be opened, in Go's words: `open x: no such file or directory`.
    pub(crate) fn open(path: &str, error: &io::Error) -> Self {
        Self::file("open", path, error)
    }

    /// A call on a file of the user's that failed: `stat x: permission denied`.
    pub(crate) fn file(call: &str, path: &str, error: &io::Error) -> Self {
        Self::text(format!("{call} {path}: {}", system_words(error)))
    }

    /// The words.
    pub(crate) fn words(&self) -> &str {
        &self.message
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> i32 {
        self.code
    }
}

/// The words of a system error as Go prints them: lower case, without the number.
pub(crate) fn system_words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        Self::text(error.to_string())
    }
}
