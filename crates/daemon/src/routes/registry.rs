//! What goes to registries: pull, push, `/auth`, `/distribution…`, `/images/search`.

use api::registry::AuthConfig;
use engine::images::{self, Lines, PullRequest, PushRequest};
use http::Method;

use super::system::shaped;
use super::{Request, State, platform};
use crate::server::failure::Failure;
use crate::server::presence::Presence;
use crate::server::router::{Outcome, Router};
use crate::server::{begin, reply};
use crate::shape;

pub(super) fn add(router: &mut Router<State>) {
    router.add(Method::POST, "/auth", login);
    router.add(Method::GET, "/images/search", search);
    router.add(Method::POST, "/images/{name*}/push", push);
    router.add_since(30, Method::GET, "/distribution/{name*}/json", distribution);
}

/// The credentials of a request. What cannot be read counts as none, as with Docker's daemon.
fn auth(call: &Request) -> AuthConfig {
    AuthConfig::from_header(call.header(AuthConfig::HEADER))
}

/// `POST /images/create?fromImage=…`.
pub(super) async fn pull(call: Request) -> Outcome {
    let platform = if call.is_at_least(32) { call.query.get("platform") } else { "" };
    let request = PullRequest {
        // "pull -a" sends a colon at the end.
        name: call.query.get("fromImage").trim_end_matches(':').to_owned(),
        tag: call.query.get("tag").to_owned(),
        platform: Some(platform.to_owned()).filter(|platform| !platform.is_empty()),
        auth: auth(&call),
    };
    let (engine, presence) = (call.state.engine.clone(), call.presence.clone());
    begin::progress(move |progress| async move {
        let lines = Lines::new(progress);
        while_there(&presence, images::pull(&engine, &request, &lines)).await
    })
    .await
}

async fn push(call: Request) -> Outcome {
    let request = PushRequest {
        name: call.param("name").to_owned(),
        tag: call.query.get("tag").to_owned(),
        platform: platform::one(&call, 46)?,
        auth: auth(&call),
    };
    let (engine, presence) = (call.state.engine.clone(), call.presence.clone());
    begin::progress(move |progress| async move {
        let lines = Lines::new(progress);
        while_there(&presence, images::push(&engine, &request, &lines)).await
    })
    .await
}

/// Does work for as long as its client is there.
async fn while_there(
    presence: &Presence,
    work: impl Future<Output = engine::Result<()>>,
) -> Result<(), Failure> {
    tokio::select! {
        done = work => Ok(done?),
        () = presence.stops_sending() => Ok(()),
    }
}

async fn login(mut call: Request) -> Outcome {
    let auth: AuthConfig = call.json().await?;
    let answer = images::login(&call.state.engine, &auth).await?;
    shaped(&call, shape::Answer::Auth, &answer)
}

async fn search(call: Request) -> Outcome {
    let (limit, filters) = (call.query.number("limit")?, call.query.filters()?);
    let found =
        images::search(&call.state.engine, call.query.get("term"), limit, &filters, &auth(&call)).await?;
    reply::ok(&found)
}

async fn distribution(call: Request) -> Outcome {
    reply::ok(&images::distribution(&call.state.engine, call.param("name"), &auth(&call)).await?)
}
