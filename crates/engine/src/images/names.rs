//! Give images names and take them away.

use api::image::DeleteItem;
use image::{RemoveOptions, Removed};
use oci::Reference;

use super::publish;
use crate::engine::Engine;
use crate::image_use::{Containers, error, platform};
use crate::{Error, Result};

/// Gives an image another name: `repo` and `tag` as the API has them.
pub async fn tag(engine: &Engine, source: &str, repo: &str, tag: &str) -> Result<()> {
    let text = if tag.is_empty() { repo.to_owned() } else { format!("{repo}:{tag}") };
    let target = Reference::parse(&text).map_err(|error| Error::invalid(error.to_string()))?;
    let (owned, source) = (engine.clone(), source.to_owned());
    let wanted = target.clone();
    let found = crate::blocking(move || owned.images.tag(&source, &wanted).map_err(error)).await?;
    publish(engine, "tag", &found.id.to_string(), &target.or_latest().familiar());
    Ok(())
}

/// Takes a name away, and removes the image with its last one; with `platforms`, only what is of these.
pub async fn remove(
    engine: &Engine,
    name: &str,
    force: bool,
    platforms: &[String],
) -> Result<Vec<DeleteItem>> {
    let (owned, name) = (engine.clone(), name.to_owned());
    let wanted = platforms.iter().map(|text| platform(Some(text))).collect::<Result<Vec<_>>>()?;
    let wanted: Vec<oci::Platform> = wanted.into_iter().flatten().collect();
    let removed = crate::blocking(move || {
        let id = owned.images.resolve(&name).map_err(error)?.id;
        let (options, users) = (RemoveOptions { force }, Containers(&owned));
        let removed = if wanted.is_empty() {
            owned.images.remove(&name, options, &users)
        } else {
            owned.images.remove_platforms(&name, &wanted, options, &users)
        };
        Ok((id.to_string(), removed.map_err(error)?))
    });
    let (id, removed) = removed.await?;
    Ok(items(engine, &id, removed))
}

/// What a removal did, told to listeners and as the API shows it. Names come before the image that they were of; `id` is
/// the image of those after which none goes.
pub(super) fn items(engine: &Engine, id: &str, removed: Vec<Removed>) -> Vec<DeleteItem> {
    let shown = |one: Removed| match one {
        Removed::Untagged(name) => DeleteItem { untagged: name, deleted: String::new() },
        Removed::Deleted(digest) => DeleteItem { deleted: digest.to_string(), untagged: String::new() },
    };
    let items: Vec<DeleteItem> = removed.into_iter().map(shown).collect();
    for (at, item) in items.iter().enumerate() {
        if item.deleted.is_empty() {
            let image = items[at..].iter().find(|later| !later.deleted.is_empty());
            publish(engine, "untag", image.map_or(id, |image| &image.deleted), &item.untagged);
        } else {
            publish(engine, "delete", &item.deleted, &item.deleted);
        }
    }
    items
}
