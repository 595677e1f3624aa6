//! Directories that are of no use any more, freed a little after they were given up.
//!
//! ```text
//! discard ─► rename to <data root>/removed/<kind>-<name> ─► the caller goes on ─► a thread frees what is in it
//! boot    ─► whatever is in `removed` is freed
//! ```
//!
//! To free many small files takes a disk longer than anything else that the removal of a container does, and nobody has to
//! wait for it: whoever asked is told once the directory is out of the way. A kill or a loss of power leaves it where it
//! was, where its owner finds it without a record, or in `removed`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Result;
use crate::content::make_private;
use crate::error::stream;
use crate::layers::remove_path;

/// So many may wait; beyond that whoever gives one up frees it himself, so that they do not pile up.
const MOST_WAITING: usize = 64;

/// When what could not be freed is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// What is given up.
#[derive(Debug)]
pub(crate) struct Discarded {
    directory: PathBuf,
    shared: Arc<Shared>,
    sender: Option<Sender<PathBuf>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: AtomicUsize,
    is_over: AtomicBool,
}

impl Discarded {
    /// Starts the thread, with what the last one had left to do.
    pub(crate) fn open(data_root: &Path) -> Result<Self> {
        let directory = data_root.join("removed");
        make_private(&directory)?;
        let shared = Arc::new(Shared::default());
        let (sender, receiver) = channel();
        for entry in std::fs::read_dir(&directory).map_err(stream("list what was removed"))? {
            shared.waiting.fetch_add(1, Ordering::AcqRel);
            // The receiver is right here.
            let _ = sender.send(entry.map_err(stream("list what was removed"))?.path());
        }
        let owned = Arc::clone(&shared);
        let thread = std::thread::spawn(move || free_all(&receiver, &owned));
        Ok(Self { directory, shared, sender: Some(sender), thread: Some(thread) })
    }

    /// Gives a directory up: it is not there any more when this returns. What does not exist is given up already.
    pub(crate) fn discard(&self, path: &Path) -> Result<()> {
        let has_room = self.shared.waiting.load(Ordering::Acquire) < MOST_WAITING;
        let aside = if has_room { self.put_aside(path)? } else { free(path).map(|()| None)? };
        if let Some(place) = aside {
            self.hand_on(place);
        }
        Ok(())
    }

    /// Leaves it to the thread to free what was put aside.
    fn hand_on(&self, place: PathBuf) {
        self.shared.waiting.fetch_add(1, Ordering::AcqRel);
        match &self.sender {
            Some(sender) if sender.send(place).is_ok() => {}
            // The next boot frees it.
            _ => drop(self.shared.waiting.fetch_sub(1, Ordering::AcqRel)),
        }
    }

    /// Takes a directory away from where it is found; where it is now. A boot frees it when nobody did. Where it cannot be
    /// renamed it is freed at once, and is nowhere.
    fn put_aside(&self, path: &Path) -> Result<Option<PathBuf>> {
        let kind = path.parent().and_then(Path::file_name).unwrap_or_default();
        let name = path.file_name().unwrap_or_default();
        let place = self.directory.join(format!("{}-{}", kind.display(), name.display()));
        match std::fs::rename(path, &place) {
            Ok(()) => Ok(Some(place)),
            // Nothing there, no room on a full disk, or somebody took `removed` away.
            Err(_) => free(path).map(|()| None),
        }
    }
}

/// Directories that somebody put aside, to be freed when he has the time for it. What he does not come to free, or cannot
/// free, the thread does.
#[derive(Debug)]
pub(crate) struct Aside<'a> {
    discarded: &'a Discarded,
    places: Vec<PathBuf>,
}

impl<'a> Aside<'a> {
    pub(crate) fn new(discarded: &'a Discarded) -> Self {
        Self { discarded, places: Vec::new() }
    }

    /// Takes a directory away from where it is found.
    pub(crate) fn take(&mut self, path: &Path) -> Result<()> {
        self.places.extend(self.discarded.put_aside(path)?);
        Ok(())
    }

    /// Frees all of them, as far as that can be done now.
    pub(crate) fn free(mut self) {
        self.places.retain(|place| remove_path(place).is_err());
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        for place in self.places.drain(..) {
            self.discarded.hand_on(place);
        }
    }
}

/// Frees what is there; what does not exist is free.
fn free(path: &Path) -> Result<()> {
    match remove_path(path) {
        Err(_) if !path.exists() => Ok(()),
        result => result,
    }
}

fn free_all(receiver: &Receiver<PathBuf>, shared: &Shared) {
    let mut left: Vec<PathBuf> = Vec::new();
    loop {
        let next = match left.is_empty() {
            true => receiver.recv().map_err(RecvTimeoutError::from),
            false => receiver.recv_timeout(AGAIN),
        };
        if shared.is_over.load(Ordering::Acquire) {
            return;
        }
        match next {
            Ok(path) => {
                // What cannot be freed now, as when there are no descriptors, is tried again: here, or by the next boot.
                if remove_path(&path).is_err() {
                    left.push(path);
                }
                shared.waiting.fetch_sub(1, Ordering::AcqRel);
            }
            Err(RecvTimeoutError::Timeout) => left.retain(|path| remove_path(path).is_err() && path.exists()),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Drop for Discarded {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // It ends with what it frees now.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn tree(root: &Path, name: &str) -> PathBuf {
        let path = root.join("snapshots").join(name);
        std::fs::create_dir_all(path.join("upper/d")).expect("a tree");
        std::fs::write(path.join("upper/d/f"), "x").expect("a file");
        path
    }

    fn left(root: &Path) -> usize {
        std::fs::read_dir(root.join("removed")).expect("removed").count()
    }

    #[test]
    fn what_is_given_up_is_gone_at_once_and_freed_by_the_end_or_the_next_beginning() {
        let scratch = Scratch::new("discard");
        let root = &scratch.path;
        let discarded = Discarded::open(root).expect("open");
        for number in 0..MOST_WAITING + 10 {
            let path = tree(root, &number.to_string());
            discarded.discard(&path).expect("discard");
            assert!(!path.exists(), "{number}");
        }
        discarded.discard(&root.join("snapshots/absent")).expect("nothing");
        discarded.discard(&root.join("nowhere/absent")).expect("nothing at all");
        drop(discarded);
        let next = Discarded::open(root).expect("open again");
        while next.shared.waiting.load(Ordering::Acquire) > 0 {
            std::thread::yield_now();
        }
        assert_eq!(left(root), 0);
    }

    #[test]
    fn what_was_put_aside_is_freed_by_whoever_took_it_or_by_the_thread() {
        let scratch = Scratch::new("discard-aside");
        let root = &scratch.path;
        let discarded = Discarded::open(root).expect("open");
        let take = |name: &str| {
            let mut aside = Aside::new(&discarded);
            aside.take(&tree(root, name)).expect("take");
            assert_eq!(left(root), 1, "it is out of the way, and not freed");
            aside
        };
        take("a").free();
        assert_eq!(left(root), 0);
        drop(take("b"));
        while left(root) > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn without_its_directory_it_frees_at_once() {
        let scratch = Scratch::new("discard-without");
        let root = &scratch.path;
        let discarded = Discarded::open(root).expect("open");
        std::fs::remove_dir(root.join("removed")).expect("taken away");
        let path = tree(root, "a");
        discarded.discard(&path).expect("discard");
        assert!(!path.exists());
    }
}
