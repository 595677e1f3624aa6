//! Processor time and processors.

use super::{Plan, invalid, unsupported};
use crate::limits::CpuLimits;
use crate::{Amount, Controller, Result};

const CPU: Controller = Controller::Cpu;

/// The smallest and the largest value of `cpu.shares`.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// The `cpu.weight` of v2 (1 to 10000) for the `cpu.shares` of v1.
///
/// The quadratic through the exponents fits the smallest (2 → 1), the usual (1024 → 100) and the largest value
/// (262144 → 10000), as runc converts.
#[must_use]
pub fn shares_to_weight(shares: u64) -> u64 {
    if shares <= *SHARES.start() {
        return 1;
    }
    if shares >= *SHARES.end() {
        return 10_000;
    }
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    10_f64.powf(exponent).ceil() as u64
}

impl Plan<'_> {
    pub(super) fn cpu(&mut self, cpu: &CpuLimits) -> Result<()> {
        if *cpu == (CpuLimits { cpus: cpu.cpus.clone(), mems: cpu.mems.clone(), ..CpuLimits::default() }) {
            return Ok(());
        }
        self.need(CPU, "cpu limits")?;
        // An idle group takes no shares, so it leaves idleness before, and enters it after.
        if cpu.idle == Some(0) {
            self.write(CPU, "cpu.idle", 0);
        }
        if let Some(shares) = cpu.shares {
            self.shares(shares)?;
        }
        match cpu.idle {
            None | Some(0) => {}
            Some(1) => self.write(CPU, "cpu.idle", 1),
            Some(other) => return Err(invalid(format!("cpu idle {other}"), "must be 0 or 1")),
        }
        match self.v1() {
            true => self.bandwidth_v1(cpu)?,
            false => self.bandwidth_v2(cpu)?,
        }
        self.realtime(cpu)
    }

    fn shares(&mut self, shares: u64) -> Result<()> {
        if !self.v1() {
            self.write(CPU, "cpu.weight", shares_to_weight(shares));
            return Ok(());
        }
        if shares < *SHARES.start() {
            return Err(invalid(
                format!("cpu shares {shares}"),
                format!("the minimum allowed cpu-shares is {}", SHARES.start()),
            ));
        }
        if shares > *SHARES.end() {
            return Err(invalid(
                format!("cpu shares {shares}"),
                format!("the maximum allowed cpu-shares is {}", SHARES.end()),
            ));
        }
        self.write(CPU, "cpu.shares", shares);
        Ok(())
    }

    /// v1 takes quota and period one after the other, and refuses a moment in which their ratio is above the parent's.
    /// Old and new ratio are both allowed, so the order is chosen whose intermediate ratio is the lower one.
    fn bandwidth_v1(&mut self, cpu: &CpuLimits) -> Result<()> {
        let facts = &self.facts.cpu;
        let lowers = |quota: u64, period: u64, than_quota: u64, than_period: u64| {
            u128::from(quota) * u128::from(than_period) < u128::from(than_quota) * u128::from(period)
        };
        let quota_first = match (cpu.quota, cpu.period, facts.quota) {
            // Without a limit any period will do.
            (Some(Amount::Unlimited), _, _) => true,
            (Some(Amount::Of(new_quota)), Some(new_period), Some(old_quota)) => {
                lowers(new_quota, facts.period, old_quota, new_period)
            }
            _ => false,
        };
        let period = cpu.period.map(|period| ("cpu.cfs_period_us", period.to_string()));
        let quota = cpu.quota.map(|quota| ("cpu.cfs_quota_us", self.amount(quota)));
        let ordered = if quota_first { [quota, period] } else { [period, quota] };
        self.with_burst(cpu, "cpu.cfs_burst_us", ordered.into_iter().flatten().collect())
    }

    fn bandwidth_v2(&mut self, cpu: &CpuLimits) -> Result<()> {
        let mut writes = Vec::new();
        if cpu.quota.is_some() || cpu.period.is_some() {
            let quota = cpu.quota.unwrap_or(self.facts.cpu.quota.map_or(Amount::Unlimited, Amount::Of));
            let period = cpu.period.unwrap_or(self.facts.cpu.period);
            writes.push(("cpu.max", format!("{} {period}", self.amount(quota))));
        }
        self.with_burst(cpu, "cpu.max.burst", writes)
    }

    /// Saved time may never be above the quota: it is lowered before the quota is, and raised after.
    fn with_burst(&mut self, cpu: &CpuLimits, file: &str, bandwidth: Vec<(&str, String)>) -> Result<()> {
        let burst_first = match (cpu.burst, self.facts.cpu.burst) {
            (Some(burst), Some(present)) => burst < present,
            (Some(_), None) => {
                return Err(unsupported("cpu burst", "this kernel does not save up time (before 5.14)"));
            }
            (None, _) => false,
        };
        if let (Some(burst), true) = (cpu.burst, burst_first) {
            self.write(CPU, file, burst);
        }
        for (file, value) in bandwidth {
            self.write(CPU, file, value);
        }
        if let (Some(burst), false) = (cpu.burst, burst_first) {
            self.write(CPU, file, burst);
        }
        Ok(())
    }

    fn realtime(&mut self, cpu: &CpuLimits) -> Result<()> {
        if cpu.realtime_period.is_none() && cpu.realtime_runtime.is_none() {
            return Ok(());
        }
        if !self.v1() {
            return Err(unsupported("cpu realtime limits", "cgroup v2 has none"));
        }
        // One after the other, and never may the time be above its period or their ratio above the parent's. Old and new
        // ratio are both allowed, so that the order is the one whose intermediate ratio is the lower.
        let runtime_first = match (cpu.realtime_runtime, cpu.realtime_period, self.facts.cpu.realtime) {
            (Some(runtime), Some(period), Some((old_runtime, old_period))) => {
                i128::from(runtime) * i128::from(period) < i128::from(old_runtime) * i128::from(old_period)
            }
            _ => false,
        };
        let period = cpu.realtime_period.map(|period| ("cpu.rt_period_us", period.to_string()));
        let runtime = cpu.realtime_runtime.map(|runtime| ("cpu.rt_runtime_us", runtime.to_string()));
        let ordered = if runtime_first { [runtime, period] } else { [period, runtime] };
        for (file, value) in ordered.into_iter().flatten() {
            self.write(CPU, file, value);
        }
        Ok(())
    }

    pub(super) fn cpuset(&mut self, cpu: &CpuLimits) -> Result<()> {
        for (file, list) in [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)] {
            let Some(list) = list else { continue };
            self.need(Controller::Cpuset, file)?;
            if list.chars().any(char::is_control) {
                return Err(invalid(format!("{file} {list:?}"), "must be a list such as 0-3,7"));
            }
            self.write(Controller::Cpuset, file, list);
        }
        Ok(())
    }
}
