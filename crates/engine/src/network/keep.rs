//! The firewall stays what it should be: whoever changes it, it is put right within a second.

use std::time::Duration;

use tokio::sync::mpsc;

use super::failed;
use crate::engine::Engine;
use crate::{Error, Result};

/// How long others may go on with their changes before ours are looked at: a burst is one change.
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
            Some(changes) => tokio::time::timeout(ROUND, changes.recv()).await.unwrap_or(Some(())),
            None => {
                tokio::time::sleep(SHORT_ROUND).await;
                Some(())
            }
        };
        match told {
            Some(()) => tokio::time::sleep(BURST).await,
            None => changes = None,
        }
        let owned = engine.clone();
        match crate::blocking(move || owned.networks.reconcile()).await {
            Ok(None) => {}
            Ok(Some(difference)) => {
                tracing::warn!(difference, "somebody changed our firewall rules: they are restored");
            }
            Err(error) => tracing::error!(%error, "the firewall cannot be compared with what it should be"),
        }
    }
}

/// One message for some changes by others. The channel ends when changes cannot be watched any more.
fn watch(engine: &Engine) -> Result<mpsc::Receiver<()>> {
    let watch = engine.networks.lock().kernel.watch_firewall().map_err(failed)?;
    let (sender, receiver) = mpsc::channel(1);
    let watching = move || {
        loop {
            if let Err(error) = watch.wait() {
                tracing::error!(%error, "watching the firewall");
                return;
            }
            match sender.try_send(()) {
                Err(mpsc::error::TrySendError::Closed(())) => return,
                // A full channel says the same already.
                Ok(()) | Err(mpsc::error::TrySendError::Full(())) => {}
            }
        }
    };
    let started = std::thread::Builder::new().name("firewall".into()).stack_size(256 * 1024).spawn(watching);
    started.map(|_| receiver).map_err(|error| Error::system(format!("watch the firewall: {error}")))
}
