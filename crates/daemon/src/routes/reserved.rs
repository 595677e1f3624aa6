//! Routes that exist, but not here: swarm (we are no manager), plugins (there are none), builds (later).

use api::build::CachePruneReport;
use http::{Method, StatusCode};
use serde_json::json;

use super::{Request, State};
use crate::server::failure::Failure;
use crate::server::reply;
use crate::server::router::{Outcome, Router};

/// What a node says that is no manager.
const NOT_A_MANAGER: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to \
                             connect this node to swarm and try again.";

/// Endpoints that only managers serve.
const SWARM: &[(Method, &str)] = &[
    (Method::GET, "/swarm"),
    (Method::GET, "/swarm/unlockkey"),
    (Method::POST, "/swarm/update"),
    (Method::POST, "/swarm/unlock"),
    (Method::POST, "/swarm/leave"),
    (Method::GET, "/nodes"),
    (Method::GET, "/nodes/{id}"),
    (Method::DELETE, "/nodes/{id}"),
    (Method::POST, "/nodes/{id}/update"),
    (Method::GET, "/services"),
    (Method::POST, "/services/create"),
    (Method::GET, "/services/{id}"),
    (Method::DELETE, "/services/{id}"),
    (Method::POST, "/services/{id}/update"),
    (Method::GET, "/services/{id}/logs"),
    (Method::GET, "/tasks"),
    (Method::GET, "/tasks/{id}"),
    (Method::GET, "/tasks/{id}/logs"),
    (Method::GET, "/secrets"),
    (Method::POST, "/secrets/create"),
    (Method::GET, "/secrets/{id}"),
    (Method::DELETE, "/secrets/{id}"),
    (Method::POST, "/secrets/{id}/update"),
    (Method::GET, "/configs"),
    (Method::POST, "/configs/create"),
    (Method::GET, "/configs/{id}"),
    (Method::DELETE, "/configs/{id}"),
    (Method::POST, "/configs/{id}/update"),
];

/// Endpoints of Docker that this engine does not have yet, and what they would do.
const LATER: &[(Method, &str, &str)] = &[
    (Method::POST, "/build", "building images"),
    (Method::POST, "/build/cancel", "building images"),
    (Method::POST, "/session", "building images"),
    (Method::POST, "/grpc", "building images"),
    (Method::POST, "/swarm/init", "swarm mode"),
    (Method::POST, "/swarm/join", "swarm mode"),
    (Method::PUT, "/volumes/{name*}", "updating a volume of a cluster"),
    (Method::GET, "/plugins/privileges", "plugins"),
    (Method::POST, "/plugins/pull", "plugins"),
    (Method::POST, "/plugins/create", "plugins"),
    (Method::POST, "/plugins/{name*}/enable", "plugins"),
    (Method::POST, "/plugins/{name*}/disable", "plugins"),
    (Method::POST, "/plugins/{name*}/push", "plugins"),
    (Method::POST, "/plugins/{name*}/set", "plugins"),
    (Method::POST, "/plugins/{name*}/upgrade", "plugins"),
];

pub(super) fn add(router: &mut Router<State>) {
    for (method, pattern) in SWARM {
        router.add_since(since(pattern), method.clone(), pattern, |_: Request| async {
            Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, NOT_A_MANAGER))
        });
    }
    for (method, pattern, what) in LATER {
        router.add_since(since(pattern), method.clone(), pattern, move |_: Request| async move {
            Err(Failure::not_implemented(what))
        });
    }
    // Where nothing is built nothing is left of it: `docker system prune` comes here last.
    router.add_since(since("/build/prune"), Method::POST, "/build/prune", |_: Request| async {
        reply::ok(&CachePruneReport::default())
    });
    router.add(Method::GET, "/plugins", |_: Request| async { reply::ok(&json!([])) });
    router.add(Method::GET, "/plugins/{name*}/json", no_plugin);
    router.add(Method::DELETE, "/plugins/{name*}", no_plugin);
}

/// The minor version that brought a path.
fn since(pattern: &str) -> u32 {
    match pattern.split('/').nth(1) {
        Some("secrets") => 25,
        Some("configs") => 30,
        Some("volumes") => 42,
        _ if pattern == "/build/prune" => 31,
        _ if pattern.ends_with("/upgrade") => 26,
        _ => 24,
    }
}

async fn no_plugin(call: Request) -> Outcome {
    Err(Failure::new(StatusCode::NOT_FOUND, format!("plugin {:?} not found", call.param("name"))))
}
