//! Compressing a rotated file step by step, so that the writer is never held up for long.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::blocks::Blocks;
use super::notes::Notes;
use super::{files, identity};

/// How much is compressed in one step: a few milliseconds.
const STEP: usize = 256 * 1024;

/// A file being compressed: `x` → `x.gz.tmp` → `x.gz`, then `x` is removed.
pub(super) struct Job {
    path: PathBuf,
    source: File,
    /// Bytes of the source that are compressed.
    done: u64,
    target: Target,
    blocks: Blocks,
}

/// The compressed file, within a block or between two.
enum Target {
    Within(Box<GzEncoder<File>>, u64),
    Between(File),
}

impl Job {
    /// Begins with the file at `path`; a left-over of an earlier attempt is replaced.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let source = File::open(path)?;
        let target = File::create(files::unfinished(path))?;
        let metadata = source.metadata()?;
        target.set_permissions(metadata.permissions())?;
        // Who reads the log knows by this that it has read the content already.
        let builder =
            GzBuilder::new().comment(identity::comment(identity::of(&source)?, Notes::read(&source)));
        let encoder = Box::new(builder.write(target, Compression::default()));
        let blocks = Blocks::new(metadata.len(), STEP as u64);
        Ok(Self { path: path.to_owned(), source, done: 0, target: Target::Within(encoder, 0), blocks })
    }

    /// Compresses the next part; hands the job back while there is more to do.
    pub(super) fn step(mut self) -> io::Result<Option<Self>> {
        let mut buffer = vec![0; STEP];
        let count = match self.source.read_at(&mut buffer, self.done) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Some(self)),
            other => other?,
        };
        // Blocks begin with a line. One that is longer than a step is taken in pieces.
        let lines = buffer[..count].iter().rposition(|byte| *byte == b'\n').map_or(count, |end| end + 1);
        if lines == 0 {
            self.finish()?;
            return Ok(None);
        }
        let (mut encoder, begin) = match self.target {
            Target::Within(encoder, begin) => (encoder, begin),
            Target::Between(mut file) => {
                let begin = file.stream_position()?;
                (Box::new(GzEncoder::new(file, Compression::default())), begin)
            }
        };
        encoder.write_all(&buffer[..lines])?;
        self.done += lines as u64;
        self.blocks.add(&buffer[..lines]);
        self.target = Target::Within(encoder, begin);
        Ok(Some(if self.blocks.is_full() { self.end_block()? } else { self }))
    }

    fn end_block(mut self) -> io::Result<Self> {
        if let Target::Within(encoder, begin) = self.target {
            let mut file = encoder.finish()?;
            self.blocks.end(file.stream_position()? - begin);
            self.target = Target::Between(file);
        }
        Ok(self)
    }

    fn finish(self) -> io::Result<()> {
        let job = self.end_block()?;
        if let Target::Between(mut file) = job.target {
            file.write_all(&job.blocks.table())?;
        }
        fs::rename(files::unfinished(&job.path), files::compressed(&job.path))?;
        fs::remove_file(&job.path)
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
