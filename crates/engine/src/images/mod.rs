//! Images: use cases over the image store, with the events that clients expect.

mod archive;
mod check;
mod inspect;
mod list;
mod names;
mod pull;
mod push;
mod registries;
mod transfer;

use std::collections::BTreeMap;

pub use archive::{ImportRequest, Loaded, Reporter, import, load, save};
pub use check::{check, check_at};
pub(crate) use inspect::manifest_of;
pub use inspect::{attestations, history, inspect};
pub use list::{ListOptions, list, prune};
pub(crate) use list::{count, usage};
pub use names::{remove, tag};
pub use pull::{PullRequest, pull};
pub use push::{PushRequest, push};
pub use registries::{Registries, distribution, login, search};
pub(crate) use registries::{remote_error, service_config, without_prompt};
pub use transfer::{Lines, Turns};

use oci::Reference;

use crate::engine::Engine;

pub(crate) fn publish(engine: &Engine, action: &str, id: &str, name: &str) {
    let attributes = BTreeMap::from([("name".to_owned(), name.to_owned())]);
    engine.events.publish("image", action, id, attributes);
}

/// Tells that an image went to a registry or came from one, under the name it has there.
async fn publish_reference(engine: &Engine, action: &str, reference: &Reference) {
    let (owned, name) = (engine.clone(), reference.to_string());
    let labels = crate::blocking(move || {
        let found = owned.images.inspect(&name, None).map_err(crate::image_use::error)?;
        Ok(found.config.config.labels.unwrap_or_default())
    });
    // What is not an image for this machine has no labels to tell.
    let mut attributes: BTreeMap<String, String> = labels.await.unwrap_or_default();
    attributes.insert("name".to_owned(), reference.familiar_name());
    engine.events.publish("image", action, &reference.familiar(), attributes);
}
