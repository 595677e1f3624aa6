//! Limits as properties of a unit (systemd.resource-control(5)): those that systemd would otherwise write over.

use super::Value;
use crate::plan::shares_to_weight;
use crate::{Amount, Error, Limits, Result, Version};

/// Plans the properties for limits, for a manager of this version.
///
/// A limit that the manager cannot be told of is left out: it is written to the group's files all the same.
pub fn plan_properties(limits: &Limits, version: Version, systemd: u32) -> Result<Vec<(String, Value)>> {
    let mut properties = Vec::new();
    let mut set = |name: &str, value: Value| properties.push((name.to_owned(), value));
    let memory = &limits.memory;
    let v2 = version == Version::V2;
    if let Some(limit) = memory.limit {
        set(if v2 { "MemoryMax" } else { "MemoryLimit" }, number(limit));
    }
    if let (Some(reservation), true) = (memory.reservation, v2) {
        set("MemoryLow", number(reservation));
    }
    if let (Some(swap), true) = (swap_alone(memory.limit, memory.swap), v2) {
        set("MemorySwapMax", number(swap));
    }
    let cpu = &limits.cpu;
    match (cpu.idle, cpu.shares) {
        // A weight of zero stands for idle.
        (Some(1), _) if v2 && systemd >= 252 => set("CPUWeight", Value::Number(0)),
        (_, Some(shares)) if v2 => set("CPUWeight", Value::Number(shares_to_weight(shares))),
        (_, Some(shares)) => set("CPUShares", Value::Number(shares)),
        _ => {}
    }
    if let (Some(period), true) = (cpu.period, systemd >= 242) {
        set("CPUQuotaPeriodUSec", Value::Number(period));
    }
    if let Some(quota) = cpu.quota {
        set("CPUQuotaPerSecUSec", Value::Number(per_second(quota, cpu.period.unwrap_or(100_000))));
    }
    if let (true, true) = (v2, systemd >= 244) {
        for (name, list) in [("AllowedCPUs", &cpu.cpus), ("AllowedMemoryNodes", &cpu.mems)] {
            if let Some(list) = list {
                set(name, Value::Bytes(bits(list)?));
            }
        }
    }
    if let (Some(weight), false) = (limits.blkio.weight, v2) {
        set("BlockIOWeight", Value::Number(weight.into()));
    }
    if let Some(pids) = limits.pids {
        let most = match pids {
            Amount::Of(limit) => Amount::Of(limit.max(1)),
            Amount::Unlimited => Amount::Unlimited,
        };
        set("TasksMax", number(most));
    }
    Ok(properties)
}

/// The largest number stands for no limit.
fn number(amount: Amount) -> Value {
    Value::Number(match amount {
        Amount::Of(value) => value,
        Amount::Unlimited => u64::MAX,
    })
}

/// Swap without memory, as far as it follows from the limits given.
fn swap_alone(memory: Option<Amount>, both: Option<Amount>) -> Option<Amount> {
    match (memory?, both) {
        (Amount::Unlimited, None) | (_, Some(Amount::Unlimited)) => Some(Amount::Unlimited),
        (Amount::Unlimited, both) => both,
        (Amount::Of(memory), Some(Amount::Of(both))) => Some(Amount::Of(both.saturating_sub(memory))),
        (Amount::Of(_), None) => None,
    }
}

/// Microseconds in each second, rounded up to hundredths of a processor, which is as fine as systemd writes them.
fn per_second(quota: Amount, period: u64) -> u64 {
    const HUNDREDTH: u128 = 10_000;
    match quota {
        Amount::Unlimited => u64::MAX,
        Amount::Of(quota) => {
            let exact = u128::from(quota) * 1_000_000 / u128::from(period.max(1));
            u64::try_from(exact.next_multiple_of(HUNDREDTH)).unwrap_or(u64::MAX)
        }
    }
}

/// A list such as `0-3,7` as bits, the lowest first.
fn bits(list: &str) -> Result<Vec<u8>> {
    const MOST: usize = 8192;
    let invalid =
        || Error::Invalid { what: format!("list {list:?}"), reason: "must be such as 0-3,7".to_owned() };
    let mut bits = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|number| *number < MOST);
        let (first, last) = number(first).zip(number(last)).filter(|(a, b)| a <= b).ok_or_else(invalid)?;
        bits.resize(bits.len().max(last / 8 + 1), 0_u8);
        (first..=last).for_each(|at| bits[at / 8] |= 1 << (at % 8));
    }
    if bits.is_empty() { Err(invalid()) } else { Ok(bits) }
}
