//! The content store: blobs by digest, verified before they have their name, durable before they are used.
//!
//! ```text
//! blobs/sha256/<hex>            verified content, 0400
//! ingest/sha256-<hex>.part      content of a known digest on its way; survives a kill and is continued (see `ingest`)
//! ingest/new-<n>.part           content whose digest is not known yet; swept at boot
//! ```
//!
//! write … ─► fdatasync ─► digest and length right? ─► rename ─► fsync of the directory ─► may be referred to

use std::collections::HashSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use oci::Digest;
use oci::digest::Algorithm;

use crate::error::stream;
use crate::hash::Hasher;
use crate::ingest::Ingest;
use crate::steps::Steps;
use crate::{Error, Result};

/// The blobs of a data root.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) root: PathBuf,
    pub(crate) steps: Steps,
    counter: AtomicU64,
    /// Blobs that have their name, which the disk may not know yet.
    pub(crate) fresh: Mutex<HashSet<Digest>>,
}

/// A blob's address and length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

/// Makes a directory, with its parents, that only root may enter.
pub(crate) fn make_private(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(stream("make a directory of the image store"))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    let dir = File::open(path).map_err(stream("open a directory of the image store"))?;
    Ok(linux::file::sync(&dir)?)
}

impl Content {
    pub(crate) fn open(root: &Path, steps: Steps) -> Result<Self> {
        for algorithm in ALGORITHMS {
            make_private(&root.join("blobs").join(algorithm.name()))?;
        }
        make_private(&root.join("ingest"))?;
        for algorithm in ALGORITHMS {
            // A daemon that was killed may have named a blob and not come to this.
            sync_dir(&root.join("blobs").join(algorithm.name()))?;
        }
        Ok(Self { root: root.to_owned(), steps, counter: AtomicU64::new(0), fresh: Mutex::default() })
    }

    /// Where a blob is, whether it exists or not.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// The length of a blob; `None` when it is not in the store. Whoever is told a length may rely on the blob: its name is
    /// durable, also when the operation that gave it has not come to that.
    pub(crate) fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.path(digest);
        match std::fs::symlink_metadata(&path) {
            Ok(facts) => {
                if self.fresh.lock().unwrap_or_else(PoisonError::into_inner).contains(digest) {
                    sync_dir(path.parent().unwrap_or(&self.root))?;
                }
                Ok(Some(facts.len()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(stream("look at a blob")(error)),
        }
    }

    /// The disk space that a blob takes, as du(1) counts it; 0 when it is gone.
    pub(crate) fn allocated(&self, digest: &Digest) -> Result<u64> {
        use std::os::unix::fs::MetadataExt;
        match std::fs::symlink_metadata(self.path(digest)) {
            Ok(facts) => Ok(facts.blocks() * 512),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(stream("look at a blob")(error)),
        }
    }

    /// Opens a blob for reading.
    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<File> {
        match File::open(self.path(digest)) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::MissingContent(digest.clone()))
            }
            Err(error) => Err(stream("open a blob")(error)),
        }
    }

    /// Reads a small blob and verifies it again.
    pub(crate) fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let file = self.open_blob(digest)?;
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(stream("read a blob"))?;
        if bytes.len() as u64 > limit {
            return Err(Error::Invalid(format!(
                "content {digest} is longer than the limit of {limit} bytes"
            )));
        }
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        if hasher.finish() != *digest {
            return Err(Error::DamagedContent(digest.clone()));
        }
        Ok(bytes)
    }

    /// Hashes a blob from the disk; `false` when it no longer has its digest.
    pub(crate) fn verify(&self, digest: &Digest) -> Result<bool> {
        let mut file = self.open_blob(digest)?;
        let mut hasher = Hasher::new(digest.algorithm());
        copy_into(&mut file, &mut hasher)?;
        Ok(hasher.finish() == *digest)
    }

    /// Writes a small blob, unless it is there.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Blob> {
        let digest = crate::hash::digest_of(bytes);
        let blob = Blob { digest: digest.clone(), size: bytes.len() as u64 };
        if self.size(&digest)? == Some(blob.size) {
            return Ok(blob);
        }
        let mut ingest = self.ingest_new()?;
        ingest.write(bytes)?;
        ingest.commit(Some(&blob))
    }

    /// Starts to take in content whose digest is not known yet.
    pub(crate) fn ingest_new(&self) -> Result<Ingest<'_>> {
        self.ingest_as(Algorithm::Sha256)
    }

    /// Starts to take in content that is to be hashed with `algorithm`, and will not be continued after a kill.
    pub(crate) fn ingest_as(&self, algorithm: Algorithm) -> Result<Ingest<'_>> {
        loop {
            let number = self.counter.fetch_add(1, Ordering::Relaxed);
            let path = self.root.join("ingest").join(format!("new-{}-{number}.part", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => {
                    return Ok(Ingest::new(self, file, path, algorithm));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(stream("start to take in content")(error)),
            }
        }
    }

    /// Starts to take in content of a known digest, or continues where an earlier attempt stopped:
    /// [`Ingest::here`] tells what is there already. Fails when somebody else is at it.
    pub(crate) fn ingest_known(&self, blob: &Blob) -> Result<Ingest<'_>> {
        let digest = &blob.digest;
        let name = format!("{}-{}.part", digest.algorithm().name(), digest.hex());
        let path = self.root.join("ingest").join(name);
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let file = options.open(&path).map_err(stream("start to take in content"))?;
            if !linux::file::try_lock(&file)? {
                let words = format!("content {digest} is being taken in by another operation");
                return Err(Error::Conflict(words));
            }
            // Between opening and locking, another operation may have finished or removed the file.
            if is_at(&file, &path)? {
                return Ingest::resume(self, file, path, blob);
            }
        }
    }

    /// Removes partial content that nobody is taking in and nobody holds; the bytes it took.
    pub(crate) fn remove_partial(&self, held: &dyn Fn(&Digest) -> bool) -> Result<u64> {
        let mut bytes = 0;
        for (path, digest) in self.partial()? {
            let file = match File::open(&path) {
                // Content without a digest has no lock; what a kill left of it goes at the next boot.
                Ok(file) if digest.as_ref().is_some_and(|digest| !held(digest)) => file,
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(stream("look at partial content")(error)),
            };
            if linux::file::try_lock(&file)? && is_at(&file, &path)? {
                bytes += linux::file::stat(&file)?.allocated;
                std::fs::remove_file(&path).map_err(stream("remove partial content"))?;
            }
        }
        Ok(bytes)
    }

    /// Removes a blob; the bytes it took, 0 when it was not there.
    pub(crate) fn remove(&self, digest: &Digest) -> Result<u64> {
        let size = self.size(digest)?.unwrap_or_default();
        match std::fs::remove_file(self.path(digest)) {
            Ok(()) => Ok(size),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(stream("remove a blob")(error)),
        }
    }

    /// All blobs, and the names in the directories that are not blobs'.
    pub(crate) fn list(&self) -> Result<(Vec<Blob>, Vec<PathBuf>)> {
        let (mut blobs, mut strange) = (Vec::new(), Vec::new());
        for algorithm in ALGORITHMS {
            let directory = self.root.join("blobs").join(algorithm.name());
            for entry in std::fs::read_dir(&directory).map_err(stream("list the blobs"))? {
                let entry = entry.map_err(stream("list the blobs"))?;
                let digest = entry.file_name().to_str().and_then(|hex| Digest::new(algorithm, hex).ok());
                let facts = entry.metadata().map_err(stream("look at a blob"))?;
                match digest {
                    Some(digest) if facts.is_file() => blobs.push(Blob { digest, size: facts.len() }),
                    _ => strange.push(entry.path()),
                }
            }
        }
        Ok((blobs, strange))
    }

    /// The partial content in `ingest`: path, and the digest it is to have when that is known.
    pub(crate) fn partial(&self) -> Result<Vec<(PathBuf, Option<Digest>)>> {
        let mut list = Vec::new();
        for entry in std::fs::read_dir(self.root.join("ingest")).map_err(stream("list partial content"))? {
            let path = entry.map_err(stream("list partial content"))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let stem = name.strip_suffix(".part").unwrap_or_default();
            let digest =
                stem.split_once('-').and_then(|(algorithm, hex)| format!("{algorithm}:{hex}").parse().ok());
            list.push((path, digest));
        }
        Ok(list)
    }
}

/// Whether a path still means an open file.
fn is_at(file: &File, path: &Path) -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    match std::fs::symlink_metadata(path) {
        Ok(facts) => Ok(facts.ino() == linux::file::stat(file)?.inode),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(stream("look at partial content")(error)),
    }
}

/// Hashes what a reader has.
fn copy_into(reader: &mut impl Read, hasher: &mut Hasher) -> Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(stream("read content")(error)),
        }
    }
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
