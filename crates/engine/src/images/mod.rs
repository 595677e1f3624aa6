//! Images: use cases over the image store, with the events that clients expect.

mod archive;
mod check;
mod inspect;
mod list;
mod names;
mod pull;

use std::collections::BTreeMap;

pub use archive::{ImportRequest, Loaded, Reporter, import, load, save};
pub use check::check;
pub use inspect::{history, inspect};
pub use list::{ListOptions, list, prune};
pub(crate) use list::{count, usage};
pub use names::{remove, tag};
pub use pull::pull;

use crate::engine::Engine;

pub(crate) fn publish(engine: &Engine, action: &str, id: &str, name: &str) {
    let attributes = BTreeMap::from([("name".to_owned(), name.to_owned())]);
    engine.events.publish("image", action, id, attributes);
}
