//! What can go wrong in a use case: a kind for machines, words for people.

use std::fmt;

/// The class of an error; the door maps each to one status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The named object does not exist (404).
    NotFound,
    /// There is no such image (404): clients of a creation pull it then, and nothing else that is missing makes them.
    NoImage,
    /// The request is malformed or asks for something impossible (400).
    InvalidParameter,
    /// The object is in a state that does not allow the operation (409).
    Conflict,
    /// The credentials are missing or wrong (401).
    Unauthorized,
    /// The operation is never allowed on this object (403).
    Forbidden,
    /// This service cannot be had on this host or now (503).
    Unavailable,
    /// The operation is known but not implemented (501).
    NotImplemented,
    /// Everything else (500).
    System,
}

/// A failed use case. Prints as Docker's message text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The class.
    pub kind: Kind,
    /// The words, without a trailing newline.
    pub message: String,
}

/// The result of a use case.
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! constructors {
    ($($name:ident $kind:ident $doc:literal)*) => {$(
        #[doc = $doc]
        pub fn $name(message: impl Into<String>) -> Self {
            Self { kind: Kind::$kind, message: message.into() }
        }
    )*};
}

impl Error {
    constructors! {
        not_found NotFound "The named object does not exist."
        no_image NoImage "There is no such image."
        invalid InvalidParameter "The request cannot be meant."
        conflict Conflict "The object's state does not allow it."
        unauthorized Unauthorized "Credentials are missing or wrong."
        forbidden Forbidden "Never allowed on this object."
        unavailable Unavailable "Not to be had here or now."
        not_implemented NotImplemented "Known, but not implemented."
        system System "Anything else."
    }

    /// The same error with `context: ` before its words.
    #[must_use]
    pub fn context(self, context: impl fmt::Display) -> Self {
        Self { kind: self.kind, message: format!("{context}: {}", self.message) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Whether an accepted request changed anything. "Already so" is an outcome, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The state changed (204).
    Done,
    /// It already was so (304).
    Unchanged,
}
