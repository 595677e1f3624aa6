//! A client's connection, of either kind. The stream is shared with [`super::presence`], which watches whether the
//! client is still there while hyper reads and writes.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Sleep;

/// The socket of a connection.
pub enum Socket {
    /// A unix socket.
    Unix(UnixStream),
    /// TCP, without TLS.
    Tcp(TcpStream),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Unix(stream) => stream.as_fd(),
            Socket::Tcp(stream) => stream.as_fd(),
        }
    }
}

/// How long a connection is kept for a client that is still sending while its answer is there. As Go's server.
const LONGEST_FAREWELL: Duration = Duration::from_millis(500);

/// How a connection ends: at once, or after the client had time to read its last answer.
///
/// Closing a socket with unread bytes in it is an error at the other end, which may throw the answer away for it.
#[derive(Clone, Debug, Default)]
pub struct Farewell(Arc<AtomicBool>);

impl Farewell {
    /// What the client still sends is to be read and forgotten for a moment, before the connection closes.
    pub fn linger(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The one reader and writer of a socket.
pub struct Connection {
    socket: Arc<Socket>,
    farewell: Farewell,
    /// Until when it lingers, once our side is closed.
    closing: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// Takes over reading and writing of a socket.
    pub fn new(socket: Arc<Socket>, farewell: Farewell) -> Connection {
        Connection { socket, farewell, closing: None }
    }

    /// Reads and forgets until the client has finished, or its time is over.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.closing.get_or_insert_with(|| Box::pin(tokio::time::sleep(LONGEST_FAREWELL)));
        if limit.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut forgotten = [0; 8 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut forgotten);
            match ready!(Pin::new(&mut *self).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}

/// Repeats an attempt until it does not say "would block".
macro_rules! attempt {
    ($self:expr, $cx:expr, $poll:ident, $try:ident($($argument:expr),*)) => {
        match &*$self.socket {
            Socket::Unix(stream) => loop {
                ready!(stream.$poll($cx))?;
                match stream.$try($($argument),*) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => break Poll::Ready(result),
                }
            },
            Socket::Tcp(stream) => loop {
                ready!(stream.$poll($cx))?;
                match stream.$try($($argument),*) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => break Poll::Ready(result),
                }
            },
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        attempt!(self, cx, poll_read_ready, try_read_buf(buf)).map_ok(|_| ())
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        attempt!(self, cx, poll_write_ready, try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        attempt!(self, cx, poll_write_ready, try_write_vectored(pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            shut_down_writing(&self.socket)?;
        }
        if self.farewell.0.load(Ordering::Relaxed) {
            ready!(self.poll_farewell(cx));
        }
        Poll::Ready(Ok(()))
    }
}

/// Half-closes a socket: the client reads its end, and we can still read.
fn shut_down_writing(socket: &Socket) -> io::Result<()> {
    // A second handle on the same socket, because tokio has no shutdown by shared reference.
    let handle = socket.as_fd().try_clone_to_owned()?;
    let result = match socket {
        Socket::Unix(_) => std::os::unix::net::UnixStream::from(handle).shutdown(std::net::Shutdown::Write),
        Socket::Tcp(_) => std::net::TcpStream::from(handle).shutdown(std::net::Shutdown::Write),
    };
    match result {
        // The client has gone already: what we wanted.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}
