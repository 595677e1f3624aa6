//! `--mount type=bind,source=/a,target=/b,readonly` → an element of `HostConfig.Mounts`.

use serde_json::{Map, Value, json};

use super::{bytes, csv};
use crate::grammar::parse_bool;

#[derive(Default)]
struct Mount {
    kind: Option<String>,
    source: String,
    target: String,
    read_only: bool,
    id_map: String,
    consistency: String,
    bind: Map<String, Value>,
    volume: Map<String, Value>,
    volume_labels: Map<String, Value>,
    driver: Option<String>,
    driver_options: Map<String, Value>,
    image: Map<String, Value>,
    tmpfs: Map<String, Value>,
}

/// The JSON of one mount, keys in Docker's order.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut mount = Mount::default();
    for field in csv::fields(text)? {
        mount.take(&field)?;
    }
    mount.check()?;
    Ok(mount.json())
}

impl Mount {
    fn take(&mut self, field: &str) -> Result<(), String> {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        let Some(value) = value else { return self.take_word(&key, field) };
        let text = || Value::from(value);
        let truth = || parse_bool(value).map_err(|_| format!("invalid value for {key}: {value}"));
        match key.as_str() {
            "type" => self.kind = Some(value.to_lowercase()),
            "source" | "src" => value.clone_into(&mut self.source),
            "target" | "dst" | "destination" => value.clone_into(&mut self.target),
            "readonly" | "ro" => self.read_only = truth()?,
            "idmap" => value.clone_into(&mut self.id_map),
            "consistency" => self.consistency = value.to_lowercase(),
            "bind-propagation" => drop(self.bind.insert("Propagation".into(), value.to_lowercase().into())),
            "bind-nonrecursive" => drop(self.bind.insert("NonRecursive".into(), truth()?.into())),
            "bind-create-src" => drop(self.bind.insert("CreateMountpoint".into(), truth()?.into())),
            "bind-recursive" => self.recursive(value)?,
            "volume-subpath" => drop(self.volume.insert("Subpath".into(), text())),
            "volume-nocopy" => drop(self.volume.insert("NoCopy".into(), truth()?.into())),
            "volume-label" => insert_pair(&mut self.volume_labels, value),
            "volume-driver" => self.driver = Some(value.to_owned()),
            "volume-opt" => insert_pair(&mut self.driver_options, value),
            "image-subpath" => drop(self.image.insert("Subpath".into(), text())),
            "tmpfs-size" => {
                let size = bytes::parse(value).map_err(|_| format!("invalid value for {key}: {value}"))?;
                self.tmpfs.insert("SizeBytes".into(), size.into());
            }
            "tmpfs-mode" => {
                let mode =
                    u32::from_str_radix(value, 8).map_err(|_| format!("invalid value for {key}: {value}"))?;
                self.tmpfs.insert("Mode".into(), mode.into());
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
        Ok(())
    }

    /// A field without a value: the switches.
    fn take_word(&mut self, key: &str, field: &str) -> Result<(), String> {
        match key {
            "readonly" | "ro" => self.read_only = true,
            "idmap" => "owner".clone_into(&mut self.id_map),
            "volume-nocopy" => drop(self.volume.insert("NoCopy".into(), true.into())),
            "bind-nonrecursive" => drop(self.bind.insert("NonRecursive".into(), true.into())),
            "bind-create-src" => drop(self.bind.insert("CreateMountpoint".into(), true.into())),
            _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
        }
        Ok(())
    }

    fn recursive(&mut self, value: &str) -> Result<(), String> {
        let name = match value {
            "enabled" => return Ok(()),
            "disabled" => "NonRecursive",
            "writable" => "ReadOnlyNonRecursive",
            "readonly" => "ReadOnlyForceRecursive",
            _ => {
                return Err(format!(
                    "invalid value for bind-recursive: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                ));
            }
        };
        self.bind.insert(name.into(), true.into());
        Ok(())
    }

    fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("volume")
    }

    fn check(&self) -> Result<(), String> {
        if self.kind().is_empty() {
            return Err("type is required".to_owned());
        }
        if self.target.is_empty() {
            return Err("target is required".to_owned());
        }
        let volume = self.has_volume_options();
        for (prefix, given, kind) in [
            ("volume", volume, "volume"),
            ("bind", !self.bind.is_empty(), "bind"),
            ("image", !self.image.is_empty(), "image"),
            ("tmpfs", !self.tmpfs.is_empty(), "tmpfs"),
        ] {
            if given && self.kind() != kind {
                return Err(format!("cannot mix '{prefix}-*' options with mount type '{}'", self.kind()));
            }
        }
        for (name, option) in [("ReadOnlyForceRecursive", "readonly"), ("ReadOnlyNonRecursive", "writable")] {
            if self.bind.contains_key(name) && !self.read_only {
                return Err(format!(
                    "option 'bind-recursive={option}' requires 'readonly' to be specified in conjunction"
                ));
            }
        }
        if self.bind.contains_key("ReadOnlyForceRecursive")
            && self.bind.get("Propagation") != Some(&"rprivate".into())
        {
            return Err(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn has_volume_options(&self) -> bool {
        !self.volume.is_empty()
            || !self.volume_labels.is_empty()
            || self.driver.is_some()
            || !self.driver_options.is_empty()
    }

    fn json(mut self) -> Value {
        let mut out = Map::new();
        let mut put = |name: &str, value: Value| drop(out.insert(name.to_owned(), value));
        put("Type", self.kind().into());
        if !self.source.is_empty() {
            put("Source", self.source.clone().into());
        }
        put("Target", self.target.clone().into());
        if self.read_only {
            put("ReadOnly", true.into());
        }
        if !self.consistency.is_empty() {
            put("Consistency", self.consistency.clone().into());
        }
        if !self.id_map.is_empty() {
            put("IdMap", self.id_map.clone().into());
        }
        if !self.bind.is_empty() {
            put("BindOptions", ordered(&self.bind, BIND_KEYS));
        }
        if self.has_volume_options() {
            if !self.volume_labels.is_empty() {
                self.volume.insert("Labels".into(), self.volume_labels.into());
            }
            if self.driver.is_some() || !self.driver_options.is_empty() {
                let mut driver = Map::new();
                if let Some(name) = self.driver {
                    driver.insert("Name".into(), name.into());
                }
                if !self.driver_options.is_empty() {
                    driver.insert("Options".into(), self.driver_options.into());
                }
                self.volume.insert("DriverConfig".into(), driver.into());
            }
            put("VolumeOptions", ordered(&self.volume, VOLUME_KEYS));
        }
        if !self.image.is_empty() {
            put("ImageOptions", self.image.into());
        }
        if !self.tmpfs.is_empty() {
            put("TmpfsOptions", ordered(&self.tmpfs, TMPFS_KEYS));
        }
        json!(out)
    }
}

const BIND_KEYS: &[&str] =
    &["Propagation", "NonRecursive", "CreateMountpoint", "ReadOnlyNonRecursive", "ReadOnlyForceRecursive"];
const VOLUME_KEYS: &[&str] = &["NoCopy", "Labels", "Subpath", "DriverConfig"];
const TMPFS_KEYS: &[&str] = &["SizeBytes", "Mode"];

/// The options in the order of Docker's documents, whatever the order in which they were typed.
fn ordered(options: &Map<String, Value>, keys: &[&str]) -> Value {
    let found = keys.iter().filter_map(|key| Some(((*key).to_owned(), options.get(*key)?.clone())));
    found.collect::<Map<_, _>>().into()
}

fn insert_pair(map: &mut Map<String, Value>, text: &str) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    map.insert(key.to_owned(), value.into());
}

/// For the table of flags.
pub(crate) fn check(text: &str) -> Result<(), String> {
    parse(text).map(drop)
}
