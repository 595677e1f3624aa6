//! Why a container could not be made, started or joined.

use std::fmt;

/// A result of the runtime.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure, of a kind for machines and with words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
    of_execve: bool,
}

/// Kinds of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The program does not exist (a shell's 127).
    NotFound,
    /// The program may not be run (a shell's 126).
    Permission,
    /// The program is a directory (126).
    IsDirectory,
    /// The configuration asks for something that makes no sense or is not supported.
    Invalid,
    /// A container of this name is not there.
    NoContainer,
    /// A container of this name is there already.
    Exists,
    /// The container is in a state in which this cannot be done.
    State,
    /// The kernel refused something.
    System,
}

impl Kind {
    /// The kind's one-letter name between child and parent.
    pub(crate) fn letter(self) -> u8 {
        match self {
            Self::NotFound => b'n',
            Self::Permission => b'p',
            Self::IsDirectory => b'd',
            Self::Invalid => b'i',
            Self::NoContainer => b'c',
            Self::Exists => b'e',
            Self::State => b's',
            Self::System => b'k',
        }
    }

    /// The kind of a letter; anything unknown is the kernel's refusal.
    pub(crate) fn from_letter(letter: u8) -> Self {
        [
            Self::NotFound,
            Self::Permission,
            Self::IsDirectory,
            Self::Invalid,
            Self::NoContainer,
            Self::Exists,
            Self::State,
        ]
        .into_iter()
        .find(|kind| kind.letter() == letter)
        .unwrap_or(Self::System)
    }
}

impl Error {
    /// A failure with its words.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), of_execve: false }
    }

    /// Something the configuration says that cannot be done.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// The same, as one of execve(2): everything was there, and only the program could not be run.
    pub(crate) fn at_execve(self) -> Self {
        Self { of_execve: true, ..self }
    }

    /// Whether everything was there, and only the program could not be run.
    #[must_use]
    pub fn is_of_execve(&self) -> bool {
        self.of_execve
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its words, without what was being done.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<linux::Error> for Error {
    fn from(error: linux::Error) -> Self {
        Self::new(Kind::System, error.to_string())
    }
}

impl From<cgroup::Error> for Error {
    fn from(error: cgroup::Error) -> Self {
        Self::new(Kind::System, error.to_string())
    }
}

/// Says what was being done when something failed.
pub(crate) trait While<T> {
    /// Puts `what` in front of the words.
    fn during<S: fmt::Display>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Error>> While<T> for std::result::Result<T, E> {
    fn during<S: fmt::Display>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| {
            let error = error.into();
            Error { message: format!("{}: {}", what(), error.message), ..error }
        })
    }
}
