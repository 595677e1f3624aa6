//! The way into a program without what Rust's own does before `main`: it reads `/proc/self/maps` to learn where the first
//! thread's stack ends and sets a second stack aside for a handler that names an overflow. That costs a process which
//! lives for a millisecond a tenth of it, and one that waits for years two pages. The guard page stays the kernel's: an
//! overflow ends the program by SIGSEGV, without words.

use std::panic::catch_unwind;

use crate::{Error, Result};

/// What a program answers after a panic, as with Rust's own entry.
const PANICKED: i32 = 101;

/// Makes a `fn() -> i32`, whose answer is the exit code, the start of a program that is `#![no_main]`.
///
/// The arguments are those of [`std::env::args_os`].
#[macro_export]
macro_rules! entry {
    ($run:path) => {
        /// What the C library calls.
        #[unsafe(no_mangle)]
        extern "C" fn main(_count: i32, _arguments: *const *const u8) -> i32 {
            $crate::entry::enter($run)
        }
    };
}

/// Does what every Rust program may rely on - descriptors 0 to 2 are open, writing to a closed pipe is an error and no
/// signal - and runs the program.
pub fn enter(run: fn() -> i32) -> i32 {
    if let Err(error) = standard_descriptors().and_then(|()| ignore_broken_pipes()) {
        eprintln!("{error}");
        return 1;
    }
    // What the program leaves behind after a panic is not looked at any more.
    let code = catch_unwind(run).unwrap_or(PANICKED);
    // Which writes out what is left of standard output.
    std::process::exit(code)
}

/// Opens `/dev/null` in place of a standard descriptor that is closed: the next file opened would be taken for it.
fn standard_descriptors() -> Result<()> {
    let mut standard = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: three initialised entries; no time is waited.
    let found = unsafe { libc::poll(standard.as_mut_ptr(), 3, 0) };
    if found < 0 {
        return Err(Error::last("poll(0..2)"));
    }
    for one in standard.iter().filter(|one| one.revents & libc::POLLNVAL != 0) {
        // SAFETY: the path is a C string; the lowest free number is the one that was found closed.
        if unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } < 0 {
            return Err(Error::last(format!("open(\"/dev/null\") for descriptor {}", one.fd)));
        }
    }
    Ok(())
}

fn ignore_broken_pipes() -> Result<()> {
    // SAFETY: a number and a constant that is no function of ours.
    match unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) } {
        libc::SIG_ERR => Err(Error::last("rt_sigaction(SIGPIPE, SIG_IGN)")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{child, process};

    #[test]
    fn closed_standard_descriptors_are_opened() {
        // In a child: they are this process's own. One thread is enough for what it does.
        let child = process::fork(|| {
            // SAFETY: nothing in the child holds these.
            unsafe { (libc::close(0), libc::close(2)) };
            if standard_descriptors().is_err() {
                return 1;
            }
            // SAFETY: only numbers are passed.
            let open = |fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0;
            if (0..=2).all(open) { 0 } else { 2 }
        });
        let ended = child::wait(child.expect("a child").pidfd).expect("it is ours");
        assert_eq!(ended, Some(child::How::Exited(0)));
    }
}
