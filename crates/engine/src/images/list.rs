//! The list of images, and removing those that nobody needs.

use std::collections::BTreeMap;

use api::disk_usage::Usage;
use api::filters::Filters;
use api::image::{DeleteItem, ManifestSize, ManifestSummary, PruneReport, Summary};
use image::NoUsers;

use super::inspect::{api_descriptor, manifest_summary};
use crate::engine::Engine;
use crate::image_use::{Containers, error};
use crate::told::Told;
use crate::{Error, Result};

/// What a list may ask for.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Which.
    pub filters: Filters,
    /// With the size that other images share.
    pub shared_size: bool,
    /// With the manifests of each image.
    pub manifests: bool,
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn all(filters: &Filters, key: &str) -> Vec<String> {
    filters.get(key).map(str::to_owned).collect()
}

/// The filters of a list in the image store's form.
fn parse(filters: &Filters, known: &[&str]) -> Result<image::Filters> {
    let bad = |error: api::filters::FilterError| Error::invalid(error.to_string());
    filters.validate(known).map_err(bad)?;
    let until = crate::container::prune::until(filters)?;
    let one = |key: &str| filters.get(key).next().map(str::to_owned);
    Ok(image::Filters {
        dangling: filters.bool_value("dangling").map_err(bad)?,
        labels: all(filters, "label"),
        not_labels: all(filters, "label!"),
        references: all(filters, "reference"),
        before: one("before"),
        since: one("since"),
        until: until.map(i128::from),
    })
}

fn shown(found: image::Summary, manifests: bool) -> Summary {
    let containers = signed(found.containers.len() as u64);
    let list: Vec<ManifestSummary> = if manifests {
        found.manifests.iter().map(|one| manifest_summary(one, &found.containers)).collect()
    } else {
        Vec::new()
    };
    Summary {
        containers,
        created: found.created,
        id: found.id.to_string(),
        labels: Some(found.labels).filter(|labels: &BTreeMap<String, String>| !labels.is_empty()),
        descriptor: Some(api_descriptor(&found.target)),
        manifests: list,
        parent_id: found.parent.map(|parent| parent.to_string()).unwrap_or_default(),
        repo_digests: found.repo_digests,
        repo_tags: found.repo_tags,
        shared_size: found.shared_size.map_or(-1, signed),
        size: signed(found.size),
    }
}

/// Lists images, newest first.
pub async fn list(engine: &Engine, options: &ListOptions) -> Result<Vec<Summary>> {
    const KEYS: &[&str] = &["before", "dangling", "label", "label!", "reference", "since", "until"];
    let filters = parse(&options.filters, KEYS)?;
    let (engine, shared, manifests) = (engine.clone(), options.shared_size, options.manifests);
    crate::blocking(move || {
        let found = engine.images.list(&filters, shared, &Containers(&engine)).map_err(error)?;
        Ok(found.into_iter().map(|one| shown(one, manifests)).collect())
    })
    .await
}

/// How many images there are.
pub(crate) fn count(engine: &Engine) -> Result<i64> {
    let found = engine.images.list(&image::Filters::default(), false, &NoUsers).map_err(error)?;
    Ok(signed(found.len() as u64))
}

/// Removes images that no container uses: those without a name, or with `dangling=false` all of them.
pub async fn prune(engine: &Engine, filters: &Filters, told: &Told) -> Result<PruneReport> {
    let parsed = parse(filters, &["dangling", "label", "label!", "until"])?;
    let unused_too = parsed.dangling == Some(false);
    let owned = engine.clone();
    let filters = image::Filters { dangling: None, ..parsed };
    let pruned =
        crate::blocking(move || owned.images.prune(unused_too, &filters, &Containers(&owned)).map_err(error))
            .await?;
    let items: Vec<DeleteItem> = super::names::items(engine, "", pruned.removed);
    for item in &items {
        match (item.untagged.as_str(), item.deleted.as_str()) {
            ("", id) => told.deleted(id),
            (name, _) => told.untagged(name),
        }
    }
    let reclaimed = BTreeMap::from([("reclaimed".to_owned(), pruned.bytes.to_string())]);
    engine.events.publish("image", "prune", "", reclaimed);
    Ok(PruneReport {
        images_deleted: Some(items).filter(|items| !items.is_empty()),
        space_reclaimed: pruned.bytes,
    })
}

/// What images take on the disk.
pub(crate) async fn usage(engine: &Engine) -> Result<Usage<Summary>> {
    let options = ListOptions { shared_size: true, manifests: true, ..ListOptions::default() };
    let items = list(engine, &options).await?;
    let owned = engine.clone();
    let disk = crate::blocking(move || owned.images.disk_usage(&Containers(&owned)).map_err(error)).await?;
    Ok(Usage {
        active_count: signed(disk.active),
        reclaimable: signed(disk.reclaimable),
        total_count: signed(disk.images),
        total_size: signed(disk.content.saturating_add(disk.layers)),
        items,
    })
}

/// The sizes of a manifest: what is kept compressed, and in all.
pub(super) fn sizes(content: u64, unpacked: u64) -> ManifestSize {
    ManifestSize { content: signed(content), total: signed(content.saturating_add(unpacked)) }
}
