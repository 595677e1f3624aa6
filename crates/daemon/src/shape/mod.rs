//! Older API versions, as changes to the newest shape: one file per version in which something changed, one function
//! per answer or request that changed in it. Pure: no handler is asked which version it serves.
//!
//! A function in `v1_52` makes from the shape of 1.52 the shape of the version before; the steps are applied from
//! the newest down to the version that the client speaks.

pub mod v1_25;
pub mod v1_40;
pub mod v1_41;
pub mod v1_42;
pub mod v1_43;
pub mod v1_44;
pub mod v1_45;
pub mod v1_46;
pub mod v1_47;
pub mod v1_48;
pub mod v1_49;
pub mod v1_50;
pub mod v1_51;
pub mod v1_52;
pub mod v1_53;
pub mod v1_54;
pub mod v1_55;
pub mod v1_56;

pub mod create;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

use api::version::ApiVersion;
use serde_json::{Map, Value};

use Answer::{
    Auth, ContainerInspect, ContainerSummary, DiskUsage, Event, ImageInspect, ImageSummary, Info,
    NetworkInspect, NetworkSummary,
};

/// An answer whose shape has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `GET /containers/{id}/json`.
    ContainerInspect,
    /// One row of `GET /containers/json`.
    ContainerSummary,
    /// `GET /images/{name}/json`.
    ImageInspect,
    /// One row of `GET /images/json`.
    ImageSummary,
    /// `GET /networks/{id}`.
    NetworkInspect,
    /// One row of `GET /networks`.
    NetworkSummary,
    /// `GET /info`.
    Info,
    /// `GET /system/df`.
    DiskUsage,
    /// One message of `GET /events`.
    Event,
    /// `POST /auth`.
    Auth,
}

/// A change to an answer.
type Change = fn(&mut Map<String, Value>);

/// The steps, newest first: which version brought the change, and what it was before.
const STEPS: &[(u32, Answer, Change)] = &[
    (56, ContainerInspect, v1_56::container_inspect),
    (53, ImageInspect, v1_53::image_inspect),
    (52, ContainerInspect, v1_52::container_inspect),
    (52, ContainerSummary, v1_52::container_summary),
    (52, ImageInspect, v1_52::image_inspect),
    (52, NetworkInspect, v1_52::network_inspect),
    (52, NetworkSummary, v1_52::network_summary),
    (52, DiskUsage, v1_52::disk_usage),
    (52, Event, v1_52::event),
    (52, Auth, v1_52::auth),
    (51, ImageSummary, v1_51::image_summary),
    (50, ImageInspect, v1_50::image_inspect),
    (50, Info, v1_50::info),
    (49, Info, v1_49::info),
    (48, ContainerInspect, v1_48::container_inspect),
    (48, ContainerSummary, v1_48::container_summary),
    (48, ImageInspect, v1_48::image_inspect),
    (48, ImageSummary, v1_48::image_summary),
    (48, DiskUsage, v1_48::disk_usage),
    (47, DiskUsage, v1_47::disk_usage),
    (47, Info, v1_47::info),
    (46, ContainerSummary, v1_46::container_summary),
    (45, ContainerInspect, v1_45::container_inspect),
    (45, ImageInspect, v1_45::image_inspect),
    (44, ImageInspect, v1_44::image_inspect),
    (44, ImageSummary, v1_44::image_summary),
    (44, DiskUsage, v1_44::disk_usage),
    (44, Info, v1_44::info),
    (43, ImageSummary, v1_43::image_summary),
];

/// Gives an answer the shape of an older version.
pub fn answer(kind: Answer, version: ApiVersion, value: &mut Value) {
    let Value::Object(fields) = value else { return };
    for (minor, of, step) in STEPS {
        if *of == kind && version < ApiVersion::v1(*minor) {
            step(fields);
        }
    }
}

/// Gives `GET /system/df` the shape of a version. Since 1.52 the lists of old stand beside the new parts, but for a client
/// that asks for details, and so knows the new parts.
pub fn disk_usage(version: ApiVersion, verbose: bool, value: &mut Value) {
    if let Value::Object(fields) = value
        && version >= ApiVersion::v1(52)
        && !verbose
    {
        let lists = v1_52::legacy_disk_usage(fields);
        fields.extend(lists);
    }
    answer(Answer::DiskUsage, version, value);
}

/// The object at a key, if it is one.
fn object<'a>(fields: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    fields.get_mut(key).and_then(Value::as_object_mut)
}

/// The objects of the list at a key, if it is one.
fn rows<'a>(
    fields: &'a mut Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    let list = fields.get_mut(key).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Adds fields that are not there yet, or `null`.
fn add_missing(fields: &mut Map<String, Value>, others: Value) {
    if let Value::Object(others) = others {
        for (key, value) in others {
            let field = fields.entry(key).or_insert(Value::Null);
            if field.is_null() {
                *field = value;
            }
        }
    }
}

/// The text at a key; empty if it is none.
fn text(fields: &Map<String, Value>, key: &str) -> String {
    fields.get(key).and_then(Value::as_str).unwrap_or_default().to_string()
}
