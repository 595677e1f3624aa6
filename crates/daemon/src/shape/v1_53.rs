//! Before 1.53: images had no identity.

use serde_json::{Map, Value};

/// Hides the identity.
pub fn image_inspect(fields: &mut Map<String, Value>) {
    fields.shift_remove("Identity");
}
