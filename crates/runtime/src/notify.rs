//! Handing the listener of a system-call filter to the agent that a configuration names.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use linux::socket;
use oci::runtime::State;

use crate::error::While;
use crate::{Error, Kind, Result};

/// How long the agent may take to accept us.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to the agent's socket, while its path can still be seen.
pub(crate) fn connect(path: &str) -> Result<OwnedFd> {
    if path.is_empty() {
        return Err(Error::invalid("linux.seccomp: SCMP_ACT_NOTIFY needs a listenerPath"));
    }
    socket::connect(Path::new(path), PATIENCE).during(|| "failed to connect with seccomp agent")
}

/// The container process state that goes with the descriptor (config-linux, "The Container Process State").
pub(crate) fn announcement(state: &State, metadata: &str) -> serde_json::Value {
    let mut announcement = serde_json::json!({
        "ociVersion": oci::runtime::VERSION,
        "fds": ["seccompFd"],
        "pid": state.pid,
        "state": state,
    });
    if !metadata.is_empty() {
        announcement["metadata"] = metadata.into();
    }
    announcement
}

/// What the configuration has to say to the agent.
pub(crate) fn metadata(spec: &oci::runtime::Spec) -> String {
    let config = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    config.map_or_else(String::new, |config| config.listener_metadata.clone())
}

/// Sends the descriptor with its announcement.
pub(crate) fn hand_over(agent: &OwnedFd, state: &serde_json::Value, listener: BorrowedFd<'_>) -> Result<()> {
    let text = state.to_string();
    match socket::send(agent, text.as_bytes(), &[listener])? {
        sent if sent == text.len() => Ok(()),
        _ => Err(Error::new(Kind::System, "the seccomp agent does not take the listener")),
    }
}
