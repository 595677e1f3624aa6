//! The firewall, bridges and links stay what they should be: whoever changes them, they are put right within a second.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use network::LinkChanges;
use tokio::sync::mpsc;

use super::failed;
use crate::engine::Engine;
use crate::{Error, Result, id};

/// How long others may go on with their changes before ours are looked at again: a burst is two changes at most.
const BURST: Duration = Duration::from_millis(100);
/// How often the firewall is looked at when nobody says that it changed.
const ROUND: Duration = Duration::from_secs(30);
/// How often it is looked at when changes cannot be watched.
const SHORT_ROUND: Duration = Duration::from_millis(900);

/// Puts the firewall right whenever somebody else has changed it. Ends with the daemon.
pub(crate) async fn keep_firewall(engine: Engine) {
    let mut changes = match watch(&engine) {
        Ok(changes) => Some(changes),
        Err(error) => {
            tracing::error!(%error, "the firewall cannot be watched: it is compared once a second instead");
            None
        }
    };
    loop {
        let told = match &mut changes {
            Some(told) => match tokio::time::timeout(ROUND, told.recv()).await {
                Ok(Some(at)) => at,
                Ok(None) => {
                    changes = None;
                    Instant::now()
                }
                Err(_) => Instant::now(),
            },
            None => {
                tokio::time::sleep(SHORT_ROUND).await;
                Instant::now()
            }
        };
        let owned = engine.clone();
        match crate::blocking(move || owned.networks.reconcile()).await {
            Ok(None) => {}
            Ok(Some(difference)) => {
                let milliseconds = told.elapsed().as_millis();
                tracing::warn!(
                    difference,
                    milliseconds,
                    "somebody changed our firewall rules: they are restored"
                );
            }
            Err(error) => tracing::error!(%error, "the firewall cannot be compared with what it should be"),
        }
        tokio::time::sleep(BURST).await;
    }
}

/// Puts bridges and links right whenever somebody else has taken them apart. Ends with the daemon.
pub(crate) async fn keep_links(engine: Engine) {
    let changes = match watch_links(&engine) {
        Ok(changes) => changes,
        Err(error) => {
            return tracing::error!(%error, "links cannot be watched: what is taken apart stays so until its container starts");
        }
    };
    loop {
        changes.told.notified().await;
        let (since, found) = std::mem::take(&mut *changes.lock());
        let owned = engine.clone();
        match crate::blocking(move || mend(&owned, &found)).await {
            Ok(false) => {}
            Ok(true) => {
                let milliseconds = since.map(|since| since.elapsed().as_millis()).unwrap_or_default();
                tracing::info!(milliseconds, "what was taken apart is put right");
            }
            Err(error) => tracing::error!(%error, "what was taken apart cannot be put right"),
        }
        tokio::time::sleep(BURST).await;
    }
}

/// What has changed since it was looked at last, and when the first of it was told.
#[derive(Debug, Default)]
struct Gathered {
    changes: Mutex<(Option<Instant>, LinkChanges)>,
    told: tokio::sync::Notify,
}

impl Gathered {
    fn lock(&self) -> MutexGuard<'_, (Option<Instant>, LinkChanges)> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn watch_links(engine: &Engine) -> Result<Arc<Gathered>> {
    let watch = engine.networks.lock().kernel.watch_links().map_err(failed)?;
    let gathered = Arc::<Gathered>::default();
    let shared = Arc::clone(&gathered);
    let watching = move || {
        loop {
            match watch.wait() {
                Ok(changes) => {
                    let mut all = shared.lock();
                    all.0.get_or_insert_with(Instant::now);
                    all.1.extend(changes);
                }
                Err(error) => return tracing::error!(%error, "watching the links"),
            }
            shared.told.notify_one();
        }
    };
    let started = std::thread::Builder::new().name("links".into()).stack_size(256 * 1024).spawn(watching);
    started.map(|_| gathered).map_err(|error| Error::system(format!("watch the links: {error}")))
}

/// Puts right what can be from the host, and plugs in again what has to be from inside a container; whether there was
/// anything.
fn mend(engine: &Engine, changes: &LinkChanges) -> Result<bool> {
    let (mut anything, unplugged) = engine.networks.mend(changes)?;
    for unplugged in unplugged {
        let Ok(handle) = engine.containers.find(&unplugged.container) else { continue };
        let view = handle.view();
        let Some(netns) = view.live.as_ref().and_then(|live| live.netns.clone()) else { continue };
        match engine.networks.plug(&unplugged, netns.as_fd()) {
            Ok(plugged) => anything |= plugged,
            Err(error) => {
                let container = id::short(&unplugged.container);
                tracing::error!(container, %error, "it cannot be plugged in again");
            }
        }
    }
    Ok(anything)
}

/// One message for some changes by others: when the first of them was told. The channel ends when changes cannot be watched any more.
fn watch(engine: &Engine) -> Result<mpsc::Receiver<Instant>> {
    let watch = engine.networks.lock().kernel.watch_firewall().map_err(failed)?;
    let (sender, receiver) = mpsc::channel(1);
    let watching = move || {
        loop {
            if let Err(error) = watch.wait() {
                tracing::error!(%error, "watching the firewall");
                return;
            }
            match sender.try_send(Instant::now()) {
                Err(mpsc::error::TrySendError::Closed(_)) => return,
                // A full channel says the same already.
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
            }
        }
    };
    let started = std::thread::Builder::new().name("firewall".into()).stack_size(256 * 1024).spawn(watching);
    started.map(|_| receiver).map_err(|error| Error::system(format!("watch the firewall: {error}")))
}
