//! A failed system call, printed the way strace prints it.

use std::fmt;
use std::io;

/// The result of a system call.
pub type Result<T> = std::result::Result<T, Error>;

/// A system call that failed: the call with its arguments, and the error number.
///
/// Prints as `openat2(5, "etc/hosts") = ENOENT: No such file or directory`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    call: String,
    errno: i32,
}

impl Error {
    /// A failure of `call` (the call and its arguments, as text) with a raw error number (errno(3)).
    #[must_use]
    pub fn new(call: impl Into<String>, errno: i32) -> Self {
        Self { call: call.into(), errno }
    }

    /// A failure of `call` with the error number of the calling thread's last system call.
    #[must_use]
    pub fn last(call: impl Into<String>) -> Self {
        Self::new(call, io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// The raw error number, for example 2 for ENOENT.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.errno
    }

    /// The call and its arguments.
    #[must_use]
    pub fn call(&self) -> &str {
        &self.call
    }

    /// The symbolic name of the error number, for example `ENOENT`; `None` for a number without a name.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        NAMES.iter().find(|(number, _)| *number == self.errno).map(|(_, name)| *name)
    }

    /// The matching kind of the standard library.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        io::Error::from_raw_os_error(self.errno).kind()
    }

    /// The kernel's words for the error number, without the call.
    #[must_use]
    pub fn words(&self) -> String {
        let text = io::Error::from_raw_os_error(self.errno).to_string();
        match text.rfind(" (os error") {
            Some(end) => text[..end].to_owned(),
            None => text,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} = {name}: {}", self.call, self.words()),
            None => write!(f, "{} = errno {}", self.call, self.errno),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(error.kind(), error)
    }
}

/// Extension that names the call of a `rustix` result.
pub(crate) trait Named<T> {
    /// Turns an error number into an [`Error`] that prints `call`; `call` is only formatted on failure.
    fn named<S: Into<String>>(self, call: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Named<T> for rustix::io::Result<T> {
    fn named<S: Into<String>>(self, call: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| Error::new(call(), errno.raw_os_error()))
    }
}

macro_rules! names {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

/// The names of errno(3); where two names share a number, the first one is printed.
const NAMES: &[(i32, &str)] = names! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST
    EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM
    ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP ENODATA ETIME EPROTO EBADMSG EOVERFLOW EUSERS ENOTSOCK
    EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT
    EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN
    ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE
    EDQUOT ECANCELED EOWNERDEAD ENOTRECOVERABLE ERFKILL
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_prints_the_call_like_strace() {
        let error = Error::new("openat2(5, \"etc/hosts\")", libc::ENOENT);
        assert_eq!(error.to_string(), "openat2(5, \"etc/hosts\") = ENOENT: No such file or directory");
    }

    #[test]
    fn an_unknown_number_prints_as_a_number() {
        assert_eq!(Error::new("x()", 4095).to_string(), "x() = errno 4095");
    }
}
