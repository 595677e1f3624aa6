//! `/networks…`.

use api::network::{ConnectRequest, CreateRequest};
use http::Method;

use super::system::shaped;
use super::{Request, State, no_content};
use crate::server::failure::Failure;
use crate::server::reply;
use crate::server::router::{Outcome, Router};
use crate::shape;

pub(super) fn add(router: &mut Router<State>) {
    router.add(Method::GET, "/networks", list);
    router.add(Method::POST, "/networks/create", create);
    router.add(Method::POST, "/networks/prune", prune);
    router.add(Method::POST, "/networks/{id*}/connect", connect);
    router.add(Method::POST, "/networks/{id*}/disconnect", disconnect);
    router.add(Method::GET, "/networks/{id*}", inspect);
    router.add(Method::DELETE, "/networks/{id*}", remove);
}

async fn list(call: Request) -> Outcome {
    reply::ok(&engine::network::list::list(&call.state.engine, &call.query.filters()?).await?)
}

async fn inspect(call: Request) -> Outcome {
    let verbose = call.query.get("verbose");
    if !verbose.is_empty() && api::query::strict_bool(verbose).is_none() {
        return Err(Failure::invalid(format!(
            "invalid value for verbose: {verbose}: strconv.ParseBool: parsing {verbose:?}: invalid syntax"
        )));
    }
    let network = engine::network::list::inspect(&call.state.engine, call.param("id")).await?;
    shaped(&call, shape::Answer::NetworkInspect, &network)
}

async fn remove(call: Request) -> Outcome {
    engine::network::list::remove(&call.state.engine, call.param("id")).await?;
    no_content()
}

async fn create(mut call: Request) -> Outcome {
    let mut request: CreateRequest = call.json().await?;
    if !call.is_at_least(48) {
        shape::v1_48::create_network(&mut request);
    }
    Err(Failure::not_implemented("making a network"))
}

async fn prune(call: Request) -> Outcome {
    call.query.filters()?;
    Err(Failure::not_implemented("pruning networks"))
}

async fn connect(mut call: Request) -> Outcome {
    let mut request: ConnectRequest = call.json().await?;
    if !call.is_at_least(54) {
        shape::v1_54::connect(&mut request);
    }
    Err(Failure::not_implemented("connecting a container to a network"))
}

async fn disconnect(_: Request) -> Outcome {
    Err(Failure::not_implemented("disconnecting a container from a network"))
}
