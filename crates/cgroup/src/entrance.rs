//! A process entering a group by itself, which on v1 is far quicker than being moved.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::{Cgroup, Result, Version};

/// The group's files through which the calling process can enter it, opened beforehand.
///
/// Moving another process of v1 takes a lock whose first taking after a quiet moment costs an RCU grace period of the
/// kernel: 7 to 17 ms on an idle machine of two processors. A thread that moves itself, alone, takes no such lock, and
/// enters nine trees in 0.2 ms. The files are opened by whoever may write to them, because the kernel asks who opened
/// them, not who writes: so a process in a new user namespace can enter too.
#[derive(Debug)]
pub struct Entrance(Vec<(OwnedFd, PathBuf)>);

impl Cgroup {
    /// Opens the way in for a process that is about to be made; `None` on v2, where it is made inside the group
    /// ([`clone_fd`](Self::clone_fd)), as it is in a v2 tree beside those of v1.
    pub fn entrance(&self) -> Result<Option<Entrance>> {
        if self.version() == Version::V2 {
            return Ok(None);
        }
        let open = |(_, dir): (_, &linux::dir::Dir)| Ok((dir.open_write("tasks")?, dir.path().join("tasks")));
        self.directories().map(open).collect::<Result<_>>().map(|files| Some(Entrance(files)))
    }
}

impl Entrance {
    /// Moves the calling thread into the group in every tree. It has to be the only one of its process, as it is after
    /// a fork.
    pub fn enter(self) -> Result<()> {
        for (file, path) in &self.0 {
            let call =
                |error: linux::Error| linux::Error::new(format!("write({path:?}, \"0\")"), error.errno());
            linux::fd::write(file, b"0").map_err(call)?;
        }
        Ok(())
    }
}
