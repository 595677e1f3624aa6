//! What daemon and shim say to each other over a unix stream socket.
//!
//! ```text
//! daemon                                              shim
//!   │  Create (spec, root, io, log, cgroup)             │
//!   ├──────────────────────────────────────────────────►│  namespaces and init exist, nothing runs yet
//!   │◄──────────────────────── Created + pidfd, netns ──┤
//!   │  Attach + stream socket      (as often as wanted) │
//!   ├──────────────────────────────────────────────────►│
//!   │  Start                                            │
//!   ├──────────────────────────────────────────────────►│  execve succeeded or failed
//!   │◄──────────────────────────────── Started / Error ─┤
//!   │◄────────────────────── events: ExecExited, Oom, … ┤
//!   │◄───────────────────────────────── event: Exited ──┤  output is in the log; exit.json follows at once
//!   │  Shutdown                                         │
//!   ├──────────────────────────────────────────────────►│  the shim leaves
//! ```
//!
//! The shim is started with one connection as its descriptor 0 and listens on `<exec_dir>/shim.sock` for more. Any
//! number of connections may be open; events go to all of them. A request carries a serial number that its reply
//! repeats; replies come in the order of the requests of a connection.
//!
//! A frame is a `u32` little-endian length and that many bytes of JSON (at most [`frame::LIMIT`]); descriptors come
//! with SCM_RIGHTS on its first byte. [`frame`] is the codec.

pub mod frame;
mod message;
mod reply;

pub use frame::{Inbox, Outbox};
pub use message::{
    Attach, CgroupDriver, CgroupPlace, ConsoleSize, Create, Exec, Framing, FromShim, Io, Log, LogDriver,
    Message, Request, Root, Runtime, Target, ToShim,
};
pub use reply::{Descriptor, Error, ErrorKind, Event, ExecStatus, Exit, LogStatus, Reply, State, Status};
