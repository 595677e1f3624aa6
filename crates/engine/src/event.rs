//! What happened, told to whoever listens: a ring of the last events and a broadcast of new ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, broadcast};

use crate::container::state::Nanos;
use crate::time;

/// Events kept for `since`.
const KEPT: usize = 256;
/// Events a slow listener may be behind before it loses the oldest.
const BEHIND: usize = 4096;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `container`, `image`, `network`, `volume`, `daemon` …
    pub kind: &'static str,
    /// `start`, `die`, `exec_create: sh -c true` …
    pub action: String,
    /// The object's identifier.
    pub actor_id: String,
    /// Names, labels and details of the object.
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub at: Nanos,
}

/// The daemon's event log.
#[derive(Debug)]
pub struct Events {
    kept: Mutex<VecDeque<Arc<Event>>>,
    sender: broadcast::Sender<Arc<Event>>,
    published: AtomicU64,
    activity: Notify,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            kept: Mutex::new(VecDeque::with_capacity(KEPT)),
            sender: broadcast::channel(BEHIND).0,
            published: AtomicU64::new(0),
            activity: Notify::new(),
        }
    }
}

impl Events {
    /// Records an event and tells every listener. Never blocks.
    pub fn publish(
        &self,
        kind: &'static str,
        action: &str,
        actor_id: &str,
        attributes: BTreeMap<String, String>,
    ) {
        let (action, actor_id) = (action.to_owned(), actor_id.to_owned());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Arc::new(Event { kind, action, actor_id, attributes, at: time::now() });
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&event));
        self.published.fetch_add(1, Ordering::Relaxed);
        // Nobody listening is no error. Sent under the lock, so that a listener sees no gap and no double.
        let _ = self.sender.send(event);
        self.activity.notify_one();
    }

    /// Waits until something happens, or has since the last call. For one who waits.
    pub(crate) async fn happened(&self) {
        self.activity.notified().await;
    }

    /// How many there have been.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// How many listen.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }

    /// The kept events and a receiver of all later ones, without a gap between them.
    #[must_use]
    pub fn subscribe(&self) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.iter().cloned().collect(), self.sender.subscribe())
    }
}
