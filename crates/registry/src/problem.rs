//! Error answers of registries: their JSON, turned into errors with Docker's words (distribution specification, "Error Codes").

use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use jiff::Timestamp;
use oci::Digest;
use serde::Deserialize;

use crate::transport::{Answer, shown};
use crate::{Error, Result};

/// The longest error body that is read, in bytes; what is longer is no message.
const LARGEST_BODY: u64 = 64 << 10;
/// The longest message that is passed on, in characters.
const LONGEST_MESSAGE: usize = 1024;

/// What an error answer says.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    url: String,
    code: String,
    message: String,
    retry_after: Option<Duration>,
}

/// What was asked for when the problem came up.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked<'a> {
    /// A manifest, a list of tags; the repository and the reference as users write them.
    Pull { repository: &'a str, reference: &'a str },
    /// A blob.
    Blob { repository: &'a str, digest: &'a Digest },
    /// Taking content.
    Push,
}

#[derive(Deserialize, Default)]
struct Body {
    #[serde(default)]
    errors: Vec<Entry>,
    /// Token servers have these instead.
    #[serde(default)]
    details: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    error_description: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

impl Problem {
    /// Reads an error answer. A body that cannot be read or understood says nothing.
    pub(crate) async fn read(answer: Answer) -> Self {
        let status = answer.status;
        let url = shown(&answer.url);
        let retry_after = wait(&answer);
        let bytes = answer.bytes(LARGEST_BODY).await.unwrap_or_default();
        let body: Body = serde_json::from_slice(&bytes).unwrap_or_default();
        let first = body.errors.into_iter().next();
        let (code, message) = match first {
            Some(entry) => (entry.code, entry.message.unwrap_or_default()),
            None => {
                let message =
                    body.details.into_iter().chain(body.message).chain(body.error_description).next();
                (String::new(), message.unwrap_or_default())
            }
        };
        Self { status, url, code: clean(&code), message: clean(&message), retry_after }
    }

    /// The registry's message, or ours when it has none.
    pub(crate) fn or(&self, ours: &str) -> String {
        if self.message.is_empty() { ours.to_owned() } else { self.message.clone() }
    }

    /// The error, whatever was asked for.
    pub(crate) fn general(self) -> Error {
        match (self.status.as_u16(), self.code.as_str()) {
            (429, _) | (_, "TOOMANYREQUESTS") => {
                let message = self.or("the registry has had too many requests");
                let again_at = self.retry_after.and_then(|after| Timestamp::now().checked_add(after).ok());
                Error::TooManyRequests { message, retry_after: self.retry_after, again_at }
            }
            (_, "UNAUTHORIZED") | (401, _) => {
                Error::Unauthorized { message: self.or("authentication required") }
            }
            (_, "DENIED") | (403, _) => {
                Error::Denied { message: self.or("requested access to the resource is denied") }
            }
            (status, code) => Error::Refused { status, message: self.words(code) },
        }
    }

    /// The error for what was asked for. `with_tokens`: whether the registry works with tokens, which hides what a user
    /// may not see.
    pub(crate) fn about(self, asked: Asked<'_>, with_tokens: bool) -> Error {
        let status = self.status.as_u16();
        let code = self.code.clone();
        let is_hidden = code == "DENIED" || status == 403 || (status == 401 && with_tokens);
        match asked {
            Asked::Pull { repository, .. } | Asked::Blob { repository, .. } if is_hidden && status != 429 => {
                let message = format!("denied: {}", self.or("requested access to the resource is denied"));
                Error::PullDenied { repository: repository.to_owned(), message }
            }
            Asked::Pull { repository, .. } | Asked::Blob { repository, .. } if code == "NAME_UNKNOWN" => {
                Error::RepositoryUnknown { repository: repository.to_owned(), message: self.words(&code) }
            }
            Asked::Pull { reference, .. } if status == 404 => Error::ManifestUnknown {
                reference: reference.to_owned(),
                message: self.or("manifest unknown"),
            },
            Asked::Blob { digest, .. } if status == 404 => Error::BlobUnknown { digest: digest.clone() },
            _ => self.general(),
        }
    }

    /// `name invalid: invalid repository name`, as the distribution project prints its errors.
    fn words(&self, code: &str) -> String {
        if code.is_empty() && self.message.is_empty() {
            return format!("received unexpected HTTP status: {} from {}", self.status, self.url);
        }
        if code.is_empty() {
            return self.message.clone();
        }
        let code = code.to_ascii_lowercase().replace('_', " ");
        if self.message.is_empty() { code } else { format!("{code}: {}", self.message) }
    }
}

/// What a registry says comes from outside: one line, printable, not endless.
fn clean(text: &str) -> String {
    let plain = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    plain.take(LONGEST_MESSAGE).collect::<String>().trim().to_owned()
}

/// How long the registry wants to be left alone, when it says so.
pub(crate) fn wait(answer: &Answer) -> Option<Duration> {
    let names = [RETRY_AFTER.as_str(), "x-retry-after", "ratelimit-reset", "x-ratelimit-reset"];
    let value = names.iter().find_map(|name| answer.header(*name))?;
    span(value, Timestamp::now())
}

/// Seconds, a point in Unix time, or a date (RFC 9110, section 10.2.3).
fn span(value: &str, now: Timestamp) -> Option<Duration> {
    /// What is larger is a point in time: the seconds of thirty years.
    const LARGEST_SPAN: u64 = 1_000_000_000;
    let value = value.trim();
    let until = match value.parse::<u64>() {
        Ok(seconds) if seconds < LARGEST_SPAN => return Some(Duration::from_secs(seconds)),
        Ok(seconds) => Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?,
        Err(_) => jiff::fmt::rfc2822::parse(value).ok()?.timestamp(),
    };
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

/// The answer when it is a success, else the error it stands for.
pub(crate) async fn check(answer: Answer, asked: Asked<'_>, with_tokens: bool) -> Result<Answer> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    if answer.status.is_informational() || answer.status.is_redirection() {
        return Err(answer.strange(format!("received unexpected HTTP status: {}", answer.status)));
    }
    Err(Problem::read(answer).await.about(asked, with_tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(status: u16, code: &str, message: &str) -> Problem {
        Problem {
            status: StatusCode::from_u16(status).expect("a status"),
            url: "https://r/v2/x".into(),
            code: code.into(),
            message: message.into(),
            retry_after: None,
        }
    }

    #[test]
    fn answers_become_dockers_words() {
        let pull = Asked::Pull { repository: "team/app", reference: "team/app:1" };
        let check = |asked, status, code, message, words: &str| {
            assert_eq!(problem(status, code, message).about(asked, true).to_string(), words);
        };
        check(
            pull,
            404,
            "MANIFEST_UNKNOWN",
            "manifest unknown",
            "manifest for team/app:1 not found: manifest unknown: manifest unknown",
        );
        let hidden =
            "pull access denied for team/app, repository does not exist or may require 'docker login': ";
        let denied = format!("{hidden}denied: requested access to the resource is denied");
        check(pull, 401, "DENIED", "requested access to the resource is denied", &denied);
        check(pull, 401, "", "", &denied);
        check(pull, 403, "", "", &denied);
        check(pull, 404, "NAME_UNKNOWN", "no such", "repository team/app not found: name unknown: no such");
        check(Asked::Push, 403, "DENIED", "", "denied: requested access to the resource is denied");
        check(Asked::Push, 401, "UNAUTHORIZED", "", "unauthorized: authentication required");
        check(Asked::Push, 400, "NAME_INVALID", "bad", "name invalid: bad");
        check(
            Asked::Push,
            500,
            "",
            "",
            "received unexpected HTTP status: 500 Internal Server Error from https://r/v2/x",
        );
        check(pull, 429, "TOOMANYREQUESTS", "slow down", "toomanyrequests: slow down");
    }

    #[test]
    fn a_message_cannot_write_to_a_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\r\nc"), "a [2Jb  c");
        assert_eq!(clean(&"x".repeat(9999)).len(), LONGEST_MESSAGE);
    }

    #[test]
    fn the_wish_to_be_left_alone_has_three_forms() {
        let now: Timestamp = "2026-11-21T07:28:00Z".parse().expect("a time");
        let seconds = |text: &str| span(text, now).map(|span| span.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(&(now.as_second() + 90).to_string()), Some(90));
        assert_eq!(seconds("Sat, 21 Nov 2026 07:29:00 GMT"), Some(60));
        assert_eq!(seconds("Fri, 20 Nov 2026 07:29:00 GMT"), Some(0));
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds("99999999999999999999"), None);
    }
}
