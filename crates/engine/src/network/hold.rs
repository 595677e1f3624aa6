//! Taking the tables of an earlier daemon, which are its alone until it has ended.

use std::time::{Duration, Instant};

use super::failed;
use super::state::State;
use crate::{Error, Result};

/// How long an earlier daemon may take to end after it was killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The kernel tells nobody when a table has lost its owner: it is asked again after this.
const AGAIN: Duration = Duration::from_millis(20);

impl State {
    /// Makes the firewall what it should be, when the daemon starts.
    pub(super) fn take_firewall(&mut self) -> Result<()> {
        let begin = Instant::now();
        loop {
            match self.kernel.sync_firewall(&self.rules) {
                Err(error) if error.is_held() && begin.elapsed() < PATIENCE => std::thread::sleep(AGAIN),
                Err(error) if error.is_held() => {
                    return Err(Error::system(format!(
                        "{error}: another process holds our tables of the packet filter; is another daemon running in this network namespace?"
                    )));
                }
                other => return other.map(drop).map_err(failed),
            }
        }
    }
}
