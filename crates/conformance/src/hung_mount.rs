//! A file system that hangs on command: a FUSE server (fuse(4)) that answers who its root is, and later nothing at all.

use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The kernel's smallest buffer for requests.
const BUFFER: usize = 1 << 16;
const GETATTR: u32 = 3;
const INIT: u32 = 26;
/// ENOSYS: not answered by this server.
const UNKNOWN: i32 = -38;
/// EIO.
const BROKEN: i32 = -5;

/// The mount. Answers again, and is detached, when dropped.
#[derive(Debug)]
pub struct HungMount {
    path: PathBuf,
    server: Arc<Server>,
}

#[derive(Debug)]
struct Server {
    device: File,
    /// Heads of requests that were not answered; `None` while it does not hang.
    held: Mutex<Option<Vec<[u8; 16]>>>,
}

impl HungMount {
    /// Mounts it at a directory; it answers until [`HungMount::hang`].
    pub fn new(path: &Path) -> Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").context("/dev/fuse")?;
        let directory = File::open(path)?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        linux::mount::mount_with_options("fuse", &directory, options.as_bytes())?;
        let server = Arc::new(Server { device, held: Mutex::default() });
        let own = server.clone();
        // Ends when the last user of the file system is gone.
        std::thread::spawn(move || own.serve());
        Ok(Self { path: path.to_owned(), server })
    }

    /// From now on nothing is answered: whoever asks waits, and cannot even be killed.
    pub fn hang(&self) {
        self.server.held().get_or_insert_default();
    }

    /// Answers again; what was asked meanwhile is an error.
    pub fn recover(&self) {
        for head in self.server.held().take().into_iter().flatten() {
            self.server.answer(&reply(&head, BROKEN, &[]));
        }
    }
}

impl Drop for HungMount {
    fn drop(&mut self) {
        self.recover();
        if let Err(error) = linux::mount::detach(&self.path) {
            eprintln!("{}: {error}", self.path.display());
        }
    }
}

impl Server {
    fn held(&self) -> MutexGuard<'_, Option<Vec<[u8; 16]>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut request = vec![0; BUFFER];
        while let Ok(length) = (&self.device).read(&mut request) {
            let Some(head) = request[..length].first_chunk::<16>() else { continue };
            if let Some(held) = &mut *self.held() {
                held.push(*head);
                continue;
            }
            let opcode = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
            self.answer(&match opcode {
                INIT => reply(head, 0, &init()),
                GETATTR => reply(head, 0, &root()),
                _ => reply(head, UNKNOWN, &[]),
            });
        }
    }

    fn answer(&self, answer: &[u8]) {
        // A request that was given up needs no answer.
        let _ = (&self.device).write(answer);
    }
}

/// `fuse_out_header` and what follows it; the third word of a request is its number.
fn reply(head: &[u8; 16], error: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes()[..], &error.to_le_bytes(), &head[8..16], body].concat()
}

/// `fuse_init_out`: version 7.31, and nothing that can be left out.
fn init() -> Vec<u8> {
    let mut body = [7_u32.to_le_bytes(), 31_u32.to_le_bytes(), [0; 4], [0; 4]].concat();
    body.resize(64, 0);
    // max_write
    body[20..24].copy_from_slice(&4096_u32.to_le_bytes());
    body
}

/// `fuse_attr_out` of a directory; valid for no time, so that everybody asks again.
fn root() -> Vec<u8> {
    let mut body = vec![0; 104];
    body[16] = 1;
    // mode, nlink
    body[76..80].copy_from_slice(&0o40755_u32.to_le_bytes());
    body[80..84].copy_from_slice(&2_u32.to_le_bytes());
    body
}
