//! The engine's end of the connection to one shim: requests with their answers, and notices as they come.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use shim::protocol::frame::Filled;
use shim::protocol::{self, Event, FromShim, Inbox, Outbox, Reply, Request, Target, ToShim};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use crate::container::state::Nanos;
use crate::{Error, Result, descriptor};

/// Requests that may wait for the connection.
const WAITING: usize = 32;
/// A shim that has not answered after this is stopped or hung; its container is not.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a shim reports without being asked.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The container's program has ended, and all its output is in the log.
    Exited {
        /// Exit code.
        code: i32,
        /// When.
        at: Nanos,
        /// OOM killer.
        oom_killed: bool,
    },
    /// A program beside it has ended.
    ExecExited {
        /// Which.
        exec_id: String,
        /// Exit code.
        code: i32,
    },
}

/// A stream to connect to a process.
#[derive(Debug)]
pub(crate) struct Attach {
    /// How.
    pub(crate) how: protocol::Attach,
    /// The shim's end.
    pub(crate) stream: OwnedFd,
}

struct Call {
    request: Request,
    descriptors: Vec<OwnedFd>,
    answer: oneshot::Sender<Answer>,
    /// Where a network namespace goes that comes before the answer.
    netns: Option<oneshot::Sender<OwnedFd>>,
}

type Answer = (Reply, Vec<OwnedFd>);

/// A request that has been sent.
#[derive(Debug)]
#[must_use = "the answer says whether it was done"]
pub(crate) struct Asked(oneshot::Receiver<Answer>);

impl Asked {
    /// Waits for the answer.
    pub(crate) async fn answer(self) -> std::result::Result<Answer, protocol::Error> {
        match tokio::time::timeout(PATIENCE, self.0).await {
            Ok(Ok((Reply::Error(error), _))) => Err(error),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(other(lost())),
            Err(_) => Err(other(Error::system(format!(
                "the container's shim has not answered for {} s",
                PATIENCE.as_secs()
            )))),
        }
    }
}

fn other(error: Error) -> protocol::Error {
    protocol::Error::new(protocol::ErrorKind::Other, error.message)
}

/// A cheap handle on a connection. The connection lives as long as a handle does.
#[derive(Debug, Clone)]
pub struct Link {
    calls: mpsc::Sender<Call>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Call({} descriptors)", self.descriptors.len())
    }
}

fn lost() -> Error {
    Error::system("the connection to the container's shim is gone")
}

impl Link {
    /// Takes a connected socket; notices end when the connection does.
    pub(crate) fn new(socket: OwnedFd) -> Result<(Self, mpsc::UnboundedReceiver<Notice>)> {
        let socket = descriptor::watch(socket, Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| Error::system(format!("watch a shim: {error}")))?;
        let (calls, waiting) = mpsc::channel(WAITING);
        let (notices, receiver) = mpsc::unbounded_channel();
        let connection = Connection { socket, waiting, notices, pending: HashMap::new(), serial: 0 };
        tokio::spawn(connection.run());
        Ok((Self { calls }, receiver))
    }

    /// A handle that does not keep the connection.
    pub(crate) fn downgrade(&self) -> WeakLink {
        WeakLink { calls: self.calls.downgrade() }
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call(
        &self,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> std::result::Result<Answer, protocol::Error> {
        self.ask(request, descriptors).await?.answer().await
    }

    /// Sends a request behind all that were sent before; the shim does one after the other.
    pub(crate) async fn ask(
        &self,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> std::result::Result<Asked, protocol::Error> {
        self.send(request, descriptors, None).await
    }

    /// Asks for a container. The second value is its network namespace, which comes before the answer, or not at all where
    /// it is not the container's own or nobody tells.
    pub(crate) async fn create(
        &self,
        create: protocol::Create,
    ) -> std::result::Result<(Asked, oneshot::Receiver<OwnedFd>), protocol::Error> {
        let (netns, early) = oneshot::channel();
        let asked = self.send(Request::Create(Box::new(create)), Vec::new(), Some(netns)).await?;
        Ok((asked, early))
    }

    async fn send(
        &self,
        request: Request,
        descriptors: Vec<OwnedFd>,
        netns: Option<oneshot::Sender<OwnedFd>>,
    ) -> std::result::Result<Asked, protocol::Error> {
        let (answer, reply) = oneshot::channel();
        let call = Call { request, descriptors, answer, netns };
        self.calls.send(call).await.map_err(|_| other(lost()))?;
        Ok(Asked(reply))
    }

    /// Connects a stream to a process.
    pub(crate) async fn attach(&self, attach: Attach) -> Result<()> {
        let answer = self.call(Request::Attach(attach.how), vec![attach.stream]).await;
        answer.map(drop).map_err(|error| Error::system(error.message))
    }

    /// Sets the size of a terminal.
    pub(crate) async fn resize(&self, target: Target, height: u16, width: u16) -> Result<()> {
        let answer = self.call(Request::Resize { target, height, width }, Vec::new()).await;
        answer.map(drop).map_err(|error| match error.kind {
            protocol::ErrorKind::Invalid | protocol::ErrorKind::NotFound => Error::invalid(error.message),
            _ => Error::system(error.message),
        })
    }
}

/// A handle on a connection that others keep.
#[derive(Debug, Clone)]
pub(crate) struct WeakLink {
    calls: mpsc::WeakSender<Call>,
}

impl WeakLink {
    /// The connection, while somebody keeps it.
    pub(crate) fn upgrade(&self) -> Option<Link> {
        self.calls.upgrade().map(|calls| Link { calls })
    }
}

/// Who waits for an answer.
struct Pending {
    answer: oneshot::Sender<Answer>,
    netns: Option<oneshot::Sender<OwnedFd>>,
}

struct Connection {
    socket: AsyncFd<OwnedFd>,
    waiting: mpsc::Receiver<Call>,
    notices: mpsc::UnboundedSender<Notice>,
    pending: HashMap<u64, Pending>,
    serial: u64,
}

impl Connection {
    /// Runs until the shim has gone or nobody holds a handle any more.
    async fn run(mut self) {
        let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
        let reason = loop {
            tokio::select! {
                ready = self.socket.readable() => match ready {
                    Ok(mut ready) => {
                        // Cleared first: what arrives while reading makes it ready again.
                        ready.clear_ready();
                        drop(ready);
                        match self.receive(&mut inbox) {
                            Ok(true) => {}
                            Ok(false) => break None,
                            Err(error) => break Some(error),
                        }
                    }
                    Err(error) => break Some(Error::system(error.to_string())),
                },
                ready = self.socket.writable(), if !outbox.is_empty() => match ready {
                    Ok(mut ready) => match outbox.flush(self.socket.get_ref()) {
                        Ok(true) => {}
                        Ok(false) => ready.clear_ready(),
                        Err(error) => break Some(Error::system(error.to_string())),
                    },
                    Err(error) => break Some(Error::system(error.to_string())),
                },
                call = self.waiting.recv() => match call {
                    Some(call) => {
                        self.serial += 1;
                        let message = ToShim { serial: self.serial, request: call.request };
                        // A message that cannot be encoded is answered by the loss of its answer channel.
                        match outbox.push(&message, call.descriptors) {
                            Ok(()) => {
                                let pending = Pending { answer: call.answer, netns: call.netns };
                                drop(self.pending.insert(self.serial, pending));
                            }
                            Err(error) => tracing::error!(%error, "a request to a shim cannot be encoded"),
                        }
                    }
                    None => break None,
                },
            }
        };
        if let Some(error) = reason {
            tracing::debug!(%error, "the connection to a shim ended");
        }
    }

    /// Takes what has arrived; `false` at the end of the stream.
    fn receive(&mut self, inbox: &mut Inbox) -> Result<bool> {
        let failed = |error: protocol::frame::FrameError| Error::system(error.to_string());
        let open = loop {
            match inbox.fill(self.socket.get_ref()).map_err(failed)? {
                Filled::Bytes => {}
                Filled::Nothing => break true,
                Filled::End => break false,
            }
        };
        while let Some((message, descriptors)) = inbox.take::<FromShim>().map_err(failed)? {
            match message {
                FromShim::Reply { serial, reply: Reply::Netns { .. } } => {
                    let netns = self.pending.get_mut(&serial).and_then(|pending| pending.netns.take());
                    if let Some((netns, early)) = netns.zip(descriptors.into_iter().next()) {
                        // It comes again with the answer.
                        let _ = netns.send(early);
                    }
                }
                FromShim::Reply { serial, reply } => {
                    if let Some(pending) = self.pending.remove(&serial) {
                        // The one who asked may have left; the work is done all the same.
                        let _ = pending.answer.send((reply, descriptors));
                    }
                }
                FromShim::Event(event) => self.notice(event),
            }
        }
        Ok(open)
    }

    fn notice(&self, event: Event) {
        let notice = match event {
            Event::Exited { exit } => {
                Notice::Exited { code: exit.code, at: nanos(exit.at), oom_killed: exit.oom_killed }
            }
            Event::ExecExited { exec_id, exit } => Notice::ExecExited { exec_id, code: exit.code },
            // The exit tells it again, together with the event order that clients expect.
            Event::Oom => return,
        };
        // An owner that has ended has nothing to learn.
        let _ = self.notices.send(notice);
    }
}

/// A shim's moment as ours.
pub(crate) fn nanos(at: shim::timestamp::Timestamp) -> Nanos {
    at.seconds().saturating_mul(1_000_000_000).saturating_add(i64::from(at.nanoseconds()))
}
