//! The image store of a data root: opened once, shared by everybody who works with images.

use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use oci::Platform;
use store::Store;

use crate::content::Content;
use crate::discard::Discarded;
use crate::layers::Layers;
use crate::limits::Limits;
use crate::pins::Pins;
use crate::quota::Quotas;
use crate::recover::{self, Recovery};
use crate::steps::Steps;
use crate::{Error, Result};

/// What the image store needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory that holds everything the daemon keeps.
    pub data_root: PathBuf,
    /// Limits on what comes from outside.
    pub limits: Limits,
    /// The platform that images are chosen for when nobody asks for another.
    pub platform: Platform,
    /// Tells one boot of the machine from another (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// Told of every step; for tests.
    pub steps: Steps,
}

impl Options {
    /// The defaults for a data root on this machine.
    ///
    /// # Errors
    /// When the boot ID cannot be read.
    pub fn new(data_root: impl Into<PathBuf>) -> Result<Self> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_err(crate::error::stream("read /proc/sys/kernel/random/boot_id"))?;
        Ok(Self {
            data_root: data_root.into(),
            limits: Limits::default(),
            platform: Platform::host(),
            boot_id: boot_id.trim().to_owned(),
            steps: Steps::default(),
        })
    }
}

/// The image store.
#[derive(Debug)]
pub struct Images {
    pub(crate) options: Options,
    pub(crate) store: Store,
    pub(crate) content: Content,
    pub(crate) layers: Arc<Layers>,
    pub(crate) pins: Pins,
    quotas: Quotas,
    /// Held by whoever makes directories of a snapshot.
    pub(crate) making: Mutex<()>,
    pub(crate) discarded: Discarded,
    settler: Option<Settler>,
}

impl Images {
    /// Opens the image store: repairs what a kill or a loss of power left, and says what that was.
    ///
    /// # Errors
    /// When directories cannot be made or the database cannot be read; never because of one bad record.
    pub fn open(store: Store, options: Options) -> Result<(Self, Recovery)> {
        let content = Content::open(&options.data_root, options.steps)?;
        let (limits, steps, boot_id) = (options.limits.clone(), options.steps, &options.boot_id);
        let layers = Layers::open(&options.data_root, store.clone(), limits, steps, boot_id)?;
        crate::content::make_private(&options.data_root.join("snapshots"))?;
        let discarded = Discarded::open(&options.data_root)?;
        let facts = recover::gather(&options, &store, &content)?;
        let recovery = recover::apply(&recover::plan(&facts), &store)?;
        let layers = Arc::new(layers);
        let settler = Some(Settler::start(Arc::clone(&layers)));
        let (pins, quotas) = (Pins::default(), Quotas::new(&options.data_root));
        let making = Mutex::new(());
        let images = Self { options, store, content, layers, pins, quotas, making, discarded, settler };
        images.complete_uses()?;
        Ok((images, recovery))
    }

    /// Has new layers made durable in the background.
    pub(crate) fn settle_soon(&self) {
        if let Some(settler) = &self.settler {
            settler.wake();
        }
    }

    /// Makes new layers durable and measures them, now. Happens by itself in the background; useful before measuring.
    ///
    /// # Errors
    /// When the disk or the database fails.
    pub fn settle(&self) -> Result<()> {
        self.layers.settle()
    }

    /// Limits on what containers and volumes may take of the disk.
    #[must_use]
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// The directory that holds everything.
    #[must_use]
    pub fn data_root(&self) -> &std::path::Path {
        &self.options.data_root
    }

    pub(crate) fn read_json<T: serde::de::DeserializeOwned>(&self, digest: &oci::Digest) -> Result<T> {
        let bytes = self.content.read(digest, self.options.limits.max_document)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::Invalid(format!("{digest}: malformed document: {error}")))
    }
}

/// The thread that makes layers durable after the operation that unpacked them has returned.
#[derive(Debug)]
struct Settler {
    wake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Settler {
    fn start(layers: Arc<Layers>) -> Self {
        let (wake, woken) = channel();
        let thread = std::thread::spawn(move || {
            while woken.recv().is_ok() {
                while woken.try_recv().is_ok() {}
                // A layer that could not be settled stays marked as not durable, which is safe, and is tried again with
                // the next one.
                drop(layers.settle());
            }
        });
        Self { wake: Some(wake), thread: Some(thread) }
    }

    fn wake(&self) {
        if let Some(wake) = &self.wake {
            // A thread that has ended can only have panicked: its layers stay marked as not durable, which is safe.
            let _thread_is_there = wake.send(()).is_ok();
        }
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic in the background thread has been printed by the runtime; there is nothing left to do about it.
            drop(thread.join());
        }
    }
}
