//! Devices by name: what the Container Device Interface describes in files of the host (CDI 1.0).
//!
//! A file describes devices of one kind, `vendor.com/class`. What a device needs in a container (nodes, mounts,
//! environment, hooks, groups) is looked up at each start, so that a driver's new description counts at once.

mod edit;
#[cfg(test)]
mod fuzz;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use api::host_config::DeviceRequest;
use serde::Deserialize;

use crate::{Error, Result};
pub(crate) use edit::{Edits, Node, apply};

/// The driver of requests that name devices of this interface.
pub(crate) const DRIVER: &str = "cdi";
/// Bytes of a description.
const MAX_FILE: u64 = 4 << 20;
/// Descriptions in one directory.
const MAX_FILES: usize = 1024;

/// One file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Description {
    cdi_version: String,
    kind: String,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
    #[serde(default)]
    container_edits: Edits,
    devices: Vec<Described>,
}

/// One device of a file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Described {
    name: String,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
    #[serde(default)]
    container_edits: Edits,
}

/// Where a device was found, and what it needs.
#[derive(Debug)]
struct Found {
    file: usize,
    /// Of several directories the last one counts.
    priority: usize,
    edits: Edits,
}

/// All devices of the directories at one moment.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    /// What every device of a file needs, and the file.
    files: Vec<(PathBuf, Edits)>,
    devices: BTreeMap<String, Found>,
    /// What is wrong with files.
    pub(crate) problems: Vec<String>,
}

impl Catalog {
    /// Reads the directories. A file that is wrong is a problem and hides no other.
    pub(crate) fn read(directories: &[PathBuf]) -> Self {
        let mut catalog = Self::default();
        let mut conflicts = BTreeSet::new();
        for (priority, directory) in directories.iter().enumerate() {
            for path in files_of(directory, &mut catalog.problems) {
                match describe(&path) {
                    Ok(description) => catalog.add(path, priority, description, &mut conflicts),
                    Err(words) => catalog.problems.push(format!("CDI: {}: {words}", path.display())),
                }
            }
        }
        catalog.devices.retain(|name, found| !conflicts.contains(&(name.clone(), found.priority)));
        catalog
    }

    fn add(
        &mut self,
        path: PathBuf,
        priority: usize,
        description: Description,
        conflicts: &mut BTreeSet<(String, usize)>,
    ) {
        let file = self.files.len();
        for device in description.devices {
            let name = format!("{}={}", description.kind, device.name);
            if let Some(other) = self.devices.get(&name).filter(|other| other.priority == priority) {
                let (other, here) = (self.files[other.file].0.display(), path.display());
                self.problems.push(format!("CDI: conflicting device {name:?} (specs {other}, {here})"));
                conflicts.insert((name, priority));
                continue;
            }
            self.devices.insert(name, Found { file, priority, edits: device.container_edits });
        }
        self.files.push((path, description.container_edits));
    }

    /// The names of all devices, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.devices.keys()
    }

    /// What these devices need, with that of their files, each once.
    pub(crate) fn edits(&self, names: &[String]) -> Result<Edits> {
        let unknown: Vec<&str> =
            names.iter().filter(|name| !self.devices.contains_key(*name)).map(String::as_str).collect();
        if !unknown.is_empty() {
            return Err(Error::system(format!(
                "CDI device injection failed: unresolvable CDI devices {}",
                unknown.join(", ")
            )));
        }
        let (mut all, mut files) = (Edits::default(), BTreeSet::new());
        for found in names.iter().filter_map(|name| self.devices.get(name)) {
            if files.insert(found.file) {
                all.add(&self.files[found.file].1);
            }
            all.add(&found.edits);
        }
        Ok(all)
    }
}

/// The files of a directory in order; none when there is no such directory.
fn files_of(directory: &Path, problems: &mut Vec<String>) -> Vec<PathBuf> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.push(format!("CDI: list {}: {error}", directory.display()));
            return Vec::new();
        }
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path())).take(MAX_FILES);
    let mut files: Vec<PathBuf> = Vec::new();
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => files.push(path),
            Some("yaml" | "yml") => problems.push(format!(
                "CDI: {}: descriptions are read as JSON only: have it written with --format=json",
                path.display()
            )),
            _ => {}
        }
    }
    files.sort();
    files
}

fn describe(path: &Path) -> std::result::Result<Description, String> {
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_FILE {
        return Err(format!("it has more than {MAX_FILE} bytes"));
    }
    let description: Description = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    names::check_version(&description.cdi_version)?;
    names::check_kind(&description.kind)?;
    if description.devices.is_empty() {
        return Err("it describes no devices".to_owned());
    }
    description.container_edits.check()?;
    let mut seen = BTreeSet::new();
    for device in &description.devices {
        names::check_device(&device.name)?;
        device.container_edits.check()?;
        if !seen.insert(&device.name) {
            return Err(format!("device {:?} is described twice", device.name));
        }
    }
    Ok(description)
}

/// The names that a container's requests ask for. Requests of other drivers are refused: this machine has none.
pub(crate) fn wanted(requests: &[DeviceRequest], enabled: bool) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for request in requests {
        if request.driver != DRIVER || !enabled {
            let capabilities: Vec<String> =
                request.capabilities.iter().flatten().map(|all| format!("[{}]", all.join(" "))).collect();
            return Err(Error::invalid(format!(
                "could not select device driver {:?} with capabilities: [{}]",
                request.driver,
                capabilities.join(" ")
            )));
        }
        if request.count != 0 {
            return Err(Error::invalid("unexpected count in CDI device request"));
        }
        if request.options.as_ref().is_some_and(|options| !options.is_empty()) {
            return Err(Error::invalid("unexpected options in CDI device request"));
        }
        names.extend(request.device_ids.iter().flatten().cloned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(driver: &str, count: i64, ids: &[&str], capabilities: &[&[&str]]) -> DeviceRequest {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        DeviceRequest {
            driver: driver.to_owned(),
            count,
            device_ids: Some(owned(ids)),
            capabilities: Some(capabilities.iter().map(|words| owned(words)).collect()),
            options: None,
        }
    }

    #[test]
    fn only_requests_for_named_devices_can_be_met() {
        let check = |request: DeviceRequest, expected: &str| {
            let found = wanted(&[request], true).map_or_else(|error| error.message, |names| names.join(" "));
            assert_eq!(found, expected);
        };
        check(request("cdi", 0, &["a.b/c=d"], &[]), "a.b/c=d");
        check(request("cdi", 1, &["a.b/c=d"], &[]), "unexpected count in CDI device request");
        check(
            request("", -1, &[], &[&["gpu"]]),
            "could not select device driver \"\" with capabilities: [[gpu]]",
        );
        check(
            request("nvidia", 0, &["0"], &[&["gpu", "util"], &["x"]]),
            "could not select device driver \"nvidia\" with capabilities: [[gpu util] [x]]",
        );
        assert!(wanted(&[request("cdi", 0, &["a.b/c=d"], &[])], false).is_err());
    }
}
