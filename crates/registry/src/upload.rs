//! Blobs on their way out: mounted from another repository, in one piece, or in a stream of unknown length
//! (distribution specification, "Pushing blobs").

use std::sync::Arc;

use http::header::{CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderValue, Method, StatusCode, Uri};
use oci::Digest;
use oci::image::Descriptor;

use crate::follow::{Payload, Source, join};
use crate::problem::{Asked, check};
use crate::session::{Call, Session, Target};
use crate::transport::Answer;
use crate::{Error, Repository, Result};

/// An upload that the registry has begun to take.
#[derive(Debug, Clone)]
pub struct Upload {
    repository: Repository,
    location: Uri,
    scope: String,
    offset: u64,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Repository").field(&self.name()).finish()
    }
}

impl Repository {
    /// Asks the registry to take a blob over from another of its repositories (`from`: its path, `library/debian`), which
    /// the user must be allowed to read. `None` when it did; else an upload that it has begun instead.
    ///
    /// # Errors
    /// `Unauthorized`, `Denied`, and what else the registry says.
    pub async fn mount(&self, digest: &Digest, from: &str) -> Result<Option<Upload>> {
        let session = self.push_session()?;
        let scope = format!("{} repository:{from}:pull", session.scope("pull,push"));
        self.begin(session, &format!("?mount={digest}&from={from}"), scope).await
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// `Unauthorized`, `Denied`, and what else the registry says.
    pub async fn begin_upload(&self) -> Result<Upload> {
        let session = self.push_session()?;
        let begun = self.begin(session, "", session.scope("pull,push")).await?;
        begun.ok_or_else(|| Error::Protocol {
            url: self.name(),
            reason: "the registry says that an upload is complete before it began".to_owned(),
        })
    }

    /// Uploads a blob of known length and digest in one request. When the connection breaks on the way and the registry
    /// does not have the blob by then, it begins again from the start, a few times.
    ///
    /// # Errors
    /// As [`Upload::put`].
    pub async fn put_blob(&self, descriptor: &Descriptor, source: Arc<dyn Source>) -> Result<()> {
        let patience = self.patience();
        let mut pause = patience.pause;
        let mut left = patience.retries;
        loop {
            let upload = self.begin_upload().await?;
            match upload.put(descriptor, source.clone()).await {
                Err(error) if left > 0 && may_pass(&error) => {
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2);
                    left -= 1;
                }
                done => return done,
            }
        }
    }

    async fn begin(&self, session: &Session, query: &str, scope: String) -> Result<Option<Upload>> {
        let target = Target::Repository(format!("/blobs/uploads/{query}"));
        let call = Call::new(Method::POST, target, scope.clone());
        let answer = checked(session, session.send(&call).await?).await?;
        if answer.status == StatusCode::CREATED {
            answer.discard().await;
            return Ok(None);
        }
        let location = location(&answer)?;
        answer.discard().await;
        Ok(Some(Upload { repository: self.clone(), location, scope, offset: 0 }))
    }
}

impl Upload {
    /// How many bytes the registry has taken.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Sends the whole blob and ends the upload (a POST and a PUT, as Docker pushes).
    ///
    /// # Errors
    /// `Source` when the source fails or is not as long as announced; what the registry says, `digest invalid` among it.
    pub async fn put(self, descriptor: &Descriptor, source: Arc<dyn Source>) -> Result<()> {
        let payload = Payload::Source { source, from: 0, length: Some(descriptor.size) };
        let call = Call { payload, ..self.closing(&descriptor.digest)? };
        self.close(&call, &descriptor.digest).await
    }

    /// Sends what `source` yields, from byte `from` of it to its end, in a stream (PATCH); for content that is made on the
    /// way. Answers with how many bytes the registry has by now.
    ///
    /// # Errors
    /// As [`Upload::put`]; after an interruption, [`Upload::refresh`] says where to go on.
    pub async fn append(&mut self, source: Arc<dyn Source>, from: u64) -> Result<u64> {
        let payload = Payload::Source { source, from, length: None };
        let call = Call { payload, ..self.call(Method::PATCH, self.location.clone()) };
        self.move_on(&call).await
    }

    /// Asks how many bytes the registry has.
    ///
    /// # Errors
    /// What the registry says, `blob upload unknown` among it.
    pub async fn refresh(&mut self) -> Result<u64> {
        let call = self.call(Method::GET, self.location.clone());
        self.move_on(&call).await
    }

    /// Ends the upload: what was sent must have this digest.
    ///
    /// # Errors
    /// What the registry says, `digest invalid` among it.
    pub async fn finish(self, digest: &Digest) -> Result<()> {
        let call = self.closing(digest)?;
        self.close(&call, digest).await
    }

    /// Gives the upload up.
    ///
    /// # Errors
    /// Without an answer. A registry that does not know how to is no error: it forgets uploads by itself.
    pub async fn cancel(self) -> Result<()> {
        let call = self.call(Method::DELETE, self.location.clone());
        self.repository.push_session()?.send(&call).await?.discard().await;
        Ok(())
    }

    fn call(&self, method: Method, url: Uri) -> Call {
        let mut call = Call::new(method, Target::Absolute(url), self.scope.clone());
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        // What of it the registry has taken when the answer gets lost, nobody knows without asking.
        call.is_repeatable = method_is_harmless(&call.method);
        call
    }

    fn closing(&self, digest: &Digest) -> Result<Call> {
        let joint = if self.location.query().is_some() { '&' } else { '?' };
        let url =
            format!("{}{joint}digest={digest}", self.location).parse().map_err(|_| Error::Protocol {
                url: crate::transport::shown(&self.location),
                reason: "the place of the upload and the digest make no URL".to_owned(),
            })?;
        Ok(self.call(Method::PUT, url))
    }

    async fn close(&self, call: &Call, digest: &Digest) -> Result<()> {
        let session = self.repository.push_session()?;
        let sent = match session.send(call).await {
            Err(error) if error.is_interruption() => {
                // The answer was lost; the blob may not be.
                return match self.repository.has_blob(digest).await {
                    Ok(Some(_)) => Ok(()),
                    _ => Err(error),
                };
            }
            sent => sent?,
        };
        let answer = checked(session, sent).await?;
        let named = answer.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        if let Some(named) = named.filter(|named| named != digest) {
            return Err(answer.strange(format!("took {digest} for {named}")));
        }
        answer.discard().await;
        Ok(())
    }

    async fn move_on(&mut self, call: &Call) -> Result<u64> {
        let session = self.repository.push_session()?;
        let answer = checked(session, session.send(call).await?).await?;
        self.location = location(&answer)?;
        let taken = answer.header(RANGE).and_then(taken);
        self.offset = taken.ok_or_else(|| answer.strange("Range does not say how much was taken"))?;
        answer.discard().await;
        Ok(self.offset)
    }
}

/// Whether the whole upload is worth another try.
fn may_pass(error: &Error) -> bool {
    error.is_interruption()
        || matches!(error, Error::Refused { status: 500..=599, .. } | Error::TooManyRequests { .. })
}

fn method_is_harmless(method: &Method) -> bool {
    *method == Method::GET || *method == Method::DELETE
}

/// How many bytes `0-9` are. A registry that has none says `0-0`, which is also what it says of one.
fn taken(range: &str) -> Option<u64> {
    let (start, end) = range.trim().trim_start_matches("bytes=").split_once('-')?;
    let end: u64 = end.parse().ok()?;
    if start != "0" {
        return None;
    }
    if end == 0 { Some(0) } else { end.checked_add(1) }
}

async fn checked(session: &Session, answer: Answer) -> Result<Answer> {
    check(answer, Asked::Push, session.authorizer.uses_tokens().await).await
}

/// Where the upload goes on. Never out of TLS: what is sent there has the user's authorization with it.
fn location(answer: &Answer) -> Result<Uri> {
    let text = answer.header(LOCATION).ok_or_else(|| answer.strange("no Location for the upload"))?;
    let url =
        join(&answer.url, text).ok_or_else(|| answer.strange(format!("Location {text:?} is no URL")))?;
    if answer.url.scheme_str() == Some("https") && url.scheme_str() != Some("https") {
        return Err(answer.strange(format!(
            "its Location {text:?} is not https: the registry does not know that it is behind TLS"
        )));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_how_many_bytes_were_taken() {
        assert_eq!(taken("0-9"), Some(10));
        assert_eq!(taken("bytes=0-9"), Some(10));
        assert_eq!(taken("0-0"), Some(0));
        assert_eq!(taken("5-9"), None);
        assert_eq!(taken("0-18446744073709551615"), None);
        assert_eq!(taken(""), None);
    }
}
