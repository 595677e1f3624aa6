//! `daemon.json`: keys are dockerd's, an unknown one is an error.

use serde_json::Value;

use super::flags::{self, Flag, Kind};
use super::settings::{Settings, check_word};

/// Reads the file's content. An empty file is an empty configuration; a byte order mark is skipped.
pub fn parse(text: &[u8]) -> Result<Settings, String> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut settings = Settings::default();
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(settings);
    }
    let value: Value = serde_json::from_slice(text).map_err(|error| format!("invalid JSON: {error}"))?;
    let Value::Object(keys) = value else { return Err("must be a JSON object".into()) };
    let unknown: Vec<&str> =
        keys.keys().map(String::as_str).filter(|key| flags::by_key(key).is_none()).collect();
    if !unknown.is_empty() {
        return Err(self::unknown(&unknown));
    }
    for (key, value) in &keys {
        if let Some(flag) = flags::by_key(key) {
            read_key(key, flag, value, &mut settings)?;
        }
    }
    Ok(settings)
}

/// Keys that `proxies` holds; they mean the same outside of it.
const PROXIES: [&str; 3] = ["http-proxy", "https-proxy", "no-proxy"];

fn unknown(keys: &[&str]) -> String {
    format!("the following directives don't match any configuration option: {}", keys.join(", "))
}

fn read_key(key: &str, flag: &'static Flag, value: &Value, settings: &mut Settings) -> Result<(), String> {
    let mut add = |word: String| match check_word(flag.kind, &word) {
        Ok(word) => {
            settings.add(flag.name(), word);
            Ok(())
        }
        Err(reason) => Err(format!("{key}: {reason}")),
    };
    match (flag.kind, value) {
        (_, Value::Null) => Ok(()),
        (Kind::Switch, Value::Bool(on)) => add(on.to_string()),
        (Kind::Text, Value::String(text)) => add(text.clone()),
        // The older form of a key that takes a list now.
        (Kind::List, Value::String(text)) if key != flag.key => add(text.clone()),
        (Kind::Number, Value::Number(number)) => add(number.to_string()),
        (Kind::List, Value::Array(items)) => items.iter().try_for_each(|item| match item {
            Value::String(text) => add(text.clone()),
            Value::Object(_) => add(item.to_string()),
            _ => Err(format!("{key}: must be a list of strings")),
        }),
        (Kind::Map, Value::Object(entries)) => entries.iter().try_for_each(|(name, value)| match value {
            Value::String(text) => add(format!("{name}={text}")),
            other => add(format!("{name}={other}")),
        }),
        (Kind::Object, Value::Object(proxies)) if key == "proxies" => {
            proxies.iter().try_for_each(|(key, value)| {
                let flag = flags::by_key(key).filter(|flag| PROXIES.contains(&flag.key));
                let flag = flag.ok_or_else(|| unknown(&[key.as_str()]))?;
                read_key(key, flag, value, settings)
            })
        }
        (Kind::Object, Value::Object(_)) => add(value.to_string()),
        (kind, _) => Err(format!("{key}: must be {}", expected(kind))),
    }
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Switch => "true or false",
        Kind::Text => "a string",
        Kind::Number => "a number",
        Kind::List => "a list of strings",
        Kind::Map | Kind::Object => "an object",
    }
}
