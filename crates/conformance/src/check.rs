//! A check: one feature, one sentence, one function; and the ways in which it can end without passing.

use crate::scope::Scope;
use anyhow::Result;
use std::fmt;

type Body = Box<dyn Fn(&Scope<'_>) -> Result<()> + Send + Sync>;

/// One feature of an engine, told as a sentence.
pub(crate) struct Check {
    /// The part of the surface it belongs to, for example `logs`.
    pub(crate) area: &'static str,
    /// What holds, for example `--tail 2 gives the last two lines`.
    pub(crate) name: String,
    /// Whether nothing else may happen on the engine meanwhile.
    pub(crate) alone: bool,
    pub(crate) body: Body,
}

impl Check {
    pub(crate) fn new(
        area: &'static str,
        name: impl Into<String>,
        body: impl Fn(&Scope<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { area, name: name.into(), alone: false, body: Box::new(body) }
    }

    pub(crate) fn alone(self) -> Self {
        Self { alone: true, ..self }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.area, self.name)
    }
}

/// How a check ended.
#[derive(Debug)]
pub(crate) enum Verdict {
    Passed,
    Failed(anyhow::Error),
    /// The engine is old, and what it does differently has been changed on purpose since.
    Differs(String),
    /// What the check needs is not here.
    Skipped(String),
}

impl From<Result<()>> for Verdict {
    fn from(result: Result<()>) -> Self {
        let Err(error) = result else { return Self::Passed };
        match error.downcast::<Aside>() {
            Ok(Aside::Differs(reason)) => Self::Differs(reason),
            Ok(Aside::Skipped(reason)) => Self::Skipped(reason),
            Err(error) => Self::Failed(error),
        }
    }
}

/// An end of a check that is no failure, carried as an error so that `?` leaves the check.
#[derive(Debug)]
pub(crate) enum Aside {
    Differs(String),
    Skipped(String),
}

impl fmt::Display for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs(reason) => write!(f, "differs on purpose: old engine: {reason}"),
            Self::Skipped(reason) => write!(f, "SKIP: {reason}"),
        }
    }
}

impl std::error::Error for Aside {}

/// The error that ends a check whose needs are not met here.
pub(crate) fn skip(reason: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Aside::Skipped(reason.into()))
}

/// Compares two values whole and prints both when they differ.
pub(crate) fn same<T: fmt::Debug + PartialEq<U>, U: fmt::Debug>(
    what: &str,
    got: T,
    expected: U,
) -> Result<()> {
    if got == expected {
        return Ok(());
    }
    anyhow::bail!("{what}:\n       got {got:?}\n  expected {expected:?}")
}

/// Fails unless `text` contains `part`.
pub(crate) fn contains(what: &str, text: &str, part: &str) -> Result<()> {
    if text.contains(part) {
        return Ok(());
    }
    anyhow::bail!("{what}:\n       got {text:?}\n  expected to contain {part:?}")
}

/// Fails unless `text` contains `part`, upper and lower case alike.
pub(crate) fn says(what: &str, text: &str, part: &str) -> Result<()> {
    if text.to_lowercase().contains(&part.to_lowercase()) {
        return Ok(());
    }
    anyhow::bail!("{what}:\n       got {text:?}\n  expected to say {part:?}")
}
