//! `/_ping`, `/version`, `/info`, `/system/df`, `/berth/check`.

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderName, HeaderValue, PRAGMA};
use http::{Method, StatusCode};
use serde_json::Value;

use super::{Request, State, events};
use crate::server::body::Body;
use crate::server::failure::Failure;
use crate::server::reply;
use crate::server::router::{Outcome, Router};
use crate::shape;

pub(super) fn add(router: &mut Router<State>) {
    router.add(Method::GET, "/_ping", ping);
    router.add(Method::HEAD, "/_ping", ping);
    router.add(Method::GET, "/version", version);
    router.add(Method::GET, "/info", info);
    router.add(Method::GET, "/events", events::events);
    router.add(Method::GET, "/system/df", disk_usage);
    router.add(Method::POST, "/berth/check", check);
}

/// Needs nothing of the engine: it must answer whatever else hangs.
async fn ping(call: Request) -> Outcome {
    let is_head = call.method == Method::HEAD;
    let body = if is_head { Body::Empty } else { Body::Full("OK".into()) };
    let mut reply = reply::with_body(StatusCode::OK, "text/plain; charset=utf-8", body);
    let headers = reply.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("builder-version"), HeaderValue::from_static("2"));
    headers.insert(HeaderName::from_static("swarm"), HeaderValue::from_static("inactive"));
    if is_head {
        headers.insert(CONTENT_LENGTH, 0.into());
    }
    Ok(reply)
}

async fn version(call: Request) -> Outcome {
    let versions = call.state.versions;
    reply::ok(&engine::system::version(
        &call.state.engine,
        &versions.max.to_string(),
        &versions.min.to_string(),
    ))
}

async fn info(call: Request) -> Outcome {
    let info = engine::system::info(&call.state.engine).await?;
    shaped(&call, shape::Answer::Info, &info)
}

/// Encodes an answer in the shape of the client's version.
pub(super) fn shaped(call: &Request, kind: shape::Answer, newest: &impl serde::Serialize) -> Outcome {
    let mut value = to_value(newest)?;
    shape::answer(kind, call.version, &mut value);
    reply::ok(&value)
}

/// Encodes a list in the shape of the client's version, row by row.
pub(super) fn shaped_list(call: &Request, kind: shape::Answer, newest: &[impl serde::Serialize]) -> Outcome {
    let mut rows = newest.iter().map(to_value).collect::<Result<Vec<Value>, Failure>>()?;
    rows.iter_mut().for_each(|row| shape::answer(kind, call.version, row));
    reply::ok(&rows)
}

fn to_value(newest: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(newest)
        .map_err(|error| Failure::internal(format!("cannot encode the answer: {error}")))
}

async fn disk_usage(call: Request) -> Outcome {
    let wanted = wanted_usage(&call)?;
    let usage = engine::system::disk_usage(&call.state.engine, wanted).await?;
    let mut value = to_value(&usage)?;
    shape::disk_usage(call.version, call.query.flag("verbose"), &mut value);
    reply::ok(&value)
}

fn wanted_usage(call: &Request) -> Result<engine::system::Wanted, Failure> {
    let types = call.query.all("type");
    if types.is_empty() || !call.is_at_least(42) {
        return Ok(engine::system::Wanted {
            containers: true,
            images: true,
            volumes: true,
            build_cache: true,
        });
    }
    let mut wanted = engine::system::Wanted::default();
    for kind in types {
        match kind.as_str() {
            "container" => wanted.containers = true,
            "image" => wanted.images = true,
            "volume" => wanted.volumes = true,
            "build-cache" => wanted.build_cache = true,
            _ => return Err(Failure::invalid(format!("unknown object type: {kind}"))),
        }
    }
    Ok(wanted)
}

/// Not Docker's: `berth system check`.
async fn check(call: Request) -> Outcome {
    let report = engine::images::check(&call.state.engine, call.query.flag("repair")).await?;
    reply::ok(&serde_json::json!({ "Problems": report.problems, "Repairs": report.repairs }))
}
