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
