//! The ports that are given when none is asked for: the host's own range for that, without those set aside.

use std::ops::RangeInclusive;

use crate::sysctl;

/// The ports to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EphemeralPorts {
    range: RangeInclusive<u16>,
    reserved: Vec<RangeInclusive<u16>>,
}

impl Default for EphemeralPorts {
    /// 32768–60999, the kernel's own default.
    fn default() -> Self {
        Self { range: 32768..=60999, reserved: Vec::new() }
    }
}

impl EphemeralPorts {
    /// Reads `ip_local_port_range` and `ip_local_reserved_ports` of the calling thread's namespace.
    ///
    /// # Errors
    /// The read that failed.
    pub fn gather() -> Result<Self, linux::Error> {
        let range = sysctl::read("net/ipv4/ip_local_port_range")?;
        let reserved = sysctl::read("net/ipv4/ip_local_reserved_ports")?;
        Ok(Self::parse(&range.unwrap_or_default(), &reserved.unwrap_or_default()))
    }

    /// Reads the texts of the two parameters; what cannot be read is as the kernel's default has it.
    #[must_use]
    pub fn parse(range: &str, reserved: &str) -> Self {
        let mut numbers = range.split_whitespace().map(str::parse::<u16>);
        let range = match (numbers.next(), numbers.next()) {
            (Some(Ok(first)), Some(Ok(last))) if first <= last && first > 0 => first..=last,
            _ => Self::default().range,
        };
        let reserved = reserved.split(',').filter_map(|part| {
            let (first, last) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
            Some(first.parse().ok()?..=last.parse().ok()?)
        });
        Self { range, reserved: reserved.collect() }
    }

    /// Every port once, beginning after `last`.
    pub(crate) fn after(&self, last: Option<u16>) -> impl Iterator<Item = u16> + '_ {
        let (first, end) = (*self.range.start(), *self.range.end());
        let next = last.and_then(|last| last.checked_add(1)).filter(|next| self.range.contains(next));
        let begin = next.unwrap_or(first);
        (begin..=end)
            .chain(first..begin)
            .filter(|port| !self.reserved.iter().any(|reserved| reserved.contains(port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ports_are_left_out_and_the_range_goes_round() {
        let ports = EphemeralPorts::parse("40000\t40005", "40001,40003-40004");
        assert_eq!(ports.after(None).collect::<Vec<_>>(), [40000, 40002, 40005]);
        assert_eq!(ports.after(Some(40000)).collect::<Vec<_>>(), [40002, 40005, 40000]);
        assert_eq!(ports.after(Some(40005)).collect::<Vec<_>>(), [40000, 40002, 40005]);
        assert_eq!(EphemeralPorts::parse("", "x"), EphemeralPorts::default());
        assert_eq!(EphemeralPorts::parse("5 4", ""), EphemeralPorts::default());
    }
}
