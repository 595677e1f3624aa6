//! What people and scripts see: words for sizes and times, tables, templates, JSON, progress.

#[cfg(test)]
mod fuzz;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod rows;
pub(crate) mod template;
pub(crate) mod units;

use std::io::{self, Write};

use crate::failure::Failure;

/// The exit code of a program that the shell would say was ended by SIGPIPE.
const BROKEN_PIPE: i32 = 141;

/// Writes to standard output; a reader who has gone ends the program as SIGPIPE would.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| unwritable(&error))
}

/// The failure of a write to standard output.
pub(crate) fn unwritable(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::code(BROKEN_PIPE),
        _ => Failure::text(format!("write /dev/stdout: {}", crate::failure::system_words(error))),
    }
}

/// Writes a line to standard error.
pub(crate) fn note(text: &str) {
    // Nothing can be done for a user whose standard error is closed.
    let _ = writeln!(io::stderr(), "{text}");
}
