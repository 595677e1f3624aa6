//! One message of `GET /events`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::filters::Filters;
use crate::json::is_zero;

/// The values of [`Message::kind`].
pub mod kind {
    /// Builds.
    pub const BUILDER: &str = "builder";
    /// Containers.
    pub const CONTAINER: &str = "container";
    /// The daemon itself.
    pub const DAEMON: &str = "daemon";
    /// Images.
    pub const IMAGE: &str = "image";
    /// Networks.
    pub const NETWORK: &str = "network";
    /// Plugins.
    pub const PLUGIN: &str = "plugin";
    /// Volumes.
    pub const VOLUME: &str = "volume";
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// See [`kind`].
    #[serde(rename = "Type")]
    pub kind: String,
    /// `create`, `die`, `exec_create: sh -c true`, …
    #[serde(rename = "Action")]
    pub action: String,
    /// To what.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// `local` or `swarm`.
    #[serde(skip_serializing_if = "is_zero")]
    pub scope: String,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "is_zero")]
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano", skip_serializing_if = "is_zero")]
    pub time_nano: i64,
}

/// What an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    /// A container's, network's, … ID; an image's name or ID; a volume's name.
    #[serde(rename = "ID")]
    pub id: String,
    /// `name`, `image`, labels, and what the action adds; never `null`.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// Kinds of objects that events can be asked for by identifier or name.
const ACTORS: &[&str] = &[
    kind::CONTAINER,
    kind::DAEMON,
    kind::NETWORK,
    kind::PLUGIN,
    kind::VOLUME,
    "config",
    "node",
    "secret",
    "service",
];

impl Message {
    /// Whether a client with these filters wants to hear of it. Keys that mean nothing here are ignored.
    pub fn matches(&self, filters: &Filters) -> bool {
        self.matches_action(filters)
            && filters.matches_exactly("type", &self.kind)
            && filters.matches_exactly("scope", &self.scope)
            && ACTORS.iter().all(|kind| self.matches_actor(filters, kind))
            && self.matches_image(filters)
            && filters.labels_match("label", &self.actor.attributes)
    }

    /// Actions with details (`exec_create: sh -c true`) are also found by their first word, when that is asked for.
    fn matches_action(&self, filters: &Filters) -> bool {
        let words = ["health_status", "exec_create", "exec_start"];
        if words.iter().any(|word| filters.has("event", word)) {
            return filters.matches_prefix("event", &self.action);
        }
        filters.matches_exactly("event", &self.action)
    }

    /// Objects are found by the beginning of their ID or name.
    fn matches_actor(&self, filters: &Filters, key: &str) -> bool {
        let name = self.actor.attributes.get("name").map_or("", String::as_str);
        filters.matches_prefix(key, &self.actor.id)
            || (filters.contains(key) && filters.matches_prefix(key, name))
    }

    /// Images are found by name with or without a tag; containers by the name of their image.
    fn matches_image(&self, filters: &Filters) -> bool {
        let attribute = if self.kind == kind::IMAGE { "name" } else { "image" };
        let name = self.actor.attributes.get(attribute).map_or("", String::as_str);
        [self.actor.id.as_str(), name, without_tag(&self.actor.id), without_tag(name)]
            .iter()
            .any(|found| filters.matches_exactly("image", found))
    }
}

/// `host:5000/debian` of `host:5000/debian:12`.
fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, action: &str, id: &str, attributes: &[(&str, &str)]) -> Message {
        let attributes = attributes.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let actor = Actor { id: id.into(), attributes };
        Message {
            kind: kind.into(),
            action: action.into(),
            actor,
            scope: "local".into(),
            ..Message::default()
        }
    }

    #[test]
    fn filters_choose_events() {
        let start =
            event("container", "start", "abc123", &[("name", "web"), ("image", "debian:12"), ("a", "b")]);
        let exec = event("container", "exec_create: sh", "abc123", &[]);
        let pull = event("image", "pull", "debian:12", &[("name", "debian")]);
        let check = |message: &Message, filters: &str, expected: bool| {
            assert_eq!(message.matches(&Filters::parse(filters).unwrap()), expected, "{filters} {message:?}");
        };
        check(&start, "", true);
        check(&start, r#"{"container":["abc"]}"#, true);
        check(&start, r#"{"container":["we"]}"#, true);
        check(&start, r#"{"container":["x"]}"#, false);
        check(&pull, r#"{"container":["abc"]}"#, false);
        check(&start, r#"{"event":["die","start"]}"#, true);
        check(&start, r#"{"event":["sta"]}"#, false);
        check(&exec, r#"{"event":["exec_create"]}"#, true);
        check(&exec, r#"{"event":["start"]}"#, false);
        check(&start, r#"{"image":["debian"]}"#, true);
        check(&start, r#"{"image":["debian:12"]}"#, true);
        check(&start, r#"{"image":["debian:13"]}"#, false);
        check(&pull, r#"{"image":["debian"],"type":["image"]}"#, true);
        check(&start, r#"{"type":["image"]}"#, false);
        check(&start, r#"{"label":["a=b"]}"#, true);
        check(&start, r#"{"label":["a=c"]}"#, false);
        check(&start, r#"{"nonsense":["x"]}"#, true);
        check(&start, r#"{"scope":["swarm"]}"#, false);
    }
}
