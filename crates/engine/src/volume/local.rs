//! What the options of the `local` driver mean, mounted over a volume's directory.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use linux::mount::{self, Change, FileSystem, Propagation, attribute};
use runtime::plan::Options;

use super::options::LocalMount;
use crate::{Error, Result};

/// How long the address of a server is looked for.
const LOOKUP: Duration = Duration::from_secs(10);
/// `ENODEV`: the kernel has no file system of that name.
const NO_DEVICE: i32 = 19;

/// Mounts it, unless it is mounted already.
pub(super) fn ensure_mounted(plan: LocalMount, target: &Path) -> Result<()> {
    let is_mounted = mount::is_mount_point(target).map_err(|error| Error::system(error.to_string()))?;
    if is_mounted {
        return Ok(());
    }
    let plan = match plan.server_name().map(str::to_owned) {
        Some(name) => plan.with_address(look_up(&name)?),
        None => plan,
    };
    let failed = |error: linux::Error| refused(&plan, target, &error);
    let detached = if plan.options.bind.is_some() { bind(&plan) } else { new(&plan) }.map_err(failed)?;
    let propagation = plan.options.propagation.last().map_or(Propagation::Private, |asked| asked.kind);
    let alone = Change { propagation: Some(propagation), ..Change::default() };
    mount::change(&detached, true, &alone).map_err(failed)?;
    let place = linux::root::Root::open(target).map_err(failed)?;
    mount::attach(&detached, OwnedFd::from(place)).map_err(failed)
}

/// Unmounts what is mounted over a volume's directory. Nothing being mounted there, or no directory, is as good.
pub(super) fn unmount(target: &Path) -> Result<()> {
    let failed = |error: linux::Error| Error::system(format!("unmount volume: {error}"));
    match mount::is_mount_point(target) {
        Ok(true) => mount::detach(target).map_err(failed),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

fn bind(plan: &LocalMount) -> linux::Result<OwnedFd> {
    let recursive = plan.options.bind == Some(true);
    let detached = mount::clone_path(Path::new(&plan.device), recursive)?;
    let Options { attributes, .. } = &plan.options;
    if attributes.set != 0 || attributes.clear != 0 {
        let change = Change { set: attributes.set, clear: attributes.clear, ..Change::default() };
        mount::change(&detached, false, &change)?;
    }
    Ok(detached)
}

fn new(plan: &LocalMount) -> linux::Result<OwnedFd> {
    let file_system = FileSystem::open(&plan.kind)?;
    file_system.set("source", &plan.device)?;
    for (key, value) in &plan.options.parameters {
        match value {
            Some(value) => file_system.set(key, value)?,
            None => file_system.set_flag(key)?,
        }
    }
    if plan.options.attributes.set & attribute::READ_ONLY != 0 {
        file_system.set_flag("ro")?;
    }
    file_system.mount(plan.options.attributes.set)
}

/// Docker's words, and what to do where this kernel cannot.
fn refused(plan: &LocalMount, target: &Path, error: &linux::Error) -> Error {
    let words = error.words().to_lowercase();
    let data =
        if plan.text.is_empty() { String::new() } else { format!(", data: {}", without_secrets(&plan.text)) };
    let clue = match error.errno() {
        NO_DEVICE if plan.options.bind.is_none() => {
            format!(" (this kernel has no file system {:?}, or cannot load its module)", plan.kind)
        }
        _ => String::new(),
    };
    tracing::debug!(%error, "a volume cannot be mounted");
    Error::system(format!(
        "failed to mount local volume: mount {}:{}{data}: {words}{clue}",
        plan.device,
        target.display()
    ))
}

/// Options as they may be told to anybody: values of passwords are not.
fn without_secrets(text: &str) -> String {
    let told = |option: &str| match option.split_once('=') {
        Some((key, _)) if ["password", "password2", "pass"].contains(&key.to_ascii_lowercase().as_str()) => {
            format!("{key}=********")
        }
        _ => option.to_owned(),
    };
    text.split(',').map(told).collect::<Vec<_>>().join(",")
}

fn look_up(name: &str) -> Result<std::net::IpAddr> {
    let lookup = async { tokio::time::timeout(LOOKUP, resolver::lookup(name)).await };
    let failed = |words: String| {
        Error::system(format!("error resolving passed in network volume address: lookup {name}: {words}"))
    };
    match tokio::runtime::Handle::current().block_on(lookup) {
        Ok(Ok(addresses)) => addresses.first().copied().ok_or_else(|| failed("no such host".to_owned())),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("no answer in time".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn passwords_are_not_told() {
        let text = "addr=127.0.0.1,username=u,password=se=cret,Pass=x,ro";
        assert_eq!(without_secrets(text), "addr=127.0.0.1,username=u,password=********,Pass=********,ro");
    }
}
