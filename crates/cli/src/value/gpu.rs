//! `--gpus all`, `--gpus 'device=0,1'`, `--gpus 2,driver=nvidia,capabilities=util`.

use serde_json::{Map, Value, json};

use super::csv;
use crate::grammar::parse_int;

/// The device request that a GPU option means: `{Driver, Count, DeviceIDs, Capabilities, Options}`.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let (mut driver, mut count, mut ids) = (String::new(), None, Vec::new());
    let mut capabilities: Vec<String> = Vec::new();
    let mut options = Map::new();
    for (index, field) in csv::fields(text)?.iter().enumerate() {
        let Some((key, value)) = field.split_once('=') else {
            if index > 0 {
                return Err(format!("unexpected key {field:?} in {text:?}").replace('"', "'"));
            }
            count = Some(parse_count(field)?);
            continue;
        };
        match key {
            "driver" => value.clone_into(&mut driver),
            "count" => count = Some(parse_count(value)?),
            "device" => ids = value.split(',').map(str::to_owned).collect(),
            "capabilities" => capabilities = value.split(',').map(str::to_owned).collect(),
            "options" => options = options_of(value)?,
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if !capabilities.iter().any(|capability| capability == "gpu") {
        capabilities.push("gpu".to_owned());
    }
    let count = count.unwrap_or(i64::from(ids.is_empty()));
    let ids = if ids.is_empty() { Value::Null } else { json!(ids) };
    Ok(
        json!({ "Driver": driver, "Count": count, "DeviceIDs": ids, "Capabilities": [capabilities], "Options": options }),
    )
}

fn parse_count(text: &str) -> Result<i64, String> {
    let words =
        |_| format!("invalid count ({text}): value must be either \"all\" or an integer: invalid syntax");
    if text == "all" { Ok(-1) } else { parse_int(text).map_err(words) }
}

fn options_of(text: &str) -> Result<Map<String, Value>, String> {
    let pairs = csv::fields(text)?;
    let pair = |field: &String| {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        (key.to_owned(), Value::from(value))
    };
    Ok(pairs.iter().map(pair).collect())
}

/// For the table of flags.
pub(crate) fn check(text: &str) -> Result<(), String> {
    parse(text).map(drop)
}
