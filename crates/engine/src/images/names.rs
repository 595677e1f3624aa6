//! Give images names and take them away.

use api::image::DeleteItem;
use image::{RemoveOptions, Removed};
use oci::Reference;

use super::publish;
use crate::engine::Engine;
use crate::image_use::{Containers, error};
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

/// Takes a name away, and removes the image with its last one.
pub async fn remove(engine: &Engine, name: &str, force: bool) -> Result<Vec<DeleteItem>> {
    let (owned, name) = (engine.clone(), name.to_owned());
    let removed = crate::blocking(move || {
        let id = owned.images.resolve(&name).map_err(error)?.id.to_string();
        let removed =
            owned.images.remove(&name, RemoveOptions { force }, &Containers(&owned)).map_err(error)?;
        Ok((id, removed))
    });
    let (id, removed) = removed.await?;
    let mut items = Vec::new();
    for one in removed {
        let mut item = DeleteItem::default();
        match one {
            Removed::Untagged(name) => {
                publish(engine, "untag", &id, &name);
                item.untagged = name;
            }
            Removed::Deleted(digest) => {
                item.deleted = digest.to_string();
                publish(engine, "delete", &item.deleted, &item.deleted);
            }
        }
        items.push(item);
    }
    Ok(items)
}
