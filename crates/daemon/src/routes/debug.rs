//! `/debug…`: what Go's runtime tells of itself in Docker's daemon, as far as there is anything of it here.

use http::{Method, StatusCode};
use serde_json::json;

use super::{Request, State};
use crate::server::body::Body;
use crate::server::failure::Failure;
use crate::server::reply;
use crate::server::router::{Outcome, Router};

/// What those read who look for a profile.
const NO_PROFILES: &str = "this engine is not written in Go and has no such profile: perf(1) measures it, and SIGUSR1 makes it \
                           write what it is doing into its exec-root";

pub(super) fn add(router: &mut Router<State>) {
    router.add(Method::GET, "/debug/vars", variables);
    router.add(Method::GET, "/debug/pprof/cmdline", command_line);
    router.add(Method::GET, "/debug/pprof", no_profile);
    router.add(Method::GET, "/debug/pprof/{name}", no_profile);
}

fn arguments() -> Vec<String> {
    std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect()
}

/// Variables as Go's `expvar` prints them: one object, the command line among its members.
async fn variables(call: Request) -> Outcome {
    let tasks = tokio::runtime::Handle::current().metrics();
    let events = &call.state.engine.events;
    reply::ok(&json!({
        "cmdline": arguments(),
        "events": { "listeners": events.listeners(), "published": events.published() },
        "tasks": { "alive": tasks.num_alive_tasks(), "waiting": tasks.global_queue_depth(), "workers": tasks.num_workers() },
    }))
}

/// The arguments, apart by NUL bytes.
async fn command_line(_: Request) -> Outcome {
    let text = arguments().join("\0");
    Ok(reply::with_body(StatusCode::OK, "text/plain; charset=utf-8", Body::Full(text.into())))
}

async fn no_profile(_: Request) -> Outcome {
    Err(Failure::new(StatusCode::NOT_FOUND, NO_PROFILES))
}
