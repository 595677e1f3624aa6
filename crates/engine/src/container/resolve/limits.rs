//! Limits and devices, with Docker's checks of what makes sense.

use api::host_config::{HostConfig, Resources, ThrottleDevice};

use super::super::spec::{DeviceSpec, Limits};
use crate::{Error, Result};

/// What limits depend on beside themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    /// Processors.
    pub(crate) cpus: u32,
    /// Memory nodes: 1 where memory is all alike.
    pub(crate) memory_nodes: u32,
    /// cgroup v2 (else v1).
    pub(crate) cgroup_v2: bool,
}

/// Less memory than this cannot hold a runtime.
const MIN_MEMORY: i64 = 6 << 20;
/// The highest number that a list of processors or memory nodes may name.
const MAX_CPUSET: u32 = 8192;

pub(super) fn resolve(resources: &Resources, facts: &Machine, warnings: &mut Vec<String>) -> Result<Limits> {
    let mut limits = Limits::default();
    memory(resources, facts, &mut limits, warnings)?;
    cpu(resources, facts, &mut limits)?;
    blkio(resources, &mut limits)?;
    refuse_windows(resources, warnings)?;
    limits.pids = resources.pids_limit.filter(|limit| *limit > 0);
    Ok(limits)
}

/// What only Windows can do.
fn refuse_windows(given: &Resources, warnings: &mut Vec<String>) -> Result<()> {
    if given.io_maximum_iops != 0 {
        return invalid("invalid option: QoS maximum IOPs configuration is not supported on linux");
    }
    if given.io_maximum_bandwidth != 0 {
        return invalid("invalid option: QoS maximum bandwidth configuration is not supported on linux");
    }
    if given.cpu_percent > 0 {
        warnings.push("linux does not support CPU percent. Percent discarded.".to_owned());
    }
    Ok(())
}

fn invalid<T>(words: impl Into<String>) -> Result<T> {
    Err(Error::invalid(words))
}

fn positive(value: i64) -> Option<i64> {
    (value > 0).then_some(value)
}

fn memory(given: &Resources, facts: &Machine, limits: &mut Limits, warnings: &mut Vec<String>) -> Result<()> {
    let (memory, swap, reservation) = (given.memory, given.memory_swap, given.memory_reservation);
    if memory != 0 && memory < MIN_MEMORY {
        return invalid("Minimum memory limit allowed is 6MB");
    }
    if memory > 0 && swap > 0 && swap < memory {
        return invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if memory == 0 && swap > 0 {
        return invalid("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if reservation != 0 && reservation < MIN_MEMORY {
        return invalid("Minimum memory reservation allowed is 6MB");
    }
    if memory > 0 && reservation > 0 && memory < reservation {
        return invalid("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if let Some(swappiness) = given.memory_swappiness.filter(|value| *value != -1) {
        match u64::try_from(swappiness).ok().filter(|value| *value <= 100) {
            Some(_) if facts.cgroup_v2 => warnings.push(
                "Your kernel does not support memory swappiness capabilities, or the cgroup is not mounted. Memory swappiness discarded.".to_owned(),
            ),
            Some(value) => limits.swappiness = Some(value),
            None => return invalid(format!("Invalid value: {swappiness}, valid memory swappiness range is 0-100")),
        }
    }
    limits.memory = positive(memory);
    limits.memory_reservation = positive(reservation);
    limits.memory_swap = match swap {
        0 if memory > 0 => Some(memory.saturating_mul(2)),
        0 => None,
        // As the kernel reads any negative number.
        swap => Some(swap.max(-1)),
    };
    if facts.cgroup_v2 && given.oom_kill_disable == Some(true) {
        warnings.push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned());
    }
    limits.oom_kill_disable = given.oom_kill_disable.unwrap_or(false) && !facts.cgroup_v2;
    if limits.oom_kill_disable && memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.".to_owned(),
        );
    }
    Ok(())
}

fn cpu(given: &Resources, facts: &Machine, limits: &mut Limits) -> Result<()> {
    if given.nano_cpus > 0 && given.cpu_period > 0 {
        return invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if given.nano_cpus > 0 && given.cpu_quota > 0 {
        return invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    if given.nano_cpus != 0
        && (given.nano_cpus < 10_000_000 || given.nano_cpus > i64::from(facts.cpus) * 1_000_000_000)
    {
        return invalid(format!(
            "range of CPUs is from 0.01 to {0}.00, as there are only {0} CPUs available",
            facts.cpus
        ));
    }
    if given.cpu_shares < 0 {
        return invalid(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            given.cpu_shares
        ));
    }
    if given.cpu_period != 0 && !(1000..=1_000_000).contains(&given.cpu_period) {
        return invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if given.cpu_quota > 0 && given.cpu_quota < 1000 {
        return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if (given.cpu_realtime_period != 0 || given.cpu_realtime_runtime != 0) && facts.cgroup_v2 {
        return invalid("kernel does not support CPU real-time scheduler");
    }
    if given.cpu_realtime_period != 0 && given.cpu_realtime_runtime > given.cpu_realtime_period {
        return invalid("cpu real-time runtime cannot be higher than cpu real-time period");
    }
    let unsigned = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    limits.cpu_shares = unsigned(given.cpu_shares);
    limits.cpu_period = unsigned(given.cpu_period);
    limits.cpu_quota = (given.cpu_quota != 0).then_some(given.cpu_quota.max(-1));
    if given.nano_cpus > 0 {
        limits.cpu_period = Some(100_000);
        limits.cpu_quota = Some(given.nano_cpus / 10_000);
    }
    limits.cpu_realtime_period = unsigned(given.cpu_realtime_period);
    limits.cpu_realtime_runtime = positive(given.cpu_realtime_runtime);
    limits.cpuset_cpus = cpuset(&given.cpuset_cpus, "cpus", facts.cpus, "CPUs")?;
    limits.cpuset_mems = cpuset(&given.cpuset_mems, "mems", facts.memory_nodes, "memory nodes")?;
    Ok(())
}

/// `0-3,7`: checked for form and against what there is.
fn cpuset(text: &str, kind: &str, available: u32, what: &str) -> Result<String> {
    for range in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(first) || !is_number(last) {
            return invalid(format!("Invalid value {text} for cpuset {kind}: invalid format: {range}"));
        }
        // A number that does not fit is too large as well.
        let [first, last] = [first, last].map(|text| text.parse::<u32>().unwrap_or(u32::MAX));
        if first.max(last) > MAX_CPUSET {
            return invalid(format!(
                "Invalid value {text} for cpuset {kind}: value of out range, maximum is {MAX_CPUSET}"
            ));
        }
        if first > last {
            return invalid(format!("Invalid value {text} for cpuset {kind}: invalid format: {range}"));
        }
        if last >= available {
            let there = if available > 1 { format!("0-{}", available - 1) } else { "0".to_owned() };
            return invalid(format!(
                "Requested {what} are not available - requested {text}, available: {there}"
            ));
        }
    }
    Ok(text.to_owned())
}

fn blkio(given: &Resources, limits: &mut Limits) -> Result<()> {
    if given.blkio_weight != 0 && !(10..=1000).contains(&given.blkio_weight) {
        return invalid("Range of blkio weight is from 10 to 1000");
    }
    limits.blkio_weight = (given.blkio_weight != 0).then_some(given.blkio_weight);
    let weights = given.blkio_weight_device.iter().flatten();
    limits.blkio_weight_devices =
        weights.map(|device| (device.path.clone(), u64::from(device.weight))).collect();
    let rates = |list: &Option<Vec<ThrottleDevice>>| -> Vec<(String, u64)> {
        list.iter().flatten().map(|device| (device.path.clone(), device.rate)).collect()
    };
    limits.blkio_read_bps = rates(&given.blkio_device_read_bps);
    limits.blkio_write_bps = rates(&given.blkio_device_write_bps);
    limits.blkio_read_iops = rates(&given.blkio_device_read_iops);
    limits.blkio_write_iops = rates(&given.blkio_device_write_iops);
    Ok(())
}

pub(super) fn devices(host: &HostConfig) -> Result<Vec<DeviceSpec>> {
    let mut devices = Vec::new();
    for device in host.resources.devices.iter().flatten() {
        let permissions =
            if device.cgroup_permissions.is_empty() { "rwm" } else { &device.cgroup_permissions };
        if permissions.is_empty() || permissions.bytes().any(|byte| !b"rwm".contains(&byte)) {
            return invalid(format!("invalid device mode: {permissions}"));
        }
        if !device.path_on_host.starts_with('/') {
            return invalid(format!("invalid device path {:?}: it must be absolute", device.path_on_host));
        }
        let inside = if device.path_in_container.is_empty() {
            &device.path_on_host
        } else {
            &device.path_in_container
        };
        devices.push(DeviceSpec {
            host: super::mounts::clean(&device.path_on_host),
            container: super::mounts::clean(inside),
            permissions: permissions.to_owned(),
        });
    }
    Ok(devices)
}

/// `c 1:3 rwm`, `b *:* r`, `a *:* rwm`.
pub(super) fn device_rules(host: &HostConfig) -> Result<Vec<String>> {
    let rules = host.resources.device_cgroup_rules.clone().unwrap_or_default();
    for rule in &rules {
        let words: Vec<&str> = rule.split_whitespace().collect();
        let number = |text: &str| text == "*" || text.parse::<u32>().is_ok();
        let valid = match words.as_slice() {
            [kind, numbers, access] => {
                matches!(*kind, "a" | "b" | "c")
                    && numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor))
                    && access.len() <= 3
                    && access.bytes().all(|byte| b"rwm".contains(&byte))
            }
            _ => false,
        };
        if !valid {
            return invalid(format!("invalid device cgroup rule format: '{rule}'"));
        }
    }
    Ok(rules)
}
