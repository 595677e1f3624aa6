//! Unix stream sockets: pairs, listeners, bounded connects, credentials of the peer, and descriptors as messages.
//!
//! See unix(7), sendmsg(2), recvmsg(2). Nothing here waits, except [`connect`] up to its limit.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::error::Named;
use crate::{Error, Result};

/// The most descriptors that one message carries (the kernel's own limit is 253).
pub const DESCRIPTORS_PER_MESSAGE: usize = 8;

/// What a socket had for us.
#[derive(Debug)]
pub enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing now; ask again when the socket is readable.
    Nothing,
    /// The peer has closed its writing side, or is gone.
    End,
}

/// What kind of clients a listening socket takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    /// Of this machine, over a path.
    Unix,
    /// Over IPv4 or IPv6.
    Tcp,
}

/// What a descriptor that somebody else made listens to; `None` when it is no listening stream socket of these kinds.
pub fn listening(fd: impl AsFd) -> Option<Listening> {
    use rustix::net::sockopt;
    let accepts =
        sockopt::socket_acceptconn(&fd).ok()? && sockopt::socket_type(&fd).ok()? == SocketType::STREAM;
    match sockopt::socket_domain(&fd).ok()? {
        AddressFamily::UNIX if accepts => Some(Listening::Unix),
        AddressFamily::INET | AddressFamily::INET6 if accepts => Some(Listening::Tcp),
        _ => None,
    }
}

/// Finds out by probes whether a silent TCP peer is still there: the first after `idle`, the others every `interval`
/// (tcp(7)). A peer that does not answer is as good as one that closed.
pub fn keep_alive(fd: impl AsFd, idle: Duration, interval: Duration) -> Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(&fd, true).named(|| "setsockopt(SO_KEEPALIVE)")?;
    sockopt::set_tcp_keepidle(&fd, idle).named(|| "setsockopt(TCP_KEEPIDLE)")?;
    sockopt::set_tcp_keepintvl(&fd, interval).named(|| "setsockopt(TCP_KEEPINTVL)")
}

/// The congestion control of a TCP socket (TCP_CONGESTION), such as `cubic`.
pub fn congestion_control(fd: impl AsFd) -> Result<String> {
    rustix::net::sockopt::tcp_congestion(fd).named(|| "getsockopt(TCP_CONGESTION)")
}

/// The number by which the kernel knows the network namespace of a socket (SO_NETNS_COOKIE, Linux 5.14).
pub fn namespace_cookie(fd: impl AsFd) -> Result<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: both pointers are to live values, of which the second says how large the first is; neither is kept.
    let done = unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if done < 0 {
        return Err(Error::last("getsockopt(SO_NETNS_COOKIE)"));
    }
    Ok(cookie)
}

/// How much of what was sent is still under way: for a unix socket what the peer has not read (in bytes of the kernel's own
/// bookkeeping, so only 0 means something exact), for TCP what it has not acknowledged (SIOCOUTQ, see unix(7), tcp(7)).
pub fn unread(fd: impl AsFd) -> Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (SIOCOUTQ is the same number) writes one int, which `bytes` is, and keeps no reference to it.
    let done = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done < 0 {
        return Err(Error::last("ioctl(SIOCOUTQ)"));
    }
    Ok(u32::try_from(bytes).unwrap_or(0))
}

/// A connected pair of stream sockets, close-on-exec and blocking.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .named(|| "socketpair(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC)")
}

/// A non-blocking listener at `path`, which only the owner may connect to (mode 0600); what was there is replaced.
pub fn listen(path: &Path, backlog: i32) -> Result<OwnedFd> {
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno).named(|| format!("unlink({path:?})")),
    }
    let (address, _directory) = address(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .named(|| "socket(AF_UNIX, SOCK_STREAM)")?;
    // The mode of the descriptor is the mode that bind gives to the file: there is no moment at which it is wider.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).named(|| "fchmod(socket, 0600)")?;
    rustix::net::bind(&socket, &address).named(|| format!("bind({path:?})"))?;
    rustix::net::listen(&socket, backlog).named(|| format!("listen({path:?}, {backlog})"))?;
    Ok(socket)
}

/// The address of a path of any length. An address has room for 108 bytes; a longer path goes through its directory's
/// descriptor, which the caller keeps open for as long as it uses the address.
fn address(path: &Path) -> Result<(SocketAddrUnix, Option<OwnedFd>)> {
    if let Ok(address) = SocketAddrUnix::new(path) {
        return Ok((address, None));
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(format!("sockaddr_un({path:?})"), Errno::INVAL.raw_os_error()));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory =
        rustix::fs::open(parent, flags, Mode::empty()).named(|| format!("open({parent:?}, O_PATH)"))?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    let address = SocketAddrUnix::new(&short).named(|| format!("sockaddr_un({short:?})"))?;
    Ok((address, Some(directory)))
}

/// The next connection of a listener, close-on-exec and blocking; `None` when nobody waits.
pub fn accept(listener: impl AsFd) -> Result<Option<OwnedFd>> {
    match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
        Ok(socket) => Ok(Some(socket)),
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
        Err(errno) => Err(errno).named(|| "accept4()"),
    }
}

/// Connects to the listener at `path`; ETIMEDOUT when it has not accepted by `limit` because its queue is full.
///
/// The socket is close-on-exec and blocking.
pub fn connect(path: &Path, limit: Duration) -> Result<OwnedFd> {
    let (address, _directory) = address(path)?;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .named(|| "socket(AF_UNIX, SOCK_STREAM)")?;
    // connect(2) of a unix socket waits as long as the send timeout when the listener's queue is full.
    let limit = limit.max(Duration::from_millis(1));
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Send, Some(limit))
        .named(|| "setsockopt(SO_SNDTIMEO)")?;
    let deadline = Instant::now() + limit;
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => break,
            Err(Errno::INTR) if Instant::now() < deadline => {}
            Err(Errno::AGAIN | Errno::INTR) => {
                return Err(Error::new(format!("connect({path:?})"), Errno::TIMEDOUT.raw_os_error()));
            }
            Err(errno) => return Err(errno).named(|| format!("connect({path:?})")),
        }
    }
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Send, None)
        .named(|| "setsockopt(SO_SNDTIMEO)")?;
    Ok(socket)
}

/// The user who connected the other end (SO_PEERCRED).
pub fn peer_uid(socket: impl AsFd) -> Result<u32> {
    let credentials = rustix::net::sockopt::socket_peercred(socket).named(|| "getsockopt(SO_PEERCRED)")?;
    Ok(credentials.uid.as_raw())
}

/// Sends what fits now, with `fds` attached to the first byte; the number of bytes sent, 0 when none fits.
///
/// A peer that is gone is EPIPE or ECONNRESET, never a signal.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_MESSAGE))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Error::new(
            format!("sendmsg({} descriptors)", fds.len()),
            Errno::TOOMANYREFS.raw_os_error(),
        ));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    loop {
        match rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Ok(count) => return Ok(count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(0),
            Err(errno) => return Err(errno).named(|| format!("sendmsg({} bytes)", bytes.len())),
        }
    }
}

/// Receives what is there now into `bytes`, and appends descriptors that came along to `fds`, close-on-exec.
///
/// A message that carried more than [`DESCRIPTORS_PER_MESSAGE`] descriptors is EMSGSIZE; the rest is closed.
pub fn receive(socket: impl AsFd, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_MESSAGE))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = loop {
        match rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(bytes)], &mut control, flags) {
            Ok(message) => break message,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(Received::Nothing),
            Err(Errno::CONNRESET) => return Ok(Received::End),
            Err(errno) => return Err(errno).named(|| format!("recvmsg({} bytes)", bytes.len())),
        }
    };
    for ancillary in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = ancillary {
            fds.extend(received);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Error::new("recvmsg(MSG_CTRUNC)", Errno::MSGSIZE.raw_os_error()));
    }
    Ok(if message.bytes == 0 { Received::End } else { Received::Bytes(message.bytes) })
}

/// Closes our writing side: the peer reads an end of file. A peer that is gone already is no error.
pub fn finish_writing(socket: impl AsFd) -> Result<()> {
    match rustix::net::shutdown(socket, Shutdown::Write) {
        Ok(()) | Err(Errno::NOTCONN) => Ok(()),
        Err(errno) => Err(errno).named(|| "shutdown(SHUT_WR)"),
    }
}

/// Waits until the socket can be read, or written when `write`; `false` when `limit` is over first.
pub fn ready(socket: impl AsFd, write: bool, limit: Option<Duration>) -> Result<bool> {
    let deadline = limit.map(|limit| Instant::now() + limit);
    let flags = if write { PollFlags::OUT } else { PollFlags::IN };
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        match rustix::event::poll(&mut [PollFd::new(&socket, flags)], timeout.as_ref()) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).named(|| "ppoll(socket)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;

    #[test]
    fn a_message_carries_bytes_and_descriptors() {
        let (left, right) = pair().expect("pair");
        let (reader, writer) = std::io::pipe().expect("pipe");
        assert_eq!(send(&left, b"hello", &[writer.as_fd()]), Ok(5));
        drop(writer);
        let (mut bytes, mut fds) = ([0; 16], Vec::new());
        let Received::Bytes(5) = receive(&right, &mut bytes, &mut fds).expect("receive") else {
            panic!("no bytes")
        };
        assert_eq!(&bytes[..5], b"hello");
        let writer = fds.pop().expect("a descriptor");
        rustix::io::write(&writer, b"through").expect("write");
        drop(writer);
        let mut text = String::new();
        File::from(OwnedFd::from(reader)).read_to_string(&mut text).expect("read");
        assert_eq!(text, "through");
        assert!(matches!(receive(&right, &mut bytes, &mut fds), Ok(Received::Nothing)));
        finish_writing(&left).expect("shutdown");
        assert!(matches!(receive(&right, &mut bytes, &mut fds), Ok(Received::End)));
    }

    #[test]
    fn a_path_may_be_longer_than_an_address() {
        let directory = std::env::temp_dir().join(format!(
            "berth-test-socket-{}-{}",
            std::process::id(),
            "x".repeat(120)
        ));
        std::fs::create_dir(&directory).expect("create");
        let path = directory.join("shim.sock");
        let listener = listen(&path, 1).expect("listen");
        let connected = connect(&path, Duration::from_secs(1));
        let accepted = accept(&listener);
        std::fs::remove_dir_all(&directory).expect("remove");
        connected.expect("connect");
        assert!(matches!(accepted, Ok(Some(_))));
    }

    #[test]
    fn a_full_queue_does_not_hold_the_caller() {
        let path = std::env::temp_dir().join(format!("berth-test-socket-{}", std::process::id()));
        let _listener = listen(&path, 0).expect("listen");
        let mut held = Vec::new();
        let error = loop {
            match connect(&path, Duration::from_millis(20)) {
                Ok(socket) => held.push(socket),
                Err(error) => break error,
            }
        };
        assert_eq!(error.name(), Some("ETIMEDOUT"));
        assert_eq!(peer_uid(&held[0]).expect("credentials"), rustix::process::geteuid().as_raw());
        std::fs::remove_file(path).expect("remove");
    }
}
