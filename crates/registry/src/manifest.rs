//! Manifests and indexes: resolving, getting, putting (distribution specification, "Pulling manifests", "Pushing Manifests").

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use oci::image::{Descriptor, Document, MAX_DOCUMENT_SIZE, media_type};
use oci::{Digest, Reference};
use sha2::{Digest as _, Sha256, Sha512};

use crate::problem::{Asked, Problem, check};
use crate::repository::Need;
use crate::session::{Call, Session, Target};
use crate::transport::Answer;
use crate::{Error, Repository, Result};

/// What we take, the preferred first; `*/*` because some registries refuse a list that they do not know in full.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";

const CONTENT_DIGEST: &str = "docker-content-digest";

/// A manifest or an index as the registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Media type, digest and size of `bytes`, all three verified.
    pub descriptor: Descriptor,
    /// The very bytes.
    pub bytes: Bytes,
    /// What they say.
    pub document: Document,
}

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// A tag. Nothing but the registry's word ties it to content.
    Tag(String),
    /// A digest. What does not have it is refused.
    Digest(Digest),
}

impl Which {
    /// What a reference names: its digest if it has one, else its tag, else `latest`.
    #[must_use]
    pub fn of(reference: &Reference) -> Self {
        match (reference.digest(), reference.or_latest().tag()) {
            (Some(digest), _) => Self::Digest(digest.clone()),
            (None, Some(tag)) => Self::Tag(tag.to_owned()),
            (None, None) => Self::Tag(oci::reference::DEFAULT_TAG.to_owned()),
        }
    }
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => write!(f, "{digest}"),
        }
    }
}

impl Repository {
    /// Which manifest a tag or digest is, without its content: media type, digest, size. Asks with HEAD, and with GET when
    /// that does not say enough.
    ///
    /// # Errors
    /// `ManifestUnknown`, `PullDenied`, and all of [`Repository::manifest`].
    pub async fn resolve(&self, which: &Which) -> Result<Descriptor> {
        self.ask(need(which), |session| {
            Box::pin(async move {
                let answer = self.request(session, Method::HEAD, which).await?;
                if answer.status.is_success()
                    && let Some(descriptor) = announced(&answer, which)?
                {
                    return Ok(descriptor);
                }
                // An answer to HEAD has no words for people.
                Ok(self.fetch(session, which).await?.descriptor)
            })
        })
        .await
    }

    /// A manifest or index: at most 4 MiB, of a known media type that fits what it says about itself, with its digest.
    ///
    /// # Errors
    /// `ManifestUnknown`, `PullDenied`, `Unauthorized`, `TooManyRequests`; `Digest`, `TooLarge` and `Protocol` when what
    /// comes is not what was asked for.
    pub async fn manifest(&self, which: &Which) -> Result<Fetched> {
        self.ask(need(which), |session| Box::pin(self.fetch(session, which))).await
    }

    /// The manifest that a descriptor points at; it must have the descriptor's media type, size and digest.
    ///
    /// # Errors
    /// As [`Repository::manifest`]; `Length` when it has another size.
    pub async fn manifest_of(&self, descriptor: &Descriptor) -> Result<Fetched> {
        let which = &Which::Digest(descriptor.digest.clone());
        self.ask(Need::Pull, |session| {
            Box::pin(async move {
                let fetched = self.fetch(session, which).await?;
                if fetched.descriptor.size != descriptor.size {
                    return Err(Error::Length {
                        what: format!("manifest {}", descriptor.digest),
                        expected: descriptor.size,
                        found: fetched.descriptor.size,
                    });
                }
                if fetched.descriptor.media_type != descriptor.media_type {
                    return Err(Error::Protocol {
                        url: self.name(),
                        reason: format!(
                            "manifest {} is {}, and the index says {}",
                            descriptor.digest, fetched.descriptor.media_type, descriptor.media_type
                        ),
                    });
                }
                Ok(fetched)
            })
        })
        .await
    }

    /// Puts a manifest or index, and answers with its descriptor. Everything it points at must be there.
    ///
    /// # Errors
    /// `Unauthorized`, `Denied`, or what else the registry says; `Protocol` when it takes it for something else.
    pub async fn put_manifest(&self, which: &Which, media_type: &str, bytes: Bytes) -> Result<Descriptor> {
        let session = self.push_session()?;
        let target = Target::Repository(format!("/manifests/{which}"));
        let mut call = Call::new(Method::PUT, target, session.scope("pull,push"));
        let value = HeaderValue::from_str(media_type).map_err(|_| Error::Protocol {
            url: self.name(),
            reason: format!("the media type {media_type:?} cannot be sent"),
        })?;
        call.headers.insert(CONTENT_TYPE, value);
        call.payload = crate::follow::Payload::Bytes(bytes.clone());
        let answer = session.send(&call).await?;
        let answer = check(answer, Asked::Push, session.authorizer.uses_tokens().await).await?;
        let digest = hash(&bytes, named_digest(&answer).as_ref());
        if let Some(theirs) = named_digest(&answer)
            && theirs != digest
        {
            return Err(answer.strange(format!("took {digest} for {theirs}")));
        }
        answer.discard().await;
        Ok(Descriptor::new(media_type, digest, length(&bytes)))
    }

    /// Whether the registry has a manifest, by digest; asked before it is pushed.
    ///
    /// # Errors
    /// Without an answer, or with one that says neither yes nor no.
    pub async fn has_manifest(&self, digest: &Digest) -> Result<bool> {
        let session = self.push_session()?;
        let target = Target::Repository(format!("/manifests/{digest}"));
        let mut call = Call::new(Method::HEAD, target, session.scope("pull,push"));
        call.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let answer = session.send(&call).await?;
        match answer.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(Problem::read(answer).await.about(Asked::Push, session.authorizer.uses_tokens().await)),
        }
    }

    async fn request(&self, session: &Session, method: Method, which: &Which) -> Result<Answer> {
        let mut call =
            Call::new(method, Target::Repository(format!("/manifests/{which}")), session.scope("pull"));
        call.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        call.pinned = matches!(which, Which::Digest(_));
        session.send(&call).await
    }

    async fn fetch(&self, session: &Session, which: &Which) -> Result<Fetched> {
        let name = self.name();
        let reference = match which {
            Which::Tag(tag) => format!("{name}:{tag}"),
            Which::Digest(digest) => format!("{name}@{digest}"),
        };
        let answer = self.request(session, Method::GET, which).await?;
        let asked = Asked::Pull { repository: &name, reference: &reference };
        let answer = check(answer, asked, session.authorizer.uses_tokens().await).await?;
        let (media, named, url) = (content_type(&answer), named_digest(&answer), answer.url.clone());
        let bytes = answer.bytes(u64::try_from(MAX_DOCUMENT_SIZE).unwrap_or(u64::MAX)).await?;
        let expected = match which {
            Which::Digest(digest) => Some(digest),
            Which::Tag(_) => named.as_ref(),
        };
        let digest = hash(&bytes, expected);
        if let Some(expected) = expected
            && *expected != digest
        {
            let what = format!("manifest {reference}");
            return Err(Error::Digest { what, expected: expected.clone(), found: digest });
        }
        refuse_old_schema(&media, &reference, &url)?;
        let strange = |reason: String| Error::Protocol { url: crate::transport::shown(&url), reason };
        let document = Document::parse(&bytes, &media).map_err(|error| strange(error.to_string()))?;
        let own = match &document {
            Document::Manifest(manifest) => (&manifest.media_type, media_type::OCI_MANIFEST),
            Document::Index(index) => (&index.media_type, media_type::OCI_INDEX),
        };
        let decided = [media.as_str(), own.0, own.1].into_iter().find(|word| !word.is_empty());
        let descriptor = Descriptor::new(decided.unwrap_or(own.1), digest, length(&bytes));
        Ok(Fetched { descriptor, bytes, document })
    }
}

fn need(which: &Which) -> Need {
    match which {
        Which::Tag(_) => Need::Resolve,
        Which::Digest(_) => Need::Pull,
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// The digest of bytes, with the algorithm of the one that is expected.
fn hash(bytes: &[u8], like: Option<&Digest>) -> Digest {
    match like.map(Digest::algorithm) {
        Some(oci::digest::Algorithm::Sha512) => Digest::from_sha512(&Sha512::digest(bytes).into()),
        Some(oci::digest::Algorithm::Sha256) | None => Digest::from_sha256(&Sha256::digest(bytes).into()),
    }
}

/// The media type of an answer; empty when it is one that says nothing, and the document itself has to.
fn content_type(answer: &Answer) -> String {
    let value = answer.header(CONTENT_TYPE).unwrap_or_default();
    let bare = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match bare.as_str() {
        "application/json" | "text/plain" | "application/octet-stream" | "binary/octet-stream" => {
            String::new()
        }
        _ => bare,
    }
}

fn named_digest(answer: &Answer) -> Option<Digest> {
    answer.header(CONTENT_DIGEST).and_then(|text| text.parse().ok())
}

/// The descriptor in the head of an answer, when it is all there and of a kind that we know.
fn announced(answer: &Answer, which: &Which) -> Result<Option<Descriptor>> {
    let media = content_type(answer);
    if !media_type::is_manifest(&media) && !media_type::is_index(&media) {
        return Ok(None);
    }
    let (Some(size), Some(digest)) = (answer.length().filter(|size| *size > 0), named_digest(answer)) else {
        return Ok(None);
    };
    if let Which::Digest(expected) = which
        && *expected != digest
    {
        let what = format!("manifest {which}");
        return Err(Error::Digest { what, expected: expected.clone(), found: digest });
    }
    Ok(Some(Descriptor::new(&media, digest, size)))
}

/// Schema 1, which today's engines refuse with these words.
fn refuse_old_schema(media: &str, reference: &str, url: &http::Uri) -> Result<()> {
    if !media.starts_with("application/vnd.docker.distribution.manifest.v1+") {
        return Ok(());
    }
    Err(Error::Protocol {
        url: crate::transport::shown(url),
        reason: format!(
            "media type {media:?} of {reference} is no longer supported: rebuild the image as {:?} or {:?}",
            media_type::DOCKER_MANIFEST,
            media_type::OCI_MANIFEST
        ),
    })
}
