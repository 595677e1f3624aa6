//! What pulls and pushes share: lines for the client, an end that threads notice, and turns at a blob.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use api::progress::Message;
use image::Event;
use oci::Digest;
use tokio::sync::{OwnedMutexGuard, mpsc, watch};

/// Where progress goes. A client that has left or is slow keeps nobody from working.
#[derive(Debug, Clone)]
pub struct Lines(mpsc::Sender<Message>);

impl Lines {
    /// Lines for a client.
    #[must_use]
    pub fn new(sender: mpsc::Sender<Message>) -> Self {
        Self(sender)
    }

    /// Tells a state in words. A client that has left needs none.
    pub(crate) async fn say(&self, id: &str, status: impl Into<String>) {
        drop(self.0.send(Message::status(id, status)).await);
    }

    /// The same from a thread.
    pub(crate) fn say_blocking(&self, id: &str, status: &str) {
        drop(self.0.blocking_send(Message::status(id, status)));
    }

    /// Hands data to programs.
    pub(crate) async fn hand(&self, data: serde_json::Value) {
        drop(self.0.send(Message::aux(data)).await);
    }

    /// Tells how far something is; left out when the client has not taken the last ones yet.
    pub(crate) fn count(&self, id: &str, status: &str, current: u64, total: u64) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        drop(self.0.try_send(Message::progress(id, status, number(current), number(total))));
    }
}

/// Ends what threads do for an operation when it is dropped.
#[derive(Debug)]
pub(crate) struct Ender(watch::Sender<bool>);

impl Default for Ender {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Ender {
    /// What threads look at.
    pub(crate) fn end(&self) -> End {
        End(self.0.subscribe())
    }
}

/// Whether an operation is over, because its client has left or another part of it failed.
#[derive(Debug, Clone)]
pub(crate) struct End(watch::Receiver<bool>);

impl End {
    /// Whether it is.
    pub(crate) fn is_here(&self) -> bool {
        // Whoever could tell is gone: so is the operation.
        self.0.has_changed().is_err()
    }

    /// Returns when it is.
    pub(crate) async fn comes(&self) {
        let mut watched = self.0.clone();
        while watched.changed().await.is_ok() {}
    }
}

/// The progress of one layer, told under its own name.
pub(crate) struct Watcher<'a> {
    pub(crate) lines: &'a Lines,
    pub(crate) end: &'a End,
}

impl image::Progress for Watcher<'_> {
    fn report(&self, event: &Event) {
        self.lines.count(&event.id, event.status, event.current, event.total.unwrap_or_default());
    }

    fn cancelled(&self) -> bool {
        self.end.is_here()
    }
}

/// Turns at blobs: what several operations want is fetched once, and continued by the next when the first gives up.
#[derive(Debug, Default)]
pub struct Turns {
    busy: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

/// A turn at a blob.
pub(crate) type Turn = OwnedMutexGuard<()>;

impl Turns {
    /// Takes the turn at a blob if nobody has it.
    pub(crate) fn try_take(&self, digest: &Digest) -> Option<Turn> {
        self.door(digest).try_lock_owned().ok()
    }

    /// Waits for the turn at a blob.
    pub(crate) async fn take(&self, digest: &Digest) -> Turn {
        self.door(digest).lock_owned().await
    }

    fn door(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(door) = busy.get(digest).and_then(Weak::upgrade) {
            return door;
        }
        busy.retain(|_, door| door.strong_count() > 0);
        let door = Arc::default();
        busy.insert(digest.clone(), Arc::downgrade(&door));
        door
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_has_one_turn_at_a_time() {
        let turns = Turns::default();
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().expect("a digest");
        let turn = turns.try_take(&digest).expect("nobody has it");
        assert!(turns.try_take(&digest).is_none());
        drop(turn);
        assert!(turns.try_take(&digest).is_some());
    }

    #[test]
    fn an_end_comes_with_its_operation() {
        let ender = Ender::default();
        let end = ender.end();
        assert!(!end.is_here());
        drop(ender);
        assert!(end.is_here());
    }
}
