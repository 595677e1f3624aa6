//! Work on files that others' file systems hold: of containers with their binds, and of volumes. A file system that does not
//! answer (FUSE, NFS) may hold it up for ever. It must not take all threads along that everything else needs too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Error, Result};

/// How much is done at once; the pool has 512 threads, and a work takes two at most.
const AT_ONCE: usize = 96;
/// How much on the files of one container or volume.
const AT_ONCE_OF_ONE: usize = 16;
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who works on whose files.
#[derive(Debug)]
pub(crate) struct FileWork {
    all: Arc<Semaphore>,
    of: Mutex<HashMap<String, Weak<Semaphore>>>,
    patience: Duration,
}

impl Default for FileWork {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(AT_ONCE)), of: Mutex::default(), patience: PATIENCE }
    }
}

impl FileWork {
    /// Does work on the files of a container or volume on a thread that may block, and waits for it. The work is done even when
    /// the caller leaves.
    ///
    /// # Errors
    /// `Unavailable` when too much has not ended for too long.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        owner: &str,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let held = self.turn(owner).await?;
        crate::blocking(move || {
            let done = work();
            drop(held);
            done
        })
        .await
    }

    async fn turn(&self, owner: &str) -> Result<[OwnedSemaphorePermit; 2]> {
        let of_one = self.of_one(owner);
        let turns = async {
            let one = of_one.acquire_owned().await;
            let all = Arc::clone(&self.all).acquire_owned().await;
            one.and_then(|one| all.map(|all| [one, all]))
        };
        match tokio::time::timeout(self.patience, turns).await {
            Ok(turn) => turn.map_err(|error| Error::system(error.to_string())),
            Err(_) => Err(Error::unavailable(format!(
                "too many requests on files of {owner} have not ended: a file system does not answer, or clients do not read"
            ))),
        }
    }

    fn of_one(&self, owner: &str) -> Arc<Semaphore> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_one) = of.get(owner).and_then(Weak::upgrade) {
            return of_one;
        }
        of.retain(|_, of_one| of_one.strong_count() > 0);
        let of_one = Arc::new(Semaphore::new(AT_ONCE_OF_ONE));
        of.insert(owner.to_owned(), Arc::downgrade(&of_one));
        of_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_hangs_on_one_container_holds_up_that_one_alone() {
        let work = FileWork { patience: Duration::ZERO, ..FileWork::default() };
        let mut hung = Vec::new();
        for _ in 0..AT_ONCE_OF_ONE {
            hung.push(work.turn("a").await.expect("a turn"));
        }
        let refused = work.run("a", || Ok(())).await.expect_err("too many");
        assert_eq!(refused.kind, crate::Kind::Unavailable);
        work.run("b", || Ok(())).await.expect("another one");
        hung.pop();
        work.run("a", || Ok(())).await.expect("one has ended");
        drop(hung);
        assert_eq!(work.of.lock().expect("a lock").values().filter(|of| of.strong_count() > 0).count(), 0);
    }
}
