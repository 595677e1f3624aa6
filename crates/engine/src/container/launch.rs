//! A launch: reserve, gather facts, plan, apply; and undo all of it when something fails.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shim::protocol::{self, CgroupDriver, CgroupPlace, Create, Descriptor, ErrorKind, Io, Reply, Request};
use tokio::sync::mpsc;

use super::facts;
use super::held::Held;
use super::owner::Adopted;
use super::plan::plan_spec;
use super::record::{Attachment, Record};
use super::registry::Handle;
use super::spec::{ContainerSpec, RootSource};
use super::state::{Input, Nanos};
use super::view::Live;
use crate::engine::Engine;
use crate::shim_link::{Asked, Attach, Link, Notice};
use crate::userns::Users;
use crate::{Error, Result, time};

/// A launch that succeeded.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) live: Live,
    pub(crate) notices: mpsc::UnboundedReceiver<Notice>,
    pub(crate) pid: i32,
    pub(crate) start_time_ticks: u64,
    /// Just before the program was let go: never later than its end.
    pub(crate) started_at: Nanos,
}

/// A launch that failed, and was undone.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code to show: 126, 127 or 128.
    pub(crate) code: i32,
    /// Docker's words.
    pub(crate) message: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { code: 128, message: error.message }
    }
}

impl From<protocol::Error> for Failure {
    fn from(error: protocol::Error) -> Self {
        let code = match error.kind {
            ErrorKind::NotFound => 127,
            ErrorKind::Permission | ErrorKind::IsDirectory => 126,
            ErrorKind::Invalid | ErrorKind::Other => 128,
        };
        let message = format!(
            "failed to create task for container: failed to create shim task: OCI runtime create failed: {}{}",
            error.message,
            clue(error.kind)
        );
        Self { code, message }
    }
}

/// Clients tell 126 from 125 by these words, which Docker adds where a program turns out to be a directory.
pub(crate) fn clue(kind: ErrorKind) -> &'static str {
    if kind == ErrorKind::IsDirectory { ": permission denied" } else { "" }
}

/// Directories of one container.
pub(crate) struct Places {
    /// Sockets of this boot.
    pub(crate) exec_dir: PathBuf,
    /// Log, exit record, hosts, hostname, resolv.conf.
    pub(crate) data_dir: PathBuf,
}

impl Places {
    pub(crate) fn of(engine: &Engine, id: &str) -> Self {
        let (data, exec) = (&engine.config.data_root, &engine.config.exec_root);
        Self { exec_dir: exec.join("containers").join(id), data_dir: data.join("containers").join(id) }
    }
}

/// Starts the container's program. Whatever fails, nothing of the attempt remains.
///
/// ```text
///            ┌─ shim started ───────────────────┐                    ┌─ network furnished ──┐
/// reserved ──┤                                  ├── Create ── clone ─┤                      ├── Start
///            └─ facts, files, plan ─────────────┘                    └─ container made ready┘
/// ```
pub(crate) async fn launch(
    engine: &Engine,
    handle: &Handle,
    record: Record,
    waiting: Vec<Attach>,
) -> std::result::Result<Launched, Failure> {
    let _layer = handle.layer.lock().await;
    let reserved = reserve(engine, handle, &record).await?;
    let attempt = run(engine, &record, &reserved, waiting).await;
    if attempt.is_ok() {
        super::links::tell_parents(engine, &record.id).await;
    } else {
        // The owner's teardown, which follows a failure, frees what was reserved.
        tracing::debug!(container = crate::id::short(&record.id), "launch failed");
    }
    attempt
}

/// Takes an address and host ports, and makes that known durably before anything is done with them.
async fn reserve(engine: &Engine, handle: &Handle, record: &Record) -> Result<Vec<Attachment>> {
    let (owned, copy) = (engine.clone(), record.clone());
    let reserved = crate::blocking(move || owned.networks.reserve(&copy)).await;
    let attachments = reserved.map_err(in_networking)?;
    let kept = attachments.clone();
    let saved = handle
        .change(move |record| {
            record.attachments = kept;
            Ok(())
        })
        .await;
    if saved.is_err() {
        engine.networks.free(&record.id);
    }
    saved.map(|()| attachments)
}

/// Says in Docker's words what part of a start has failed.
fn in_networking(error: Error) -> Error {
    Error { message: format!("failed to set up container networking: {}", error.message), ..error }
}

async fn run(
    engine: &Engine,
    record: &Record,
    attachments: &[Attachment],
    waiting: Vec<Attach>,
) -> std::result::Result<Launched, Failure> {
    let (spawned, prepared) = tokio::join!(spawn_shim(engine, record), prepare(engine, record, attachments));
    let spawned = match (spawned, prepared.is_err()) {
        (Ok(spawned), _) => spawned,
        (Err(error), false) => return Err(error.into()),
        // Why there is nothing to start says more.
        (Err(error), true) => return Err(prepared.err().unwrap_or_else(|| error.into())),
    };
    crate::shim_process::reap_later(spawned.child);
    let (link, notices) = Link::new(spawned.socket)?;
    let started = match prepared {
        // What the shim is to mount is named by descriptors that are held until it has.
        Ok((create, _held)) => drive(engine, record, attachments, waiting, &link, create).await,
        Err(failure) => Err(failure),
    };
    match started {
        Ok((live, pid, start_time_ticks, started_at)) => {
            Ok(Launched { live, notices, pid, start_time_ticks, started_at })
        }
        Err(failure) => {
            // The shim kills and cleans what it made, and leaves.
            if let Err(error) = link.call(Request::Shutdown, Vec::new()).await {
                tracing::warn!(container = crate::id::short(&record.id), %error, "the shim of a failed launch is gone");
            }
            Err(failure)
        }
    }
}

/// Starts the shim, which knows nothing of the container yet.
async fn spawn_shim(engine: &Engine, record: &Record) -> Result<shim::spawn::Spawned> {
    let (engine, exec_dir) = (engine.clone(), Places::of(engine, &record.id).exec_dir);
    let spawn = move || {
        make_private(&exec_dir)?;
        crate::shim_process::spawn(&engine.program.path, &exec_dir)
    };
    crate::blocking(spawn).await
}

/// Facts, files and the plan, all before a process exists.
async fn prepare(
    engine: &Engine,
    record: &Record,
    attachments: &[Attachment],
) -> std::result::Result<(Create, Held), Failure> {
    let (engine, record, attachments) = (engine.clone(), record.clone(), attachments.to_vec());
    let prepared = crate::blocking(move || {
        let places = Places::of(&engine, &record.id);
        facts::ensure_bind_sources(&engine, &record)?;
        forget_exit(&places.data_dir)?;
        super::net_files::write(&engine, &record, &attachments)?;
        let mut root = root(&engine, &record)?;
        let mut facts = facts::gather(&engine, &record, &layers(&root))?;
        facts.volume_paths = crate::volume::acquire_all(&engine, &record.id, &record.spec.mounts)?;
        let held = Held::gather(&engine, &record, &mut facts)?;
        if let protocol::Root::Overlay { mapped, .. } = &mut root {
            *mapped = facts.users != Users::Host;
        }
        let plan = plan_spec(&record.spec, &facts)?;
        tracing::debug!(container = crate::id::short(&record.id), plan = %serde_json::to_string(&plan).unwrap_or_default());
        Ok((create_request(&engine, &record, &places, root, plan, facts.cgroup_path)?, held))
    })
    .await?;
    Ok(prepared)
}

fn create_request(
    engine: &Engine,
    record: &Record,
    places: &Places,
    root: protocol::Root,
    plan: oci::runtime::Spec,
    cgroup_path: String,
) -> Result<Create> {
    let ContainerSpec { process, log, init, .. } = &record.spec;
    Ok(Create {
        id: record.id.clone(),
        spec: plan,
        root,
        io: Io {
            terminal: process.tty,
            console_size: console_size(process.console_size),
            stdin: process.open_stdin,
            stdin_once: process.stdin_once,
        },
        log: super::logging::config(record, log, &places.data_dir)?,
        data_dir: places.data_dir.clone(),
        cgroup: CgroupPlace { driver: cgroup_driver(record), path: cgroup_path },
        init: *init,
        runtime: runtime(engine, record, places)?,
        volatile: is_volatile(record),
    })
}

/// Whether nothing of a container need survive a loss of power: the next boot removes one that removes itself.
fn is_volatile(record: &Record) -> bool {
    record.host_config.auto_remove
}

/// The runtime that makes the container, when it is not ours.
fn runtime(engine: &Engine, record: &Record, places: &Places) -> Result<Option<protocol::Runtime>> {
    let config = engine.current();
    let found = config.runtime(&record.host_config.runtime)?;
    Ok(found.map(|runtime| protocol::Runtime {
        program: runtime.program.clone(),
        arguments: runtime.arguments.clone(),
        dir: places.exec_dir.join("runtime"),
    }))
}

fn cgroup_driver(record: &Record) -> CgroupDriver {
    match super::group::driver(record) {
        crate::CgroupDriver::Cgroupfs => CgroupDriver::Cgroupfs,
        crate::CgroupDriver::Systemd => CgroupDriver::Systemd,
    }
}

/// A size that the request named; `None` when it did not.
pub(crate) fn console_size([height, width]: [u32; 2]) -> Option<protocol::ConsoleSize> {
    let (height, width) = (u16::try_from(height).ok()?, u16::try_from(width).ok()?);
    (height > 0 && width > 0).then_some(protocol::ConsoleSize { height, width })
}

/// The directories of the container's root. Layers that a loss of power took are unpacked again.
pub(crate) fn root(engine: &Engine, record: &Record) -> Result<protocol::Root> {
    if let RootSource::Directory(path) = &record.spec.root.source {
        return Ok(protocol::Root::Path { path: PathBuf::from(path) });
    }
    let snapshot = crate::image_use::snapshot(engine, record)?;
    if is_volatile(record) {
        forget_volatile(&snapshot.work)?;
    }
    let lower = match &record.spec.root.source {
        RootSource::Overlay(path) => vec![PathBuf::from(path)],
        _ => snapshot.lower,
    };
    Ok(protocol::Root::Overlay { lower, upper: snapshot.upper, work: snapshot.work, mapped: false })
}

/// Removes the mark of an earlier volatile mount, with which overlayfs refuses the layer, whole or not (the kernel's
/// Documentation/filesystems/overlayfs.rst, "Volatile mount").
fn forget_volatile(work: &Path) -> Result<()> {
    let mark = work.join("work/incompat");
    match std::fs::remove_dir_all(&mark) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::system(format!("remove {}: {error}", mark.display())))
        }
        _ => Ok(()),
    }
}

/// The same as layers to look files up in, topmost first.
pub(crate) fn layers(root: &protocol::Root) -> Vec<PathBuf> {
    match root {
        protocol::Root::Path { path } => vec![path.clone()],
        protocol::Root::Overlay { lower, upper, .. } => {
            std::iter::once(upper.clone()).chain(lower.iter().cloned()).collect()
        }
    }
}

fn make_private(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Error::system(format!("make {}: {error}", path.display())))
}

/// What the last run left must not be taken for the end of this one.
fn forget_exit(dir: &Path) -> Result<()> {
    make_private(dir)?;
    let last = shim::exit_record::path(dir);
    match std::fs::remove_file(&last) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::system(format!("remove {}: {error}", last.display())))
        }
        _ => Ok(()),
    }
}

/// The two messages, and the network furnished while the container makes itself ready, or between them.
async fn drive(
    engine: &Engine,
    record: &Record,
    attachments: &[Attachment],
    waiting: Vec<Attach>,
    link: &Link,
    create: Create,
) -> std::result::Result<(Live, i32, u64, Nanos), Failure> {
    let is_early = !sets_links_first(&create.spec);
    let (created, early) = link.create(create).await?;
    let early = if is_early { early.await.ok() } else { None };
    if let Some(netns) = early {
        furnish(engine, record, attachments, Arc::new(netns)).await?;
        // The shim takes these up as soon as the container is ready.
        let let_go = let_go(waiting, link).await?;
        let (live, pid, ticks) = made(created, link).await?;
        return Ok((live, pid, ticks, let_go.done().await?));
    }
    let (live, pid, ticks) = made(created, link).await?;
    if let Some(netns) = live.netns.clone() {
        furnish(engine, record, attachments, netns).await?;
    }
    let started_at = let_go(waiting, link).await?.done().await?;
    Ok((live, pid, ticks, started_at))
}

/// Whether the configuration sets what links get when they are made: then the container comes first.
fn sets_links_first(spec: &oci::runtime::Spec) -> bool {
    let sysctls = spec.linux.iter().flat_map(|linux| linux.sysctl.keys());
    let mut per_link = sysctls.filter(|name| name.starts_with("net."));
    per_link.any(|name| {
        !["net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"].contains(&name.as_str())
    })
}

async fn furnish(
    engine: &Engine,
    record: &Record,
    attachments: &[Attachment],
    netns: Arc<OwnedFd>,
) -> Result<()> {
    let (engine, record, attachments) = (engine.clone(), record.clone(), attachments.to_vec());
    let work = move || {
        engine.networks.furnish(&record, &attachments, netns.as_fd())?;
        super::links::let_pass(&engine, &record, &attachments)
    };
    crate::blocking(work).await.map_err(in_networking)
}

/// The answer to a creation.
async fn made(created: Asked, link: &Link) -> std::result::Result<(Live, i32, u64), Failure> {
    let (reply, descriptors) = created.answer().await?;
    let Reply::Created { pid, start_time_ticks, descriptors: named } = reply else {
        return Err(Error::system("the shim answered a creation with something else").into());
    };
    let (pidfd, netns) = sort(named, descriptors)?;
    let pid = i32::try_from(pid).map_err(|_| Error::system(format!("impossible process id {pid}")))?;
    Ok((Live { link: link.clone(), pidfd, netns }, pid, start_time_ticks))
}

/// A program that has been let go, with the streams of those who waited for it.
struct LetGo {
    attached: Vec<Asked>,
    started: Asked,
    /// Just before.
    at: Nanos,
}

async fn let_go(waiting: Vec<Attach>, link: &Link) -> std::result::Result<LetGo, protocol::Error> {
    let mut attached = Vec::with_capacity(waiting.len());
    for attach in waiting {
        attached.push(link.ask(Request::Attach(attach.how), vec![attach.stream]).await?);
    }
    let at = time::now();
    Ok(LetGo { attached, started: link.ask(Request::Start, Vec::new()).await?, at })
}

impl LetGo {
    /// Waits until the program runs, or is known not to; when it was let go.
    async fn done(self) -> std::result::Result<Nanos, Failure> {
        for attached in self.attached {
            attached.answer().await.map_err(|error| Error::system(error.message))?;
        }
        self.started.answer().await?;
        Ok(self.at)
    }
}

/// The descriptors that came with an answer, by what they are.
pub(crate) fn sort(
    named: Vec<Descriptor>,
    descriptors: Vec<OwnedFd>,
) -> Result<(Arc<linux::pidfd::PidFd>, Option<Arc<OwnedFd>>)> {
    let mut found: BTreeMap<&'static str, OwnedFd> = BTreeMap::new();
    for (name, descriptor) in named.into_iter().zip(descriptors) {
        let key = match name {
            Descriptor::Pidfd => "pidfd",
            Descriptor::Netns => "netns",
        };
        found.insert(key, descriptor);
    }
    let pidfd = found.remove("pidfd").ok_or_else(|| Error::system("the shim named no process"))?;
    Ok((Arc::new(linux::pidfd::PidFd::from(pidfd)), found.remove("netns").map(Arc::new)))
}

/// What became of a container whose shim's connection was lost.
pub(crate) enum AfterLoss {
    /// Its program has ended.
    Ended(Input),
    /// The shim lives and was reached again.
    Alive(Box<Adopted>),
}

/// Finds out, from the exit record or from the shim itself; a program without a shim is killed, for nobody would ever
/// drain its output or record its end.
pub(crate) async fn after_loss(engine: &Engine, record: &Record, live: Option<&Live>) -> AfterLoss {
    let places = Places::of(engine, &record.id);
    let data_dir = places.data_dir.clone();
    if let Ok(Some(last)) = crate::blocking(move || Ok(crate::shim_process::exit_record(&data_dir))).await {
        return AfterLoss::Ended(last.input);
    }
    let exec_dir = places.exec_dir.clone();
    let socket = crate::blocking(move || crate::shim_process::connect(&exec_dir)).await;
    if let Ok(Some(socket)) = socket
        && let Ok(adopted) = super::adopt::adopt(socket).await
    {
        return AfterLoss::Alive(Box::new(adopted));
    }
    tracing::error!(container = crate::id::short(&record.id), "its shim died: its program is killed");
    if let Some(live) = live
        && let Err(error) = live.pidfd.send(9)
    {
        tracing::error!(container = crate::id::short(&record.id), %error, "cannot kill it");
    }
    let (engine, record) = (engine.clone(), record.clone());
    let swept = crate::blocking(move || super::teardown::sweep_processes(&engine, &record)).await;
    if let Err(error) = swept {
        tracing::error!(%error, "cannot clean up after a shim that died");
    }
    AfterLoss::Ended(Input::ProcessExited { code: 137, at: time::now(), oom_killed: false })
}
