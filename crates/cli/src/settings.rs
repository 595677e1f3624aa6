//! The user's settings: the directory `~/.docker` and its `config.json`, shared with Docker's command line.

use std::cell::OnceCell;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::context::Store;
use crate::failure::Failure;

/// The settings; read when they are first asked for.
pub(crate) struct Settings {
    directory: Option<PathBuf>,
    content: OnceCell<Value>,
}

impl Settings {
    /// In the directory that was typed, else `DOCKER_CONFIG`, else `~/.docker`.
    pub(crate) fn new(typed: Option<String>) -> Self {
        let home = || Some(format!("{}/.docker", variable("HOME")?));
        let directory = typed.or_else(|| variable("DOCKER_CONFIG")).or_else(home);
        Self { directory: directory.map(PathBuf::from), content: OnceCell::new() }
    }

    /// The directory, when there is a way to name one.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Where contexts are kept.
    pub(crate) fn contexts(&self) -> Option<Store> {
        self.directory().map(Store::new)
    }

    /// A setting that is a text; empty when it is not set.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.all()[name].as_str().unwrap_or_default()
    }

    /// All of `config.json`; `null` when there is none.
    pub(crate) fn all(&self) -> &Value {
        self.content.get_or_init(|| {
            let Some(path) = self.path() else { return Value::Null };
            let Ok(bytes) = fs::read(&path) else { return Value::Null };
            serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                eprintln!("WARNING: Error loading config file: {}: {error}", path.display());
                Value::Null
            })
        })
    }

    /// Changes a text, or takes it out; everything else in the file stays. A file that cannot be read is not replaced.
    pub(crate) fn set(&self, name: &str, value: Option<&str>) -> Result<(), Failure> {
        let path = self
            .path()
            .ok_or_else(|| Failure::text("there is no directory for settings: set HOME or DOCKER_CONFIG"))?;
        let shown = path.display().to_string();
        let mut content = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<Map<String, Value>>(&bytes)
                .map_err(|error| Failure::text(format!("{shown}: {error}")))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Map::from_iter([("auths".into(), Map::new().into())])
            }
            Err(error) => return Err(Failure::open(&shown, &error)),
        };
        match value {
            Some(value) => content.insert(name.into(), value.into()),
            None => content.remove(name),
        };
        write(&path, &Value::Object(content)).map_err(|error| Failure::file("write", &shown, &error))
    }

    fn path(&self) -> Option<PathBuf> {
        self.directory().map(|directory| directory.join("config.json"))
    }
}

/// Writes with tabs, as Docker's command line does; only the user may read it, for it may hold credentials.
fn write(path: &Path, content: &Value) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    content.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
    let mut hidden = path.as_os_str().to_owned();
    hidden.push(format!(".{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(&hidden)?.write_all(&text)?;
    fs::rename(&hidden, path)
}

/// A variable of the environment that has a value.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
