//! Volumes of the local driver: directories below the data root, with a record each.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use api::filters::Filters;
use api::volume::{CreateRequest, ListResponse, PruneReport, Volume};

use crate::engine::Engine;
use crate::records::VolumeRecord;
use crate::{Error, Result, id, time};

/// All volumes.
#[derive(Debug)]
pub struct Volumes {
    root: PathBuf,
    volumes: Mutex<BTreeMap<String, VolumeRecord>>,
}

const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

impl Volumes {
    pub(crate) fn new(root: &Path, records: Vec<VolumeRecord>) -> Self {
        let volumes = records.into_iter().map(|record| (record.name.clone(), record)).collect();
        Self { root: root.to_owned(), volumes: Mutex::new(volumes) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, VolumeRecord>> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a volume's content is on the host.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name).join("_data")
    }

    fn get(&self, name: &str) -> Result<VolumeRecord> {
        self.lock().get(name).cloned().ok_or_else(|| Error::not_found(format!("get {name}: no such volume")))
    }
}

/// Makes sure that a volume exists; tells whether it was made now. Blocks on the disk.
pub(crate) fn ensure(engine: &Engine, wanted: VolumeRecord) -> Result<bool> {
    let mut volumes = engine.volumes.lock();
    if volumes.contains_key(&wanted.name) {
        return Ok(false);
    }
    let path = engine.volumes.path(&wanted.name);
    let failed = |error: std::io::Error| Error::system(format!("make volume {}: {error}", path.display()));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o701)
        .create(path.parent().unwrap_or(&path))
        .map_err(failed)?;
    fs::DirBuilder::new().recursive(true).mode(0o755).create(&path).map_err(failed)?;
    engine.records.save_volume(&wanted)?;
    let attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
    engine.events.publish("volume", "create", &wanted.name, attributes);
    volumes.insert(wanted.name.clone(), wanted);
    Ok(true)
}

/// A record for a volume that is to be made now.
pub(crate) fn new_record(name: &str, anonymous: bool) -> VolumeRecord {
    let mut labels = BTreeMap::new();
    if anonymous {
        labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
    }
    VolumeRecord { name: name.to_owned(), created: time::now(), labels, options: BTreeMap::new(), anonymous }
}

fn shown(engine: &Engine, record: &VolumeRecord) -> Volume {
    Volume {
        created_at: api::time::Timestamp::from_unix_nanos(i128::from(record.created)).rfc3339(),
        driver: "local".to_owned(),
        labels: (!record.labels.is_empty()).then(|| record.labels.clone()),
        mountpoint: engine.volumes.path(&record.name).display().to_string(),
        name: record.name.clone(),
        options: (!record.options.is_empty()).then(|| record.options.clone()),
        scope: "local".to_owned(),
        ..Volume::default()
    }
}

/// Makes a volume, or answers with the one that has the name already.
pub async fn create(engine: &Engine, request: CreateRequest) -> Result<Volume> {
    if !matches!(request.driver.as_str(), "" | "local") {
        let driver = request.driver;
        return Err(Error::not_found(format!(
            "create {}: error looking up volume plugin {driver}: plugin \"{driver}\" not found",
            request.name
        )));
    }
    let options = request.driver_opts.unwrap_or_default();
    if let Some(option) = options.keys().next() {
        return Err(Error::invalid(format!(
            "create {}: option \"{option}\" of the local driver is not supported yet",
            request.name
        )));
    }
    let anonymous = request.name.is_empty();
    let name = if anonymous { id::new_id()? } else { request.name };
    if !id::is_valid_name(&name) {
        return Err(Error::invalid(format!(
            "create {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        )));
    }
    let mut record = new_record(&name, anonymous);
    record.labels.extend(request.labels.unwrap_or_default());
    let engine = engine.clone();
    crate::blocking(move || {
        ensure(&engine, record)?;
        Ok(shown(&engine, &engine.volumes.get(&name)?))
    })
    .await
}

/// One volume.
pub async fn inspect(engine: &Engine, name: &str) -> Result<Volume> {
    Ok(shown(engine, &engine.volumes.get(name)?))
}

/// Containers that use each volume.
fn users(engine: &Engine) -> BTreeMap<String, Vec<String>> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for handle in engine.containers.all() {
        for name in handle.view().record.volume_paths.keys() {
            users.entry(name.clone()).or_default().push(handle.id.to_string());
        }
    }
    users
}

/// Whether another container than this one uses a volume.
pub(crate) fn is_used_beside(engine: &Engine, name: &str, container_id: &str) -> bool {
    users(engine).get(name).is_some_and(|users| users.iter().any(|user| user != container_id))
}

/// Volumes by filter: `dangling`, `driver`, `label`, `name`.
pub async fn list(engine: &Engine, filters: &Filters) -> Result<ListResponse> {
    let bad = |error: api::filters::FilterError| Error::invalid(error.to_string());
    filters.validate(&["dangling", "driver", "label", "name"]).map_err(bad)?;
    let dangling = filters.bool_value("dangling").map_err(bad)?;
    let names = crate::pattern::Patterns::of(filters, "name");
    let users = users(engine);
    let volumes = engine
        .volumes
        .lock()
        .values()
        .filter(|record| dangling.is_none_or(|wanted| wanted != users.contains_key(&record.name)))
        .filter(|record| filters.labels_match("label", &record.labels))
        .filter(|record| names.match_any(&[&record.name]))
        .filter(|_| filters.matches_exactly("driver", "local"))
        .map(|record| shown(engine, record))
        .collect();
    Ok(ListResponse { volumes, warnings: None })
}

/// Removes a volume that no container uses. `force` makes the absence of the volume a success.
pub async fn remove(engine: &Engine, name: &str, force: bool) -> Result<()> {
    let record = match engine.volumes.get(name) {
        Err(_) if force => return Ok(()),
        found => found?,
    };
    if let Some(containers) = users(engine).get(name) {
        return Err(Error::conflict(format!(
            "remove {name}: volume is in use - [{}]",
            containers.join(", ")
        )));
    }
    let engine = engine.clone();
    crate::blocking(move || erase(&engine, &record.name)).await
}

/// Removes a volume's content and record. Removing the absent succeeds.
pub(crate) fn erase(engine: &Engine, name: &str) -> Result<()> {
    let mut volumes = engine.volumes.lock();
    let path = engine.volumes.root.join(name);
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::system(format!("remove volume {}: {error}", path.display())));
        }
        _ => {}
    }
    engine.records.forget_volume(name)?;
    if volumes.remove(name).is_some() {
        let attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
        engine.events.publish("volume", "destroy", name, attributes);
    }
    Ok(())
}

/// Removes volumes that no container uses: anonymous ones, or with `all=true` named ones too.
pub async fn prune(engine: &Engine, filters: &Filters) -> Result<PruneReport> {
    let bad = |error: api::filters::FilterError| Error::invalid(error.to_string());
    filters.validate(&["all", "label", "label!"]).map_err(bad)?;
    let all = filters.bool_value("all").map_err(bad)?.unwrap_or(false);
    let users = users(engine);
    let unused: Vec<String> = engine
        .volumes
        .lock()
        .values()
        .filter(|record| (all || record.anonymous) && !users.contains_key(&record.name))
        .filter(|record| filters.labels_match("label", &record.labels))
        .filter(|record| !filters.contains("label!") || !filters.labels_match("label!", &record.labels))
        .map(|record| record.name.clone())
        .collect();
    let engine = engine.clone();
    crate::blocking(move || {
        let mut report = PruneReport::default();
        for name in unused {
            let size = image::Usage::of(&engine.volumes.path(&name)).map_err(crate::image_use::error)?.bytes;
            erase(&engine, &name)?;
            report.space_reclaimed += size;
            report.volumes_deleted.get_or_insert_default().push(name);
        }
        let reclaimed = BTreeMap::from([("reclaimed".to_owned(), report.space_reclaimed.to_string())]);
        engine.events.publish("volume", "prune", "", reclaimed);
        Ok(report)
    })
    .await
}

/// All volumes with their sizes and how many containers use each.
pub(crate) async fn measured(engine: &Engine) -> Result<Vec<Volume>> {
    let users = users(engine);
    let engine = engine.clone();
    crate::blocking(move || {
        let records: Vec<VolumeRecord> = engine.volumes.lock().values().cloned().collect();
        let measure = |record: &VolumeRecord| {
            let size =
                image::Usage::of(&engine.volumes.path(&record.name)).map_err(crate::image_use::error)?.bytes;
            let ref_count = users.get(&record.name).map_or(0, Vec::len);
            let usage = api::volume::UsageData {
                ref_count: i64::try_from(ref_count).unwrap_or(i64::MAX),
                size: i64::try_from(size).unwrap_or(i64::MAX),
            };
            Ok(Volume { usage_data: Some(usage), ..shown(&engine, record) })
        };
        records.iter().map(measure).collect()
    })
    .await
}
