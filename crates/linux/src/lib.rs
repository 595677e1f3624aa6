//! Every system call berth makes, typed and safe; the only crate with `unsafe` code.
//!
//! `linux` has no policy: it does not decide, log, or read configuration. A failed call is reported as the
//! call itself, the way strace prints it (see [`Error`]).

pub mod at;
pub mod bpf;
pub mod child;
pub mod credentials;
pub mod dir;
pub mod entry;
pub mod epoll;
mod error;
pub mod exe;
pub mod fd;
pub mod file;
pub mod heap;
pub mod inode;
pub mod interface;
pub mod memfd;
pub mod mntns;
pub mod mount;
pub mod mount_table;
pub mod netlink;
pub mod netns;
pub mod overlay;
pub mod pidfd;
pub mod port;
pub mod process;
pub mod procfs;
pub mod pty;
pub mod quota;
mod random;
pub mod resolve;
pub mod root;
pub mod seccomp;
pub mod session;
pub mod signalfd;
pub mod socket;
pub mod socket_program;
pub mod terminal;
pub mod trace;
pub mod watch;
pub mod xattr;

pub use error::{Error, Result};
pub use random::random_bytes;
