//! A request as a value: method, path, query, headers, body.

use std::fmt::Write as _;

use http::Method;
use serde::Serialize;

use crate::Outgoing;

/// A request to the Engine API. The path is unversioned; the connection adds `/v1.NN`.
#[derive(Debug)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Outgoing,
}

impl Request {
    fn new(method: Method, path: impl Into<String>) -> Self {
        let (path, query, headers) = (path.into(), Query::default(), Vec::new());
        Self { method, path, query, headers, body: Outgoing::Empty }
    }

    /// A `GET` of `path`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A `HEAD` of `path`.
    pub fn head(path: impl Into<String>) -> Self {
        Self::new(Method::HEAD, path)
    }

    /// A `POST` to `path`.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// A `PUT` to `path`.
    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// A `DELETE` of `path`.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// The same request once more; `None` for one whose body flows by.
    pub(crate) fn again(&self) -> Option<Self> {
        let body = match &self.body {
            Outgoing::Empty => Outgoing::Empty,
            Outgoing::Full(bytes) => Outgoing::Full(bytes.clone()),
            Outgoing::Channel(_) => return None,
        };
        let (method, path) = (self.method.clone(), self.path.clone());
        Some(Self { method, path, query: self.query.clone(), headers: self.headers.clone(), body })
    }

    /// Sets the query.
    #[must_use]
    pub fn query(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sends `value` as a JSON body.
    ///
    /// # Panics
    /// When `value` cannot be written as JSON, which a request body made of strings, numbers, lists and maps can.
    #[must_use]
    pub fn json(mut self, value: &impl Serialize) -> Self {
        let text = serde_json::to_vec(value).expect("a request body is plain data");
        self.body = Outgoing::Full(text.into());
        self.header("content-type", "application/json")
    }

    /// Sends `body` with a content type, for example `application/x-tar`.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: Outgoing) -> Self {
        self.body = body;
        self.header("content-type", content_type)
    }
}

/// The query of a request: names and values in the order in which they were added, escaped.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Query(String);

impl Query {
    /// An empty query.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `name=value`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        escape(name, &mut self.0);
        self.0.push('=');
        escape(value.as_ref(), &mut self.0);
        self
    }

    /// Adds `name=value` unless the value is empty.
    #[must_use]
    pub fn with_nonempty(self, name: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.with(name, value) }
    }

    /// Adds `name=1` if `set`.
    #[must_use]
    pub fn with_switch(self, name: &str, set: bool) -> Self {
        if set { self.with(name, "1") } else { self }
    }

    /// The text from the question mark on; empty without values.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Escapes for a query as Go's `url.QueryEscape` does, but a space is `%20`.
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("writing to a string cannot fail"),
        }
    }
}

/// Escapes what a path segment cannot hold; slashes stay, because image names have them, but one is enough where a
/// container's name was given with the slash that it begins with in every answer.
pub(crate) fn escape_path(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'/' if out.ends_with('/') => {}
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'~' | b'/' | b':' | b'@' | b'$' | b'&' | b'+' | b'=' | b',' => {
                out.push(char::from(byte));
            }
            _ => write!(out, "%{byte:02X}").expect("writing to a string cannot fail"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_begin_with_its_slash() {
        assert_eq!(escape_path("/containers//web/json"), "/containers/web/json");
    }

    #[test]
    fn a_query_is_escaped_in_the_order_it_was_made() {
        let query = Query::new().with("filters", r#"{"a":{"b c":true}}"#).with_switch("all", true);
        assert_eq!(query.as_str(), "?filters=%7B%22a%22%3A%7B%22b%20c%22%3Atrue%7D%7D&all=1");
        assert_eq!(Query::new().with_switch("x", false).with_nonempty("y", "").as_str(), "");
    }

    #[test]
    fn a_path_cannot_escape_into_the_query_or_a_header() {
        assert_eq!(escape_path("/images/a/b:c@sha256:1/json"), "/images/a/b:c@sha256:1/json");
        assert_eq!(escape_path("/containers/a b?x#y\r\n%/é"), "/containers/a%20b%3Fx%23y%0D%0A%25/%C3%A9");
    }
}
