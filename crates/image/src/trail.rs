//! A long file that is written and not read soon: the disk works while it grows, and the kernel keeps only its end.
//!
//! A page of memory that the kernel has not used before is expensive, above all in a virtual machine, whose host may have
//! to find it first. A file that lets go of what is on the disk already grows in the same few pages all the time, and an
//! image of any size does not drive everything else out of the memory.

use std::fs::File;

use crate::Result;

/// Bytes between two times that the kernel is told.
const STEP: u64 = 4 << 20;
/// How many steps back is looked for pages that were not on the disk when they were to be forgotten.
const BACK: u64 = 4;

/// How far the writing of a file to the disk has been started.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    started: u64,
}

impl Trail {
    /// The trail of a file that has so many bytes already.
    pub(crate) fn from(started: u64) -> Self {
        Self { started }
    }

    /// To be called when the file has `end` bytes, whenever some were added. Short files are left alone.
    pub(crate) fn written(&mut self, file: &File, end: u64) -> Result<()> {
        if end - self.started < STEP {
            return Ok(());
        }
        linux::file::start_write_back(file, self.started, end - self.started)?;
        if self.started > 0 {
            let from = self.started.saturating_sub(BACK * STEP);
            linux::file::forget(file, from, self.started - from)?;
        }
        self.started = end;
        Ok(())
    }

    /// The same for a file that is read soon: the disk works, and memory keeps all of it.
    pub(crate) fn kept(&mut self, file: &File, end: u64) -> Result<()> {
        if end - self.started >= 2 * STEP {
            linux::file::start_write_back(file, self.started, end - self.started)?;
            self.started = end;
        }
        Ok(())
    }
}
