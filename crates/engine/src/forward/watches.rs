//! One inotify instance for the directories of all logs that are followed.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use linux::watch::{Changed, DirWatches, WatchId};
use tokio::io::Interest;
use tokio::sync::Notify;

use crate::{Error, Result, descriptor};

/// What is watched. Nothing is opened before something is.
#[derive(Debug, Default)]
pub(crate) struct Watches(Mutex<Option<Arc<Shared>>>);

#[derive(Debug)]
struct Shared {
    directories: DirWatches,
    listeners: Mutex<HashMap<WatchId, Arc<Notify>>>,
}

/// A watched directory, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Watch {
    shared: Arc<Shared>,
    id: WatchId,
    /// Told of every change.
    pub(crate) changed: Arc<Notify>,
}

impl Watches {
    /// Watches a directory; `None` when it is not there.
    pub(crate) fn watch(&self, path: &Path) -> Result<Option<Watch>> {
        let failed = |error: linux::Error| Error::system(format!("watch a log: {error}"));
        let shared = self.shared()?;
        // Held while it is added, so that no change is reported before there is somebody to be told.
        let mut listeners = lock(&shared.listeners);
        let id = match shared.directories.add(path) {
            Ok(id) => id,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let changed = Arc::clone(listeners.entry(id).or_default());
        drop(listeners);
        Ok(Some(Watch { shared, id, changed }))
    }

    fn shared(&self) -> Result<Arc<Shared>> {
        let mut slot = lock(&self.0);
        if let Some(shared) = slot.as_ref() {
            return Ok(Arc::clone(shared));
        }
        let failed = |error: String| Error::system(format!("watch logs: {error}"));
        let directories = DirWatches::new().map_err(|error| failed(error.to_string()))?;
        let shared = Arc::new(Shared { directories, listeners: Mutex::default() });
        let readable = descriptor::watch(Descriptor(Arc::clone(&shared)), Interest::READABLE)
            .map_err(|error| failed(error.to_string()))?;
        tokio::spawn(listen(readable, Arc::downgrade(&shared)));
        *slot = Some(Arc::clone(&shared));
        Ok(shared)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut listeners = lock(&self.shared.listeners);
        if listeners.remove(&self.id).is_some()
            && let Err(error) = self.shared.directories.remove(self.id)
        {
            tracing::debug!(%error, "a watch stays");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The descriptor as tokio waits for it.
struct Descriptor(Arc<Shared>);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.directories.as_fd().as_raw_fd()
    }
}

/// Tells listeners, for as long as there is anything to watch with.
async fn listen(readable: tokio::io::unix::AsyncFd<Descriptor>, shared: Weak<Shared>) {
    loop {
        match readable.readable().await {
            Ok(mut ready) => ready.clear_ready(),
            Err(error) => return tracing::error!(%error, "changes of logs are not noticed any more"),
        }
        let Some(shared) = shared.upgrade() else { return };
        let taken = shared.directories.take();
        let listeners = lock(&shared.listeners);
        match taken {
            Ok(Changed::These(ids)) => {
                ids.iter().filter_map(|id| listeners.get(id)).for_each(|listener| listener.notify_one());
            }
            Ok(Changed::Anything) => listeners.values().for_each(|listener| listener.notify_one()),
            Err(error) => tracing::error!(%error, "changes of logs"),
        }
    }
}
