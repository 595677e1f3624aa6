//! Blobs on their way in: from any byte on, continued where the connection was cut (distribution specification,
//! "Pulling blobs"; ranges: RFC 9110, section 14).

use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderValue, Method, StatusCode, Uri};
use oci::Digest;
use oci::digest::Algorithm;
use oci::image::{Descriptor, media_type};
use sha2::{Digest as _, Sha256, Sha512};

use crate::error::Cause;
use crate::problem::{Asked, check};
use crate::repository::Need;
use crate::session::{Call, Session, Target};
use crate::transport::{Answer, shown};
use crate::{Error, Repository, Result};

/// A blob, or a part of it, on its way in. Nothing of it is verified: whoever takes the pieces hashes them.
pub struct Blob {
    repository: Repository,
    descriptor: Descriptor,
    /// What is still to come.
    left: Range<u64>,
    open: Option<Open>,
    /// How often in a row the connection was cut without a byte.
    fruitless: u32,
    ignores_ranges: bool,
    /// How long is still to be waited before the rest is asked for again.
    pause: Duration,
    /// Whether the caller knows of it.
    is_told: bool,
    /// The endpoint that sent it last, as [`Repository::describe`] has it.
    sender: String,
}

/// What a blob on its way brings next.
#[derive(Debug)]
pub enum Step {
    /// Bytes.
    Piece(Bytes),
    /// Nothing for so long, because the connection was cut. Said once a second while it lasts.
    Pause(Duration),
    /// Nothing more: the range is complete.
    End,
}

struct Open {
    answer: Answer,
    /// How many bytes come before those wanted, because the registry knows no ranges.
    skip: u64,
    sender: String,
}

impl Repository {
    /// Opens a part of a blob; `0..descriptor.size` is all of it. The request is made here, so that "no such blob" is the
    /// error of this call. When the connection is cut or stands still, the rest is asked for again, with pauses, from any
    /// endpoint, as long as every few tries bring something.
    ///
    /// # Errors
    /// `BlobUnknown`, `PullDenied`; `Length` when the range or the registry's length do not fit the descriptor.
    pub async fn blob(&self, descriptor: &Descriptor, range: Range<u64>) -> Result<Blob> {
        if range.start > range.end || range.end > descriptor.size {
            return Err(Error::Length {
                what: format!("the part {}..{} of blob {}", range.start, range.end, descriptor.digest),
                expected: descriptor.size,
                found: range.end,
            });
        }
        let mut blob = Blob {
            repository: self.clone(),
            descriptor: descriptor.clone(),
            left: range,
            open: None,
            fruitless: 0,
            ignores_ranges: false,
            pause: Duration::ZERO,
            is_told: false,
            sender: String::new(),
        };
        if !blob.left.is_empty() {
            blob.reopen().await?;
        }
        Ok(blob)
    }

    /// A small blob at once, verified: a configuration, an attestation. An endpoint that has it wrong is passed over.
    ///
    /// # Errors
    /// `TooLarge` beyond `limit` bytes, `Digest`, and all of [`Repository::blob`].
    pub async fn blob_bytes(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes> {
        let what = || format!("blob {}", descriptor.digest);
        if descriptor.size > limit {
            return Err(Error::TooLarge { what: what(), limit });
        }
        self.ask(Need::Pull, |session| {
            Box::pin(async move {
                let Open { mut answer, .. } = self.open_blob(session, descriptor, 0..descriptor.size).await?;
                let mut whole = BytesMut::new();
                while let Some(piece) = answer.piece().await? {
                    whole.extend_from_slice(&piece);
                    let found = length(&whole);
                    if found > descriptor.size {
                        return Err(Error::Length { what: what(), expected: descriptor.size, found });
                    }
                }
                if length(&whole) != descriptor.size {
                    let found = length(&whole);
                    return Err(Error::Length { what: what(), expected: descriptor.size, found });
                }
                let found = match descriptor.digest.algorithm() {
                    Algorithm::Sha256 => Digest::from_sha256(&Sha256::digest(&whole).into()),
                    Algorithm::Sha512 => Digest::from_sha512(&Sha512::digest(&whole).into()),
                };
                if found != descriptor.digest {
                    return Err(Error::Digest { what: what(), expected: descriptor.digest.clone(), found });
                }
                Ok(whole.freeze())
            })
        })
        .await
    }

    /// The length of a blob at the registry itself, in bytes; `None` when it has none such. Asked before a push.
    ///
    /// # Errors
    /// Without an answer, or with one that says neither yes nor no.
    pub async fn has_blob(&self, digest: &Digest) -> Result<Option<u64>> {
        let session = self.push_session()?;
        let target = Target::Repository(format!("/blobs/{digest}"));
        let mut call = Call::new(Method::HEAD, target, session.scope("pull,push"));
        call.pinned = true;
        let answer = session.send(&call).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = check(answer, Asked::Push, session.authorizer.uses_tokens().await).await?;
        Ok(Some(answer.length().unwrap_or(0)))
    }

    async fn open_blob(&self, session: &Session, descriptor: &Descriptor, range: Range<u64>) -> Result<Open> {
        let name = self.name();
        let mut call = Call::new(
            Method::GET,
            Target::Repository(format!("/blobs/{}", descriptor.digest)),
            session.scope("pull"),
        );
        call.pinned = true;
        if range != (0..descriptor.size) {
            let value = HeaderValue::try_from(format!("bytes={}-{}", range.start, range.end - 1));
            call.headers.insert(RANGE, value.map_err(|_| Error::Source { reason: "range".to_owned() })?);
        }
        let asked = Asked::Blob { repository: &name, digest: &descriptor.digest };
        let mut answer = None;
        for url in foreign(descriptor) {
            let elsewhere = Call { target: Target::Absolute(url), ..call.clone() };
            answer = session.send(&elsewhere).await.ok().filter(|answer| answer.status.is_success());
            if answer.is_some() {
                break;
            }
        }
        let answer = match answer {
            Some(answer) => answer,
            None => check(session.send(&call).await?, asked, session.authorizer.uses_tokens().await).await?,
        };
        let skip = placed(&answer, descriptor, &range)?;
        Ok(Open { answer, skip, sender: session.endpoint.to_string() })
    }
}

/// Where else a layer that must not be distributed may be had.
fn foreign(descriptor: &Descriptor) -> Vec<Uri> {
    /// More places than anybody names.
    const MOST: usize = 8;
    if !media_type::is_foreign_layer(&descriptor.media_type) {
        return Vec::new();
    }
    let urls = descriptor.urls.iter().take(MOST).filter_map(|url| url.parse::<Uri>().ok());
    urls.filter(|url| matches!(url.scheme_str(), Some("http" | "https"))).collect()
}

/// How many bytes of an answer come before `range`. Refuses an answer that cannot be part of the blob.
fn placed(answer: &Answer, descriptor: &Descriptor, range: &Range<u64>) -> Result<u64> {
    let wrong = |found| {
        Err(Error::Length { what: format!("blob {}", descriptor.digest), expected: descriptor.size, found })
    };
    if answer.status != StatusCode::PARTIAL_CONTENT {
        return match answer.length() {
            Some(found) if found != descriptor.size => wrong(found),
            _ => Ok(range.start),
        };
    }
    let value = answer.header(CONTENT_RANGE).unwrap_or_default();
    let Some((start, total)) = content_range(value) else {
        return Err(answer.strange(format!("Content-Range {value:?} is none")));
    };
    if let Some(found) = total.filter(|total| *total != descriptor.size) {
        return wrong(found);
    }
    if start > range.start {
        return Err(answer.strange(format!("Content-Range {value:?} begins behind byte {}", range.start)));
    }
    Ok(range.start - start)
}

/// First byte and total length of `bytes 7-9/10`.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end) = (start.trim().parse().ok()?, end.trim().parse::<u64>().ok()?);
    let total = if total == "*" { None } else { Some(total.trim().parse().ok()?) };
    (start <= end).then_some((start, total))
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Blob {
    /// The next piece; `None` when the range is complete.
    ///
    /// # Errors
    /// As [`Blob::step`].
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.step().await? {
                Step::Piece(bytes) => return Ok(Some(bytes)),
                Step::Pause(_) => {}
                Step::End => return Ok(None),
            }
        }
    }

    /// What comes next.
    ///
    /// # Errors
    /// When the connection was cut too often in a row without bringing anything; `Length` when more comes than announced.
    pub async fn step(&mut self) -> Result<Step> {
        while !self.left.is_empty() {
            if !self.pause.is_zero() && !self.is_told {
                self.is_told = true;
                return Ok(Step::Pause(self.pause));
            }
            self.rest().await;
            if self.open.is_none() {
                self.reopen().await?;
            }
            let Some(open) = &mut self.open else { continue };
            match open.answer.piece().await {
                Ok(Some(piece)) => {
                    if let Some(bytes) = self.take(piece)? {
                        return Ok(Step::Piece(bytes));
                    }
                }
                Ok(None) => {
                    let error = open.answer.fail(Cause::Broken("unexpected EOF".to_owned()));
                    self.pause_after(error)?;
                }
                Err(error) => self.pause_after(error)?,
            }
        }
        self.expect_end().await?;
        Ok(Step::End)
    }

    /// Waits for a second, or less when less is left of the pause.
    async fn rest(&mut self) {
        let nap = self.pause.min(Duration::from_secs(1));
        self.is_told = false;
        if !nap.is_zero() {
            self.pause -= nap;
            tokio::time::sleep(nap).await;
        }
    }

    /// Which byte comes next.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.left.start
    }

    /// Says that the content is not what its digest says: the endpoint that sent it is not asked again in this operation.
    /// Whether there is another one that may have it right: a mirror that is broken need not keep an image from coming.
    #[must_use]
    pub fn distrust(self) -> bool {
        self.repository.distrust(&self.sender)
    }

    /// Whether the registry sent the blob from its beginning although a part was asked for: several parts at once then
    /// cost more than they bring.
    #[must_use]
    pub fn ignores_ranges(&self) -> bool {
        self.ignores_ranges
    }

    /// Cuts off what comes before and behind what is wanted.
    fn take(&mut self, mut piece: Bytes) -> Result<Option<Bytes>> {
        let Some(open) = &mut self.open else { return Ok(None) };
        let skipped = open.skip.min(length(&piece));
        open.skip -= skipped;
        let piece = piece.split_off(usize::try_from(skipped).unwrap_or(usize::MAX));
        let wanted = self.left.end - self.left.start;
        let (mut piece, came) = (piece.clone(), length(&piece));
        if came > wanted {
            if self.left.end == self.descriptor.size {
                let found = self.left.end - wanted + came;
                return Err(self.wrong_length(found));
            }
            piece.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
            self.open = None;
        }
        self.left.start += length(&piece);
        if !piece.is_empty() {
            self.fruitless = 0;
        }
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }

    /// Behind the last byte of the blob nothing may come; this also gives the connection back.
    async fn expect_end(&mut self) -> Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        if self.left.end != self.descriptor.size {
            return Ok(());
        }
        match open.answer.piece().await {
            Ok(Some(more)) => Err(self.wrong_length(self.left.end + length(&more))),
            // All bytes are here: how the connection ends does not matter.
            Ok(None) | Err(_) => Ok(()),
        }
    }

    fn wrong_length(&self, found: u64) -> Error {
        let what = format!("blob {}", self.descriptor.digest);
        Error::Length { what, expected: self.descriptor.size, found }
    }

    /// Asks for what is left. After a cut, a failure only makes the pause longer.
    async fn reopen(&mut self) -> Result<()> {
        if !self.pause.is_zero() {
            return Ok(());
        }
        let (repository, descriptor, range) = (&self.repository, &self.descriptor, &self.left);
        let opened = repository
            .ask(Need::Pull, |session| Box::pin(repository.open_blob(session, descriptor, range.clone())))
            .await;
        match opened {
            Ok(open) => {
                self.ignores_ranges |= open.skip > 0;
                self.sender.clone_from(&open.sender);
                self.open = Some(open);
                Ok(())
            }
            Err(error) if self.fruitless > 0 => self.pause_after(error),
            Err(error) => Err(error),
        }
    }

    /// After an interruption: there is a pause, longer each time, or an end.
    fn pause_after(&mut self, error: Error) -> Result<()> {
        self.open = None;
        let patience = self.repository.patience();
        let may_pass = matches!(&error, Error::Transport { .. })
            || matches!(&error, Error::Refused { status, .. } if *status >= 500);
        if !may_pass || self.fruitless >= patience.retries {
            return Err(error);
        }
        let pause = patience.pause.saturating_mul(1 << self.fruitless.min(8));
        self.fruitless += 1;
        self.pause = pause.min(Duration::from_secs(60));
        Ok(())
    }
}

/// What a blob is and how much of it is still to come.
impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = self.open.as_ref().map(|open| shown(&open.answer.url));
        f.debug_struct("Blob")
            .field("digest", &self.descriptor.digest)
            .field("left", &self.left)
            .field("from", &url)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_has_a_place_and_perhaps_a_total() {
        assert_eq!(content_range("bytes 7-9/10"), Some((7, Some(10))));
        assert_eq!(content_range("bytes 0-0/*"), Some((0, None)));
        for broken in [
            "",
            "bytes",
            "bytes 9-7/10",
            "bytes */10",
            "items 0-1/2",
            "bytes -1/2",
            "bytes 0-99999999999999999999999/1",
        ] {
            assert_eq!(content_range(broken), None, "{broken}");
        }
    }
}
