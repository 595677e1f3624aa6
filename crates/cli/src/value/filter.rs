//! `--filter key=value` → the JSON of the `filters` parameter.

use std::collections::BTreeMap;

/// For the table of flags.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let pair = text.is_empty() || text.contains('=');
    if pair { Ok(()) } else { Err("bad format of filter (expected name=value)".to_owned()) }
}

/// `{"key":{"value":true}}`, keys and values sorted and trimmed; empty without filters.
pub(crate) fn json(texts: &[&str]) -> String {
    let mut all: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    for (key, value) in texts.iter().filter_map(|text| text.split_once('=')) {
        all.entry(key.trim().to_lowercase()).or_default().insert(value.trim().to_owned(), true);
    }
    if all.is_empty() { String::new() } else { serde_json::json!(all).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_one_key_are_together() {
        let found = json(&["name=b", "Label = a=b", "name=a"]);
        assert_eq!(found, r#"{"label":{"a=b":true},"name":{"a":true,"b":true}}"#);
        assert_eq!(json(&[]), "");
        assert_eq!(check("x"), Err("bad format of filter (expected name=value)".to_owned()));
    }
}
