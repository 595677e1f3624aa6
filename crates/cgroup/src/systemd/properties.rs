//! Limits as properties of a unit (systemd.resource-control(5)): those that systemd would otherwise write over.

use super::Value;
use crate::device::{self, Kind, Rule};
use crate::limits::{BlkioLimits, Throttle};
use crate::plan::{shares_to_weight, to_io_weight};
use crate::{Amount, Error, Limits, Result, Version};

/// The kernel's names of major numbers (proc_devices(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceNames(Vec<(Kind, u32, String)>);

impl DeviceNames {
    /// Reads them from the text of `/proc/devices`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut kind = None;
        let mut names = Vec::new();
        for line in text.lines() {
            match line.trim() {
                "Character devices:" => kind = Some(Kind::Char),
                "Block devices:" => kind = Some(Kind::Block),
                line => {
                    let parts =
                        line.split_once(' ').and_then(|(major, name)| Some((major.parse().ok()?, name)));
                    if let (Some(kind), Some((major, name))) = (kind, parts) {
                        names.push((kind, major, name.trim().to_owned()));
                    }
                }
            }
        }
        Self(names)
    }

    /// The name of a major number; of several one that is no path.
    fn name(&self, kind: Kind, major: u32) -> Option<&str> {
        let fits = self.0.iter().filter(|(one, number, _)| (*one, *number) == (kind, major));
        let names: Vec<&str> = fits.map(|(_, _, name)| name.as_str()).collect();
        names.iter().find(|name| !name.contains('/')).or(names.first()).copied()
    }
}

/// Plans the properties for limits, for a manager of this version; `devices` are the kernel's names of device numbers.
///
/// A limit that the manager cannot be told of is left out: it is written to the group's files all the same.
pub fn plan_properties(
    limits: &Limits,
    version: Version,
    systemd: u32,
    devices: &DeviceNames,
) -> Result<Vec<(String, Value)>> {
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
    for (name, value) in of_block_devices(&limits.blkio, v2) {
        set(name, value);
    }
    if let Some(pids) = limits.pids {
        let most = match pids {
            Amount::Of(limit) => Amount::Of(limit.max(1)),
            Amount::Unlimited => Amount::Unlimited,
        };
        set("TasksMax", number(most));
    }
    if !v2 && !limits.devices.is_empty() {
        properties.extend(of_devices(&limits.devices, devices)?);
    }
    if v2 {
        for (file, content) in &limits.unified {
            properties.extend(of_file(file, content.trim(), systemd)?);
        }
    }
    Ok(properties)
}

/// Weights and rates of block devices. Of those of v1 systemd knows bytes, and no operations.
fn of_block_devices(blkio: &BlkioLimits, v2: bool) -> Vec<(&'static str, Value)> {
    let path = |major: u32, minor: u32| format!("/dev/block/{major}:{minor}");
    let weigh = |weight: u16| if v2 { to_io_weight(weight) } else { weight.into() };
    // 0 lifts a limit in the specification, the largest number does for systemd.
    let lifted = |rate: u64| if rate == 0 { u64::MAX } else { rate };
    let rates = |throttles: &[Throttle]| {
        let rate = |one: &Throttle| (path(one.major, one.minor), lifted(one.rate));
        throttles.iter().map(rate).collect::<Vec<_>>()
    };
    let weights = blkio.device_weights.iter();
    let weights = weights.map(|one| (path(one.major, one.minor), weigh(one.weight))).collect::<Vec<_>>();
    let weight = blkio.weight.map(|weight| Value::Number(weigh(weight)));
    let (read, write) = (rates(&blkio.read_bytes), rates(&blkio.write_bytes));
    let (names, lists) = match v2 {
        true => (
            ["IOWeight", "IODeviceWeight", "IOReadBandwidthMax", "IOWriteBandwidthMax"],
            vec![
                ("IOReadIOPSMax", rates(&blkio.read_operations)),
                ("IOWriteIOPSMax", rates(&blkio.write_operations)),
            ],
        ),
        false => (
            ["BlockIOWeight", "BlockIODeviceWeight", "BlockIOReadBandwidth", "BlockIOWriteBandwidth"],
            vec![],
        ),
    };
    let lists = [(names[1], weights), (names[2], read), (names[3], write)].into_iter().chain(lists);
    let lists = lists.filter(|(_, list)| !list.is_empty()).map(|(name, list)| (name, Value::Rates(list)));
    weight.map(|weight| (names[0], weight)).into_iter().chain(lists).collect()
}

/// What systemd has to know of device rules on v1, where it would otherwise allow every device as soon as it looks at the
/// group again. On v2 it leaves our program alone.
///
/// It takes a device by number, all of a major number by the kernel's name of it, and a whole kind. What else a rule can
/// mean, a minor number of any major one, it cannot be told, and denies after a reload.
fn of_devices(rules: &[Rule], names: &DeviceNames) -> Result<Vec<(String, Value)>> {
    let (allow_by_default, exceptions) = device::exceptions(rules)?;
    let policy = if allow_by_default { "auto" } else { "strict" };
    let mut allowed = Vec::new();
    for rule in exceptions.iter().filter(|_| !allow_by_default) {
        let kind = if rule.kind == Kind::Block { "block" } else { "char" };
        let device = match (rule.major, rule.minor) {
            (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
            (None, None) => format!("{kind}-*"),
            (Some(major), None) => match names.name(rule.kind, major) {
                Some(name) => format!("{kind}-{name}"),
                // No driver has it: there is nothing to deny either.
                None => continue,
            },
            (None, Some(_)) => continue,
        };
        allowed.push((device, rule.access.to_string()));
    }
    Ok(vec![
        ("DevicePolicy".to_owned(), Value::Text(policy.to_owned())),
        ("DeviceAllow".to_owned(), Value::Pairs(allowed)),
    ])
}

/// The properties for the content of a v2 file, which systemd would otherwise write over as soon as it looks at the group
/// or at one beside it. Files of which it knows nothing are left alone by it.
fn of_file(file: &str, content: &str, systemd: u32) -> Result<Vec<(String, Value)>> {
    let invalid = |reason: &str| Error::Invalid {
        what: format!("unified {file:?}: {content:?}"),
        reason: reason.to_owned(),
    };
    let amount = |text: &str| match text {
        "max" => Ok(u64::MAX),
        text => text.parse().map_err(|_| invalid("must be a number or max")),
    };
    let one = |name: &str, value: Value| Ok(vec![(name.to_owned(), value)]);
    match file {
        "memory.min" => one("MemoryMin", Value::Number(amount(content)?)),
        "memory.low" => one("MemoryLow", Value::Number(amount(content)?)),
        "memory.high" => one("MemoryHigh", Value::Number(amount(content)?)),
        "memory.max" => one("MemoryMax", Value::Number(amount(content)?)),
        "memory.swap.max" => one("MemorySwapMax", Value::Number(amount(content)?)),
        "pids.max" => one("TasksMax", Value::Number(amount(content)?)),
        "cpu.weight" => one("CPUWeight", Value::Number(amount(content)?)),
        "cpu.max" => {
            let (quota, period) = content.split_once(' ').unwrap_or((content, "100000"));
            let period = amount(period)?;
            let quota = match amount(quota)? {
                u64::MAX => Amount::Unlimited,
                quota => Amount::Of(quota),
            };
            let mut properties = Vec::new();
            if systemd >= 242 {
                properties.push(("CPUQuotaPeriodUSec".to_owned(), Value::Number(period)));
            }
            properties.push(("CPUQuotaPerSecUSec".to_owned(), Value::Number(per_second(quota, period))));
            Ok(properties)
        }
        "cpuset.cpus" if systemd >= 244 => one("AllowedCPUs", Value::Bytes(bits(content)?)),
        "cpuset.mems" if systemd >= 244 => one("AllowedMemoryNodes", Value::Bytes(bits(content)?)),
        _ => Ok(Vec::new()),
    }
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
