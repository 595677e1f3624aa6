//! Before 1.49: info did not name the firewall, and named commits twice.

use serde_json::{Map, Value};

use super::object;

/// Hides the firewall and says which commits are expected.
pub fn info(fields: &mut Map<String, Value>) {
    fields.shift_remove("FirewallBackend");
    for key in ["ContainerdCommit", "RuncCommit", "InitCommit"] {
        if let Some(commit) = object(fields, key) {
            let id = commit.get("ID").cloned().unwrap_or_default();
            commit.insert("Expected".into(), id);
        }
    }
}
