//! Before 1.43: images without a name were called `<none>`, and there were no annotations.

use api::container_create::CreateRequest;
use serde_json::{Map, Value, json};

/// Names images that have no name.
pub fn image_summary(fields: &mut Map<String, Value>) {
    let is_empty = |key: &str| fields.get(key).and_then(Value::as_array).is_none_or(Vec::is_empty);
    if is_empty("RepoTags") && is_empty("RepoDigests") {
        fields.insert("RepoTags".into(), json!(["<none>:<none>"]));
        fields.insert("RepoDigests".into(), json!(["<none>@<none>"]));
    }
}

/// Ignores annotations.
pub fn create(request: &mut CreateRequest) {
    if let Some(host_config) = &mut request.host_config {
        host_config.annotations.clear();
    }
}
