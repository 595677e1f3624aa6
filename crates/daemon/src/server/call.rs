//! One request, as a handler sees it.

use std::time::Duration;

use api::version::ApiVersion;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::upgrade::OnUpgrade;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::Failure;
use super::presence::Presence;
use super::query::Query;
use super::request_body::RequestBody;
use super::router::Params;

/// The largest JSON document that is read. Docker has no limit; the largest honest requests (a container with its
/// own seccomp profile) have some hundred kilobytes.
pub const MAX_JSON: usize = 4 << 20;
/// How long a JSON document may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// One request.
pub struct Call<S> {
    /// What the handlers share.
    pub state: S,
    /// The API version it speaks.
    pub version: ApiVersion,
    /// The method: handlers of HEAD and GET are often one.
    pub method: Method,
    /// Values of the pattern's names.
    pub params: Params,
    /// The query.
    pub query: Query,
    /// The headers.
    pub headers: HeaderMap,
    /// Whether the client is still there.
    pub presence: Presence,
    /// The body; taken by whoever reads it.
    pub body: RequestBody,
    /// Somebody decides about the answer before it is given, and can only do so when it is no stream.
    pub is_reviewed: bool,
    /// The connection itself, once the answer is 101.
    pub upgrade: OnUpgrade,
}

impl<S> Call<S> {
    /// A value of the pattern.
    pub fn param(&self, name: &str) -> &str {
        self.params.get(name)
    }

    /// Whether the request speaks `1.minor` or newer.
    pub fn is_at_least(&self, minor: u32) -> bool {
        self.version >= ApiVersion::v1(minor)
    }

    /// Whether the client asked to take the connection over; otherwise it expects Docker's oldest form.
    pub fn wants_upgrade(&self) -> bool {
        self.headers.contains_key(http::header::UPGRADE)
    }

    /// A header as text; empty when it is absent or not text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as a JSON document, `None` when there is no body.
    pub async fn json_value(&mut self) -> Result<Option<Value>, Failure> {
        read_json(&self.headers, &mut self.body).await
    }

    /// The body as a JSON document; the default when there is no body.
    pub async fn json<T: DeserializeOwned + Default>(&mut self) -> Result<T, Failure> {
        match self.json_value().await? {
            Some(value) => decode(&value),
            None => Ok(T::default()),
        }
    }
}

/// Gives a document its type by Go's rules.
pub fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, Failure> {
    api::json::from_value(value).map_err(|error| Failure::invalid(format!("invalid JSON: {error}")))
}

async fn read_json(headers: &HeaderMap, body: &mut RequestBody) -> Result<Option<Value>, Failure> {
    use http_body::Body as _;
    let is_empty = body.is_end_stream();
    match headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default()) {
        None if is_empty => return Ok(None),
        content_type => check_content_type(content_type.unwrap_or_default())?,
    }
    if is_empty {
        return Ok(None);
    }
    let bytes = read_limited(body).await?;
    parse_one(&bytes).map(Some)
}

fn check_content_type(text: &str) -> Result<(), Failure> {
    let media_type = text.split(';').next().unwrap_or_default().trim();
    if media_type.is_empty() {
        return Err(Failure::invalid(format!("malformed Content-Type header ({text}): mime: no media type")));
    }
    if !media_type.eq_ignore_ascii_case(api::media_type::JSON) {
        return Err(Failure::invalid(format!(
            "unsupported Content-Type header ({text}): must be 'application/json'"
        )));
    }
    Ok(())
}

pub(super) async fn read_limited(body: &mut RequestBody) -> Result<Bytes, Failure> {
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_JSON).collect()).await;
    let Ok(read) = read else {
        return Err(Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the request body has not come within {} s", BODY_TIMEOUT.as_secs()),
        ));
    };
    match read {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request body is larger than {MAX_JSON} bytes"),
        )),
        Err(error) => Err(Failure::invalid(format!("cannot read the request body: {error}"))),
    }
}

/// Exactly one document, as Docker's daemon wants it.
fn parse_one(bytes: &[u8]) -> Result<Value, Failure> {
    let mut documents = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let first = match documents.next() {
        Some(Ok(value)) => value,
        Some(Err(error)) => return Err(Failure::invalid(format!("invalid JSON: {error}"))),
        None => return Err(Failure::invalid("invalid JSON: got EOF while reading request body")),
    };
    if bytes[documents.byte_offset()..].iter().all(u8::is_ascii_whitespace) {
        Ok(first)
    } else {
        Err(Failure::invalid("unexpected content after JSON"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_checked_in_dockers_words() {
        let check = |text, expected: Result<(), &str>| {
            assert_eq!(
                check_content_type(text).map_err(|failure| failure.message),
                expected.map_err(String::from)
            );
        };
        check("application/json", Ok(()));
        check("Application/JSON; charset=utf-8", Ok(()));
        check("text/plain", Err("unsupported Content-Type header (text/plain): must be 'application/json'"));
        check("", Err("malformed Content-Type header (): mime: no media type"));
    }

    #[test]
    fn one_document_is_expected() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let found =
                parse_one(text.as_bytes()).map(|value| value.to_string()).map_err(|failure| failure.message);
            assert_eq!(found, expected.map(String::from).map_err(String::from), "{text}");
        };
        check(" {} \n", Ok("{}"));
        check("", Err("invalid JSON: got EOF while reading request body"));
        check("{} {}", Err("unexpected content after JSON"));
        check("{}x", Err("unexpected content after JSON"));
        check("{", Err("invalid JSON: EOF while parsing an object at line 1 column 1"));
    }
}
