//! The OCI runtime: plans and applies namespaces, mounts, credentials and seccomp for one container.
//!
//! [`create()`] gathers [`Facts`], plans ([`plan::plan_start`]) and applies the plan in a new process; [`start()`] lets
//! that process run its program; [`exec()`] runs one more. The runtime starts no threads, keeps nothing in memory between
//! calls, owns no control group, and never looks up a user by name.

mod apply;
pub mod capability;
mod channel;
pub mod cli;
mod copy_up;
mod create;
mod error;
mod exec;
pub mod facts;
pub mod group;
pub mod hooks;
pub mod id_map;
pub mod init;
mod limits;
pub mod live;
mod net_devices;
mod notify;
pub mod plan;
pub mod profile;
mod program;
mod request;
pub mod seccomp;
mod sources;

pub use create::{create, create_and_tell, create_with, start, start_at};
pub use error::{Error, Kind, Result};
pub use exec::exec;
pub use facts::Facts;
pub use limits::limits;
pub use request::{Create, Created, Exec, Executed, Gate, Rootfs, StartGate, Stdio};
