//! Answers that are errors: a status and words for the client.

use http::StatusCode;

/// An error answer. Becomes `{"message": …}` with the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status.
    pub status: StatusCode,
    /// The words. Clients match some of them.
    pub message: String,
}

impl Failure {
    /// An error with any status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into() }
    }

    /// 400: the request itself is wrong.
    pub fn invalid(message: impl std::fmt::Display) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, message.to_string())
    }

    /// 500: we are wrong.
    pub fn internal(message: impl std::fmt::Display) -> Failure {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message.to_string())
    }

    /// 501: Docker can do this, this engine cannot yet.
    pub fn not_implemented(what: &str) -> Failure {
        Failure::new(StatusCode::NOT_IMPLEMENTED, format!("{what} is not implemented by berth yet"))
    }

    /// 404 for a path (or a method) without a route. Docker does not tell the two apart.
    pub fn page_not_found() -> Failure {
        Failure::new(StatusCode::NOT_FOUND, "page not found")
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}
