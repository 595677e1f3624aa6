//! The writes that bring a v1 group's device list from what it is to what rules say.

use std::collections::BTreeMap;

use super::{Access, Kind, Rule};
use crate::plan::Write;
use crate::{Controller, Error, Result};

/// A kind with its numbers; the key under which v1 keeps an exception.
type Device = (Kind, Option<u32>, Option<u32>);

/// What v1 keeps: a default, and the accesses that differ from it.
#[derive(Debug, PartialEq, Eq)]
struct List {
    allow_by_default: bool,
    exceptions: BTreeMap<Device, u8>,
}

/// Plans the writes to `devices.allow` and `devices.deny` that put `rules` in force, where `present` is the text of
/// the group's `devices.list`.
///
/// What stays allowed is never denied on the way: a running container keeps its `/dev/null` during an update.
///
/// # Errors
/// v1 cannot express rules that deny a part of what a broader rule allows; such rules are refused rather than weakened.
pub fn plan_v1(rules: &[Rule], present: &str) -> Result<Vec<Write>> {
    let wanted = List::from_rules(rules)?;
    let present = List::parse(present)?;
    let mut writes = Vec::new();
    let mut write = |file: &str, rule: String| {
        writes.push(Write { controller: Controller::Devices, file: file.to_owned(), value: rule });
    };
    let current = match (wanted.allow_by_default, present.allow_by_default) {
        (true, true) if wanted.exceptions == present.exceptions => return Ok(writes),
        (true, _) => {
            write("devices.allow", "a".to_owned());
            BTreeMap::new()
        }
        (false, true) => {
            write("devices.deny", "a".to_owned());
            BTreeMap::new()
        }
        (false, false) => present.exceptions,
    };
    let (differ, agree) = match wanted.allow_by_default {
        true => ("devices.deny", "devices.allow"),
        false => ("devices.allow", "devices.deny"),
    };
    for (device, bits) in missing(&wanted.exceptions, &current) {
        write(differ, text(device, bits));
    }
    for (device, bits) in missing(&current, &wanted.exceptions) {
        write(agree, text(device, bits));
    }
    Ok(writes)
}

/// What rules amount to: whether everything is allowed by default, and the rules for what differs from that.
pub(crate) fn exceptions(rules: &[Rule]) -> Result<(bool, Vec<Rule>)> {
    let List { allow_by_default, exceptions } = List::from_rules(rules)?;
    let rule = |((kind, major, minor), bits): (Device, u8)| Rule {
        allow: !allow_by_default,
        kind,
        major,
        minor,
        access: Access(bits),
    };
    Ok((allow_by_default, exceptions.into_iter().map(rule).collect()))
}

/// The accesses in `some` that are not in `others`.
fn missing(some: &BTreeMap<Device, u8>, others: &BTreeMap<Device, u8>) -> Vec<(Device, u8)> {
    let left = |(device, bits): (&Device, &u8)| (*device, bits & !others.get(device).copied().unwrap_or(0));
    some.iter().map(left).filter(|(_, bits)| *bits != 0).collect()
}

fn text((kind, major, minor): Device, bits: u8) -> String {
    Rule { allow: true, kind, major, minor, access: Access(bits) }.to_string()
}

impl List {
    /// The list that rules amount to, from "everything denied" on.
    fn from_rules(rules: &[Rule]) -> Result<Self> {
        let mut list = Self { allow_by_default: false, exceptions: BTreeMap::new() };
        for rule in rules {
            if rule.is_everything() {
                list = Self { allow_by_default: rule.allow, exceptions: BTreeMap::new() };
                continue;
            }
            let kinds: &[Kind] =
                if rule.kind == Kind::All { &[Kind::Char, Kind::Block] } else { &[rule.kind] };
            for kind in kinds {
                list.take((*kind, rule.major, rule.minor), rule)?;
            }
        }
        Ok(list)
    }

    fn take(&mut self, device: Device, rule: &Rule) -> Result<()> {
        let bits = rule.access.bits();
        if rule.allow != self.allow_by_default {
            *self.exceptions.entry(device).or_insert(0) |= bits;
            return Ok(());
        }
        let hidden = |(other, other_bits): (&Device, &u8)| {
            *other != device && overlap(*other, device) && !covers(device, *other) && other_bits & bits != 0
        };
        if self.exceptions.iter().any(hidden) {
            let reason = "cgroup v1 cannot take a part back of what a broader rule says".to_owned();
            return Err(Error::Unsupported { what: format!("device rule {rule}"), reason });
        }
        self.exceptions.retain(|other, other_bits| {
            if covers(device, *other) {
                *other_bits &= !bits;
            }
            *other_bits != 0
        });
        Ok(())
    }

    /// Parses `devices.list`: `a *:* rwm` when all is allowed, else what is allowed.
    ///
    /// The kernel does not show the exceptions of a group in which everything is allowed by default.
    fn parse(text: &str) -> Result<Self> {
        let mut list = Self { allow_by_default: false, exceptions: BTreeMap::new() };
        for line in text.lines() {
            let malformed = || Error::Malformed { file: "devices.list".into(), line: line.to_owned() };
            let fields: Vec<&str> = line.split(' ').collect();
            let [kind, numbers, access] = fields[..] else { return Err(malformed()) };
            let (major, minor) = numbers.split_once(':').ok_or_else(malformed)?;
            let number = |text: &str| match text {
                "*" => Ok(None),
                text => text.parse().map(Some).map_err(|_| malformed()),
            };
            let kind = match kind {
                "a" => {
                    list.allow_by_default = true;
                    continue;
                }
                "c" => Kind::Char,
                "b" => Kind::Block,
                _ => return Err(malformed()),
            };
            let bits = Access::parse(access).ok_or_else(malformed)?.bits();
            *list.exceptions.entry((kind, number(major)?, number(minor)?)).or_insert(0) |= bits;
        }
        Ok(list)
    }
}

/// Whether every device that `inner` means is meant by `outer` as well.
fn covers(outer: Device, inner: Device) -> bool {
    let part = |outer: Option<u32>, inner: Option<u32>| outer.is_none() || outer == inner;
    outer.0 == inner.0 && part(outer.1, inner.1) && part(outer.2, inner.2)
}

/// Whether there is a device that both mean.
fn overlap(one: Device, other: Device) -> bool {
    let part = |one: Option<u32>, other: Option<u32>| one.is_none() || other.is_none() || one == other;
    one.0 == other.0 && part(one.1, other.1) && part(one.2, other.2)
}
