//! The engine's start: open what is kept, make the network, take over what still runs, sweep what does not.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use crate::config::{CgroupDriver, Config};
use crate::container::exec::Execs;
use crate::container::recover::{self, Machine};
use crate::container::registry::Registry;
use crate::engine::{Engine, Parts};
use crate::event::Events;
use crate::host::Host;
use crate::network::Networks;
use crate::records::Records;
use crate::volume::Volumes;
use crate::{Error, Result, id};

/// Our own binary, by a path that nobody can change: what shims are started from.
#[derive(Debug)]
pub struct Program {
    _handle: Option<OwnedFd>,
    /// The path.
    pub path: PathBuf,
}

impl Program {
    /// A detached read-only mount of the running binary, so that a container that reaches its shim's binary cannot
    /// write to it.
    fn own() -> Result<Self> {
        let handle = linux::exe::read_only()
            .map_err(|error| Error::system(format!("hold our own binary: {error}")))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
        Ok(Self { _handle: Some(handle), path })
    }
}

/// Opens the engine. Whatever one record says, the others are served: what cannot be brought back is reported.
pub async fn open(config: Config) -> Result<Engine> {
    let (parts, containers, machine) = crate::blocking(move || gather(config)).await?;
    let engine = Engine::new(parts);
    let mut settling = Vec::new();
    for record in containers {
        let name = id::short(&record.id).to_owned();
        match recover::recover(&engine, record, machine).await {
            Ok(container) => settling.push(container),
            Err(error) => {
                tracing::error!(container = name, %error, "this container is not brought back; its record is kept");
            }
        }
    }
    recover::settle(settling).await;
    let owned = engine.clone();
    crate::blocking(move || sweep(&owned)).await?;
    crate::volume::content::thaw(&engine).await?;
    tokio::spawn(crate::network::keep_firewall(engine.clone()));
    tokio::spawn(crate::network::keep_links(engine.clone()));
    tokio::spawn(crate::network::keep_zones(engine.clone()));
    tokio::spawn(collect_garbage(engine.clone()));
    tokio::spawn(crate::memory::give_back(engine.clone()));
    Ok(engine)
}

fn gather(config: Config) -> Result<(Parts, Vec<crate::container::record::Record>, Machine)> {
    for dir in [&config.data_root, &config.exec_root] {
        make_root(dir)?;
    }
    let host = Host::detect()?;
    if host.has_apparmor
        && let Err(error) = crate::apparmor::ensure_default()
    {
        tracing::error!(%error, "containers that are not privileged cannot be started");
    }
    check_parent(&config, &host)?;
    let records = Records::open(&config.data_root.join("records"))?;
    let options = image::Options::new(&config.data_root).map_err(crate::image_use::error)?;
    crate::system::id(&records)?;
    let was_restarted = records.replace("boot-id", &options.boot_id)?;
    let machine = if was_restarted { Machine::StartedAgain } else { Machine::Same };
    let (images, recovery) =
        image::Images::open(records.store().clone(), options).map_err(crate::image_use::error)?;
    tracing::debug!(?recovery, "images opened");
    let (containers, bad) = records.containers()?;
    let (volumes, bad_volumes) = records.volumes()?;
    for record in bad.into_iter().chain(bad_volumes) {
        tracing::error!(
            table = record.table,
            key = record.key,
            reason = record.reason,
            "a record cannot be read; it is kept as it is"
        );
    }
    let program = Program::own()?;
    let users = config.remap.as_ref();
    let users = users
        .map(|remap| crate::userns::probe(&program, remap, &host.kernel_release, &config.data_root))
        .transpose()?;
    let networks = Networks::open(&config, &records, &containers)?;
    let volumes = Volumes::new(&config.data_root.join("volumes"), volumes);
    let parts = Parts {
        host,
        records,
        containers: Registry::default(),
        execs: Execs::default(),
        images,
        registries: crate::images::Registries::default(),
        turns: crate::images::Turns::default(),
        networks,
        volumes,
        log_watches: crate::forward::Watches::default(),
        file_work: crate::file_work::FileWork::default(),
        events: Events::default(),
        program,
        users,
        current: std::sync::RwLock::new(std::sync::Arc::new(config.clone())),
        config,
    };
    Ok((parts, containers, machine))
}

/// A parent that no container could be made below is refused at once.
fn check_parent(config: &Config, host: &Host) -> Result<()> {
    let driver = config.driver(host);
    crate::container::group::check_parent(config.parent(driver), driver).map(drop)
}

/// Nobody but root may look in: set-user-ID programs of images would be reachable otherwise.
fn make_root(dir: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let failed = |error: std::io::Error| Error::system(format!("make {}: {error}", dir.display()));
    std::fs::DirBuilder::new().recursive(true).mode(0o710).create(dir).map_err(failed)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o710)).map_err(failed)
}

/// Removes what belongs to no container any more, then makes the firewall what the running ones need.
fn sweep(engine: &Engine) -> Result<()> {
    let known = |id: &str| engine.containers.find(id).is_ok_and(|handle| handle.id.as_ref() == id);
    for id in engine.images.snapshots().map_err(crate::image_use::error)? {
        if !known(&id) && !unreadable(engine, &id)? {
            engine.images.remove_snapshot(&id).map_err(crate::image_use::error)?;
        }
    }
    for found in shim::recovery::exec_dirs(&engine.config.exec_root.join("containers"))
        .map_err(|error| Error::system(format!("list what earlier shims left: {error}")))?
    {
        if !known(&found.id) && !unreadable(engine, &found.id)? {
            tracing::warn!(container = id::short(&found.id), "a shim without a container is ended");
            end_stray(engine, &found)?;
        }
    }
    crate::volume::settle(engine)?;
    sweep_directories(engine)?;
    engine.networks.sweep()?;
    crate::container::links::let_all_pass(engine)?;
    if let Some(difference) = engine.networks.reconcile()? {
        tracing::info!(difference, "the firewall was made what the running containers need");
    }
    Ok(())
}

/// Removes directories of containers that a loss of power brought back after their removal.
fn sweep_directories(engine: &Engine) -> Result<()> {
    let directory = engine.config.data_root.join("containers");
    let failed = |error: std::io::Error| Error::system(format!("sweep {}: {error}", directory.display()));
    let entries = match std::fs::read_dir(&directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_known = engine.containers.find(&name).is_ok_and(|handle| handle.id.as_ref() == name);
        if id::is_id(&name) && !is_known && !unreadable(engine, &name)? {
            tracing::info!(container = id::short(&name), "what is left of it is removed");
            std::fs::remove_dir_all(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

/// Whether a container's record is there but could not be read: then nothing of it is touched.
fn unreadable(engine: &Engine, id: &str) -> Result<bool> {
    let (readable, bad) = engine.records.containers()?;
    Ok(bad.iter().any(|record| record.key == id) || readable.iter().any(|record| record.id == id))
}

fn end_stray(engine: &Engine, found: &shim::recovery::Found) -> Result<()> {
    let failed = |error: std::io::Error| Error::system(format!("end a stray shim: {error}"));
    if let Some(process) = shim::recovery::shim_process(&found.exec_dir).map_err(failed)? {
        process.send(9).map_err(|error| Error::system(format!("end a stray shim: {error}")))?;
    }
    let place = crate::container::group::usual_place(engine, &found.id)?;
    crate::container::group::sweep(engine, &place, &found.id)?;
    std::fs::remove_dir_all(&found.exec_dir).map_err(failed)
}

/// How often what could not be freed at once is tried again.
const COLLECTION: std::time::Duration = std::time::Duration::from_secs(600);

/// Frees what a removal had let go of when the last daemon went, and later what could not be freed when it was let go of.
async fn collect_garbage(engine: Engine) {
    loop {
        let owned = engine.clone();
        let collected =
            crate::blocking(move || owned.images.collect().map_err(crate::image_use::error)).await;
        match collected {
            Ok(collected) => tracing::debug!(?collected, "collected what was left"),
            Err(error) => tracing::error!(%error, "what nothing needs any more cannot be freed"),
        }
        tokio::time::sleep(COLLECTION).await;
    }
}

/// The end of a daemon that leaves its containers running: nothing of them is touched. The parent control group is
/// removed when no container is in it.
pub async fn close(engine: &Engine) {
    let owned = engine.clone();
    let closed = crate::blocking(move || {
        let failed = |error: cgroup::Error| Error::system(error.to_string());
        let driver = owned.config.driver(&owned.host);
        if driver == CgroupDriver::Systemd {
            // The slice is systemd's.
            return Ok(());
        }
        let path = cgroup::CgroupPath::parse(owned.config.parent(driver)).map_err(failed)?;
        // Another engine may have the same parent, and be making a group in it.
        if let Some(parent) = cgroup::Cgroup::open(&owned.host.cgroups, &path).map_err(failed)? {
            parent.remove_unused().map_err(failed)?;
        }
        Ok(())
    });
    if let Err(error) = closed.await {
        tracing::debug!(%error, "the parent control group stays");
    }
}
