//! Where lists are kept until they are pushed: `manifests/<list>/<image>` beside `config.json`, as Docker's client has them.

use std::fs;
use std::io;
use std::path::PathBuf;

use api::registry::{base64_decode, base64_encode};
use oci::Reference;
use oci::image::Descriptor;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::session::Session;

/// An image of a list.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) reference: Reference,
    /// Media type, digest, size, and the platform.
    pub(super) descriptor: Descriptor,
    /// The manifest as the registry has it.
    pub(super) bytes: Vec<u8>,
    /// It was found in a list.
    pub(super) is_listed: bool,
}

impl Stored {
    /// As `inspect` shows it, and as it is kept when `verbose`.
    pub(super) fn shown(&self, verbose: bool) -> Result<Value, Failure> {
        let manifest: Value =
            serde_json::from_slice(&self.bytes).map_err(|error| self.unusable(&error.to_string()))?;
        if !verbose {
            return Ok(manifest);
        }
        let kind =
            if self.descriptor.media_type.contains(".oci.") { "OCIManifest" } else { "SchemaV2Manifest" };
        let mut shown = json!({ "Ref": self.reference.to_string(), "Descriptor": self.descriptor });
        shown["Raw"] = base64_encode(&self.bytes).into();
        shown[kind] = manifest;
        Ok(shown)
    }

    fn unusable(&self, reason: &str) -> Failure {
        Failure::text(format!("the manifest of {} cannot be used: {reason}", self.reference))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let kept: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let reference = Reference::parse(kept["Ref"].as_str().unwrap_or_default());
        let descriptor = serde_json::from_value(kept["Descriptor"].clone());
        Ok(Self {
            reference: reference.map_err(|error| error.to_string())?,
            descriptor: descriptor.map_err(|error| error.to_string())?,
            bytes: kept["Raw"].as_str().and_then(base64_decode).ok_or("it has no member Raw")?,
            is_listed: true,
        })
    }
}

/// The lists of a user.
pub(super) struct Lists(PathBuf);

/// A name that no directory separator or colon is in.
fn file_name(name: &Reference) -> String {
    name.to_string().replace(':', "-").replace('/', "_")
}

impl Lists {
    pub(super) fn of(session: &Session) -> Result<Self, Failure> {
        let directory = session.config_dir();
        let missing = || Failure::text("there is no directory for manifest lists: set HOME or DOCKER_CONFIG");
        Ok(Self(directory.ok_or_else(missing)?.join("manifests")))
    }

    /// The images of a list, by name; none when there is no such list.
    pub(super) fn all(&self, list: &Reference) -> Result<Vec<Stored>, Failure> {
        let path = self.0.join(file_name(list));
        let failed = |error: &io::Error| Failure::open(&path.display().to_string(), error);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| failed(&error))?,
        };
        let paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
        let mut paths = paths.map_err(|error| failed(&error))?;
        paths.sort();
        paths.iter().filter_map(|path| read(path).transpose()).collect()
    }

    /// An image of a list.
    pub(super) fn get(&self, list: &Reference, image: &Reference) -> Result<Option<Stored>, Failure> {
        read(&self.0.join(file_name(list)).join(file_name(image)))
    }

    /// Adds an image to a list, or changes it.
    pub(super) fn save(&self, list: &Reference, stored: &Stored) -> Result<(), Failure> {
        let directory = self.0.join(file_name(list));
        let path = directory.join(file_name(&stored.reference));
        let text = stored.shown(true)?.to_string();
        let temporary = directory.join(format!(".{}.tmp", std::process::id()));
        let written = fs::create_dir_all(&directory)
            .and_then(|()| fs::write(&temporary, text))
            .and_then(|()| fs::rename(&temporary, &path));
        written.map_err(|error| Failure::file("write", &path.display().to_string(), &error))
    }

    /// Forgets a list.
    pub(super) fn remove(&self, list: &Reference) -> Result<(), Failure> {
        let path = self.0.join(file_name(list));
        fs::remove_dir_all(&path)
            .map_err(|error| Failure::file("remove", &path.display().to_string(), &error))
    }
}

/// Reads a file of a list; `None` when there is none, or for one that is just being written.
fn read(path: &std::path::Path) -> Result<Option<Stored>, Failure> {
    if path.extension().is_some_and(|extension| extension == "tmp") {
        return Ok(None);
    }
    match fs::read(path) {
        Ok(bytes) => match Stored::parse(&bytes) {
            Ok(stored) => Ok(Some(stored)),
            Err(reason) => Err(Failure::text(format!("{}: {reason}", path.display()))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::open(&path.display().to_string(), &error)),
    }
}
