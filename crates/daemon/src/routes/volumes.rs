//! `/volumes…`.

use http::Method;

use super::{Request, State, no_content};
use crate::server::reply;
use crate::server::router::{Outcome, Router};
use crate::shape;

pub(super) fn add(router: &mut Router<State>) {
    router.add(Method::GET, "/volumes", list);
    router.add(Method::POST, "/volumes/create", create);
    router.add(Method::POST, "/volumes/prune", prune);
    router.add(Method::GET, "/volumes/{name*}", inspect);
    router.add(Method::DELETE, "/volumes/{name*}", remove);
}

async fn list(call: Request) -> Outcome {
    reply::ok(&engine::volume::list(&call.state.engine, &call.query.filters()?).await?)
}

async fn create(mut call: Request) -> Outcome {
    let request = call.json().await?;
    reply::created(&engine::volume::create(&call.state.engine, request).await?)
}

async fn prune(call: Request) -> Outcome {
    let mut filters = call.query.filters()?;
    if !call.is_at_least(42) {
        shape::v1_42::prune_volumes(&mut filters);
    }
    reply::ok(&engine::volume::prune(&call.state.engine, &filters).await?)
}

async fn inspect(call: Request) -> Outcome {
    reply::ok(&engine::volume::inspect(&call.state.engine, call.param("name")).await?)
}

async fn remove(call: Request) -> Outcome {
    engine::volume::remove(&call.state.engine, call.param("name"), call.query.flag("force")).await?;
    no_content()
}
