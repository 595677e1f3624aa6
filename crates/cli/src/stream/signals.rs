//! Signals for this program are passed on to the container's.

use std::convert::Infallible;

use client::{Client, Query, Request};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::failure::Failure;

/// What is passed on: every signal a program can be told, except those about children, pipes and the terminal's size.
const FORWARDED: &[(i32, &str)] = &[
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (10, "USR1"),
    (12, "USR2"),
    (14, "ALRM"),
    (15, "TERM"),
    (18, "CONT"),
    (24, "XCPU"),
    (25, "XFSZ"),
    (26, "VTALRM"),
    (27, "PROF"),
    (29, "IO"),
    (30, "PWR"),
];

/// The signals that have come, by name.
pub(crate) struct Signals(mpsc::Receiver<&'static str>);

impl Signals {
    /// From here on the signals no longer end this program.
    pub(crate) fn catch() -> Result<Self, Failure> {
        let (sender, receiver) = mpsc::channel(16);
        for (number, name) in FORWARDED {
            let stream = signal(SignalKind::from_raw(*number))
                .map_err(|error| Failure::text(format!("cannot catch SIG{name}: {error}")))?;
            tokio::spawn(pass(stream, name, sender.clone()));
        }
        Ok(Self(receiver))
    }

    /// Sends every signal to the container.
    pub(crate) async fn forward(&mut self, client: &Client, container: &str) -> Infallible {
        loop {
            let Some(name) = self.0.recv().await else { return std::future::pending().await };
            let query = Query::new().with("signal", name);
            // A container that has ended meanwhile does not mind.
            let _ = client.call(Request::post(format!("/containers/{container}/kill")).query(query)).await;
        }
    }
}

async fn pass(mut stream: Signal, name: &'static str, sender: mpsc::Sender<&'static str>) {
    while stream.recv().await.is_some() {
        if sender.send(name).await.is_err() {
            return;
        }
    }
}
