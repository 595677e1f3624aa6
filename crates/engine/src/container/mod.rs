//! Containers: one owner task each, their life a pure function, every use case in its own file.

mod adopt;
pub mod attach;
pub mod changes;
pub mod commit;
mod copy_up;
pub mod create;
mod erase;
pub mod exec;
pub mod export;
mod facts;
pub mod files;
pub mod health;
mod held;
pub mod inspect;
pub mod kill;
mod launch;
pub mod list;
mod logging;
pub mod logs;
mod merged;
pub(crate) mod net_files;
mod owner;
pub mod pause;
mod plan;
pub mod prune;
pub mod record;
pub mod recover;
pub mod registry;
pub mod remove;
pub mod rename;
pub mod resize;
mod resolve;
pub mod signal;
pub mod spec;
pub mod start;
pub mod state;
mod state_text;
pub mod stats;
mod step;
pub mod stop;
mod teardown;
pub mod top;
pub mod update;
mod user;
pub mod view;
mod vigil;
pub mod wait;

use record::Record;

use crate::engine::Engine;
use crate::{Error, Result};

/// Path of a container's control group below the root of each hierarchy.
pub(crate) fn cgroup_path(record: &Record) -> String {
    format!("{}/{}", record.spec.cgroup_parent.trim_end_matches('/'), record.id)
}

/// The control group of a container that has one.
pub(crate) fn cgroup_of(engine: &Engine, record: &Record) -> Result<cgroup::Cgroup> {
    let failed = |error: cgroup::Error| Error::system(format!("control group of {}: {error}", record.id));
    let path = cgroup::CgroupPath::parse(&cgroup_path(record)).map_err(failed)?;
    let group = cgroup::Cgroup::open(&engine.host.cgroups, &path).map_err(failed)?;
    group.ok_or_else(|| Error::conflict(format!("container {} is not running", record.id)))
}
