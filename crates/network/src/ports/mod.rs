//! Host ports: reserved for containers before they start, against each other and against programs of the host.

mod allocator;
mod ephemeral;
mod holder;

pub use allocator::{Adopted, HostPorts, PortAllocator, PortError, PortLease, PortRequest};
pub use ephemeral::EphemeralPorts;
pub use holder::{Held, PortHolder, SocketHolder};
