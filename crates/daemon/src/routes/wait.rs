//! `POST /containers/{id}/wait`: the headers leave before the waiting begins, because `docker run` waits for them
//! before it starts the container.

use api::container::{WaitCondition, WaitExitError, WaitResponse};
use api::media_type::JSON;

use super::Request;
use crate::server::body::Body;
use crate::server::failure::Failure;
use crate::server::reply;
use crate::server::router::Outcome;

pub(super) async fn wait(call: Request) -> Outcome {
    // Before 1.30 there were no conditions, and the headers came with the body.
    let is_old = !call.is_at_least(30);
    let word = if is_old { "" } else { call.query.get("condition") };
    let condition: WaitCondition = word.parse().map_err(Failure::invalid)?;
    let waiting = engine::container::wait::wait(&call.state.engine, call.param("name"), condition)?;
    if is_old {
        return reply::ok(&waiting.await?);
    }
    // Before 1.34 a removal that failed was told by an answer without a body.
    let hides_error = !call.is_at_least(34);
    let (sender, body) = Body::channel();
    tokio::spawn(async move {
        let answer = tokio::select! {
            answer = waiting => answer,
            () = call.presence.stops_sending() => return,
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(_) if hides_error => return,
            Err(error) => {
                WaitResponse { error: Some(WaitExitError { message: error.message }), status_code: 0 }
            }
        };
        let text = api::json::to_vec(&answer).map_err(std::io::Error::other);
        // A client that has left needs no answer.
        let _ = sender.send(text.map(Into::into)).await;
    });
    Ok(reply::stream(JSON, body))
}
