//! An image of what a container changed.

use api::config::Config;
use image::CommitOptions;
use oci::Reference;

use super::pause;
use super::registry::Handle;
use super::spec::RootSource;
use super::state::State;
use super::view::View;
use crate::engine::Engine;
use crate::{Error, Result, image_use};

/// What a client asks for.
#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    /// Repository of the image's name; empty for none.
    pub repo: String,
    /// Its tag.
    pub tag: String,
    /// Comment in its history.
    pub comment: String,
    /// Who made it.
    pub author: String,
    /// Freeze the container meanwhile.
    pub pause: bool,
    /// Dockerfile instructions that change the configuration.
    pub changes: Vec<String>,
    /// The configuration to start from; the container's where it says nothing.
    pub config: Option<Config>,
}

/// Makes the image; answers with its identifier.
pub async fn commit(engine: &Engine, reference: &str, request: CommitRequest) -> Result<String> {
    let handle = engine.containers.find(reference)?;
    let view = handle.view();
    check_state(&view)?;
    let name = name(&request)?;
    let config = config(&request, &view.record.config)?;
    let options = CommitOptions {
        reference: name.clone(),
        comment: request.comment.clone(),
        author: request.author,
        config,
        changes: Vec::new(),
        created_by: view.record.config.cmd.clone().unwrap_or_default().join(" "),
    };
    let (owned, id, record) = (engine.clone(), handle.id.clone(), view.record.clone());
    let make = move || {
        // One that was never started may have no directories yet.
        image_use::snapshot(&owned, &record)?;
        owned.images.commit(&id, &options, &image::Silent).map_err(image_use::error)
    };
    let (owned, held) = (engine.clone(), handle.clone());
    // A client that leaves must not leave its container paused.
    let work = tokio::spawn(async move {
        match request.pause && matches!(held.view().state(), State::Running(_)) {
            true => while_held(&owned, &held, make).await,
            false => crate::blocking(make).await,
        }
    });
    let made = work.await.map_err(|error| Error::system(format!("commit: {error}")))?;
    let image_id = made?.to_string();
    tell(engine, &handle, &image_id, name.as_ref(), request.comment);
    Ok(image_id)
}

/// Freezes the container for as long as something takes. One that cannot be frozen, because it has ended or is frozen
/// already, is taken as it is.
async fn while_held<T: Send + 'static>(
    engine: &Engine,
    handle: &Handle,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let mark = |held| {
        handle.change(move |record| {
            record.held = held;
            Ok(())
        })
    };
    mark(true).await?;
    let is_frozen = pause::pause(engine, &handle.id).await.is_ok();
    let done = crate::blocking(work).await;
    if is_frozen && let Err(error) = pause::unpause(engine, &handle.id).await {
        tracing::warn!(container = crate::id::short(&handle.id), %error, "cannot thaw it after a commit");
    }
    // One that was removed meanwhile is held by nobody.
    if let Err(error) = mark(false).await {
        tracing::debug!(container = crate::id::short(&handle.id), %error, "it stays marked as held");
    }
    done
}

fn check_state(view: &View) -> Result<()> {
    let id = &view.record.id;
    match view.state() {
        State::Dead { .. } => {
            return Err(Error::conflict(format!("You cannot commit container {id} which is Dead")));
        }
        State::Removing { .. } | State::Gone { .. } => {
            return Err(Error::conflict(format!("You cannot commit container {id} which is being removed")));
        }
        _ => {}
    }
    if view.record.spec.root.source != RootSource::Image {
        return Err(Error::invalid(
            "the root of this container is a directory of the host: there is no image to add its changes to",
        ));
    }
    Ok(())
}

fn name(request: &CommitRequest) -> Result<Option<Reference>> {
    let text = match (request.repo.as_str(), request.tag.as_str()) {
        ("", _) => return Ok(None),
        (repo, "") => repo.to_owned(),
        (repo, tag) => format!("{repo}:{tag}"),
    };
    let name = Reference::parse(&text).map_err(|error| Error::invalid(error.to_string()))?;
    if name.digest().is_some() {
        return Err(Error::invalid("cannot import digest reference"));
    }
    Ok(Some(name.or_latest()))
}

/// The configuration of the image: the request's with its changes, and the container's where that says nothing.
fn config(request: &CommitRequest, own: &Config) -> Result<oci::image::Config> {
    let mut config = of_image(request.config.as_ref().unwrap_or(own))?;
    image::change::apply(&mut config, &request.changes).map_err(image_use::error)?;
    if request.config.is_none() {
        return Ok(config);
    }
    let asked: Config = serde_json::to_value(&config)
        .and_then(|value| api::json::from_value(&value))
        .map_err(|error| Error::system(format!("configuration of an image: {error}")))?;
    of_image(&super::resolve::merge_image(&asked, own))
}

/// The part of a container's configuration that an image has.
fn of_image(config: &Config) -> Result<oci::image::Config> {
    serde_json::to_value(config)
        .and_then(|value| api::json::from_value(&value))
        .map_err(|error| Error::system(format!("configuration of a container: {error}")))
}

fn tell(engine: &Engine, handle: &Handle, image_id: &str, name: Option<&Reference>, comment: String) {
    crate::images::publish(engine, "create", image_id, image_id);
    let familiar = name.map(Reference::familiar).unwrap_or_default();
    if name.is_some() {
        crate::images::publish(engine, "tag", image_id, &familiar);
    }
    let mut attributes = handle.view().record.attributes();
    attributes.insert("comment".to_owned(), comment);
    attributes.insert("imageID".to_owned(), image_id.to_owned());
    attributes.insert("imageRef".to_owned(), familiar);
    engine.events.publish("container", "commit", &handle.id, attributes);
}
