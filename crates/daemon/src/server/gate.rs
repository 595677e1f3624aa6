//! Who decides whether a request may be done, and whether its answer may be given.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::failure::Failure;

/// What is decided, once it is.
pub type Verdict = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// Decides about requests.
pub trait Gate: Send + Sync {
    /// Nobody needs to be asked.
    fn is_open(&self) -> bool;

    /// Decides about a request before it is done.
    fn ask(&self, asked: Arc<Asked>) -> Verdict;

    /// Decides about an answer before it is given. What was done stays done.
    fn review(&self, asked: Arc<Asked>, answered: Answered) -> Verdict;
}

/// A request that somebody decides about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its method.
    pub method: Method,
    /// Its path and query as they came.
    pub uri: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, when that is a JSON document and holds no password.
    pub body: Bytes,
    /// Who the client is by its certificate; empty without one.
    pub user: String,
    /// The certificates that a client has shown, its own first; DER.
    pub certificates: Vec<Vec<u8>>,
}

/// An answer that somebody decides about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, when that is a JSON document and no stream.
    pub body: Bytes,
}
