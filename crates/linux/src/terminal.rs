//! The modes of a terminal: raw for a program on the other side, and back (termios(3)).

use std::os::fd::AsFd;

use rustix::termios::{OptionalActions, OutputModes, Termios, tcgetattr, tcsetattr};

use crate::Result;
use crate::error::Named;

/// The modes that a terminal had before [`make_raw`].
#[derive(Debug, Clone)]
pub struct Saved(Termios);

/// Puts a terminal into raw mode, where every byte and every key goes to the reader; returns the modes it had.
///
/// Output processing stays as cfmakeraw(3) leaves it: off. What is written must come from another terminal.
pub fn make_raw(terminal: impl AsFd) -> Result<Saved> {
    let before = tcgetattr(&terminal).named(|| "ioctl(TCGETS)")?;
    let mut raw = before.clone();
    raw.make_raw();
    tcsetattr(&terminal, OptionalActions::Now, &raw).named(|| "ioctl(TCSETS, raw)")?;
    Ok(Saved(before))
}

/// The same, but lines that are written still begin at the left: for output of a terminal behind
/// [`pass_newlines`].
pub fn make_raw_but_output(terminal: impl AsFd) -> Result<Saved> {
    let before = tcgetattr(&terminal).named(|| "ioctl(TCGETS)")?;
    let mut raw = before.clone();
    raw.make_raw();
    raw.output_modes |= OutputModes::OPOST;
    tcsetattr(&terminal, OptionalActions::Now, &raw).named(|| "ioctl(TCSETS, raw)")?;
    Ok(Saved(before))
}

/// Makes a terminal pass newlines on as they are written, without a carriage return before them.
pub fn pass_newlines(terminal: impl AsFd) -> Result<()> {
    let mut modes = tcgetattr(&terminal).named(|| "ioctl(TCGETS)")?;
    modes.output_modes &= !OutputModes::ONLCR;
    tcsetattr(&terminal, OptionalActions::Now, &modes).named(|| "ioctl(TCSETS, -onlcr)")
}

/// Gives a terminal the modes back that it had.
pub fn restore(terminal: impl AsFd, saved: &Saved) -> Result<()> {
    tcsetattr(&terminal, OptionalActions::Now, &saved.0).named(|| "ioctl(TCSETS, saved)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pty;
    use rustix::termios::LocalModes;

    #[test]
    fn raw_mode_takes_everything_and_is_undone() {
        let pair = pty::open().expect("a pty");
        let modes = || tcgetattr(&pair.terminal).expect("modes").local_modes;
        let cooked = modes();
        assert!(cooked.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        let saved = make_raw(&pair.terminal).expect("raw");
        assert!(!modes().intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        restore(&pair.terminal, &saved).expect("restore");
        assert_eq!(modes(), cooked);
    }
}
