//! What an engine has of images: chosen by filters, with what they share, pruned, measured; several of them in one archive.

use super::images::docker_archive;
use crate::check::{Check, contains, same, skip};
use crate::fixture::BUSYBOX;
use crate::scope::{Scope, percent_encode};
use crate::tar::{Kind, Writer};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::PoisonError;

const AREA: &str = "images";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "several images are saved into one archive and loaded from it", several),
        Check::new(AREA, "images are filtered by label, name, age and by having one", filters),
        Check::new(AREA, "what images share is told when it is asked for", shared),
        Check::new(AREA, "prune removes what its filters let through, and tells it", pruned),
        Check::new(AREA, "system df is what du says", measured).alone(),
    ]
}

fn layer(text: &str) -> Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    writer.add("file", 0o644, &Kind::File(text.repeat(1000).as_bytes()))?;
    Ok(writer.finish()?)
}

fn load(scope: &Scope<'_>, name: &str) -> Result<()> {
    scope.client().call_with_input(&["load"], &docker_archive(name, &layer(name)?, None)?)?.expect_code(0)?;
    Ok(())
}

fn rows(scope: &Scope<'_>, query: &str) -> Result<Vec<Value>> {
    let found = scope.api("GET", &format!("/images/json?{query}"))?.expect(200)?.json()?;
    Ok(found.as_array().context("a list")?.clone())
}

fn several(scope: &Scope<'_>) -> Result<()> {
    let names = ["one", "two"].map(|word| format!("{}:1", scope.name(word)));
    for name in &names {
        load(scope, name)?;
    }
    let id = |name: &str| {
        Ok(scope.api("GET", &format!("/images/{name}/json"))?.expect(200)?.json()?["Id"].clone())
    };
    let before = names.iter().map(|name| id(name)).collect::<Result<Vec<Value>>>()?;
    let query = format!("names={}&names={}", names[0], names[1]);
    let archive = scope.api("GET", &format!("/images/get?{query}"))?.expect(200)?.body;
    scope.ok(&["rmi", &names[0], &names[1]])?;
    let said = scope.client().call_with_input(&["load"], &archive)?.expect_code(0)?.stdout;
    for name in &names {
        contains("load", &said, &format!("Loaded image: {name}"))?;
    }
    let after = names.iter().map(|name| id(name)).collect::<Result<Vec<Value>>>()?;
    same("identifiers", after, before)?;
    // What is here already is loaded as well.
    let again = scope.client().call_with_input(&["load"], &archive)?.expect_code(0)?.stdout;
    contains("again", &again, &format!("Loaded image: {}", names[1]))?;
    scope.ok(&["rmi", &names[0], &names[1]]).map(drop)
}

/// Imports an image with a label.
fn import(scope: &Scope<'_>, word: &str, label: &str) -> Result<String> {
    let name = format!("{}:1", scope.name(word));
    let change = format!("LABEL {label}={word}");
    let bytes = layer(&name)?;
    scope.client().call_with_input(&["import", "--change", &change, "-", &name], &bytes)?.expect_code(0)?;
    Ok(name)
}

fn filters(scope: &Scope<'_>) -> Result<()> {
    let label = scope.name("kind");
    let first = import(scope, "first", &label)?;
    let second = import(scope, "second", &label)?;
    let found = |more: Value| -> Result<Vec<String>> {
        let mut filters = json!({ "label": [label] });
        for (key, value) in more.as_object().into_iter().flatten() {
            filters[key] = value.clone();
        }
        let rows = rows(scope, &format!("filters={}", percent_encode(&filters.to_string())))?;
        let mut names: Vec<String> =
            rows.iter().filter_map(|row| Some(row["RepoTags"][0].as_str()?.to_owned())).collect();
        names.sort();
        Ok(names)
    };
    same("label", found(json!({}))?, [first.clone(), second.clone()])?;
    same("label and value", found(json!({ "label": [format!("{label}=second")] }))?, [second.clone()])?;
    // The image that all checks use has a date of its own.
    same("before", found(json!({ "before": [BUSYBOX] }))?, Vec::<String>::new())?;
    same("since", found(json!({ "since": [BUSYBOX] }))?, [first.clone(), second.clone()])?;
    same("since itself", found(json!({ "since": [second] }))?, Vec::<String>::new())?;
    let pattern = format!("{}:*", scope.name("sec*"));
    same("reference", found(json!({ "reference": [pattern] }))?, [second.clone()])?;
    same("until", found(json!({ "until": ["1m"] }))?, Vec::<String>::new())?;
    same("dangling", found(json!({ "dangling": ["true"] }))?, Vec::<String>::new())?;
    same("not dangling", found(json!({ "dangling": ["false"] }))?.len(), 2)?;
    scope.ok(&["rmi", &first, &second]).map(drop)
}

fn shared(scope: &Scope<'_>) -> Result<()> {
    let label = scope.name("kind");
    let (one, other) = (import(scope, "one", &label)?, format!("{}:1", scope.name("other")));
    let container = scope.name("made");
    scope.ok(&["create", "--name", &container, &one, "/x"])?;
    same("changes of one that was never started", scope.ok(&["diff", &container])?, "")?;
    scope.ok(&["commit", "--change", "ENV MORE=1", &container, &other])?;
    let filters = percent_encode(&json!({ "label": [label] }).to_string());
    let sizes = rows(scope, &format!("shared-size=1&filters={filters}"))?;
    same("images", sizes.len(), 2)?;
    for row in &sizes {
        let (shared, size) = (row["SharedSize"].as_i64().unwrap_or(-1), row["Size"].as_i64().unwrap_or(-1));
        same(&format!("0 < {shared} <= {size}"), shared > 0 && shared <= size, true)?;
    }
    let sizes = rows(scope, &format!("filters={filters}"))?;
    same("not asked for", sizes.iter().all(|row| row["SharedSize"] == -1), true)?;
    scope.ok(&["rm", &container])?;
    scope.ok(&["rmi", &one, &other]).map(drop)
}

fn pruned(scope: &Scope<'_>) -> Result<()> {
    let label = scope.name("kind");
    let (gone, used) = (import(scope, "gone", &label)?, import(scope, "used", &label)?);
    let container = scope.name("user");
    scope.ok(&["create", "--name", &container, &used, "/x"])?;
    let filters = json!({ "label": [label], "dangling": ["false"] });
    let path = format!("/images/prune?filters={}", percent_encode(&filters.to_string()));
    let report = scope.api("POST", &path)?.expect(200)?.json()?;
    contains("told", &report["ImagesDeleted"].to_string(), &gone)?;
    same("in use", report["ImagesDeleted"].to_string().contains(&used), false)?;
    same("bytes", report["SpaceReclaimed"].as_u64().unwrap_or(0) > 0, true)?;
    same("gone", scope.api("GET", &format!("/images/{gone}/json"))?.status, 404)?;
    scope.api("GET", &format!("/images/{used}/json"))?.expect(200)?;
    scope.ok(&["rm", &container])?;
    scope.ok(&["rmi", &used]).map(drop)
}

/// What a directory's files take on the disk, each once, with the directories below it and without itself.
fn taken(directory: &Path) -> Result<u64> {
    let (mut bytes, mut seen) = (0, std::collections::BTreeSet::new());
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let facts = entry?;
            let path = facts.path();
            let facts = std::fs::symlink_metadata(&path)?;
            if seen.insert(facts.ino()) {
                bytes += facts.blocks() * 512;
            }
            if facts.is_dir() {
                pending.push(path);
            }
        }
    }
    Ok(bytes)
}

fn measured(scope: &Scope<'_>) -> Result<()> {
    if scope.engine.program.is_none() {
        return Err(skip("only berth's own directories are known here"));
    }
    let daemon = scope.engine.daemon.as_ref().ok_or_else(|| skip("the daemon is not the suite's own"))?;
    let root = daemon.lock().unwrap_or_else(PoisonError::into_inner).setup().data_root();
    let name = import(scope, "measured", "kind")?;
    let usage = scope.api("GET", "/system/df?type=image")?.expect(200)?.json()?;
    let told = usage["ImageUsage"]["TotalSize"].as_u64().with_context(|| usage.to_string())?;
    let mut du = 0;
    for place in ["blobs/sha256", "blobs/sha512", "layers/sha256", "layers/chain-sha256"] {
        du += taken(&root.join(place))?;
    }
    same("bytes", told, du)?;
    scope.ok(&["rmi", &name]).map(drop)
}
