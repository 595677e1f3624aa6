//! The table of routes and their handlers. A handler extracts, calls one function of the engine, encodes.

mod archive;
mod attach;
mod containers;
mod debug;
mod events;
mod exec;
mod images;
mod logs;
mod networks;
mod platform;
mod prune;
mod registry;
mod reserved;
mod stats;
mod system;
mod volumes;
mod wait;

use std::sync::Arc;

use engine::Engine;
use engine::Kind;
use http::{Method, StatusCode};
use tokio::sync::watch;

use crate::server::call::Call;
use crate::server::failure::Failure;
use crate::server::reply::{self, Reply};
use crate::server::router::{Outcome, Router};

/// What handlers share.
pub(crate) struct App {
    /// The use cases.
    pub(crate) engine: Engine,
    /// The API versions served, for `/version`.
    pub(crate) versions: crate::server::negotiate::Versions,
    /// True when the daemon stops: streams without an end of their own then end.
    pub(crate) stop: watch::Receiver<bool>,
}

type State = Arc<App>;
type Request = Call<State>;

impl From<engine::Error> for Failure {
    fn from(error: engine::Error) -> Failure {
        let status = match error.kind {
            Kind::NotFound | Kind::NoImage => StatusCode::NOT_FOUND,
            Kind::InvalidParameter => StatusCode::BAD_REQUEST,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Kind::System => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Failure::new(status, error.message)
    }
}

/// 204.
fn no_content() -> Outcome {
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// 204, or 304 when it was so already.
fn changed(outcome: engine::Outcome) -> Reply {
    reply::empty(match outcome {
        engine::Outcome::Done => StatusCode::NO_CONTENT,
        engine::Outcome::Unchanged => StatusCode::NOT_MODIFIED,
    })
}

/// Every route.
pub(crate) fn table() -> Router<State> {
    let mut router = Router::new();
    system::add(&mut router);
    debug::add(&mut router);
    // Before the containers: a container's name takes every segment it can get.
    reserved::add(&mut router);
    containers::add(&mut router);
    exec::add(&mut router);
    images::add(&mut router);
    registry::add(&mut router);
    networks::add(&mut router);
    volumes::add(&mut router);
    router.add(Method::OPTIONS, "/{any*}", |_: Request| async { Ok(reply::empty(StatusCode::OK)) });
    router
}

#[cfg(test)]
mod tests {
    /// The table is the surface: a route that comes or goes is seen in a review.
    #[test]
    fn the_table_is_known() {
        let listed = super::table().list().join("\n");
        let golden = include_str!("table.txt");
        assert_eq!(listed.trim(), golden.trim());
    }
}
