//! Deleting a link without waiting for what the kernel goes on to do: a link has gone within a millisecond, and who asked
//! for that is told some fifteen milliseconds later, when every processor has forgotten it.
//!
//! ```text
//!  caller   watches links ─────────────► told that it goes: the next request about it waits until it has gone
//!  thread   RTM_DELLINK ─► it goes ─► has gone ─► waits for the other processors ─► ends by itself
//! ```

use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use linux::epoll::{Epoll, Interest};
use linux::netlink::Family;

use crate::interface::InterfaceName;
use crate::netlink::Connection;
use crate::network::Result;
use crate::rtnetlink::{self, LinkWatch};

/// Begins to delete a link, and returns when the kernel has begun to: requests that come now are carried out when it has
/// gone. One that does not exist is no error.
pub(crate) fn begin(interface: &InterfaceName) -> Result<()> {
    let watch = LinkWatch::open()?;
    let mut route = Connection::open(Family::Route)?;
    let failed =
        |call: &str, error: &std::io::Error| linux::Error::new(call, error.raw_os_error().unwrap_or(5));
    let (ended, end) = UnixStream::pair().map_err(|error| failed("socketpair(AF_UNIX)", &error))?;
    let (sender, outcome) = mpsc::channel();
    let name = interface.clone();
    let delete = move || {
        // Nobody waits for it any more when the link has gone long since.
        let _ = sender.send(route.request(&rtnetlink::delete(name.as_str())));
        drop(end);
    };
    let thread = std::thread::Builder::new().name("unplug".into()).stack_size(128 * 1024);
    thread.spawn(delete).map_err(|error| failed("clone(CLONE_THREAD)", &error))?;
    let mut epoll = Epoll::new(2)?;
    epoll.add(&watch, 0, Interest::READ)?;
    epoll.add(&ended, 1, Interest::READ)?;
    loop {
        epoll.wait(&mut Vec::new(), None)?;
        match outcome.try_recv() {
            Ok(Err(error)) if !error.is_absent() => return Err(error.into()),
            Ok(_) => return Ok(()),
            Err(_) => {}
        }
        if watch.look()?.links.contains(interface.as_str()) {
            return Ok(());
        }
    }
}
