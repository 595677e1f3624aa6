//! Mounts of a container that runs, put in place and taken away from outside.
//!
//! A mount is made ready in the caller's mount namespace, attached nowhere, so that its source is what the caller means. A
//! thread that enters the container's namespace only attaches it, on a place that the kernel looks up inside the
//! container's root: whatever the container does to its directories meanwhile, it can only move what is its own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::mount::{self, Change, Propagation};
use linux::root::Root;
use oci::runtime::Mount;

use crate::apply::{change, new_file_system, target_in};
use crate::error::While;
use crate::plan::{NewFileSystem, Options, Propagate};
use crate::{Error, Result};

/// A mount that is attached nowhere yet, or no longer.
#[derive(Debug)]
pub struct Detached {
    mount: OwnedFd,
    target: PathBuf,
    shared: Vec<Propagate>,
}

/// Makes a mount ready: a bind of the host's, or a new file system. `users` is the user namespace that the ids of a bind
/// are mapped by ([`crate::id_map::open`]).
///
/// # Errors
/// When the source does not exist, or an option cannot be had on a container that runs.
pub fn ready(asked: &Mount, users: Option<BorrowedFd<'_>>) -> Result<Detached> {
    let target = PathBuf::from(&asked.destination);
    let options = Options::parse(&asked.options);
    let bind = options.bind.or((asked.kind == "bind").then_some(false));
    let detached = match bind {
        Some(recursive) => mount::clone_or_take(Path::new(&asked.source), recursive)
            .during(|| format!("mount {}", target.display()))?,
        None => {
            let new = NewFileSystem {
                kind: asked.kind.clone(),
                source: asked.source.clone(),
                parameters: options.parameters,
            };
            new_file_system(&new, options.attributes.set)?
        }
    };
    if let Some(recursive) = options.id_map {
        let id_map = users.filter(|_| bind.is_some());
        let id_map = id_map.ok_or_else(|| {
            Error::invalid(format!("mount {}: only the ids of a bind can be mapped", target.display()))
        })?;
        let mapped = Change { id_map: Some(id_map), ..Change::default() };
        mount::change(&detached, recursive, &mapped)
            .during(|| format!("mapping ids of {}", target.display()))?;
    }
    change(&detached, &options.attributes, bind.is_some())?;
    let (shared, rest): (Vec<_>, Vec<_>) =
        options.propagation.into_iter().partition(|asked| asked.kind == Propagation::Shared);
    if shared.is_empty() && bind.is_some() {
        let slave = Change { propagation: Some(Propagation::Slave), ..Change::default() };
        mount::change(&detached, true, &slave)?;
    }
    for asked in rest {
        let propagation = Some(asked.kind);
        mount::change(&detached, asked.recursive, &Change { propagation, ..Change::default() })?;
    }
    Ok(Detached { mount: detached, target, shared })
}

/// Attaches mounts in a container's mount namespace, in order; all of them, or none.
///
/// # Errors
/// The first that cannot be attached.
pub fn attach(namespace: impl AsFd + Sync, mounts: &[Detached]) -> Result<()> {
    linux::mntns::run_in(namespace, || {
        let root = Root::open(Path::new("/"))?;
        for (number, mount) in mounts.iter().enumerate() {
            if let Err(error) = attach_one(&root, mount) {
                for done in mounts[..number].iter().rev() {
                    take_away(&root, &done.target)?;
                }
                return Err(error).during(|| format!("mount {}", mount.target.display()));
            }
        }
        Ok(())
    })?
}

fn attach_one(root: &Root, asked: &Detached) -> Result<()> {
    let place = target_in(root, &asked.mount, &asked.target)?;
    mount::attach(&asked.mount, &place)?;
    for propagate in &asked.shared {
        let propagation = Some(propagate.kind);
        mount::change(&asked.mount, propagate.recursive, &Change { propagation, ..Change::default() })?;
    }
    Ok(())
}

/// Detaches what is mounted at these places of a container, with everything below; all of them, or none. What comes back
/// can be attached again.
///
/// # Errors
/// The first place where nothing is mounted.
pub fn detach(namespace: impl AsFd + Sync, targets: &[PathBuf]) -> Result<Vec<Detached>> {
    linux::mntns::run_in(namespace, || {
        let root = Root::open(Path::new("/"))?;
        let mut gone = Vec::new();
        for target in targets {
            match detach_one(&root, target) {
                Ok(detached) => gone.push(detached),
                Err(error) => {
                    for back in gone.iter().rev() {
                        attach_one(&root, back)?;
                    }
                    return Err(error).during(|| format!("unmount {}", target.display()));
                }
            }
        }
        Ok(gone)
    })?
}

fn detach_one(root: &Root, target: &Path) -> Result<Detached> {
    let copy = mount::clone_fd(root.handle_no_follow(target)?, true)?;
    take_away(root, target)?;
    Ok(Detached { mount: copy, target: target.to_owned(), shared: Vec::new() })
}

fn take_away(root: &Root, target: &Path) -> Result<()> {
    let name = target.file_name().ok_or_else(|| Error::invalid("the root is not unmounted"))?;
    let parent = root.handle(target.parent().unwrap_or(Path::new("/")))?;
    Ok(linux::mntns::detach_in(parent, name)?)
}
