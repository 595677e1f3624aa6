//! `/images…`.

use api::media_type::TAR;
use api::progress::Message;
use engine::images::{self, ImportRequest, ListOptions};
use http::{Method, StatusCode};
use tokio::sync::mpsc::Sender;

use super::system::{shaped, shaped_list};
use super::{Request, State, platform};
use crate::server::blocking::{BodyReader, BodyWriter};
use crate::server::failure::Failure;
use crate::server::router::{Outcome, Router};
use crate::server::{begin, reply};
use crate::shape;

pub(super) fn add(router: &mut Router<State>) {
    router.add(Method::GET, "/images/json", list);
    router.add(Method::GET, "/images/get", save);
    router.add(Method::POST, "/images/load", load);
    router.add(Method::POST, "/images/create", create);
    router.add_since(25, Method::POST, "/images/prune", prune);
    router.add(Method::GET, "/images/{name*}/get", save);
    router.add(Method::GET, "/images/{name*}/json", inspect);
    router.add(Method::GET, "/images/{name*}/history", history);
    router.add_since(55, Method::GET, "/images/{name*}/attestations", attestations);
    router.add(Method::POST, "/images/{name*}/tag", tag);
    router.add(Method::DELETE, "/images/{name*}", remove);
}

async fn list(call: Request) -> Outcome {
    let mut filters = call.query.filters()?;
    if !call.is_at_least(25) {
        shape::v1_25::list_images(&mut filters, call.query.get("filter"));
    }
    let manifests = call.is_at_least(47) && call.query.flag("manifests");
    if call.is_at_least(54) && call.query.flag("identity") && !manifests {
        return Err(Failure::invalid("conflicting options: identity requires manifests=1"));
    }
    let shared_size = call.is_at_least(42) && call.query.flag("shared-size");
    let rows = images::list(&call.state.engine, &ListOptions { filters, shared_size, manifests }).await?;
    shaped_list(&call, shape::Answer::ImageSummary, &rows)
}

async fn inspect(call: Request) -> Outcome {
    let manifests = call.is_at_least(48) && call.query.flag("manifests");
    let platform = platform::one(&call, 49)?;
    if manifests && platform.is_some() {
        return Err(Failure::invalid(
            "conflicting options: manifests and platform options cannot both be set",
        ));
    }
    let mut image =
        images::inspect(&call.state.engine, call.param("name"), platform.as_deref(), manifests).await?;
    if call.is_at_least(52) {
        image.parent.clear();
    }
    shaped(&call, shape::Answer::ImageInspect, &image)
}

async fn history(call: Request) -> Outcome {
    let platform = platform::one(&call, 48)?;
    reply::ok(&images::history(&call.state.engine, call.param("name"), platform.as_deref()).await?)
}

async fn prune(call: Request) -> Outcome {
    let (engine, filters) = (call.state.engine.clone(), call.query.filters()?);
    super::prune::answer(&call, |told| async move { images::prune(&engine, &filters, &told).await }).await
}

/// One image by path, or several by query.
async fn save(call: Request) -> Outcome {
    let names = match call.param("name") {
        "" => call.query.all("names"),
        name => vec![name.to_string()],
    };
    let platforms = platform::several(&call)?;
    let engine = call.state.engine.clone();
    begin::bytes(TAR, move |sender| async move {
        Ok(images::save(&engine, names, &platforms, BodyWriter::new(sender)).await?)
    })
    .await
}

async fn load(call: Request) -> Outcome {
    let platforms = platform::several(&call)?;
    let quiet = call.query.flag_or("quiet", true);
    let engine = call.state.engine.clone();
    let source = BodyReader::new(call.body);
    Ok(begin::progress_at_once(move |progress| async move {
        let report = reporter(progress.clone(), quiet);
        let loaded = match images::load(&engine, &platforms, source, report).await {
            Ok(loaded) => loaded,
            Err(error) => {
                // Docker has answered 200 by the time it reads the archive: what is wrong with it is told in the stream.
                let _ = progress.send(Message::error(0, &error.message)).await;
                return Ok(());
            }
        };
        for loaded in loaded {
            let line = match loaded.name {
                Some(name) => format!("Loaded image: {name}\n"),
                None => format!("Loaded image ID: {}\n", loaded.id),
            };
            // A client that has left needs no last lines.
            let _ = progress.send(Message::stream(line)).await;
        }
        Ok(())
    }))
}

/// Tells a client how far it is; what a slow client cannot take is left out.
fn reporter(progress: Sender<Message>, quiet: bool) -> images::Reporter {
    Box::new(move |id, status, current, total| {
        if quiet {
            return;
        }
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let message = Message::progress(id, status, number(current), number(total.unwrap_or_default()));
        let _ = progress.try_send(message);
    })
}

/// Pulls (`fromImage`) or imports (`fromSrc`).
async fn create(call: Request) -> Outcome {
    if !call.query.get("fromImage").is_empty() {
        return super::registry::pull(call).await;
    }
    let source = call.query.get("fromSrc");
    if source != "-" {
        return Err(Failure::not_implemented("importing from a URL"));
    }
    let message = match call.query.get("message") {
        "" => format!("Imported from {source}"),
        message => message.to_string(),
    };
    let platform = if call.is_at_least(32) { call.query.get("platform") } else { "" };
    let request = ImportRequest {
        repo: call.query.get("repo").to_string(),
        tag: call.query.get("tag").to_string(),
        message,
        changes: call.query.all("changes"),
        platform: Some(platform.to_string()).filter(|platform| !platform.is_empty()),
    };
    let engine = call.state.engine.clone();
    let source = BodyReader::new(call.body);
    begin::progress(move |progress| async move {
        let id = images::import(&engine, request, source).await?;
        // A client that has left needs no last line.
        let _ = progress.send(Message::status("", id)).await;
        Ok(())
    })
    .await
}

async fn tag(call: Request) -> Outcome {
    let (repo, tag) = (call.query.get("repo"), call.query.get("tag"));
    images::tag(&call.state.engine, call.param("name"), repo, tag).await?;
    Ok(reply::empty(StatusCode::CREATED))
}

async fn remove(call: Request) -> Outcome {
    let platforms = platform::to_remove(&call)?;
    let (name, force) = (call.param("name"), call.query.flag("force"));
    reply::ok(&images::remove(&call.state.engine, name, force, &platforms).await?)
}

/// What is attested of an image.
async fn attestations(call: Request) -> Outcome {
    let given = call.query.all("platform");
    if given.len() > 1 {
        return Err(Failure::invalid("specifying multiple platforms is not supported"));
    }
    let platform = platform::one(&call, 55)?;
    let (types, with_statements) = (call.query.all("type"), call.query.flag("statement"));
    let (engine, name) = (&call.state.engine, call.param("name"));
    reply::ok(&images::attestations(engine, name, platform.as_deref(), &types, with_statements).await?)
}
