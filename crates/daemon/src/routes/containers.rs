//! `/containers/…`: what answers with one document or none.

use api::container_create::{CreateRequest, UpdateRequest};
use engine::container;
use engine::container::commit::CommitRequest;
use engine::container::create::Extension;
use engine::container::list::ListOptions;
use engine::container::remodel::Changes;
use http::{Method, StatusCode};
use http_body::Body as _;
use serde::Deserialize;
use serde_json::Value;

use super::system::{shaped, shaped_list};
use super::{Request, State, archive, attach, changed, logs, no_content, stats, wait};
use crate::server::call::decode;
use crate::server::failure::Failure;
use crate::server::reply;
use crate::server::router::{Outcome, Router};
use crate::shape;

pub(super) fn add(router: &mut Router<State>) {
    archive::add(router);
    router.add(Method::GET, "/containers/json", list);
    router.add(Method::POST, "/containers/create", create);
    router.add_since(25, Method::POST, "/containers/prune", prune);
    router.add(Method::POST, "/commit", commit);
    router.add(Method::GET, "/containers/{name*}/json", inspect);
    router.add(Method::GET, "/containers/{name*}/top", top);
    router.add(Method::GET, "/containers/{name*}/logs", logs::logs);
    router.add(Method::GET, "/containers/{name*}/stats", stats::stats);
    router.add(Method::POST, "/containers/{name*}/start", start);
    router.add(Method::POST, "/containers/{name*}/stop", stop);
    router.add(Method::POST, "/containers/{name*}/restart", restart);
    router.add(Method::POST, "/containers/{name*}/kill", kill);
    router.add(Method::POST, "/containers/{name*}/pause", pause);
    router.add(Method::POST, "/containers/{name*}/unpause", unpause);
    router.add(Method::POST, "/containers/{name*}/rename", rename);
    router.add(Method::POST, "/containers/{name*}/resize", resize);
    router.add(Method::POST, "/containers/{name*}/update", update);
    router.add(Method::POST, "/containers/{name*}/wait", wait::wait);
    router.add(Method::POST, "/containers/{name*}/attach", attach::attach);
    router.add(Method::GET, "/containers/{name*}/attach/ws", attach::websocket);
    router.add(Method::GET, "/containers/{name*}/checkpoints", no_checkpoints);
    router.add(Method::POST, "/containers/{name*}/checkpoints", no_checkpoints);
    router.add(Method::DELETE, "/containers/{name*}/checkpoints/{id}", no_checkpoints);
    router.add(Method::DELETE, "/containers/{name*}", remove);
}

async fn list(call: Request) -> Outcome {
    let limit =
        call.query.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let options = ListOptions {
        all: call.query.flag("all"),
        limit,
        size: call.query.flag("size"),
        filters: call.query.filters()?,
    };
    let rows = container::list::list(&call.state.engine, &options).await?;
    shaped_list(&call, shape::Answer::ContainerSummary, &rows)
}

async fn create(mut call: Request) -> Outcome {
    let document = call.json_value().await?.unwrap_or_default();
    if !has_config(&document) {
        return Err(Failure::invalid("config cannot be empty in order to create a container"));
    }
    let mut request: CreateRequest = decode(&document)?;
    shape::v1_41::refuse(call.version, &decode(&document)?)?;
    let warnings = shape::create::create(call.version, &mut request, call.state.engine.host.cgroup_v2())?;
    let platform = if call.is_at_least(41) { call.query.get("platform") } else { "" };
    let extension = decode::<Extended>(&document)?.berth;
    let name = Some(call.query.get("name")).filter(|name| !name.is_empty());
    let platform = Some(platform).filter(|platform| !platform.is_empty());
    let mut created =
        container::create::create(&call.state.engine, name, platform, request, extension).await?;
    created.warnings.extend(warnings);
    reply::created(&created)
}

/// What our own clients may add to a request.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Extended {
    berth: Extension,
}

/// What our own clients may add to an update.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Changed {
    berth: Changes,
}

/// Whether there is anything beside the host's and the networks' part.
fn has_config(document: &Value) -> bool {
    document.as_object().is_some_and(|fields| {
        let is_other = |key: &str| {
            ["HostConfig", "NetworkingConfig"].iter().all(|known| !known.eq_ignore_ascii_case(key))
        };
        fields.keys().any(|key| is_other(key))
    })
}

async fn commit(mut call: Request) -> Outcome {
    let config = match call.json_value().await? {
        Some(document) if !document.is_null() => Some(decode(&document)?),
        _ => None,
    };
    let text = |name: &str| call.query.get(name).to_owned();
    let request = CommitRequest {
        repo: text("repo"),
        tag: text("tag"),
        comment: text("comment"),
        author: text("author"),
        pause: call.query.flag_or("pause", true),
        changes: call.query.all("changes"),
        config,
    };
    let id = container::commit::commit(&call.state.engine, call.query.get("container"), request).await?;
    reply::created(&api::IdResponse { id })
}

/// Checkpoints are a part of experimental engines; this one is none.
async fn no_checkpoints(_: Request) -> Outcome {
    Err(Failure::new(
        StatusCode::NOT_IMPLEMENTED,
        "This experimental feature is disabled by default. Start the Docker daemon in experimental mode in order to enable it.",
    ))
}

async fn prune(call: Request) -> Outcome {
    let (engine, filters) = (call.state.engine.clone(), call.query.filters()?);
    super::prune::answer(&call, |told| async move { container::prune::prune(&engine, &filters, &told).await })
        .await
}

async fn inspect(call: Request) -> Outcome {
    let mut inspect =
        container::inspect::inspect(&call.state.engine, call.param("name"), call.query.flag("size")).await?;
    if let Some(config) = inspect.config.as_mut().filter(|_| call.is_at_least(52)) {
        config.mac_address.clear();
    }
    shaped(&call, shape::Answer::ContainerInspect, &inspect)
}

async fn top(call: Request) -> Outcome {
    reply::ok(&container::top::top(&call.state.engine, call.param("name"), call.query.get("ps_args")).await?)
}

async fn start(call: Request) -> Outcome {
    // A JSON object that says anything has more than seven bytes; a length that is not known says something.
    if call.body.size_hint().exact().is_none_or(|length| length > 7) {
        return Err(Failure::invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    if !call.query.get("checkpoint").is_empty() {
        return Err(Failure::invalid("checkpoint is only supported in experimental mode"));
    }
    Ok(changed(container::start::start(&call.state.engine, call.param("name")).await?))
}

/// Seconds to wait and the signal of a stop.
fn stop_options(call: &Request) -> Result<(Option<i64>, Option<&str>), Failure> {
    let signal = call.query.get("signal");
    let signal = (call.is_at_least(42) && !signal.is_empty()).then_some(signal);
    Ok((call.query.number("t")?, signal))
}

async fn stop(call: Request) -> Outcome {
    let (timeout, signal) = stop_options(&call)?;
    Ok(changed(container::stop::stop(&call.state.engine, call.param("name"), timeout, signal).await?))
}

async fn restart(call: Request) -> Outcome {
    let (timeout, signal) = stop_options(&call)?;
    container::stop::restart(&call.state.engine, call.param("name"), timeout, signal).await?;
    no_content()
}

async fn kill(call: Request) -> Outcome {
    container::kill::kill(&call.state.engine, call.param("name"), call.query.get("signal")).await?;
    no_content()
}

async fn pause(call: Request) -> Outcome {
    container::pause::pause(&call.state.engine, call.param("name")).await?;
    no_content()
}

async fn unpause(call: Request) -> Outcome {
    container::pause::unpause(&call.state.engine, call.param("name")).await?;
    no_content()
}

async fn rename(call: Request) -> Outcome {
    container::rename::rename(&call.state.engine, call.param("name"), call.query.get("name")).await?;
    no_content()
}

/// Height and width of a terminal.
pub(super) fn size(call: &Request) -> Result<(u32, u32), Failure> {
    let read = |name: &str, what: &str| {
        let text = call.query.get(name);
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if is_number { text.parse().ok() } else { None };
        let reason = if is_number || text.starts_with('-') { "value out of range" } else { "invalid syntax" };
        number.ok_or_else(|| Failure::invalid(format!("invalid resize {what} {text:?}: {reason}")))
    };
    Ok((read("h", "height")?, read("w", "width")?))
}

async fn resize(call: Request) -> Outcome {
    let (height, width) = size(&call)?;
    container::resize::resize(&call.state.engine, call.param("name"), height, width).await?;
    Ok(reply::empty(StatusCode::OK))
}

async fn update(mut call: Request) -> Outcome {
    let document = call.json_value().await?.unwrap_or_default();
    let mut request: UpdateRequest = decode(&document)?;
    shape::create::update(call.version, &mut request);
    let changes = decode::<Changed>(&document)?.berth;
    reply::ok(&container::update::update(&call.state.engine, call.param("name"), request, changes).await?)
}

async fn remove(call: Request) -> Outcome {
    if call.query.flag("link") {
        container::links::unlink(&call.state.engine, call.param("name")).await?;
        return no_content();
    }
    let (force, volumes) = (call.query.flag("force"), call.query.flag("v"));
    container::remove::remove(&call.state.engine, call.param("name"), force, volumes).await?;
    no_content()
}
