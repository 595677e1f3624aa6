//! Who uses which volume now: the first use mounts what must be mounted, the last one's end unmounts it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{attributes, incoming, local, options};
use crate::container::record::Record;
use crate::container::spec::{MountSource, MountSpec};
use crate::engine::Engine;
use crate::{Error, Result};

/// Who uses one volume.
#[derive(Debug, Default)]
pub(super) struct Use {
    /// Containers that are being made for it: it must not go, and need not be mounted.
    reserved: BTreeSet<String>,
    /// Those it is mounted for: containers that run, and requests that look into it.
    users: BTreeSet<String>,
}

impl Use {
    pub(super) fn reserve(&mut self, container_id: &str) {
        self.reserved.insert(container_id.to_owned());
    }

    /// Everybody.
    pub(super) fn all(&self) -> impl Iterator<Item = String> + '_ {
        self.reserved.union(&self.users).cloned()
    }

    /// Nobody needs it mounted.
    pub(super) fn is_idle(&self) -> bool {
        self.users.is_empty()
    }
}

/// Who uses the volumes that are used. Whoever works on a volume holds its lock, and nobody else's: a server that does
/// not answer keeps only its own volume's users waiting.
#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<BTreeMap<String, Arc<Mutex<Use>>>>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Uses {
    /// Works on a volume while nobody else does. The lock is no other volume's, so `work` must not ask for one.
    pub(super) fn with<T>(&self, name: &str, work: impl FnOnce(&mut Use) -> T) -> T {
        loop {
            let entry = Arc::clone(locked(&self.0).entry(name.to_owned()).or_default());
            let mut used = locked(&entry);
            // The last user of an entry removes it: who waited for it meanwhile asks again.
            if !locked(&self.0).get(name).is_some_and(|current| Arc::ptr_eq(current, &entry)) {
                continue;
            }
            let done = work(&mut used);
            if used.reserved.is_empty() && used.users.is_empty() {
                locked(&self.0).remove(name);
            }
            return done;
        }
    }
}

/// Makes a volume's content reachable for a user; where it is on the host. Blocks on the driver.
pub(crate) fn acquire(engine: &Engine, name: &str, user: &str) -> Result<PathBuf> {
    engine.volumes.uses.with(name, |used| {
        let record = engine.volumes.get(name)?;
        incoming::finish(engine, &record)?;
        if let Some(plugin) = engine.volumes.plugin(&record)? {
            let mounted = plugin.mount(name, user);
            let mounted = mounted.inspect_err(|_| engine.volumes.plugins.forget(plugin.name()));
            let path =
                mounted.map_err(|error| error.context(format!("error while mounting volume '{name}'")))?;
            used.users.insert(user.to_owned());
            engine.volumes.plugins.note(name, Some(path.clone()));
            return Ok(path);
        }
        let path = engine.volumes.path(name);
        if let Some(plan) = options::plan(&record.options) {
            local::ensure_mounted(plan, &path).map_err(|error| {
                error.context(format!("error while mounting volume '{}'", path.display()))
            })?;
        }
        used.users.insert(user.to_owned());
        Ok(path)
    })
}

/// Ends a use; tells whether there was one.
pub(crate) fn release(engine: &Engine, name: &str, user: &str) -> Result<bool> {
    engine.volumes.uses.with(name, |used| {
        if !used.users.remove(user) {
            return Ok(false);
        }
        let Some(record) = engine.volumes.find(name) else { return Ok(true) };
        if let Some(plugin) = engine.volumes.plugin(&record)? {
            if used.is_idle() {
                engine.volumes.plugins.note(name, None);
            }
            plugin.unmount(name, user)?;
            return Ok(true);
        }
        let is_mounted = options::plan(&record.options).is_some();
        if is_mounted && used.is_idle() {
            local::unmount(&engine.volumes.path(name))?;
        }
        Ok(true)
    })
}

/// The volumes of some mounts, each with the first mount that names it.
fn volumes_of(mounts: &[MountSpec]) -> BTreeMap<&str, &MountSpec> {
    let mut volumes = BTreeMap::new();
    for mount in mounts {
        if let MountSource::Volume { name, .. } = &mount.source {
            volumes.entry(name.as_str()).or_insert(mount);
        }
    }
    volumes
}

/// Makes the volumes of these mounts reachable for a container; where each is. What was reached before a failure is
/// given back with the rest of the run.
pub(crate) fn acquire_all(
    engine: &Engine,
    container_id: &str,
    mounts: &[MountSpec],
) -> Result<BTreeMap<String, String>> {
    let mut paths = BTreeMap::new();
    for (name, mount) in volumes_of(mounts) {
        let path = acquire(engine, name, container_id)?;
        paths.insert(name.to_owned(), path.display().to_string());
        let Some(record) = engine.volumes.find(name) else { continue };
        let mut with = attributes(&record);
        with.insert("container".to_owned(), container_id.to_owned());
        with.insert("destination".to_owned(), mount.destination.clone());
        with.insert("read/write".to_owned(), mount.writable.to_string());
        with.insert("propagation".to_owned(), mount.propagation.clone());
        engine.events.publish("volume", "mount", name, with);
    }
    Ok(paths)
}

/// Ends what a container uses, whatever of it can be ended; what failed.
pub(crate) fn release_all(engine: &Engine, container_id: &str, names: &[&str]) -> Result<()> {
    let mut failures = Vec::new();
    for name in names {
        match release(engine, name, container_id) {
            Ok(false) => {}
            Ok(true) => {
                let Some(record) = engine.volumes.find(name) else { continue };
                let mut with = attributes(&record);
                with.insert("container".to_owned(), container_id.to_owned());
                engine.events.publish("volume", "unmount", name, with);
            }
            Err(error) => failures.push(error.message),
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Error::system(failures.join("; "))) }
}

/// At boot: what may still run uses what it used.
pub(crate) fn adopt(engine: &Engine, record: &Record) {
    for name in record.volume_paths.keys() {
        engine.volumes.uses.with(name, |used| used.users.insert(record.id.clone()));
    }
}

/// The container that was being made for these volumes is there, or will never be.
pub(crate) fn end_reservations<'a>(
    engine: &Engine,
    container_id: &str,
    names: impl IntoIterator<Item = &'a String>,
) {
    for name in names {
        engine.volumes.uses.with(name, |used| used.reserved.remove(container_id));
    }
}

/// Volumes that a request looks into; given back when it is dropped.
pub(crate) struct Lent {
    engine: Engine,
    user: String,
    paths: BTreeMap<String, PathBuf>,
}

impl Lent {
    /// Where the content of one of them is on the host.
    pub(crate) fn path(&self, name: &str) -> &Path {
        self.paths.get(name).map_or(Path::new(""), PathBuf::as_path)
    }

    /// Where they all are.
    pub(crate) fn paths(&self) -> BTreeMap<String, String> {
        self.paths.iter().map(|(name, path)| (name.clone(), path.display().to_string())).collect()
    }
}

/// Makes volumes reachable for as long as a request needs them.
pub(crate) fn lend<'a>(engine: &Engine, names: impl IntoIterator<Item = &'a String>) -> Result<Lent> {
    static REQUESTS: AtomicU64 = AtomicU64::new(0);
    let user = format!("request {}", REQUESTS.fetch_add(1, Ordering::Relaxed));
    let mut lent = Lent { engine: engine.clone(), user, paths: BTreeMap::new() };
    for name in names {
        let path = acquire(engine, name, &lent.user)?;
        lent.paths.insert(name.clone(), path);
    }
    Ok(lent)
}

impl Drop for Lent {
    fn drop(&mut self) {
        for name in self.paths.keys() {
            if let Err(error) = release(&self.engine, name, &self.user) {
                tracing::error!(volume = name, %error, "it is not given back");
            }
        }
    }
}
