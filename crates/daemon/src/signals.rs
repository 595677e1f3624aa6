//! The signals that mean something to the daemon.

use std::io;

use tokio::signal::unix::{self, SignalKind, signal};

/// What the daemon is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM, SIGINT: end.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: write down what you do.
    Dump,
}

/// Where signals arrive.
pub(crate) struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
    user1: unix::Signal,
}

impl Signals {
    /// From now on these signals do not end the process.
    pub(crate) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hang_up.recv() => Signal::Reload,
            _ = self.user1.recv() => Signal::Dump,
        }
    }

    /// Returns when the daemon is told to stop; other signals are passed over.
    pub(crate) async fn stop(&mut self) {
        while self.next().await != Signal::Stop {}
    }
}
