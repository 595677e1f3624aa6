//! Limits of a start as the runtime's document has them.

use std::collections::BTreeMap;

use oci::runtime::{BlockIo, Cpu, DeviceRule, Memory, Pids, Resources, ThrottleDevice, WeightDevice};

use super::super::spec::ContainerSpec;
use super::StartFacts;

/// Devices every container may use: null, zero, full, random, urandom, tty, console, ptmx and terminals.
const ALLOWED: &[(i64, Option<i64>)] = &[
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
];

/// Limits and device rules.
pub(super) fn plan_resources(spec: &ContainerSpec, facts: &StartFacts) -> Resources {
    Resources { devices: device_rules(spec, facts), ..plan_limits(spec, &facts.block_devices) }
}

/// Limits alone; `block_devices` are the numbers of devices by path.
pub(crate) fn plan_limits(spec: &ContainerSpec, block_devices: &BTreeMap<String, (i64, i64)>) -> Resources {
    let limits = &spec.limits;
    let rates = |list: &[(String, u64)]| -> Vec<ThrottleDevice> {
        let found = list.iter().filter_map(|(path, rate)| Some((block_devices.get(path)?, *rate)));
        found.map(|(&(major, minor), rate)| ThrottleDevice { major, minor, rate }).collect()
    };
    let weights = limits.blkio_weight_devices.iter().filter_map(|(path, weight)| {
        let &(major, minor) = block_devices.get(path)?;
        Some(WeightDevice { major, minor, weight: u16::try_from(*weight).ok(), leaf_weight: None })
    });
    let block_io = BlockIo {
        weight: limits.blkio_weight,
        leaf_weight: None,
        weight_device: weights.collect(),
        throttle_read_bps_device: rates(&limits.blkio_read_bps),
        throttle_write_bps_device: rates(&limits.blkio_write_bps),
        throttle_read_iops_device: rates(&limits.blkio_read_iops),
        throttle_write_iops_device: rates(&limits.blkio_write_iops),
    };
    let memory = Memory {
        limit: limits.memory,
        reservation: limits.memory_reservation,
        swap: limits.memory_swap,
        swappiness: limits.swappiness,
        disable_oom_killer: limits.oom_kill_disable.then_some(true),
        ..Memory::default()
    };
    let cpu = Cpu {
        shares: limits.cpu_shares,
        quota: limits.cpu_quota,
        period: limits.cpu_period,
        realtime_runtime: limits.cpu_realtime_runtime,
        realtime_period: limits.cpu_realtime_period,
        cpus: limits.cpuset_cpus.clone(),
        mems: limits.cpuset_mems.clone(),
        ..Cpu::default()
    };
    Resources {
        memory: (memory != Memory::default()).then_some(memory),
        cpu: (cpu != Cpu::default()).then_some(cpu),
        pids: limits.pids.map(|limit| Pids { limit: Some(limit) }),
        block_io: (block_io != BlockIo::default()).then_some(block_io),
        ..Resources::default()
    }
}

fn rule(allow: bool, kind: &str, major: Option<i64>, minor: Option<i64>, access: &str) -> DeviceRule {
    DeviceRule { allow, kind: kind.to_owned(), major, minor, access: access.to_owned() }
}

/// Everything is denied, then what is known to be harmless and what was asked for is allowed.
fn device_rules(spec: &ContainerSpec, facts: &StartFacts) -> Vec<DeviceRule> {
    if spec.privileged {
        return vec![rule(true, "a", None, None, "rwm")];
    }
    let mut rules = vec![
        rule(false, "a", None, None, "rwm"),
        // Making nodes is harmless as long as they cannot be opened.
        rule(true, "c", None, None, "m"),
        rule(true, "b", None, None, "m"),
    ];
    rules.extend(ALLOWED.iter().map(|(major, minor)| rule(true, "c", Some(*major), *minor, "rwm")));
    rules.extend(facts.devices.iter().map(|device| {
        rule(true, &device.node.kind, Some(device.node.major), Some(device.node.minor), &device.permissions)
    }));
    rules.extend(spec.device_rules.iter().filter_map(|text| parse_rule(text)));
    rules
}

/// `c 1:* rwm`, whose form was checked when the container was made.
fn parse_rule(text: &str) -> Option<DeviceRule> {
    let mut words = text.split_whitespace();
    let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
    let (major, minor) = numbers.split_once(':')?;
    Some(rule(true, kind, major.parse().ok(), minor.parse().ok(), access))
}
