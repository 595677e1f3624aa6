//! What the daemon claims on this machine before it serves: its data root, its process ID file, the socket's group.

pub mod group;
pub mod inherited;
pub mod lock;
pub mod notify;
pub mod pidfile;
pub mod watchdog;
