//! Control groups: limits as text, statistics, device rules, for cgroup v1 and v2.
//!
//! [`Hierarchy::detect`] says what the kernel offers, [`plan_limits`] turns limits into writes without touching
//! anything, and [`Cgroup`] is one group across all the trees the kernel spreads it over: created, entered, limited,
//! frozen, killed, measured, removed. Names that come from outside are parsed once into a [`CgroupPath`]; below that,
//! files are reached only from open directories and never through a link.
//!
//! `cgroup` never starts, reaps or waits for a process of its own, keeps no state besides the kernel's, and does not
//! decide what a container's limits are.

mod apply;
mod convert;
pub mod device;
mod entrance;
mod error;
pub mod facts;
mod freeze;
mod group;
mod hierarchy;
mod kill;
pub mod limits;
mod make;
mod oom;
mod path;
pub mod plan;
pub mod stats;
pub mod systemd;
mod wait;

pub use entrance::Entrance;
pub use error::{Error, Result};
pub use facts::Facts;
pub use group::Cgroup;
pub use hierarchy::{Controller, Hierarchy, Tree, Version};
pub use limits::{Amount, Limits};
pub use oom::OomWatch;
pub use path::CgroupPath;
pub use plan::{Write, plan_limits};
pub use stats::Stats;
