//! The content of volumes as a whole: export, import, clone, snapshot, rename.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use api::volume::{CopyRequest, Volume};

use super::incoming::{Incoming, finish};
use super::{ANONYMOUS_LABEL, LOCAL, attributes, copy, create, lend, list, new_record, options};
use crate::container::pause;
use crate::container::state::State;
use crate::engine::Engine;
use crate::records::{Pending, VolumeRecord};
use crate::{Error, Result, time};

/// What a snapshot was taken of.
const SNAPSHOT_OF: &str = "berth.snapshot.of";

/// Writes a volume's content as a tar. Containers that use it go on: a file that changes meanwhile is as it was when its
/// turn came.
pub async fn export(engine: &Engine, name: &str, mut sink: impl Write + Send + 'static) -> Result<()> {
    let record = engine.volumes.get(name)?;
    let owned = engine.clone();
    let written = engine.file_work.run(name, move || {
        let lent = lend(&owned, [&record.name])?;
        image::write_whole_tree(&open(lent.path(&record.name))?, &mut sink)
            .map_err(crate::image_use::error)?;
        sink.flush().map_err(|error| Error::system(format!("send the archive: {error}")))
    });
    written.await.map_err(|error| error.context(format!("export {name}")))
}

fn open(path: &Path) -> Result<OwnedFd> {
    let file = fs::File::open(path);
    file.map(OwnedFd::from).map_err(|error| Error::system(format!("open {}: {error}", path.display())))
}

/// How a tar becomes a volume's content.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Take the place of what the volume has.
    pub replace: bool,
    /// Labels of a volume that is made.
    pub labels: std::collections::BTreeMap<String, String>,
}

/// Makes a tar, compressed or not, the content of a volume: of a new one, of an empty one, or instead of what it has.
/// Other requests see all of it or nothing.
pub async fn import(
    engine: &Engine,
    name: &str,
    options: ImportOptions,
    source: impl Read + Send + 'static,
) -> Result<Volume> {
    let (engine, name) = (engine.clone(), name.to_owned());
    crate::blocking(move || {
        create::refuse_name(&name)?;
        check_import(&engine, &name, options.replace)?;
        let incoming = Incoming::new(&engine.volumes)?;
        let directory = incoming.open()?;
        let how = image::archive::WriteOptions { with_root: true, ..Default::default() };
        let same = image::Translation::default();
        image::archive::write(&directory, "/", source, how, &same, &image::Limits::default())
            .map_err(crate::image_use::error)
            .map_err(|error| error.context(format!("import {name}")))?;
        engine.volumes.uses.with(&name, |used| {
            check_import(&engine, &name, options.replace)?;
            refuse_users(&name, used.all())?;
            let mut record = engine.volumes.find(&name).unwrap_or_else(|| new_record(&name, false));
            record.labels.extend(options.labels);
            incoming.place(&engine, record)
        })?;
        Ok(list::shown(&engine, &engine.volumes.get(&name)?))
    })
    .await
}

fn check_import(engine: &Engine, name: &str, replace: bool) -> Result<()> {
    let Some(record) = engine.volumes.find(name) else { return Ok(()) };
    refuse_foreign(&record, "import into")?;
    let path = engine.volumes.path(name);
    let entries = fs::read_dir(&path);
    let is_empty = entries.is_ok_and(|mut entries| entries.next().is_none());
    if !is_empty && !replace {
        return Err(Error::conflict(format!(
            "import {name}: the volume is not empty: choose another name, or replace its content (--replace)"
        )));
    }
    Ok(())
}

/// Only the driver's own directories can be exchanged.
fn refuse_foreign(record: &VolumeRecord, what: &str) -> Result<()> {
    if record.driver == LOCAL && options::plan(&record.options).is_none() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "cannot {what} volume {}: its content is mounted from elsewhere, and not the local driver's own",
        record.name
    )))
}

fn refuse_users(name: &str, users: impl Iterator<Item = String>) -> Result<()> {
    let users: Vec<String> = users.collect();
    if users.is_empty() {
        return Ok(());
    }
    Err(Error::conflict(format!("volume {name} is in use - [{}]: stop them first", users.join(", "))))
}

/// Makes a new volume of the local driver with the content of another one; content is shared where the file system can.
pub async fn clone(engine: &Engine, source: &str, request: CopyRequest) -> Result<Volume> {
    let (owned, name) = (engine.clone(), source.to_owned());
    engine.file_work.run(source, move || copied(&owned, &name, request)).await
}

fn copied(engine: &Engine, source: &str, request: CopyRequest) -> Result<Volume> {
    let record = engine.volumes.get(source)?;
    let name = request.name;
    create::refuse_name(&name)?;
    refuse_existing(engine, &name)?;
    let incoming = Incoming::new(&engine.volumes)?;
    let lent = lend(engine, [&record.name])?;
    copy::tree(&open(lent.path(source))?, &incoming.open()?)?;
    drop(lent);
    let mut new = new_record(&name, false);
    new.labels = record.labels.clone();
    new.labels.remove(ANONYMOUS_LABEL);
    new.labels.extend(request.labels.unwrap_or_default());
    engine.volumes.uses.with(&name, |_| {
        refuse_existing(engine, &name)?;
        incoming.place(engine, new)
    })?;
    Ok(list::shown(engine, &engine.volumes.get(&name)?))
}

fn refuse_existing(engine: &Engine, name: &str) -> Result<()> {
    match engine.volumes.find(name) {
        Some(_) => Err(Error::conflict(format!("volume {name} exists already: choose another name"))),
        None => Ok(()),
    }
}

/// A clone at one moment: the containers that may write to the volume are paused while it is copied.
pub async fn snapshot(engine: &Engine, source: &str, mut request: CopyRequest) -> Result<Volume> {
    let record = engine.volumes.get(source)?;
    let labels = request.labels.get_or_insert_default();
    labels.insert(SNAPSHOT_OF.to_owned(), source.to_owned());
    if request.name.is_empty() {
        let digits: String =
            time::rfc3339(time::now()).chars().filter(char::is_ascii_digit).take(17).collect();
        request.name = format!("{source}-{digits}");
    }
    let (engine, source) = (engine.clone(), source.to_owned());
    // A client that leaves must not leave containers paused.
    let work = tokio::spawn(async move {
        let writers = writers(&engine, &record.name);
        mark(&engine, &source, Some(Pending::Paused(writers.clone()))).await?;
        let mut paused = Vec::new();
        for id in writers {
            // One that has ended meanwhile, or is paused already, writes nothing.
            if pause::pause(&engine, &id).await.is_ok() {
                paused.push(id);
            }
        }
        let copy = clone(&engine, &source, request).await;
        resume(&engine, &paused).await;
        mark(&engine, &source, None).await?;
        copy
    });
    work.await.map_err(|error| Error::system(format!("snapshot: {error}")))?
}

/// Running containers that may write to a volume.
fn writers(engine: &Engine, name: &str) -> Vec<String> {
    let writes = |view: &crate::container::view::View| {
        matches!(view.state(), State::Running(_))
            && view.record.spec.mounts.iter().any(|mount| mount.writable && mount.volume() == Some(name))
    };
    let all = engine.containers.all();
    all.iter().filter(|handle| writes(&handle.view())).map(|handle| handle.id.to_string()).collect()
}

/// Notes what a boot has to do when this daemon does not come to it.
async fn mark(engine: &Engine, name: &str, pending: Option<Pending>) -> Result<()> {
    let (engine, name) = (engine.clone(), name.to_owned());
    crate::blocking(move || {
        engine.volumes.uses.with(&name, |_| {
            let mut record = engine.volumes.get(&name)?;
            finish(&engine, &record)?;
            record.pending = pending;
            engine.records.save_volume(&record)?;
            engine.volumes.lock().insert(name.clone(), record);
            Ok(())
        })
    })
    .await
}

async fn resume(engine: &Engine, containers: &[String]) {
    for id in containers {
        if let Err(error) = pause::unpause(engine, id).await {
            tracing::warn!(container = crate::id::short(id), %error, "cannot thaw it after a snapshot");
        }
    }
}

/// At boot: containers that a snapshot had paused go on.
pub(crate) async fn thaw(engine: &Engine) -> Result<()> {
    let all: Vec<VolumeRecord> = engine.volumes.lock().values().cloned().collect();
    for record in all {
        if let Some(Pending::Paused(containers)) = record.pending {
            resume(engine, &containers).await;
            mark(engine, &record.name, None).await?;
        }
    }
    Ok(())
}

/// Gives a volume that no container names another name.
pub async fn rename(engine: &Engine, old: &str, new: &str) -> Result<Volume> {
    let (engine, old, new) = (engine.clone(), old.to_owned(), new.to_owned());
    crate::blocking(move || {
        create::refuse_name(&new)?;
        if old == new {
            return Ok(list::shown(&engine, &engine.volumes.get(&old)?));
        }
        // Two locks are always taken in one order.
        let (first, second) = if old < new { (&old, &new) } else { (&new, &old) };
        engine.volumes.uses.with(first, |one| {
            engine.volumes.uses.with(second, |other| {
                let users = list::users(&engine).remove(&old).unwrap_or_default();
                refuse_users(&old, users.into_iter().chain(one.all()).chain(other.all()))?;
                renamed(&engine, &old, &new)
            })
        })?;
        Ok(list::shown(&engine, &engine.volumes.get(&new)?))
    })
    .await
}

fn renamed(engine: &Engine, old: &str, new: &str) -> Result<()> {
    let mut record = engine.volumes.get(old)?;
    if record.driver != LOCAL {
        return Err(Error::invalid(format!("cannot rename volume {old}: its driver knows it by this name")));
    }
    refuse_existing(engine, new)?;
    if engine.volumes.root.join(new).exists() {
        return Err(Error::conflict(format!(
            "cannot rename volume {old}: there is a directory without a record in the place of {new}"
        )));
    }
    finish(engine, &record)?;
    record.name = new.to_owned();
    (record.anonymous, record.pending) = (false, Some(Pending::Rename(old.to_owned())));
    record.labels.remove(ANONYMOUS_LABEL);
    engine.records.rename_volume(old, &record)?;
    let mut volumes = engine.volumes.lock();
    volumes.remove(old);
    volumes.insert(new.to_owned(), record.clone());
    drop(volumes);
    let mut with = attributes(&record);
    with.insert("oldName".to_owned(), old.to_owned());
    engine.events.publish("volume", "rename", new, with);
    finish(engine, &record)
}
