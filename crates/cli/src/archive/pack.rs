//! Files of the user's as a tar archive, streamed while it is read.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use bytes::Bytes;
use tar_core::EntryType;
use tar_core::builder::EntryBuilder;
use tokio::sync::mpsc;

/// Archives `source` under `name` (its contents under `.` keep their own names), as a stream for a request's body.
pub(crate) fn stream(source: &Path, name: &str) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(16);
    let (source, name) = (source.to_owned(), name.to_owned());
    std::thread::spawn(move || {
        let mut sink = Sink { sender, buffer: Vec::with_capacity(PIECE) };
        let done = add(&mut sink, &source, name.as_bytes()).and_then(|()| sink.write_all(&[0; 1024]));
        if let Err(error) = done.and_then(|()| sink.flush()) {
            // A receiver that is gone has its own failure to tell.
            let _ = sink.sender.blocking_send(Err(error));
        }
    });
    receiver
}

const PIECE: usize = 64 << 10;

struct Sink {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        if piece.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

fn add(sink: &mut impl Write, path: &Path, name: &[u8]) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let kind = metadata.file_type();
    let mut builder = EntryBuilder::new_ustar();
    let (mut name, mut size) = (name.to_vec(), 0);
    if kind.is_dir() {
        name.push(b'/');
        builder.entry_type(EntryType::Directory);
    } else if kind.is_symlink() {
        builder.entry_type(EntryType::Symlink);
        builder.link_name(fs::read_link(path)?.as_os_str().as_bytes());
    } else if kind.is_file() {
        size = metadata.size();
        builder.entry_type(EntryType::Regular);
    } else if kind.is_fifo() {
        builder.entry_type(EntryType::Fifo);
    } else {
        // Sockets and devices of the host have no meaning in a container.
        return Ok(());
    }
    let unfit = |error: tar_core::HeaderError| io::Error::other(format!("{}: {error}", path.display()));
    builder.path(&name);
    builder.mode(metadata.mode() & 0o7777).map_err(unfit)?;
    builder.uid(metadata.uid().into()).map_err(unfit)?;
    builder.gid(metadata.gid().into()).map_err(unfit)?;
    builder.mtime(u64::try_from(metadata.mtime()).unwrap_or_default()).map_err(unfit)?;
    builder.size(size).map_err(unfit)?;
    sink.write_all(&builder.finish_bytes())?;
    if kind.is_file() {
        copy_exactly(&mut File::open(path)?, sink, size)?;
    }
    if kind.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path)?.collect::<io::Result<_>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let inner = [name.as_slice(), entry.file_name().as_bytes()].concat();
            add(sink, &entry.path(), &inner)?;
        }
    }
    Ok(())
}

/// Copies so many bytes, whatever becomes of the file meanwhile: the header has promised them.
fn copy_exactly(source: &mut File, sink: &mut impl Write, size: u64) -> io::Result<()> {
    let copied = io::copy(&mut source.take(size), sink)?;
    if copied < size {
        return Err(io::Error::other("the file became shorter while it was read"));
    }
    let padding = size.next_multiple_of(512) - size;
    sink.write_all(&[0; 512][..usize::try_from(padding).unwrap_or_default()])
}
