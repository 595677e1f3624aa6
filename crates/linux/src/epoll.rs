//! Waiting for many descriptors at once (epoll(7)), level-triggered.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::Result;
use crate::error::Named;

/// What to wait for on a descriptor; errors and hang-ups are always reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    /// Data to read, or the peer closed its writing side.
    pub readable: bool,
    /// Space to write.
    pub writable: bool,
    /// An exceptional condition (EPOLLPRI), such as a change of a cgroup v2 control file.
    pub priority: bool,
}

impl Interest {
    /// Only errors and hang-ups.
    pub const NONE: Self = Self { readable: false, writable: false, priority: false };
    /// Data to read.
    pub const READ: Self = Self { readable: true, writable: false, priority: false };
    /// Space to write.
    pub const WRITE: Self = Self { readable: false, writable: true, priority: false };
    /// An exceptional condition.
    pub const PRIORITY: Self = Self { readable: false, writable: false, priority: true };

    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.readable);
        flags.set(EventFlags::OUT, self.writable);
        flags.set(EventFlags::PRI, self.priority);
        flags
    }
}

/// What happened on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The number the descriptor was registered with.
    pub token: u64,
    /// There is data to read, or an end of file.
    pub readable: bool,
    /// There is space to write.
    pub writable: bool,
    /// An exceptional condition is pending.
    pub priority: bool,
    /// Both directions are closed, or the descriptor is in error (EPOLLHUP, EPOLLERR).
    pub hung_up: bool,
}

/// A set of descriptors to wait for; close-on-exec.
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Epoll {
    /// An empty set that reports at most `batch` events per wait.
    pub fn new(batch: usize) -> Result<Self> {
        let fd = epoll::create(CreateFlags::CLOEXEC).named(|| "epoll_create1(EPOLL_CLOEXEC)")?;
        Ok(Self { fd, events: Vec::with_capacity(batch.max(1)) })
    }

    /// Adds a descriptor under `token`.
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> Result<()> {
        epoll::add(&self.fd, fd, EventData::new_u64(token), interest.flags())
            .named(|| format!("epoll_ctl(EPOLL_CTL_ADD, token {token:#x})"))
    }

    /// Changes what is waited for on a descriptor that was added.
    pub fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> Result<()> {
        epoll::modify(&self.fd, fd, EventData::new_u64(token), interest.flags())
            .named(|| format!("epoll_ctl(EPOLL_CTL_MOD, token {token:#x})"))
    }

    /// Takes a descriptor out of the set.
    pub fn remove(&self, fd: impl AsFd) -> Result<()> {
        epoll::delete(&self.fd, fd).named(|| "epoll_ctl(EPOLL_CTL_DEL)")
    }

    /// Waits until something happens or the time is over (`None`: no limit) and appends what happened to `into`.
    ///
    /// An interruption by a signal is returned as "nothing happened".
    pub fn wait(&mut self, into: &mut Vec<Event>, timeout: Option<Duration>) -> Result<()> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        self.events.clear();
        match epoll::wait(&self.fd, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno).named(|| "epoll_pwait2()"),
        }
        into.extend(self.events.drain(..).map(|event| {
            let flags = event.flags;
            Event {
                token: event.data.u64(),
                readable: flags.intersects(EventFlags::IN | EventFlags::RDHUP),
                writable: flags.contains(EventFlags::OUT),
                priority: flags.contains(EventFlags::PRI),
                hung_up: flags.intersects(EventFlags::HUP | EventFlags::ERR),
            }
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_ready_descriptor_is_reported_with_its_token() {
        let (reader, mut writer) = std::io::pipe().expect("pipe");
        let mut epoll = Epoll::new(4).expect("epoll");
        epoll.add(&reader, 7, Interest::READ).expect("add");
        let mut events = Vec::new();
        epoll.wait(&mut events, Some(Duration::ZERO)).expect("wait");
        assert_eq!(events, []);
        writer.write_all(b"x").expect("write");
        epoll.wait(&mut events, None).expect("wait");
        let expected = Event { token: 7, readable: true, writable: false, priority: false, hung_up: false };
        assert_eq!(events, [expected]);
        drop(writer);
        events.clear();
        epoll.wait(&mut events, None).expect("wait");
        assert_eq!(events, [Event { hung_up: true, ..expected }]);
        epoll.remove(&reader).expect("remove");
    }
}
