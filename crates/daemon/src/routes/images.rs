//! `/images…`.

use engine::images::{self, ImportRequest};
use http::{Method, StatusCode};

use super::{Request, State};
use crate::server::blocking::BodyReader;
use crate::server::failure::Failure;
use crate::server::router::{Outcome, Router};
use crate::server::{begin, reply};

pub(super) fn add(router: &mut Router<State>) {
    router.add(Method::POST, "/images/create", create);
    router.add(Method::POST, "/images/{name*}/tag", tag);
    router.add(Method::DELETE, "/images/{name*}", remove);
}

/// Pulls (`fromImage`) or imports (`fromSrc`).
async fn create(call: Request) -> Outcome {
    if !call.query.get("fromImage").is_empty() {
        return Err(pull_refused(&call));
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
        let _ = progress.send(api::progress::Message::status("", id)).await;
        Ok(())
    })
    .await
}

/// There is no registry to ask yet; Docker's words for an image that a registry does not have.
fn pull_refused(call: &Request) -> Failure {
    // "pull -a" sends a colon at the end.
    let image = call.query.get("fromImage").trim_end_matches(':');
    let repository = match oci::Reference::parse(image) {
        Ok(reference) => reference.familiar_name(),
        Err(error) => return Failure::invalid(error),
    };
    Failure::new(
        StatusCode::NOT_FOUND,
        format!(
            "pull access denied for {repository}, repository does not exist or may require 'docker login': pulling from \
             registries is not implemented by berth yet"
        ),
    )
}

async fn tag(call: Request) -> Outcome {
    let (repo, tag) = (call.query.get("repo"), call.query.get("tag"));
    images::tag(&call.state.engine, call.param("name"), repo, tag).await?;
    Ok(reply::empty(StatusCode::CREATED))
}

async fn remove(call: Request) -> Outcome {
    reply::ok(&images::remove(&call.state.engine, call.param("name"), call.query.flag("force")).await?)
}
