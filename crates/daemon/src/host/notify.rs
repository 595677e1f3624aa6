//! Telling the service manager how we are: sd_notify(3).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends a message (`READY=1`) to the socket that the environment names, if it names one.
pub fn tell(socket: Option<&str>, message: &str) {
    let Some(name) = socket.filter(|name| !name.is_empty()) else { return };
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    };
    let sent = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.send_to_addr(message.as_bytes(), &address)
    });
    if let Err(error) = sent {
        tracing::warn!(socket = name, %error, "cannot tell the service manager {message:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_it() {
        let path = std::env::temp_dir().join(format!("berth-notify-{}", std::process::id()));
        let manager = UnixDatagram::bind(&path).unwrap();
        tell(path.to_str(), "READY=1");
        let mut message = [0; 16];
        let length = manager.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1");
        std::fs::remove_file(path).unwrap();
        tell(None, "READY=1");
    }
}
