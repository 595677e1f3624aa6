//! Pulls: what a name means is asked of its registry, its content is fetched and unpacked as it arrives, and only then the
//! name points at it.
//!
//! ```text
//! resolve ─► index ─► manifest ─► configuration ─┬─► layer: fetch ─► verify ─► unpack ─┬─► admit ─► name
//!                        └► attestations         └─► layer: …        in order of arrival┘
//! lease ─────────────────────────────────────────────────────────────────────────────► end
//! ```
//!
//! A pull whose client leaves stops; what it has brought waits under its lease for the next attempt.

mod carried;
mod choose;
mod content;
mod fetch;
mod pace;
mod parts;
mod streams;

use api::registry::AuthConfig;
use oci::{Platform, Reference};

use super::publish_reference;
use super::transfer::Lines;
use crate::engine::Engine;
use crate::image_use::{error, platform};
use crate::{Error, Result};
use content::Pull;

/// What is to be pulled.
#[derive(Debug, Clone, Default)]
pub struct PullRequest {
    /// The repository, perhaps with a tag or digest.
    pub name: String,
    /// Tag or digest; empty for all tags.
    pub tag: String,
    /// `os[/arch[/variant]]`; `None` for this machine's.
    pub platform: Option<String>,
    /// Shown to the registry.
    pub auth: AuthConfig,
}

/// Pulls an image, or every tag of a repository.
///
/// # Errors
/// What the registry says, in Docker's words; wrong content.
pub async fn pull(engine: &Engine, request: &PullRequest, lines: &Lines) -> Result<()> {
    pull_all(engine, request, lines).await.map_err(super::without_prompt)
}

async fn pull_all(engine: &Engine, request: &PullRequest, lines: &Lines) -> Result<()> {
    let wanted = platform(request.platform.as_deref())?;
    let reference = reference(&request.name, &request.tag)?;
    if !reference.is_name_only() {
        return pull_one(engine, &reference, wanted.as_ref(), &request.auth, lines).await;
    }
    let remote =
        engine.registries()?.repository(&reference, &request.auth).await.map_err(super::remote_error)?;
    for tag in remote.tags().await.map_err(super::remote_error)? {
        let tagged = reference.with_tag(&tag).map_err(|error| Error::invalid(error.to_string()))?;
        pull_one(engine, &tagged, wanted.as_ref(), &request.auth, lines).await?;
    }
    Ok(())
}

/// The reference of the API's two parameters.
pub(super) fn reference(name: &str, tag: &str) -> Result<Reference> {
    let text = match tag {
        "" => name.to_owned(),
        digest if digest.contains(':') => format!("{name}@{digest}"),
        tag => format!("{name}:{tag}"),
    };
    Reference::parse(&text).map_err(|error| Error::invalid(error.to_string()))
}

async fn pull_one(
    engine: &Engine,
    reference: &Reference,
    wanted: Option<&Platform>,
    auth: &AuthConfig,
    lines: &Lines,
) -> Result<()> {
    if carried::pull(engine, reference, lines).await? {
        return Ok(());
    }
    // A tag beside a digest says nothing more: the digest decides, and is the name.
    let reference = match reference.digest() {
        Some(digest) => reference.with_digest(digest.clone()),
        None => reference.clone(),
    };
    let before = current(engine, &reference).await?;
    let pull = Pull::begin(engine, &reference, wanted.cloned(), auth, lines).await?;
    let done = pull.run().await?;
    lines.say("", format!("Digest: {}", done.digest)).await;
    let familiar = reference.familiar();
    let news = if before.as_ref() == Some(&done.digest) && !done.brought {
        format!("Status: Image is up to date for {familiar}")
    } else {
        format!("Status: Downloaded newer image for {familiar}")
    };
    lines.say("", news).await;
    publish_reference(engine, "pull", &reference).await;
    Ok(())
}

/// What the name points at before the pull.
async fn current(engine: &Engine, reference: &Reference) -> Result<Option<oci::Digest>> {
    let (owned, name) = (engine.clone(), reference.to_string());
    crate::blocking(move || match owned.images.resolve(&name) {
        Ok(found) => Ok(Some(found.id)),
        Err(failure) if failure.kind() == image::Kind::NotFound => Ok(None),
        Err(failure) => Err(error(failure)),
    })
    .await
}
