//! Pseudo-terminals: opening a pair and setting its size (pty(7), ioctl_tty(2)).

use crate::Result;
use crate::error::Named;
use rustix::fd::AsFd;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};
use std::os::fd::OwnedFd;

/// The two ends of a new pseudo-terminal, both close-on-exec.
#[derive(Debug)]
pub struct Pair {
    /// The end that a terminal emulator, or an engine, reads and writes ("master").
    pub controller: OwnedFd,
    /// The end that programs see as their terminal ("slave").
    pub terminal: OwnedFd,
}

/// The size of a terminal in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// Opens a new pseudo-terminal of the caller's devpts (`/dev/ptmx`); nothing becomes a controlling terminal.
pub fn open() -> Result<Pair> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let controller = openpt(flags).named(|| "openat(AT_FDCWD, \"/dev/ptmx\", O_RDWR|O_NOCTTY|O_CLOEXEC)")?;
    with_controller(controller)
}

/// The pair that belongs to a controller which was opened through the `ptmx` of some devpts.
pub fn with_controller(controller: OwnedFd) -> Result<Pair> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    unlockpt(&controller).named(|| "ioctl(TIOCSPTLCK, 0)")?;
    // The peer is opened through the controller, never by its path: what is mounted at /dev/pts does not matter.
    let terminal =
        ioctl_tiocgptpeer(&controller, flags).named(|| "ioctl(TIOCGPTPEER, O_RDWR|O_NOCTTY|O_CLOEXEC)")?;
    Ok(Pair { controller, terminal })
}

/// Opens the end that programs see, from the controlling end; whatever devpts it belongs to (ioctl_tty(2), TIOCGPTPEER).
pub fn other_end(controller: impl AsFd) -> Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    ioctl_tiocgptpeer(controller, flags).named(|| "ioctl(TIOCGPTPEER, O_RDWR|O_NOCTTY|O_CLOEXEC)")
}

/// Sets the size of a terminal through either end; a changed size raises SIGWINCH in the foreground process group.
pub fn set_size(terminal: impl AsFd, size: Size) -> Result<()> {
    let winsize = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, winsize).named(|| format!("ioctl(TIOCSWINSZ, {}x{})", size.columns, size.rows))
}

/// The size of a terminal.
pub fn size(terminal: impl AsFd) -> Result<Size> {
    let winsize = tcgetwinsize(terminal).named(|| "ioctl(TIOCGWINSZ)")?;
    Ok(Size { rows: winsize.ws_row, columns: winsize.ws_col })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};

    #[test]
    fn what_one_end_writes_the_other_end_reads() {
        let pair = open().expect("a pty");
        File::from(pair.terminal).write_all(b"hello\n").expect("write");
        let mut bytes = [0; 7];
        File::from(pair.controller).read_exact(&mut bytes).expect("read");
        assert_eq!(&bytes, b"hello\r\n");
    }

    #[test]
    fn both_ends_have_the_size_that_was_set() {
        let pair = open().expect("a pty");
        let expected = Size { rows: 33, columns: 101 };
        set_size(&pair.controller, expected).expect("set");
        assert_eq!(size(&pair.terminal), Ok(expected));
    }
}
