//! Compressing a rotated file step by step, so that the writer is never held up for long.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::{files, identity};

/// How much is compressed in one step: a few milliseconds.
const STEP: usize = 256 * 1024;

/// A file being compressed: `x` → `x.gz.tmp` → `x.gz`, then `x` is removed.
pub(super) struct Job {
    path: PathBuf,
    source: File,
    encoder: GzEncoder<File>,
}

impl Job {
    /// Begins with the file at `path`; a left-over of an earlier attempt is replaced.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let source = File::open(path)?;
        let target = File::create(files::unfinished(path))?;
        target.set_permissions(source.metadata()?.permissions())?;
        // Who reads the log knows by this that it has read the content already.
        let builder = GzBuilder::new().comment(identity::comment(identity::of(&source)?));
        let encoder = builder.write(target, Compression::default());
        Ok(Self { path: path.to_owned(), source, encoder })
    }

    /// Compresses the next part; hands the job back while there is more to do.
    pub(super) fn step(mut self) -> io::Result<Option<Self>> {
        let mut buffer = vec![0; STEP];
        let count = self.source.read(&mut buffer)?;
        if count > 0 {
            self.encoder.write_all(&buffer[..count])?;
            return Ok(Some(self));
        }
        self.encoder.finish()?;
        fs::rename(files::unfinished(&self.path), files::compressed(&self.path))?;
        fs::remove_file(&self.path)?;
        Ok(None)
    }

    /// Compresses all that is left.
    pub(super) fn complete(self) -> io::Result<()> {
        let mut job = Some(self);
        while let Some(current) = job {
            job = current.step()?;
        }
        Ok(())
    }
}
