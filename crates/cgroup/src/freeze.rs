//! Stopping all processes of a group at once, and letting them go on.

use std::time::{Duration, Instant};

use linux::dir::Dir;
use linux::watch::wait;

use crate::group::text;
use crate::wait::wait_for_event;
use crate::{Cgroup, Controller, Error, Result, Version};

/// How long a group is given to come to rest.
const FREEZE_WITHIN: Duration = Duration::from_secs(10);

/// The longest pause between two looks at a v1 group that is coming to rest.
const LONGEST_PAUSE: Duration = Duration::from_millis(8);

impl Cgroup {
    /// Stops every process of the group and of the groups below it, and returns once they have stopped.
    ///
    /// On failure the group is let go on: it is never left half frozen.
    pub fn freeze(&self) -> Result<()> {
        let (dir, deadline) = (self.freezer()?, Instant::now() + FREEZE_WITHIN);
        let frozen = match self.version() {
            Version::V2 => freeze_v2(dir, deadline),
            Version::V1 => freeze_v1(dir, deadline),
        };
        let failure = match frozen {
            Ok(true) => return Ok(()),
            Ok(false) => {
                let (path, millis) = (dir.path().to_owned(), FREEZE_WITHIN.as_millis());
                Error::TimedOut { path, state: "frozen", millis }
            }
            Err(error) => error,
        };
        self.thaw()?;
        Err(failure)
    }

    /// Lets the processes of the group go on.
    pub fn thaw(&self) -> Result<()> {
        let dir = self.freezer()?;
        match self.version() {
            Version::V2 => dir.write("cgroup.freeze", b"0")?,
            Version::V1 => dir.write("freezer.state", b"THAWED")?,
        }
        Ok(())
    }

    /// Whether the group is frozen, or about to be.
    pub fn is_frozen(&self) -> Result<bool> {
        let dir = self.freezer()?;
        match self.version() {
            Version::V2 => Ok(text(dir, "cgroup.freeze")?.trim() == "1"),
            Version::V1 => Ok(text(dir, "freezer.state")?.trim() != "THAWED"),
        }
    }

    fn freezer(&self) -> Result<&Dir> {
        self.dir(Controller::Freezer).ok_or_else(|| Error::no_controller("freezing", Controller::Freezer))
    }
}

fn freeze_v2(dir: &Dir, deadline: Instant) -> Result<bool> {
    dir.write("cgroup.freeze", b"1")?;
    wait_for_event(dir, "frozen", "1", deadline)
}

/// The v1 freezer reports nothing: its state is worked out when it is read. A process that was being made while the
/// state was written is only caught by writing it again, so both are done with growing pauses until the deadline.
fn freeze_v1(dir: &Dir, deadline: Instant) -> Result<bool> {
    let mut pause = Duration::from_micros(50);
    loop {
        dir.write("freezer.state", b"FROZEN")?;
        if text(dir, "freezer.state")?.trim() == "FROZEN" {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        wait(&[], pause.min(left))?;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
