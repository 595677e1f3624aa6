//! Address management: subnets chosen from pools, addresses leased from subnets. Pure values.

mod choose;
mod pool;

pub use choose::{AddressPool, choose_subnet, default_pools, unique_local_subnet};
pub use pool::{InvalidSubnet, LeaseError, Subnet, SubnetConfig};
