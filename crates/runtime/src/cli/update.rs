//! `update`: new limits for a container that exists.

use std::io::Read;

use cgroup::Limits;
use oci::runtime::{BlockIo, Cpu, Memory, Pids, Resources};

use super::Globals;
use super::arguments::{Flag, Given, value};
use super::record::{Home, read};
use crate::{Error, Kind, Result};

/// Flags of `update`.
pub(super) const UPDATE: &[Flag] = &[
    value("resources").or('r'),
    value("blkio-weight"),
    value("cpu-period"),
    value("cpu-quota"),
    value("cpu-burst"),
    value("cpu-share"),
    value("cpu-rt-period"),
    value("cpu-rt-runtime"),
    value("cpuset-cpus"),
    value("cpuset-mems"),
    value("memory"),
    value("memory-reservation"),
    value("memory-swap"),
    value("kernel-memory"),
    value("kernel-memory-tcp"),
    value("pids-limit"),
    value("cpu-idle"),
    value("l3-cache-schema"),
    value("mem-bw-schema"),
];

/// The largest file of resources.
const LIMIT: u64 = 1 << 20;

/// `update ID`: from a file (`-` is standard input) or from flags.
pub(super) fn update(globals: &Globals, given: &Given) -> Result<i32> {
    let home = Home::of(&globals.root, given.only("the container's id")?)?;
    if ["l3-cache-schema", "mem-bw-schema"].iter().any(|flag| given.get(flag).is_some()) {
        return Err(Error::invalid("linux.intelRdt is not supported"));
    }
    let record = home.record()?;
    let place = record.place()?;
    let place = place.ok_or_else(|| Error::new(Kind::State, "the container has no control group"))?;
    let resources = match given.get("resources") {
        Some("-") => {
            let mut text = Vec::new();
            let taken = std::io::stdin().take(LIMIT).read_to_end(&mut text);
            taken.map_err(|error| Error::new(Kind::System, format!("read(standard input): {error}")))?;
            parse(&text)?
        }
        Some(path) => parse(&read(std::path::Path::new(path), LIMIT)?)?,
        None => from_flags(given)?,
    };
    place.update(&cgroup::Hierarchy::detect()?, &Limits::try_from(&resources)?)?;
    Ok(0)
}

fn parse(text: &[u8]) -> Result<Resources> {
    serde_json::from_slice(text).map_err(|error| Error::invalid(format!("resources: {error}")))
}

fn from_flags(given: &Given) -> Result<Resources> {
    let text = |name: &str| given.get(name).unwrap_or_default().to_owned();
    Ok(Resources {
        memory: Some(Memory {
            limit: bytes(given, "memory")?,
            reservation: bytes(given, "memory-reservation")?,
            swap: bytes(given, "memory-swap")?,
            ..Memory::default()
        }),
        cpu: Some(Cpu {
            shares: given.number("cpu-share")?,
            quota: given.number("cpu-quota")?,
            burst: given.number("cpu-burst")?,
            period: given.number("cpu-period")?,
            realtime_runtime: given.number("cpu-rt-runtime")?,
            realtime_period: given.number("cpu-rt-period")?,
            cpus: text("cpuset-cpus"),
            mems: text("cpuset-mems"),
            idle: given.number("cpu-idle")?,
        }),
        pids: given.number("pids-limit")?.map(|limit| Pids { limit: Some(limit) }),
        block_io: given
            .number("blkio-weight")?
            .map(|weight| BlockIo { weight: Some(weight), ..BlockIo::default() }),
        ..Resources::default()
    })
}

/// A number of bytes with an optional unit of 1024s: `64m`, `1g`; -1 lifts the limit.
fn bytes(given: &Given, name: &str) -> Result<Option<i64>> {
    let Some(text) = given.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let refuse = || Error::invalid(format!("invalid value {text:?} for flag -{name}"));
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &lower[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(refuse()),
    };
    let number: i64 = digits.parse().map_err(|_| refuse())?;
    number.checked_mul(1 << shift).map(Some).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        let check = |text: &str, expected: Option<i64>| {
            let given = Given::parse(UPDATE, ["--memory".into(), text.into()]).unwrap();
            assert_eq!(bytes(&given, "memory").ok().flatten(), expected, "{text}");
        };
        check("64m", Some(64 << 20));
        check("1GiB", Some(1 << 30));
        check("-1", Some(-1));
        check("12", Some(12));
        check("12x", None);
        check("99999999999t", None);
    }
}
