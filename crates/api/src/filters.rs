//! Filters of lists, prunes and events: `{"label":{"a=b":true}}`, and the older `{"label":["a=b"]}`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Wanted values by key. Several values of one key are alternatives unless said otherwise (labels are not).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

/// Why filters cannot be used; prints in Docker's words. Status 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// Not JSON of one of the two forms.
    Unreadable,
    /// Not a key of this list.
    UnknownKey(String),
    /// Not a value of this key.
    InvalidValue {
        /// The key.
        key: String,
        /// Its values.
        values: Vec<String>,
    },
}

impl std::fmt::Display for FilterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FilterError::Unreadable => write!(f, "invalid filter"),
            FilterError::UnknownKey(key) => write!(f, "invalid filter '{key}'"),
            FilterError::InvalidValue { key, values } => {
                write!(f, "invalid filter '{key}={}'", go_list(values))
            }
        }
    }
}

impl std::error::Error for FilterError {}

/// A list as Go's `%s` prints it: `[a b]`.
fn go_list(values: &[String]) -> String {
    format!("[{}]", values.join(" "))
}

impl Filters {
    /// Reads the parameter `filters`; an empty one has no filters.
    pub fn parse(text: &str) -> Result<Filters, FilterError> {
        if text.is_empty() {
            return Ok(Filters::default());
        }
        let value: Value = serde_json::from_str(text).map_err(|_| FilterError::Unreadable)?;
        let Value::Object(keys) = value else {
            return if value.is_null() { Ok(Filters::default()) } else { Err(FilterError::Unreadable) };
        };
        let mut filters = BTreeMap::new();
        for (key, values) in keys {
            filters.insert(key, read_values(values)?);
        }
        Ok(Filters(filters))
    }

    /// The newer form, for requests; empty when there are no filters.
    pub fn to_parameter(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let keys = self.0.iter().map(|(key, values)| {
            let values = values.iter().map(|value| (value.clone(), Value::Bool(true)));
            (key.clone(), Value::Object(values.collect()))
        });
        Value::Object(keys.collect()).to_string()
    }

    /// Adds a wanted value.
    pub fn add(&mut self, key: &str, value: &str) {
        self.0.entry(key.into()).or_default().insert(value.into());
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key is there, with or without values.
    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The values of a key, sorted.
    pub fn get(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Whether the key is there with exactly this value among others.
    pub fn has(&self, key: &str, value: &str) -> bool {
        self.0.get(key).is_some_and(|values| values.contains(value))
    }

    /// The keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Fails on the first key that is not among `accepted`.
    pub fn validate(&self, accepted: &[&str]) -> Result<(), FilterError> {
        match self.keys().find(|key| !accepted.contains(key)) {
            Some(key) => Err(FilterError::UnknownKey(key.into())),
            None => Ok(()),
        }
    }

    /// A yes-or-no filter: `Ok(None)` when it is absent, an error when its values are not one of the two.
    pub fn bool_value(&self, key: &str) -> Result<Option<bool>, FilterError> {
        let Some(values) = self.0.get(key) else { return Ok(None) };
        let is = |words: [&str; 2]| words.iter().any(|word| values.contains(*word));
        match (is(["1", "true"]), is(["0", "false"])) {
            (true, false) => Ok(Some(true)),
            (false, true) => Ok(Some(false)),
            _ => Err(FilterError::InvalidValue { key: key.into(), values: values.iter().cloned().collect() }),
        }
    }

    /// Whether labels match a key's values (`label=a`, `label=a=b`): all of them must.
    pub fn labels_match(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.get(key).all(|wanted| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        })
    }

    /// Whether a value matches one of a key's values exactly; true when the key is absent.
    pub fn matches_exactly(&self, key: &str, found: &str) -> bool {
        self.0.get(key).is_none_or(|values| values.is_empty() || values.contains(found))
    }

    /// Whether a value begins with one of a key's values; true when the key is absent.
    pub fn matches_prefix(&self, key: &str, found: &str) -> bool {
        self.0
            .get(key)
            .is_none_or(|values| values.is_empty() || values.iter().any(|value| found.starts_with(value)))
    }
}

fn read_values(values: Value) -> Result<BTreeSet<String>, FilterError> {
    match values {
        // In this form a value counts by being there; what it maps to must be a boolean all the same.
        Value::Object(values) => values
            .into_iter()
            .map(
                |(value, on)| {
                    if on.is_boolean() || on.is_null() { Ok(value) } else { Err(FilterError::Unreadable) }
                },
            )
            .collect(),
        Value::Array(values) => values
            .into_iter()
            .map(|value| match value {
                Value::String(text) => Ok(text),
                _ => Err(FilterError::Unreadable),
            })
            .collect(),
        Value::Null => Ok(BTreeSet::new()),
        _ => Err(FilterError::Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let printed = match Filters::parse(text) {
            Ok(filters) => filters.to_parameter(),
            Err(error) => error.to_string(),
        };
        assert_eq!(printed, expected, "{text}");
    }

    #[test]
    fn both_forms_are_read() {
        check("", "");
        check("null", "");
        check("{}", "");
        check(r#"{"label":{"a=b":true,"c":true}}"#, r#"{"label":{"a=b":true,"c":true}}"#);
        check(
            r#"{"label":["c","a=b"],"id":{"x":false}}"#,
            r#"{"id":{"x":true},"label":{"a=b":true,"c":true}}"#,
        );
        for text in
            ["[]", "{", "3", r#"{"label":3}"#, r#"{"label":[3]}"#, r#"{"label":{"a":"true"}}"#, "{} {}"]
        {
            check(text, "invalid filter");
        }
    }

    #[test]
    fn keys_and_values_are_validated() {
        let filters = Filters::parse(r#"{"dangling":["yes"],"what":["x"]}"#).unwrap();
        assert_eq!(filters.validate(&["dangling"]).unwrap_err().to_string(), "invalid filter 'what'");
        assert_eq!(
            filters.bool_value("dangling").unwrap_err().to_string(),
            "invalid filter 'dangling=[yes]'"
        );
        assert_eq!(filters.bool_value("all"), Ok(None));
        assert_eq!(Filters::parse(r#"{"all":["1"]}"#).unwrap().bool_value("all"), Ok(Some(true)));
    }

    #[test]
    fn labels_must_all_match() {
        let labels = BTreeMap::from([("a".to_string(), "b".to_string()), ("c".to_string(), String::new())]);
        let matches = |text: &str| Filters::parse(text).unwrap().labels_match("label", &labels);
        assert!(matches(r#"{"label":["a=b","c"]}"#));
        assert!(matches(r#"{"label":["a","c="]}"#));
        assert!(!matches(r#"{"label":["a=b","d"]}"#));
        assert!(!matches(r#"{"label":["a=x"]}"#));
        assert!(matches("{}"));
    }
}
