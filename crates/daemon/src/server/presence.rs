//! Whether a client is still there, for answers that may be silent for hours (events, wait, logs that follow).
//!
//! Watched through a handle of its own on the client's socket, registered with the reactor by itself, so that
//! watching never takes a readiness away from the connection that hyper reads.

use std::io;
use std::os::fd::AsFd;
use std::sync::Weak;
use std::time::Duration;

use tokio::io::{Interest, Ready};
use tokio::net::{TcpStream, UnixStream};

use super::connection::Socket;

/// How often a client that has not read yet is looked at where the kernel announces nothing, as of TCP.
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// How often, for safety, where it does.
const ASK_ALL_THE_SAME: Duration = Duration::from_millis(50);

/// How long a client may take to read the head of an answer before it gets the rest all the same.
const LONGEST_READ: Duration = Duration::from_secs(1);

/// Watches one client. Cheap until used.
#[derive(Clone)]
pub struct Presence {
    socket: Weak<Socket>,
}

impl Presence {
    /// For the client at the other end of a socket.
    pub fn new(socket: Weak<Socket>) -> Presence {
        Presence { socket }
    }

    /// Returns when the client has closed its sending side: for anything but a hijacked stream it then has gone.
    pub async fn stops_sending(&self) {
        self.watch(Interest::READABLE, Ready::is_read_closed).await;
    }

    /// Returns when the client has closed the connection altogether.
    pub async fn hangs_up(&self) {
        self.watch(Interest::WRITABLE, Ready::is_write_closed).await;
    }

    /// Returns when the client has read all that was sent to it, or a moment later at most.
    ///
    /// Nearly always the first answer is the last: whatever comes after the head of an answer takes longer to make than
    /// the head takes to be read. Otherwise a unix socket announces each piece that its peer has read as room to write.
    pub async fn has_read(&self) {
        if !self.holds_unread() {
            return;
        }
        let Some(watched) = self.socket.upgrade().and_then(|socket| second_handle(&socket).ok()) else {
            return;
        };
        let reading = async {
            loop {
                let is_over = match &watched {
                    Socket::Unix(stream) => {
                        // Forgotten before it is asked: what is read from now on is announced again.
                        let forget = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                        let _ = stream.try_io(Interest::WRITABLE, forget);
                        if !self.holds_unread() {
                            return;
                        }
                        tokio::time::timeout(ASK_ALL_THE_SAME, stream.writable())
                            .await
                            .is_ok_and(|room| room.is_err())
                    }
                    Socket::Tcp(_) => {
                        tokio::time::sleep(ASK_AGAIN).await;
                        !self.holds_unread()
                    }
                };
                if is_over {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(LONGEST_READ, reading).await;
    }

    /// Whether something that was sent was not read. A client that has gone holds nothing.
    fn holds_unread(&self) -> bool {
        // While it announces room, the kernel counts one byte of a piece that has been read.
        let least = |socket: &Socket| if matches!(socket, Socket::Unix(_)) { 1 } else { 0 };
        let unread = |socket: std::sync::Arc<Socket>| {
            linux::socket::unread(&*socket).is_ok_and(|bytes| bytes > least(&socket))
        };
        self.socket.upgrade().is_some_and(unread)
    }

    async fn watch(&self, interest: Interest, is_closed: fn(Ready) -> bool) {
        let Some(socket) = self.socket.upgrade() else { return };
        let Ok(watched) = second_handle(&socket) else {
            // Without a watch the next write to the client finds out.
            return std::future::pending().await;
        };
        drop(socket);
        loop {
            let ready = match &watched {
                Socket::Unix(stream) => stream.ready(interest).await,
                Socket::Tcp(stream) => stream.ready(interest).await,
            };
            match ready {
                Ok(ready) if !is_closed(ready) => {}
                _ => return,
            }
            // Not closed: wait for the next change, without touching the bytes.
            let wait_again = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = match &watched {
                Socket::Unix(stream) => stream.try_io(interest, wait_again),
                Socket::Tcp(stream) => stream.try_io(interest, wait_again),
            };
        }
    }
}

/// The same socket under a number of its own, and so with a registration of its own.
fn second_handle(socket: &Socket) -> io::Result<Socket> {
    let handle = socket.as_fd().try_clone_to_owned()?;
    Ok(match socket {
        Socket::Unix(_) => Socket::Unix(UnixStream::from_std(handle.into())?),
        Socket::Tcp(_) => Socket::Tcp(TcpStream::from_std(handle.into())?),
    })
}
