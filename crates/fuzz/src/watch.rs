//! Ends a target that hangs or swells, and says with which input.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::shown;

/// Longer than any input of this size may take, on a busy machine and without optimisation.
const LONGEST: Duration = Duration::from_secs(20);
/// How much memory a target may take, in bytes. Looked at when nothing else runs in the process.
const LARGEST: u64 = 512 << 20;

/// Looks after one target.
pub(crate) struct Watch {
    name: String,
    shared: Arc<Shared>,
    /// What the process took before, in bytes.
    before: Option<u64>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    over: Condvar,
}

#[derive(Default)]
struct State {
    running: Option<(Instant, Vec<u8>)>,
    is_over: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Memory is looked at only when the target is `alone` in its process.
    pub(crate) fn start(name: &str, alone: bool) -> Self {
        let shared = Arc::new(Shared::default());
        let (inside, title) = (Arc::clone(&shared), name.to_owned());
        std::thread::spawn(move || look(&inside, &title));
        Self { name: name.to_owned(), shared, before: alone.then(most_memory).flatten() }
    }

    pub(crate) fn begin(&self, input: &[u8]) {
        self.shared.state().running = Some((Instant::now(), input.to_vec()));
    }

    /// # Panics
    /// When the input took too much memory.
    pub(crate) fn end(&self) {
        let done = self.shared.state().running.take();
        let Some((before, now)) = self.before.zip(most_memory()) else { return };
        let (input, mebibytes) = (done.map(|(_, input)| input).unwrap_or_default(), (now - before) >> 20);
        assert!(
            now - before <= LARGEST,
            "fuzz {}: this input takes {mebibytes} MiB:\n{}",
            self.name,
            shown(&input)
        );
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.over.notify_all();
    }
}

fn look(shared: &Shared, name: &str) {
    let mut state = shared.state();
    while !state.is_over {
        if let Some((_, input)) = state.running.as_ref().filter(|(since, _)| since.elapsed() > LONGEST) {
            eprintln!("fuzz {name}: this input takes more than {LONGEST:?}:\n{}", shown(input));
            std::process::abort();
        }
        let waited = shared.over.wait_timeout(state, LONGEST / 4);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// The most memory that this process has had, in bytes (proc_pid_status(5)).
fn most_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}
