//! Images: use cases over the image store, with the events that clients expect.

mod archive;
mod names;

use std::collections::BTreeMap;

pub use archive::{ImportRequest, import};
pub use names::{remove, tag};

use crate::engine::Engine;

fn publish(engine: &Engine, action: &str, id: &str, name: &str) {
    let attributes = BTreeMap::from([("name".to_owned(), name.to_owned())]);
    engine.events.publish("image", action, id, attributes);
}
