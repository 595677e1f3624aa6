//! Pushes: blobs that the registry does not have, then manifests, then the tag.
//!
//! ```text
//! each blob: there? ─► in another repository there? mount ─► upload
//! all blobs ─► manifests by digest, what is named first ─► the tag
//! ```

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use api::registry::AuthConfig;
use image::Outgoing;
use oci::image::{Descriptor, media_type};
use oci::{Digest, Platform, Reference};
use registry::{Repository, Source, Which};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::transfer::{End, Ender, Lines};
use super::{publish_reference, remote_error};
use crate::engine::Engine;
use crate::image_use::{error, platform};
use crate::{Error, Result};

/// How many bytes pass between two lines of progress.
const STEP: u64 = 512 << 10;
/// How many other repositories a blob is asked to be taken from.
const MAX_MOUNTS: usize = 4;

/// What is to be pushed.
#[derive(Debug, Clone, Default)]
pub struct PushRequest {
    /// The repository, perhaps with a tag.
    pub name: String,
    /// The tag; empty for all tags of the repository.
    pub tag: String,
    /// One platform only.
    pub platform: Option<String>,
    /// Shown to the registry.
    pub auth: AuthConfig,
}

/// Pushes an image, or every tag of a repository.
///
/// # Errors
/// Not found, in Docker's words; what the registry says.
pub async fn push(engine: &Engine, request: &PushRequest, lines: &Lines) -> Result<()> {
    push_all(engine, request, lines).await.map_err(super::without_prompt)
}

async fn push_all(engine: &Engine, request: &PushRequest, lines: &Lines) -> Result<()> {
    let wanted = platform(request.platform.as_deref())?;
    let reference = super::pull::reference(&request.name, &request.tag)?;
    if reference.digest().is_some() {
        return Err(Error::invalid("cannot push a digest reference"));
    }
    let (owned, repository) = (engine.clone(), reference.clone());
    let tags = crate::blocking(move || owned.images.tags_of(&repository).map_err(error)).await?;
    let familiar = reference.familiar_name();
    if tags.is_empty() {
        return Err(Error::not_found(format!("An image does not exist locally with the tag: {familiar}")));
    }
    let chosen: Vec<Reference> =
        tags.into_iter().filter(|one| reference.is_name_only() || *one == reference).collect();
    if chosen.is_empty() {
        return Err(Error::not_found(format!("tag does not exist: {}", reference.familiar())));
    }
    lines.say("", format!("The push refers to repository [{}]", reference.name())).await;
    let remote = engine.registries()?.repository(&reference, &request.auth).await.map_err(remote_error)?;
    for one in chosen {
        push_one(engine, &one, wanted.as_ref(), &remote, lines).await?;
    }
    Ok(())
}

async fn push_one(
    engine: &Engine,
    reference: &Reference,
    wanted: Option<&Platform>,
    remote: &Repository,
    lines: &Lines,
) -> Result<()> {
    let hold = Arc::new(engine.images.hold());
    let (owned, held, name) = (engine.clone(), Arc::clone(&hold), reference.to_string());
    let platform = wanted.cloned();
    let outgoing =
        crate::blocking(move || owned.images.outgoing(&held, &name, platform.as_ref()).map_err(error))
            .await?;
    let ender = Ender::default();
    send_blobs(engine, reference, remote, &outgoing, lines, &ender).await?;
    let target = send_documents(engine, reference, remote, &outgoing).await?;
    let tag = reference.tag().unwrap_or_default();
    lines.say("", format!("{tag}: digest: {} size: {}", target.digest, target.size)).await;
    lines.hand(json!({ "Tag": tag, "Digest": target.digest, "Size": target.size })).await;
    if let Some(index) = &outgoing.instead_of {
        let descriptor = super::inspect::api_descriptor;
        let note = json!({
            "ManifestPushedInsteadOfIndex": true,
            "OriginalIndex": descriptor(index),
            "SelectedManifest": descriptor(&target),
        });
        lines.hand(note).await;
    }
    drop(hold);
    publish_reference(engine, "push", reference).await;
    Ok(())
}

async fn send_blobs(
    engine: &Engine,
    reference: &Reference,
    remote: &Repository,
    outgoing: &Outgoing,
    lines: &Lines,
    ender: &Ender,
) -> Result<()> {
    let uploads = usize::try_from(engine.current().max_concurrent_uploads).unwrap_or(5).max(1);
    let sender = Arc::new(Sender {
        engine: engine.clone(),
        reference: reference.clone(),
        remote: remote.clone(),
        lines: lines.clone(),
        end: ender.end(),
        uploads: Semaphore::new(uploads),
    });
    let is_shown = |blob: &Descriptor| media_type::is_layer(&blob.media_type);
    for layer in outgoing.blobs.iter().filter(|blob| is_shown(blob)) {
        lines.say(layer.digest.short(), "Preparing").await;
    }
    let mut tasks = JoinSet::new();
    for blob in &outgoing.blobs {
        let shown = is_shown(blob);
        tasks.spawn(Arc::clone(&sender).blob(blob.clone(), shown));
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(|error| Error::system(format!("a task of the push failed: {error}")))??;
    }
    Ok(())
}

/// Puts manifests by digest and the last one by tag.
async fn send_documents(
    engine: &Engine,
    reference: &Reference,
    remote: &Repository,
    outgoing: &Outgoing,
) -> Result<Descriptor> {
    let last = outgoing.documents.len().saturating_sub(1);
    for (at, document) in outgoing.documents.iter().enumerate() {
        let (owned, digest) = (engine.clone(), document.digest.clone());
        let bytes = crate::blocking(move || owned.images.document_bytes(&digest).map_err(error)).await?;
        let which = if at == last { Which::of(reference) } else { Which::Digest(document.digest.clone()) };
        if at != last && remote.has_manifest(&document.digest).await.map_err(remote_error)? {
            continue;
        }
        remote.put_manifest(&which, &document.media_type, bytes.into()).await.map_err(remote_error)?;
    }
    let target = outgoing.target().cloned();
    target.ok_or_else(|| Error::system(format!("{} has no manifest", reference.familiar())))
}

/// Sends the blobs of one push.
struct Sender {
    engine: Engine,
    reference: Reference,
    remote: Repository,
    lines: Lines,
    end: End,
    uploads: Semaphore,
}

impl Sender {
    async fn blob(self: Arc<Self>, blob: Descriptor, shown: bool) -> Result<()> {
        let id = blob.digest.short().to_owned();
        let say = async |status: String| {
            if shown {
                self.lines.say(&id, status).await;
            }
        };
        let permit = match self.uploads.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                say("Waiting".to_owned()).await;
                let closed = |_| Error::system("the operation has ended");
                self.uploads.acquire().await.map_err(closed)?
            }
        };
        if self.remote.has_blob(&blob.digest).await.map_err(remote_error)?.is_some() {
            say("Layer already exists".to_owned()).await;
            return Ok(());
        }
        if let Some(from) = self.mount(&blob.digest).await? {
            say(format!("Mounted from {from}")).await;
            return Ok(());
        }
        let source = Arc::new(Stored {
            engine: self.engine.clone(),
            digest: blob.digest.clone(),
            size: blob.size,
            shown: shown.then(|| (id.clone(), self.lines.clone())),
            end: self.end.clone(),
        });
        self.remote.put_blob(&blob, source).await.map_err(remote_error)?;
        drop(permit);
        say("Pushed".to_owned()).await;
        Ok(())
    }

    /// Has the registry take a blob over from another repository of its own that has it by our knowledge.
    async fn mount(&self, digest: &Digest) -> Result<Option<String>> {
        let (engine, wanted) = (self.engine.clone(), digest.clone());
        let names = crate::blocking(move || engine.images.names_with(&wanted).map_err(error)).await?;
        let mut others: Vec<&str> = names
            .iter()
            .filter(|name| name.domain() == self.reference.domain() && name.path() != self.reference.path())
            .map(Reference::path)
            .collect();
        others.sort_unstable();
        others.dedup();
        for from in others.into_iter().take(MAX_MOUNTS) {
            match self.remote.mount(digest, from).await {
                Ok(None) => return Ok(Some(from.to_owned())),
                // It has begun an upload instead, which is given up: the next place may have it.
                Ok(Some(upload)) => drop(upload.cancel().await),
                // What may not be read there is uploaded.
                Err(failure) => tracing::debug!(%failure, from, "a blob is not taken over"),
            }
        }
        Ok(None)
    }
}

/// A blob of the store as it is sent, as often as it takes.
struct Stored {
    engine: Engine,
    digest: Digest,
    size: u64,
    /// Under which name progress is told, and to whom.
    shown: Option<(String, Lines)>,
    end: End,
}

impl Source for Stored {
    fn open(&self, from: u64) -> std::io::Result<Box<dyn Read + Send>> {
        let opened = self.engine.images.open_content(&self.digest).map_err(std::io::Error::other)?;
        let mut file = opened.0;
        file.seek(SeekFrom::Start(from))?;
        let told = from;
        let (shown, end, size) = (self.shown.clone(), self.end.clone(), self.size);
        Ok(Box::new(Told { file, done: from, told, size, shown, end }))
    }
}

/// A file that tells how far it has been read.
struct Told {
    file: std::fs::File,
    done: u64,
    told: u64,
    size: u64,
    shown: Option<(String, Lines)>,
    end: End,
}

impl Read for Told {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.end.is_here() {
            return Err(std::io::Error::other("context canceled"));
        }
        let length = self.file.read(buffer)?;
        self.done += length as u64;
        if let Some((id, lines)) = &self.shown
            && (self.done - self.told >= STEP || self.done == self.size)
        {
            self.told = self.done;
            lines.count(id, "Pushing", self.done, self.size);
        }
        Ok(length)
    }
}
