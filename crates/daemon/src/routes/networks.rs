//! `/networks…`.

use api::network::{ConnectRequest, CreateRequest, DisconnectRequest};
use engine::network::{connect, create, list, remove};
use http::{Method, StatusCode};

use super::system::{shaped, shaped_list};
use super::{Request, State, no_content};
use crate::server::failure::Failure;
use crate::server::reply;
use crate::server::router::{Outcome, Router};
use crate::shape;

pub(super) fn add(router: &mut Router<State>) {
    router.add(Method::GET, "/networks", all);
    router.add(Method::POST, "/networks/create", make);
    router.add_since(25, Method::POST, "/networks/prune", prune);
    router.add(Method::POST, "/networks/{id*}/connect", join);
    router.add(Method::POST, "/networks/{id*}/disconnect", leave);
    router.add(Method::POST, "/networks/{id*}/shape", shape_endpoint);
    router.add(Method::GET, "/networks/{id*}", inspect);
    router.add(Method::DELETE, "/networks/{id*}", unmake);
}

async fn all(call: Request) -> Outcome {
    let filters = call.query.filters()?;
    if call.is_at_least(28) {
        let rows = list::list(&call.state.engine, &filters).await?;
        return shaped_list(&call, shape::Answer::NetworkSummary, &rows);
    }
    // Before 1.28 a list told as much of each network as inspecting it does.
    let whole = list::inspect_all(&call.state.engine, &filters).await?;
    shaped_list(&call, shape::Answer::NetworkInspect, &whole)
}

async fn inspect(call: Request) -> Outcome {
    let verbose = call.query.get("verbose");
    if !verbose.is_empty() && api::query::strict_bool(verbose).is_none() {
        return Err(Failure::invalid(format!(
            "invalid value for verbose: {verbose}: strconv.ParseBool: parsing {verbose:?}: invalid syntax"
        )));
    }
    let network = list::inspect(&call.state.engine, call.param("id")).await?;
    shaped(&call, shape::Answer::NetworkInspect, &network)
}

async fn unmake(call: Request) -> Outcome {
    remove::remove(&call.state.engine, call.param("id")).await?;
    no_content()
}

async fn make(mut call: Request) -> Outcome {
    let mut request: CreateRequest = call.json().await?;
    if !call.is_at_least(48) {
        shape::v1_48::create_network(&mut request);
    }
    let made = create::create(&call.state.engine, request).await?;
    reply::json(StatusCode::CREATED, &made)
}

async fn prune(call: Request) -> Outcome {
    let (engine, filters) = (call.state.engine.clone(), call.query.filters()?);
    super::prune::answer(&call, |told| async move { remove::prune(&engine, &filters, &told).await }).await
}

async fn join(mut call: Request) -> Outcome {
    let mut request: ConnectRequest = call.json().await?;
    if !call.is_at_least(54) {
        shape::v1_54::connect(&mut request);
    }
    connect::connect(&call.state.engine, call.param("id"), request).await?;
    Ok(reply::empty(StatusCode::OK))
}

async fn shape_endpoint(mut call: Request) -> Outcome {
    let request: ConnectRequest = call.json().await?;
    connect::shape(&call.state.engine, call.param("id"), request).await?;
    Ok(reply::empty(StatusCode::OK))
}

async fn leave(mut call: Request) -> Outcome {
    let request: DisconnectRequest = call.json().await?;
    connect::disconnect(&call.state.engine, call.param("id"), request).await?;
    Ok(reply::empty(StatusCode::OK))
}
