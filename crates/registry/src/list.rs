//! Lists that a registry keeps: tags, and what refers to a manifest (distribution specification, "Content Discovery").

use http::header::{ACCEPT, LINK};
use http::{HeaderValue, Method, StatusCode, Uri};
use oci::Digest;
use oci::image::{Descriptor, Document, media_type};
use serde::Deserialize;

use crate::auth;
use crate::follow::join;
use crate::manifest::Which;
use crate::problem::{Asked, check};
use crate::repository::Need;
use crate::session::{Call, Session, Target};
use crate::transport::Answer;
use crate::{Error, Repository, Result};

/// The longest page of a list that is read, in bytes.
const LARGEST_PAGE: u64 = 8 << 20;
/// More pages, or entries, than a list sensibly has.
const MOST_PAGES: usize = 1000;
const MOST_ENTRIES: usize = 100_000;

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Repository {
    /// All tags, in the registry's order.
    ///
    /// # Errors
    /// `RepositoryUnknown`, `PullDenied`; `TooLarge` beyond 100 000 tags.
    pub async fn tags(&self) -> Result<Vec<String>> {
        let name = &self.name();
        self.ask(Need::Resolve, |session| {
            Box::pin(async move {
                let mut tags = Vec::new();
                let first = Target::Repository("/tags/list?n=1000".to_owned());
                let mut call = Call::new(Method::GET, first, session.scope("pull"));
                let asked = Asked::Pull { repository: name, reference: name };
                for _ in 0..MOST_PAGES {
                    let answer = session.send(&call).await?;
                    let answer = check(answer, asked, session.authorizer.uses_tokens().await).await?;
                    let next = next_page(&answer);
                    let page: Tags = json(answer).await?;
                    tags.extend(page.tags.unwrap_or_default());
                    if tags.len() > MOST_ENTRIES {
                        break;
                    }
                    match next {
                        Some(url) => call.target = Target::Absolute(url),
                        None => return Ok(tags),
                    }
                }
                Err(Error::TooLarge { what: format!("the list of tags of {name}"), limit: LARGEST_PAGE })
            })
        })
        .await
    }

    /// What refers to a manifest: signatures, attestations and other artifacts, also of registries without a list of their
    /// own, by the tag that stands in for it. Only those of `artifact_type` when one is given.
    ///
    /// # Errors
    /// `PullDenied`; `Protocol` when the list is none.
    pub async fn referrers(&self, digest: &Digest, artifact_type: Option<&str>) -> Result<Vec<Descriptor>> {
        let listed = self
            .ask(Need::Pull, |session| {
                Box::pin(async move {
                    match self.listed(session, digest, artifact_type).await? {
                        Some(found) => Ok(found),
                        None => self.tagged(digest).await,
                    }
                })
            })
            .await?;
        let wanted = |found: &Descriptor| {
            artifact_type.is_none_or(|wanted| found.artifact_type.as_deref() == Some(wanted))
        };
        Ok(listed.into_iter().filter(wanted).collect())
    }

    /// The registry's own list; `None` when it keeps none.
    async fn listed(
        &self,
        session: &Session,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Descriptor>>> {
        let name = self.name();
        let filter = artifact_type.map(|kind| format!("?{}", auth::form(&[("artifactType", kind)])));
        let target = Target::Repository(format!("/referrers/{digest}{}", filter.unwrap_or_default()));
        let mut call = Call::new(Method::GET, target, session.scope("pull"));
        call.headers.insert(ACCEPT, HeaderValue::from_static(media_type::OCI_INDEX));
        let mut found = Vec::new();
        for _ in 0..MOST_PAGES {
            let answer = session.send(&call).await?;
            if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
                return Ok(None);
            }
            let asked = Asked::Pull { repository: &name, reference: &name };
            let answer = check(answer, asked, session.authorizer.uses_tokens().await).await?;
            let next = next_page(&answer);
            let url = crate::transport::shown(&answer.url);
            let bytes = answer.bytes(LARGEST_PAGE).await?;
            let strange = |reason: String| Error::Protocol { url: url.clone(), reason };
            match Document::parse(&bytes, media_type::OCI_INDEX)
                .map_err(|error| strange(error.to_string()))?
            {
                Document::Index(index) => found.extend(index.manifests),
                Document::Manifest(_) => return Err(strange("a manifest in place of a list".to_owned())),
            }
            match next {
                Some(url) if found.len() <= MOST_ENTRIES => call.target = Target::Absolute(url),
                Some(_) => break,
                None => return Ok(Some(found)),
            }
        }
        Err(Error::TooLarge { what: format!("the list of what refers to {digest}"), limit: LARGEST_PAGE })
    }

    /// The list under the tag `sha256-<digits>` (distribution specification, "Referrers Tag Schema").
    async fn tagged(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        /// The longest that a tag may be.
        const LONGEST_TAG: usize = 128;
        let mut tag = format!("{}-{}", digest.algorithm().name(), digest.hex());
        tag.truncate(LONGEST_TAG);
        match self.manifest(&Which::Tag(tag)).await {
            Ok(fetched) => match fetched.document {
                Document::Index(index) => Ok(index.manifests),
                Document::Manifest(_) => Ok(Vec::new()),
            },
            Err(Error::ManifestUnknown { .. } | Error::RepositoryUnknown { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

async fn json<T: serde::de::DeserializeOwned>(answer: Answer) -> Result<T> {
    let url = crate::transport::shown(&answer.url);
    let bytes = answer.bytes(LARGEST_PAGE).await?;
    serde_json::from_slice(&bytes).map_err(|error| Error::Protocol {
        url,
        reason: format!("the answer is not what it should be: {error}"),
    })
}

/// The address behind `rel="next"` (RFC 8288), on the same host.
fn next_page(answer: &Answer) -> Option<Uri> {
    let value = answer.header(LINK)?;
    let (address, parameters) = value.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|word| matches!(word.trim(), "rel=\"next\"" | "rel=next"));
    let url = join(&answer.url, address)?;
    (is_next && crate::follow::same_host(&url, &answer.url)).then_some(url)
}
