//! Limits from the words of the runtime specification, checked on the way.

use oci::runtime::{self, Resources};

use crate::device::{Access, Kind, Rule};
use crate::limits::{BlkioLimits, CpuLimits, DeviceWeight, MemoryLimits, RdmaLimits, Throttle};
use crate::{Amount, Error, Limits, Result};

impl TryFrom<&Resources> for Limits {
    type Error = Error;

    /// As runc reads them: zero means "leave as it is" for memory, shares, quota and period; -1 lifts a limit.
    fn try_from(resources: &Resources) -> Result<Self> {
        let network = resources.network.clone().unwrap_or_default();
        let rdma =
            |limits: &runtime::Rdma| RdmaLimits { handles: limits.hca_handles, objects: limits.hca_objects };
        Ok(Self {
            memory: resources.memory.as_ref().map(memory).transpose()?.unwrap_or_default(),
            cpu: resources.cpu.as_ref().map(cpu).transpose()?.unwrap_or_default(),
            pids: resources.pids.as_ref().and_then(|pids| pids.limit).map(pids),
            blkio: resources.block_io.as_ref().map(blkio).transpose()?.unwrap_or_default(),
            hugetlb: resources
                .hugepage_limits
                .iter()
                .map(|huge| (huge.page_size.clone(), huge.limit))
                .collect(),
            rdma: resources.rdma.iter().map(|(device, limits)| (device.clone(), rdma(limits))).collect(),
            net_class: network.class_id.filter(|class| *class != 0),
            net_priorities: network
                .priorities
                .into_iter()
                .map(|entry| (entry.name, entry.priority))
                .collect(),
            unified: resources.unified.clone(),
            devices: resources.devices.iter().map(device).collect::<Result<_>>()?,
        })
    }
}

fn memory(memory: &runtime::Memory) -> Result<MemoryLimits> {
    Ok(MemoryLimits {
        limit: amount("memory limit", memory.limit)?,
        reservation: amount("memory reservation", memory.reservation)?,
        swap: amount("memory swap", memory.swap)?,
        // -1, read as an unsigned number, stands for "as it is".
        swappiness: memory.swappiness.filter(|swappiness| *swappiness != u64::MAX),
        disable_oom_killer: memory.disable_oom_killer.unwrap_or(false),
        check_before_update: memory.check_before_update.unwrap_or(false),
    })
}

fn cpu(cpu: &runtime::Cpu) -> Result<CpuLimits> {
    let list = |list: &String| Some(list.clone()).filter(|list| !list.is_empty());
    Ok(CpuLimits {
        shares: cpu.shares.filter(|shares| *shares != 0),
        quota: amount("cpu quota", cpu.quota)?,
        period: cpu.period.filter(|period| *period != 0),
        burst: cpu.burst,
        realtime_runtime: cpu.realtime_runtime.filter(|runtime| *runtime != 0),
        realtime_period: cpu.realtime_period.filter(|period| *period != 0),
        cpus: list(&cpu.cpus),
        mems: list(&cpu.mems),
        idle: cpu.idle,
    })
}

fn pids(limit: i64) -> Amount {
    u64::try_from(limit).map_or(Amount::Unlimited, Amount::Of)
}

fn blkio(blkio: &runtime::BlockIo) -> Result<BlkioLimits> {
    let mut weights = Vec::new();
    for device in &blkio.weight_device {
        if device.leaf_weight.is_some_and(|weight| weight != 0) {
            let what = format!("blkio leaf weight of device {}:{}", device.major, device.minor);
            return Err(Error::Unsupported { what, reason: "no kernel since 5.0 has it".to_owned() });
        }
        if let Some(weight) = device.weight.filter(|weight| *weight != 0) {
            let (major, minor) = (number("blkio", device.major)?, number("blkio", device.minor)?);
            weights.push(DeviceWeight { major, minor, weight });
        }
    }
    let throttles = |devices: &[runtime::ThrottleDevice]| -> Result<Vec<Throttle>> {
        let throttle = |device: &runtime::ThrottleDevice| {
            let (major, minor) = (number("blkio", device.major)?, number("blkio", device.minor)?);
            Ok(Throttle { major, minor, rate: device.rate })
        };
        devices.iter().map(throttle).collect()
    };
    Ok(BlkioLimits {
        weight: blkio.weight.filter(|weight| *weight != 0),
        leaf_weight: blkio.leaf_weight.filter(|weight| *weight != 0),
        device_weights: weights,
        read_bytes: throttles(&blkio.throttle_read_bps_device)?,
        write_bytes: throttles(&blkio.throttle_write_bps_device)?,
        read_operations: throttles(&blkio.throttle_read_iops_device)?,
        write_operations: throttles(&blkio.throttle_write_iops_device)?,
    })
}

fn device(rule: &runtime::DeviceRule) -> Result<Rule> {
    let kind = match rule.kind.as_str() {
        "" | "a" => Kind::All,
        "c" | "u" => Kind::Char,
        "b" => Kind::Block,
        other => return Err(invalid(format!("device type {other:?}"), "must be a, b or c")),
    };
    let any = |value: Option<i64>| {
        value.filter(|value| *value != -1).map(|value| number("device rule", value)).transpose()
    };
    let access = match rule.access.as_str() {
        "" => Access::ALL,
        letters => Access::parse(letters).ok_or_else(|| {
            invalid(format!("device access {letters:?}"), "must be of the letters r, w and m")
        })?,
    };
    Ok(Rule { allow: rule.allow, kind, major: any(rule.major)?, minor: any(rule.minor)?, access })
}

/// A number of a device.
fn number(what: &str, value: i64) -> Result<u32> {
    u32::try_from(value).map_err(|_| invalid(format!("{what}: device number {value}"), "is out of range"))
}

fn amount(what: &str, value: Option<i64>) -> Result<Option<Amount>> {
    match value {
        None | Some(0) => Ok(None),
        Some(-1) => Ok(Some(Amount::Unlimited)),
        Some(value) => match u64::try_from(value) {
            Ok(value) => Ok(Some(Amount::Of(value))),
            Err(_) => Err(invalid(format!("{what} {value}"), "must be positive, or -1 for none")),
        },
    }
}

fn invalid(what: String, reason: &str) -> Error {
    Error::Invalid { what, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str) -> Result<Limits> {
        Limits::try_from(&serde_json::from_str::<Resources>(json).unwrap())
    }

    #[test]
    fn zero_leaves_alone_and_minus_one_lifts() {
        let limits = check(
            r#"{"memory": {"limit": 0, "swap": -1, "reservation": 5, "kernel": 7, "swappiness": 18446744073709551615},
                "cpu": {"shares": 0, "quota": -1, "period": 0, "cpus": "", "burst": 0},
                "pids": {"limit": -1}, "blockIO": {"weight": 0}, "network": {"classID": 0}}"#,
        );
        let expected = Limits {
            memory: MemoryLimits {
                swap: Some(Amount::Unlimited),
                reservation: Some(Amount::Of(5)),
                ..MemoryLimits::default()
            },
            cpu: CpuLimits { quota: Some(Amount::Unlimited), burst: Some(0), ..CpuLimits::default() },
            pids: Some(Amount::Unlimited),
            ..Limits::default()
        };
        assert_eq!(limits.unwrap(), expected);
    }

    #[test]
    fn device_rules_keep_their_order_and_minus_one_is_any() {
        let limits = check(
            r#"{"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": -1, "access": "r"}]}"#,
        );
        let rules: Vec<String> = limits.unwrap().devices.iter().map(|r| format!("{} {r}", r.allow)).collect();
        assert_eq!(rules, ["false a *:* rwm", "true c 1:* r"]);
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let refused = |json: &str| check(json).unwrap_err().to_string();
        assert_eq!(
            refused(r#"{"memory": {"limit": -2}}"#),
            "memory limit -2: must be positive, or -1 for none"
        );
        assert_eq!(refused(r#"{"devices": [{"type": "p"}]}"#), "device type \"p\": must be a, b or c");
        assert_eq!(
            refused(r#"{"devices": [{"type": "c", "access": "rx"}]}"#),
            "device access \"rx\": must be of the letters r, w and m"
        );
        assert_eq!(
            refused(r#"{"devices": [{"type": "c", "major": 4294967296}]}"#),
            "device rule: device number 4294967296: is out of range"
        );
        assert_eq!(
            refused(r#"{"blockIO": {"throttleReadBpsDevice": [{"major": -5, "minor": 0, "rate": 1}]}}"#),
            "blkio: device number -5: is out of range"
        );
    }
}
