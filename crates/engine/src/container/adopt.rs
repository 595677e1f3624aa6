//! Take over a living shim: ask how its container is.

use std::os::fd::OwnedFd;

use shim::protocol::{Reply, Request, State as ShimState, Status};

use super::launch::sort;
use super::owner::Adopted;
use super::state::Process;
use super::view::Live;
use crate::shim_link::Link;
use crate::{Error, Result};

/// Says hello on a connected socket. The answer tells whether the program runs.
pub(crate) async fn adopt(socket: OwnedFd) -> Result<Adopted> {
    let (link, notices) = Link::new(socket)?;
    let answer = link.call(Request::Hello, Vec::new()).await;
    let (reply, descriptors) = answer.map_err(|error| Error::system(error.message))?;
    let Reply::Status(status) = reply else {
        return Err(Error::system("the shim answered a greeting with something else"));
    };
    let Status { state, pid, start_time_ticks, exit, execs, descriptors: named, .. } = *status;
    let (pidfd, netns) = match state {
        ShimState::Running => sort(named, descriptors)?,
        // Made but never started, or ended: the caller decides what that means.
        _ => {
            return Err(Error::conflict(format!("the shim keeps no running program but {state:?} {exit:?}")));
        }
    };
    let process = Process {
        pid: pid.and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0),
        start_time_ticks: start_time_ticks.unwrap_or(0),
        started_at: 0,
    };
    for exec in execs {
        if let Some(exit) = exec.exit {
            tracing::info!(exec = exec.exec_id, code = exit.code, "an exec ended while no daemon was there");
        }
    }
    Ok(Adopted { live: Live { link, pidfd, netns }, notices, process })
}
