//! Give a container another name.

use super::owner::with;
use crate::engine::Engine;
use crate::{Error, Result, id};

/// Renames a container. The new name is taken before the old one is freed, so neither can be stolen between.
pub async fn rename(engine: &Engine, reference: &str, new_name: &str) -> Result<()> {
    let handle = engine.containers.find(reference)?;
    let name = new_name.strip_prefix('/').unwrap_or(new_name).to_owned();
    if name.is_empty() {
        return Err(Error::invalid("Neither old nor new names may be empty"));
    }
    if !id::is_valid_name(&name) {
        return Err(Error::invalid(format!(
            "Error when allocating new name: Invalid container name ({new_name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )));
    }
    let old = handle.view().record.name.clone();
    if old == name {
        return Err(Error::invalid("Renaming a container with the same name as its current name"));
    }
    let reserved = engine.containers.reserve(&name, &handle.id);
    reserved.map_err(|error| error.context("Error when allocating new name"))?;
    let wanted = name.clone();
    let owned = engine.clone();
    let changed = handle.work(move |record, _| {
        record.name = wanted;
        owned.networks.renamed(record)
    });
    if let Err(error) = changed.await {
        engine.containers.release(&name);
        return Err(error);
    }
    engine.containers.release(&old);
    let attributes = with(handle.view().record.attributes(), "oldName", &format!("/{old}"));
    engine.events.publish("container", "rename", &handle.id, attributes);
    Ok(())
}
