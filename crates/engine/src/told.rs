//! Who is told of each thing that a prune has removed, while it goes on.

use tokio::sync::mpsc;

/// One thing that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Its identifier or name.
    pub id: String,
    /// `Deleted`, or `Untagged` for a name of an image.
    pub status: &'static str,
}

/// Where a prune tells what it has removed; telling never waits.
#[derive(Clone, Debug, Default)]
pub struct Told(Option<mpsc::UnboundedSender<Gone>>);

impl Told {
    /// For whoever reads the report at the end.
    #[must_use]
    pub fn nobody() -> Told {
        Told(None)
    }

    /// For whoever wants to hear of each; there are no more of them than things.
    #[must_use]
    pub fn channel() -> (Told, mpsc::UnboundedReceiver<Gone>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Told(Some(sender)), receiver)
    }

    pub(crate) fn deleted(&self, id: &str) {
        self.tell(id, "Deleted");
    }

    pub(crate) fn untagged(&self, name: &str) {
        self.tell(name, "Untagged");
    }

    fn tell(&self, id: &str, status: &'static str) {
        if let Some(sender) = &self.0 {
            // Who does not listen any more need not be told.
            let _ = sender.send(Gone { id: id.to_owned(), status });
        }
    }
}
