//! Images from and to archives.

use std::io::Read;

use image::ImportOptions;
use oci::{Platform, Reference};

use super::publish;
use crate::engine::Engine;
use crate::image_use::{error, platform};
use crate::{Error, Result};

/// What becomes of an imported archive.
#[derive(Debug, Clone, Default)]
pub struct ImportRequest {
    /// Repository of its name; empty for none.
    pub repo: String,
    /// Tag of its name.
    pub tag: String,
    /// Comment in its history.
    pub message: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// `os[/arch[/variant]]`.
    pub platform: Option<String>,
}

/// Makes an image of a root file system's archive; answers with its identifier.
pub async fn import(
    engine: &Engine,
    request: ImportRequest,
    source: impl Read + Send + 'static,
) -> Result<String> {
    let wanted: Option<Platform> = platform(request.platform.as_deref())?;
    let name = match (request.repo.as_str(), request.tag.as_str()) {
        ("", _) => None,
        (repo, "") => Some(repo.to_owned()),
        (repo, tag) => Some(format!("{repo}:{tag}")),
    };
    let reference = name
        .as_deref()
        .map(Reference::parse)
        .transpose()
        .map_err(|error| Error::invalid(error.to_string()))?;
    let options =
        ImportOptions { reference, message: request.message, changes: request.changes, platform: wanted };
    let owned = engine.clone();
    let id = crate::blocking(move || {
        let id = owned.images.import(source, &options, &image::Silent).map_err(error)?;
        Ok(id.to_string())
    })
    .await?;
    publish(engine, "import", &id, &id);
    Ok(id)
}

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its identifier.
    pub id: String,
    /// Its name; `None` when the archive gives it none.
    pub name: Option<String>,
}

/// Takes the progress of a long operation: what, its state in words, bytes done, bytes in all.
pub type Reporter = Box<dyn Fn(&str, &str, u64, Option<u64>) + Send + Sync>;

struct Progress(Reporter);

impl image::Progress for Progress {
    fn report(&self, event: &image::Event) {
        (self.0)(&event.id, event.status, event.current, event.total);
    }
}

/// Loads the images of an archive: an OCI layout or what `docker save` writes.
pub async fn load(
    engine: &Engine,
    platforms: &[String],
    source: impl Read + Send + 'static,
    report: Reporter,
) -> Result<Vec<Loaded>> {
    let wanted =
        platforms.iter().filter_map(|text| platform(Some(text)).transpose()).collect::<Result<_>>()?;
    let options = image::LoadOptions { platforms: wanted };
    let owned = engine.clone();
    let loaded =
        crate::blocking(move || owned.images.load(source, &options, &Progress(report)).map_err(error))
            .await?;
    let mut shown = Vec::new();
    for one in loaded {
        let id = one.id.to_string();
        publish(engine, "load", &id, &id);
        shown.push(Loaded { id, name: one.name });
    }
    Ok(shown)
}

/// Writes images into an archive that is both an OCI layout and what older engines load.
pub async fn save(
    engine: &Engine,
    names: Vec<String>,
    platforms: &[String],
    mut sink: impl std::io::Write + Send + 'static,
) -> Result<()> {
    let wanted: Vec<Platform> =
        platforms.iter().filter_map(|text| platform(Some(text)).transpose()).collect::<Result<_>>()?;
    let owned = engine.clone();
    let ids = crate::blocking(move || {
        let ids =
            names.iter().map(|name| crate::image_use::id_of(&owned, name)).collect::<Result<Vec<_>>>()?;
        owned.images.save(&names, &wanted, &mut sink).map_err(error)?;
        Ok(ids)
    });
    for id in ids.await? {
        publish(engine, "save", &id, &id);
    }
    Ok(())
}
