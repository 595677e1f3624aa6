//! Carrying out planned writes.

use crate::group::{EBUSY, text};
use crate::{Cgroup, Controller, Error, Facts, Limits, Result, Version, Write, plan_limits};

impl Cgroup {
    /// Carries out writes in their order, up to the first that fails.
    pub fn apply(&self, writes: &[Write]) -> Result<()> {
        for write in writes {
            let dir = self.dir(write.controller);
            let dir = dir.ok_or_else(|| Error::no_controller(write.to_string(), write.controller))?;
            match dir.write(&write.file, write.value.as_bytes()) {
                Err(error) if error.errno() == EBUSY && write.file == "memory.limit_in_bytes" => {
                    return Err(self.below_usage(write));
                }
                result => result?,
            }
        }
        Ok(())
    }

    /// Gathers the facts, plans and applies: limits first, then rules about devices when there are any.
    pub fn set(&self, limits: &Limits) -> Result<()> {
        let facts = Facts::gather(self, limits)?;
        self.apply(&plan_limits(limits, &facts)?)?;
        if limits.devices.is_empty() {
            return Ok(());
        }
        self.apply_devices(&limits.devices)
    }

    /// v1 refuses a limit that it cannot reclaim down to: says how much is in use.
    fn below_usage(&self, write: &Write) -> Error {
        debug_assert_eq!(self.version(), Version::V1);
        let read = |file| {
            let dir = self.dir(Controller::Memory)?;
            text(dir, file).ok()?.trim().parse().ok()
        };
        Error::BelowUsage {
            limit: write.value.clone(),
            usage: read("memory.usage_in_bytes").unwrap_or_default(),
            peak: read("memory.max_usage_in_bytes").unwrap_or_default(),
        }
    }
}
