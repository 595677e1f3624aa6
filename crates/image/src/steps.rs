//! The points between which a kill may fall, so that tests can put one at each of them.

/// Told at every step whose effect is visible on the disk. Does nothing outside tests.
#[derive(Clone, Copy)]
pub struct Steps(fn(&'static str));

impl Steps {
    /// Calls `reached` with the name of every step.
    #[must_use]
    pub fn new(reached: fn(&'static str)) -> Self {
        Self(reached)
    }

    pub(crate) fn reached(self, step: &'static str) {
        (self.0)(step);
    }
}

impl Default for Steps {
    fn default() -> Self {
        Self(|_| {})
    }
}

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Steps")
    }
}
