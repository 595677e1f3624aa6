//! Gives memory back to the kernel after busy times: the allocator keeps what was freed, for as long as the process lives.

use std::time::Duration;

use crate::engine::Engine;

/// How long nothing must have happened: who frees memory now may need it again at once.
const QUIET: Duration = Duration::from_secs(10);

/// Runs as long as the daemon does, and is woken by what happens only.
pub(crate) async fn give_back(engine: Engine) {
    loop {
        engine.events.happened().await;
        let mut seen = None;
        while seen != Some(engine.events.published()) {
            seen = Some(engine.events.published());
            tokio::time::sleep(QUIET).await;
        }
        // It walks the heap, which may be large by now: on a thread that nobody waits for.
        let trimmed = crate::blocking(|| {
            linux::heap::trim();
            Ok(())
        });
        if let Err(error) = trimmed.await {
            tracing::warn!(%error, "memory is not given back");
        }
    }
}
