//! Limits as writes to control files: pure, the same for a new group and for a running one.

use std::fmt;

use crate::{Amount, Controller, Error, Facts, Limits, Result, Version};

mod blkio;
mod cpu;
mod memory;
mod other;

#[cfg(test)]
mod tests;

pub(crate) use blkio::to_io_weight;
pub use cpu::shares_to_weight;

/// One write to a control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The controller whose tree the file is in on v1; on v2 all are in one.
    pub controller: Controller,
    /// The file's name.
    pub file: String,
    /// What is written, in one write(2).
    pub value: String,
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.file, self.value)
    }
}

/// Plans the writes that put `limits` in force in a group that is as `facts` say.
///
/// The writes have to be done in order: every state in between is one that the kernel accepts.
///
/// # Errors
/// [`Error::Invalid`] for a value that makes no sense, [`Error::Unsupported`] for a limit that this version, kernel or
/// group cannot enforce. Left out without an error is only what is deprecated (limits of kernel memory) or has no
/// counterpart on v2 and enforces nothing (swappiness, disabling the OOM killer), as runc does.
pub fn plan_limits(limits: &Limits, facts: &Facts) -> Result<Vec<Write>> {
    let mut plan = Plan { facts, writes: Vec::new() };
    plan.cpu(&limits.cpu)?;
    plan.cpuset(&limits.cpu)?;
    plan.memory(&limits.memory)?;
    plan.blkio(&limits.blkio)?;
    plan.pids(limits.pids)?;
    plan.hugetlb(&limits.hugetlb)?;
    plan.rdma(&limits.rdma)?;
    plan.network(limits)?;
    plan.unified(&limits.unified)?;
    Ok(plan.writes)
}

/// The writes planned so far, and what they depend on.
struct Plan<'a> {
    facts: &'a Facts,
    writes: Vec<Write>,
}

impl Plan<'_> {
    fn v1(&self) -> bool {
        self.facts.version == Version::V1
    }

    /// Fails unless the group has the controller that `what` needs.
    fn need(&self, controller: Controller, what: &str) -> Result<()> {
        match self.facts.controllers.contains(&controller) {
            true => Ok(()),
            false => Err(Error::no_controller(what, controller)),
        }
    }

    fn write(&mut self, controller: Controller, file: impl Into<String>, value: impl ToString) {
        self.writes.push(Write { controller, file: file.into(), value: value.to_string() });
    }

    /// Writes to the file that has one name on v1 and another on v2.
    fn write_either(&mut self, controller: Controller, v1: &str, v2: &str, value: impl ToString) {
        let file = if self.v1() { v1 } else { v2 };
        self.write(controller, file, value);
    }

    /// How an amount is written: no limit is `-1` on v1 and `max` on v2.
    fn amount(&self, amount: Amount) -> String {
        match amount {
            Amount::Of(value) => value.to_string(),
            Amount::Unlimited if self.v1() => "-1".to_owned(),
            Amount::Unlimited => "max".to_owned(),
        }
    }
}

fn invalid(what: impl fmt::Display, reason: impl Into<String>) -> Error {
    Error::Invalid { what: what.to_string(), reason: reason.into() }
}

fn unsupported(what: impl fmt::Display, reason: impl Into<String>) -> Error {
    Error::Unsupported { what: what.to_string(), reason: reason.into() }
}
