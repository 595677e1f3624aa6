//! What a long operation tells while it works, in the shape of Docker's progress messages.

/// One message: `{"id": …, "status": …, "progressDetail": {"current": …, "total": …}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it is about: the first twelve digits of a layer, or empty.
    pub id: String,
    /// What happens to it, in Docker's words.
    pub status: &'static str,
    /// How many bytes are done.
    pub current: u64,
    /// Of how many bytes, when that is known.
    pub total: Option<u64>,
}

/// Takes the messages of an operation. Called from several threads, at most about ten times a second per layer.
pub trait Progress: Sync {
    /// Takes a message.
    fn report(&self, event: &Event);

    /// Whether the operation should stop; asked at least once per megabyte.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Takes no notice of progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _event: &Event) {}
}

/// Counts the bytes of one thing and reports now and then.
pub(crate) struct Meter<'a> {
    progress: &'a dyn Progress,
    id: String,
    status: &'static str,
    total: Option<u64>,
    current: u64,
    reported: u64,
}

/// How many bytes pass between two messages.
const STEP: u64 = 4 << 20;

impl<'a> Meter<'a> {
    pub(crate) fn new(
        progress: &'a dyn Progress,
        id: &str,
        status: &'static str,
        total: Option<u64>,
    ) -> Self {
        Self { progress, id: id.to_owned(), status, total, current: 0, reported: 0 }
    }

    /// Counts `bytes` more; fails when the caller asked to stop.
    pub(crate) fn add(&mut self, bytes: usize) -> crate::Result<()> {
        self.current += bytes as u64;
        if self.current - self.reported >= STEP {
            self.reported = self.current;
            self.report();
        }
        if self.progress.cancelled() { Err(crate::Error::Cancelled) } else { Ok(()) }
    }

    pub(crate) fn report(&self) {
        let (id, status) = (self.id.clone(), self.status);
        self.progress.report(&Event { id, status, current: self.current, total: self.total });
    }
}
