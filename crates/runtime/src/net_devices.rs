//! Moves interfaces of the host into the container's network namespace, with their lasting addresses, switched on.

use linux::interface::Interfaces;
use linux::process::{self as kernel, namespace};
use linux::procfs::Procfs;

use crate::error::While;
use crate::{Error, Result};

/// Moves interfaces, each (name, name inside), into the network namespace of the process `pid`.
pub(crate) fn move_in(devices: &[(String, String)], procfs: &Procfs, pid: u32) -> Result<()> {
    let (own, theirs) = (procfs.namespace(kernel::own_pid(), "net")?, procfs.namespace(pid, "net")?);
    let outside = Interfaces::open()?;
    // The socket stays where it was opened; whether that worked or not, we go back.
    kernel::set_namespace(&theirs, namespace::NETWORK)?;
    let inside = Interfaces::open();
    kernel::set_namespace(&own, namespace::NETWORK)?;
    let inside = inside?;
    for (name, new_name) in devices {
        move_one(&outside, &inside, &theirs, name, new_name).during(|| format!("interface {name}"))?;
    }
    Ok(())
}

fn move_one(
    outside: &Interfaces,
    inside: &Interfaces,
    namespace: &std::os::fd::OwnedFd,
    name: &str,
    new_name: &str,
) -> Result<()> {
    let number =
        outside.find(name)?.ok_or_else(|| Error::invalid("the host has no interface of this name"))?;
    if !new_name.contains('%') && inside.find(new_name)?.is_some() {
        return Err(Error::invalid(format!("the container has an interface {new_name} already")));
    }
    let addresses = outside.lasting_addresses(number)?;
    let before = inside.numbers()?;
    outside.give(number, namespace, new_name)?;
    // Its number inside may be another, and so may its name.
    let after = inside.numbers()?;
    let moved = after.into_iter().find(|number| !before.contains(number));
    let moved = moved.ok_or_else(|| Error::invalid("the interface did not arrive"))?;
    for address in &addresses {
        inside.add_address(moved, address)?;
    }
    Ok(inside.switch_on(moved)?)
}
