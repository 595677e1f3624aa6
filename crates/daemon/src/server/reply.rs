//! Answers, made in the few ways that the API has.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use super::body::Body;
use super::failure::Failure;

/// An answer.
pub type Reply = Response<Body>;

/// `status` with a JSON document and a newline.
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Result<Reply, Failure> {
    let text = api::json::to_vec(value)
        .map_err(|error| Failure::internal(format!("cannot write the answer as JSON: {error}")))?;
    Ok(with_body(status, api::media_type::JSON, Body::Full(Bytes::from(text))))
}

/// 200 with a JSON document.
pub fn ok<T: Serialize>(value: &T) -> Result<Reply, Failure> {
    json(StatusCode::OK, value)
}

/// 201 with a JSON document.
pub fn created<T: Serialize>(value: &T) -> Result<Reply, Failure> {
    json(StatusCode::CREATED, value)
}

/// `status` without a body: 200, 201, 204, 304.
pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Body::Empty);
    *reply.status_mut() = status;
    reply
}

/// `status` with a body of a media type.
pub fn with_body(status: StatusCode, content_type: &'static str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// 200 with a stream of a media type. The headers leave at once, before the first byte of the stream.
pub fn stream(content_type: &'static str, body: Body) -> Reply {
    with_body(StatusCode::OK, content_type, body)
}

/// An error answer as the API has it: JSON, but nothing for 304.
pub fn failure(failure: &Failure) -> Reply {
    if failure.status == StatusCode::NOT_MODIFIED {
        return empty(failure.status);
    }
    let body = api::ErrorResponse { message: failure.message.clone() };
    json(failure.status, &body).unwrap_or_else(|_| empty(failure.status))
}

/// An error answer as plain text: for API versions before 1.24.
pub fn plain_failure(failure: &Failure) -> Reply {
    let text = format!("{}\n", failure.message);
    with_body(failure.status, "text/plain; charset=utf-8", Body::Full(Bytes::from(text)))
}
