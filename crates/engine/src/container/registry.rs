//! Which containers exist: by identifier, by name, by unique prefix. Readers never wait for an owner.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{mpsc, oneshot, watch};

use super::owner::{Change, Command, Work};
use super::record::Record;
use super::state::Input;
use super::view::{Live, View};
use crate::{Error, Outcome, Result};

/// How long the end of a container is kept from those who wait for it, for the sake of a client that takes no output.
const SLOWEST_READER: std::time::Duration = std::time::Duration::from_secs(1);

/// A container as others see it: the latest snapshot, and its owner's mailbox.
#[derive(Debug, Clone)]
pub struct Handle {
    /// 64 hexadecimal digits.
    pub id: Arc<str>,
    mailbox: mpsc::Sender<Command>,
    view: watch::Receiver<Arc<View>>,
    /// Held by whoever mounts the container's own layer for writing: a start, or files that are put into it. Two mounts
    /// of one layer would not see each other's changes.
    pub(crate) layer: Arc<tokio::sync::Mutex<()>>,
    /// How many clients are attached that have not got all of their output yet.
    readers: Arc<watch::Sender<usize>>,
}

/// A client that is attached, until it has got all of its output.
#[derive(Debug)]
pub struct Reader(Arc<watch::Sender<usize>>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.send_modify(|readers| *readers -= 1);
    }
}

impl Handle {
    pub(crate) fn new(id: &str, mailbox: mpsc::Sender<Command>, view: watch::Receiver<Arc<View>>) -> Self {
        Self { id: id.into(), mailbox, view, layer: Arc::default(), readers: Arc::default() }
    }

    /// Counts a client that attaches.
    pub(crate) fn reader(&self) -> Reader {
        self.readers.send_modify(|readers| *readers += 1);
        Reader(Arc::clone(&self.readers))
    }

    /// Returns when every client that is attached has got all of its output, or will not take it.
    pub(crate) async fn has_been_read(&self) {
        let none = |readers: &usize| *readers == 0;
        // It only fails when the sender is gone, which is held here.
        let _ = tokio::time::timeout(SLOWEST_READER, self.readers.subscribe().wait_for(none)).await;
    }

    /// The latest snapshot. Never waits.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// Snapshots as they come.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Sends a command to the owner.
    pub(crate) async fn send(&self, command: Command) -> Result<()> {
        self.mailbox.send(command).await.map_err(|_| self.gone())
    }

    /// Sends an input and waits for the owner's answer (not for its effects).
    pub(crate) async fn request(&self, input: Input) -> Result<Outcome> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Request { input, reply }).await?;
        answer.await.map_err(|_| self.gone())?
    }

    /// Has the owner change the record, and waits until that is durable.
    pub(crate) async fn change(
        &self,
        change: impl FnOnce(&mut Record) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Change { change: Change(Box::new(change)), reply }).await?;
        answer.await.map_err(|_| self.gone())?
    }

    /// Has work done that changes the record and the world, on a thread that may block, while nothing else happens to
    /// the container. Waits until that is done and recorded.
    pub(crate) async fn work(
        &self,
        work: impl FnOnce(&mut Record, Option<&Live>) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Work { work: Work(Box::new(work)), reply }).await?;
        answer.await.map_err(|_| self.gone())?
    }

    /// Waits until a snapshot satisfies `accept`; an error once the container is gone without that.
    pub(crate) async fn until(&self, mut accept: impl FnMut(&View) -> bool) -> Result<Arc<View>> {
        let mut watch = self.view.clone();
        let view = watch.wait_for(|view| accept(view)).await.map_err(|_| self.gone())?;
        Ok(Arc::clone(&view))
    }

    fn gone(&self) -> Error {
        Error::not_found(format!("No such container: {}", self.id))
    }
}

#[derive(Debug, Default)]
struct Index {
    containers: BTreeMap<Arc<str>, Handle>,
    names: HashMap<String, Arc<str>>,
}

/// All containers.
#[derive(Debug, Default)]
pub struct Registry {
    index: RwLock<Index>,
}

impl Registry {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a name for a container that is being made. The name stays taken until [`Registry::release`].
    pub(crate) fn reserve(&self, name: &str, id: &str) -> Result<()> {
        let mut index = self.write();
        if let Some(owner) = index.names.get(name) {
            return Err(Error::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". You have to remove (or rename) that container to be able to reuse that name."
            )));
        }
        index.names.insert(name.to_owned(), id.into());
        Ok(())
    }

    /// Frees a name.
    pub(crate) fn release(&self, name: &str) {
        self.write().names.remove(name);
    }

    pub(crate) fn insert(&self, handle: Handle) {
        self.write().containers.insert(Arc::clone(&handle.id), handle);
    }

    /// Forgets a container and its name.
    pub(crate) fn remove(&self, id: &str) {
        let mut index = self.write();
        index.containers.remove(id);
        index.names.retain(|_, owner| owner.as_ref() != id);
    }

    /// All containers, ordered by identifier.
    #[must_use]
    pub fn all(&self) -> Vec<Handle> {
        self.read().containers.values().cloned().collect()
    }

    /// Finds a container by full identifier, full name, or unique identifier prefix, in that order.
    pub fn find(&self, reference: &str) -> Result<Handle> {
        let missing = || Error::not_found(format!("No such container: {reference}"));
        let index = self.read();
        if let Some(handle) = index.containers.get(reference) {
            return Ok(handle.clone());
        }
        let name = reference.strip_prefix('/').unwrap_or(reference);
        if let Some(handle) = index.names.get(name).and_then(|id| index.containers.get(id)) {
            return Ok(handle.clone());
        }
        if let Some((parent, alias)) = name.split_once('/') {
            let parent =
                index.names.get(parent).and_then(|id| index.containers.get(id)).ok_or_else(missing)?;
            let view = parent.view();
            let link = view.record.links.iter().find(|link| link.alias == alias).ok_or_else(missing)?;
            return index.containers.get(link.container_id.as_str()).cloned().ok_or_else(missing);
        }
        if reference.is_empty() {
            return Err(missing());
        }
        let start: Arc<str> = reference.into();
        let mut matching = index.containers.range(start..).take_while(|(id, _)| id.starts_with(reference));
        match (matching.next(), matching.next()) {
            (Some((_, handle)), None) => Ok(handle.clone()),
            (Some(_), Some(_)) => {
                Err(Error::invalid(format!("multiple IDs found with provided prefix: {reference}")))
            }
            _ => Err(missing()),
        }
    }
}
