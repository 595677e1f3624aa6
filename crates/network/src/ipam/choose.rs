//! Choosing a subnet that nobody uses.

use serde::{Deserialize, Serialize};

use crate::address::Prefix;

/// Addresses from which subnets of one size are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPool {
    /// All addresses of the pool.
    pub base: Prefix,
    /// The prefix length of its subnets.
    pub size: u8,
}

/// The pools that Docker has: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in slices of /20.
#[must_use]
pub fn default_pools() -> Vec<AddressPool> {
    let large = (17..=31).map(|second| AddressPool { base: Prefix::v4(172, second, 0, 0, 16), size: 16 });
    large.chain([AddressPool { base: Prefix::v4(192, 168, 0, 0, 16), size: 20 }]).collect()
}

/// The first subnet of the pools that overlaps none of those in use; with `length`, of that prefix length instead of
/// the pool's own. `None` when there is none.
#[must_use]
pub fn choose_subnet(pools: &[AddressPool], length: Option<u8>, used: &[Prefix]) -> Option<Prefix> {
    pools.iter().find_map(|pool| choose_from(pool, length.unwrap_or(pool.size), used))
}

/// Goes from one subnet to the next, past whatever is in the way, so that it takes as many steps as there are subnets
/// in use, not as many as fit into the pool.
fn choose_from(pool: &AddressPool, length: u8, used: &[Prefix]) -> Option<Prefix> {
    let base = pool.base.network();
    if length < base.length() {
        return None;
    }
    let mut candidate = base.with_length(length)?;
    loop {
        let Some(obstacle) = used.iter().find(|used| used.overlaps(&candidate)) else {
            return Some(candidate);
        };
        let last = if obstacle.length() < candidate.length() { obstacle.last() } else { candidate.last() };
        let next = base.nth(base.offset_of(last)?.checked_add(1)?)?;
        candidate = Prefix::new(next, length)?;
    }
}

/// An IPv6 subnet for local use (RFC 4193): fd00::/8, 40 random bits, 16 bits of subnet 0, a prefix length of 64.
///
/// # Panics
/// Never: 64 is a prefix length of IPv6.
#[must_use]
pub fn unique_local_subnet(random: [u8; 5]) -> Prefix {
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..6].copy_from_slice(&random);
    Prefix::new(octets.into(), 64).unwrap_or_else(|| unreachable!("64 bits fit into an IPv6 address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(used: &[&str], length: Option<u8>, expected: Option<&str>) {
        let used: Vec<Prefix> = used.iter().map(|text| text.parse().unwrap()).collect();
        let chosen = choose_subnet(&default_pools(), length, &used);
        assert_eq!(chosen.map(|subnet| subnet.to_string()).as_deref(), expected, "{used:?}");
    }

    #[test]
    fn the_first_subnet_that_nobody_uses_is_chosen() {
        check(&[], None, Some("172.17.0.0/16"));
        check(&["172.17.5.0/24"], None, Some("172.18.0.0/16"));
        check(&["10.0.0.0/8", "172.16.0.0/14"], None, Some("172.20.0.0/16"));
        check(&["172.16.0.0/12"], None, Some("192.168.0.0/20"));
        check(&["172.16.0.0/12", "192.168.1.0/24"], None, Some("192.168.16.0/20"));
        check(&["172.16.0.0/12", "192.168.0.0/16"], None, None);
        check(&["0.0.0.0/1", "128.0.0.0/1"], None, None);
        check(&["fd00::/8"], None, Some("172.17.0.0/16"));
    }

    #[test]
    fn a_size_can_be_asked_for() {
        check(&["172.17.0.0/25"], Some(26), Some("172.17.0.128/26"));
        check(&[], Some(8), None);
        check(&["172.17.0.0/16"], Some(20), Some("172.18.0.0/20"));
    }

    #[test]
    fn a_local_ipv6_subnet_is_random() {
        let subnet = unique_local_subnet([1, 2, 3, 4, 5]);
        assert_eq!(subnet.to_string(), "fd01:203:405::/64");
    }
}
