//! Block devices.

use super::{Plan, invalid, unsupported};
use crate::facts::Weights;
use crate::limits::{BlkioLimits, Throttle};
use crate::{Controller, Error, Result};

const BLKIO: Controller = Controller::Blkio;

impl Plan<'_> {
    pub(super) fn blkio(&mut self, blkio: &BlkioLimits) -> Result<()> {
        if *blkio == BlkioLimits::default() {
            return Ok(());
        }
        self.need(BLKIO, "block device limits")?;
        if blkio.leaf_weight.is_some() {
            return Err(unsupported("blkio leaf weight", "no kernel since 5.0 has it"));
        }
        if let Some(weight) = blkio.weight {
            self.weight(weight)?;
        }
        for device in &blkio.device_weights {
            self.device_weight(device.major, device.minor, device.weight)?;
        }
        self.throttle("blkio.throttle.read_bps_device", "rbps", &blkio.read_bytes);
        self.throttle("blkio.throttle.write_bps_device", "wbps", &blkio.write_bytes);
        self.throttle("blkio.throttle.read_iops_device", "riops", &blkio.read_operations);
        self.throttle("blkio.throttle.write_iops_device", "wiops", &blkio.write_operations);
        Ok(())
    }

    fn weight(&mut self, weight: u16) -> Result<()> {
        check_weight(weight)?;
        match self.facts.weights.ok_or_else(no_weights)? {
            Weights::Cfq => self.write(BLKIO, "blkio.weight", weight),
            Weights::Bfq { .. } => self.write_either(BLKIO, "blkio.bfq.weight", "io.bfq.weight", weight),
            Weights::Cost => self.write(BLKIO, "io.weight", to_io_weight(weight)),
        }
        Ok(())
    }

    fn device_weight(&mut self, major: u32, minor: u32, weight: u16) -> Result<()> {
        check_weight(weight)?;
        match self.facts.weights.ok_or_else(no_weights)? {
            Weights::Cfq => self.write(BLKIO, "blkio.weight_device", format!("{major}:{minor} {weight}")),
            Weights::Bfq { per_device: true } => {
                let value = format!("{major}:{minor} {weight}");
                self.write_either(BLKIO, "blkio.bfq.weight_device", "io.bfq.weight", value);
            }
            Weights::Bfq { per_device: false } => {
                let what = format!("blkio weight of device {major}:{minor}");
                return Err(unsupported(what, "this kernel's BFQ has no weights per device (before 5.4)"));
            }
            Weights::Cost => {
                self.write(BLKIO, "io.weight", format!("{major}:{minor} {}", to_io_weight(weight)))
            }
        }
        Ok(())
    }

    fn throttle(&mut self, v1: &str, v2: &str, throttles: &[Throttle]) {
        for Throttle { major, minor, rate } in throttles {
            match (self.v1(), rate) {
                (true, rate) => self.write(BLKIO, v1, format!("{major}:{minor} {rate}")),
                // v1 lifts a limit by 0, which v2 refuses.
                (false, 0) => self.write(BLKIO, "io.max", format!("{major}:{minor} {v2}=max")),
                (false, rate) => self.write(BLKIO, "io.max", format!("{major}:{minor} {v2}={rate}")),
            }
        }
    }
}

fn check_weight(weight: u16) -> Result<()> {
    match weight {
        10..=1000 => Ok(()),
        other => Err(invalid(format!("blkio weight {other}"), "must be between 10 and 1000")),
    }
}

fn no_weights() -> Error {
    unsupported("blkio weight", "this kernel has neither the BFQ scheduler nor the io.cost model")
}

/// The `io.weight` of v2 (1 to 10000) for a weight of 10 to 1000, linearly, as runc converts.
pub(crate) fn to_io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight) - 10) * 9999 / 990
}
