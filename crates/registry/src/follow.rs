//! One request to its final answer: sent, and redirected within limits. Credentials stay with the host they are for.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};

use crate::error::Cause;
use crate::transport::{Answer, Outgoing, Transport, failure, shown};
use crate::{Error, Result};

/// As many redirects, and no more, are followed, as in Go's library.
const MOST_HOPS: usize = 10;

/// Content that can be read again from any place, for as many attempts as it takes.
pub trait Source: Send + Sync {
    /// A reader that starts `from` bytes behind the beginning.
    ///
    /// # Errors
    /// What keeps the content from being read.
    fn open(&self, from: u64) -> std::io::Result<Box<dyn Read + Send>>;
}

impl Source for Bytes {
    fn open(&self, from: u64) -> std::io::Result<Box<dyn Read + Send>> {
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.len());
        Ok(Box::new(std::io::Cursor::new(self.slice(from..))))
    }
}

/// A file is read through its own path, so that each reader has its own position.
impl Source for std::path::PathBuf {
    fn open(&self, from: u64) -> std::io::Result<Box<dyn Read + Send>> {
        use std::io::{Seek, SeekFrom};
        let mut file = std::fs::File::open(self)?;
        file.seek(SeekFrom::Start(from))?;
        Ok(Box::new(file))
    }
}

/// What is sent, as often as it has to be.
#[derive(Clone)]
pub(crate) enum Payload {
    Empty,
    Bytes(Bytes),
    /// `length` bytes of a source; without a length, what it yields until its end, in chunks.
    Source {
        source: Arc<dyn Source>,
        from: u64,
        length: Option<u64>,
    },
}

impl Payload {
    fn open(&self) -> Result<Outgoing> {
        match self {
            Self::Empty => Ok(Outgoing::empty()),
            Self::Bytes(bytes) => Ok(Outgoing::bytes(bytes.clone())),
            Self::Source { source, from, length } => {
                let opened =
                    source.open(*from).map_err(|error| Error::Source { reason: error.to_string() })?;
                Ok(Outgoing::reader(opened, *length))
            }
        }
    }
}

/// One request.
pub(crate) struct Hop<'a> {
    pub(crate) method: Method,
    /// Absolute.
    pub(crate) url: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) authorization: Option<HeaderValue>,
    /// Headers for the first host only, as hosts.toml wants them.
    pub(crate) own: &'a [(HeaderName, HeaderValue)],
    pub(crate) payload: &'a Payload,
    /// Whether a digest pins what is asked for, so that it may come over a connection that anybody can change.
    pub(crate) pinned: bool,
}

/// Sends over one endpoint's connections.
pub(crate) struct Follower<'a> {
    pub(crate) transport: &'a Arc<Transport>,
}

impl Follower<'_> {
    /// Sends a request and follows where it is sent on to.
    ///
    /// # Errors
    /// `Transport` without an answer, and with one that leads in a circle, too far, or out of TLS.
    pub(crate) async fn send(&self, hop: Hop<'_>) -> Result<Answer> {
        let mut url = hop.url.clone();
        let mut at_home = true;
        let mut seen: Vec<Uri> = Vec::new();
        loop {
            let mut request = Request::new(hop.payload.open()?);
            *request.method_mut() = hop.method.clone();
            *request.uri_mut() = url.clone();
            *request.headers_mut() = hop.headers.clone();
            if at_home {
                if let Some(value) = &hop.authorization {
                    request.headers_mut().insert(AUTHORIZATION, value.clone());
                }
                for (name, value) in hop.own {
                    request.headers_mut().append(name, value.clone());
                }
            }
            let answer = self.transport.exchange(request).await?;
            if !leads_on(&hop.method, answer.status) {
                return Ok(answer);
            }
            let fail = |words: String| Err(failure(&hop.method, &url, Cause::Redirect(words)));
            let Some(location) = answer.header(LOCATION) else {
                return fail(format!("{} response missing Location header", answer.status.as_u16()));
            };
            let Some(next) = join(&url, location) else {
                return fail("failed to parse Location header".to_owned());
            };
            if is_https(&url) && !is_https(&next) && !hop.pinned {
                return fail(format!("refused to leave TLS for {}", shown(&next)));
            }
            seen.push(url.clone());
            if seen.len() > MOST_HOPS {
                return fail(format!("stopped after {MOST_HOPS} redirects"));
            }
            if seen.contains(&next) {
                return fail(format!("redirects lead in a circle, to {}", shown(&next)));
            }
            at_home = at_home && same_host(&hop.url, &next);
            answer.discard().await;
            url = next;
        }
    }
}

/// Other statuses would turn a POST into a GET, which no registry means.
fn leads_on(method: &Method, status: StatusCode) -> bool {
    match status.as_u16() {
        301..=303 => *method == Method::GET || *method == Method::HEAD,
        307 | 308 => true,
        _ => false,
    }
}

fn is_https(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

/// Scheme, host and port alike.
pub(crate) fn same_host(one: &Uri, other: &Uri) -> bool {
    let port = |url: &Uri| url.port_u16().unwrap_or(if is_https(url) { 443 } else { 80 });
    let host = |url: &Uri| url.host().unwrap_or_default().to_ascii_lowercase();
    one.scheme() == other.scheme() && host(one) == host(other) && port(one) == port(other)
}

/// The absolute URL of a `Location`, which may be relative (RFC 3986, section 5.2, as far as registries go). `None` when
/// it is no HTTP URL, or has credentials in it.
pub(crate) fn join(base: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().unwrap_or_default();
    let scheme = base.scheme_str()?;
    let authority = base.authority()?;
    let text = if location.contains("://") && !location.starts_with(['/', '?']) {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", base.path())
    } else if location.is_empty() {
        return None;
    } else {
        let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{scheme}://{authority}{directory}/{location}")
    };
    let url: Uri = text.parse().ok()?;
    let is_http = matches!(url.scheme_str(), Some("http" | "https"));
    let has_user = url.authority()?.as_str().contains('@');
    (is_http && !has_user && url.host().is_some_and(|host| !host.is_empty())).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_may_be_relative() {
        let base = "https://r.example:5000/v2/x/blobs/uploads/?a=b".parse().expect("a URL");
        let check = |location: &str, expected: Option<&str>| {
            assert_eq!(join(&base, location).map(|url| url.to_string()).as_deref(), expected, "{location}");
        };
        check("https://o.example/x?y=z", Some("https://o.example/x?y=z"));
        check("/v2/x/1?s=t#u", Some("https://r.example:5000/v2/x/1?s=t"));
        check("//o.example/x", Some("https://o.example/x"));
        check("?s=t", Some("https://r.example:5000/v2/x/blobs/uploads/?s=t"));
        check("1", Some("https://r.example:5000/v2/x/blobs/uploads/1"));
        check("/v2/?u=http://o/", Some("https://r.example:5000/v2/?u=http://o/"));
        check("file:///etc/passwd", None);
        check("ftp://o/x", None);
        check("https://u:p@o/x", None);
        check("https://", None);
        check("/a b", None);
        check("", None);
    }

    #[test]
    fn the_default_port_is_the_same_host() {
        let same =
            |one: &str, other: &str| same_host(&one.parse().expect("a URL"), &other.parse().expect("a URL"));
        assert!(same("https://A.example/x", "https://a.example:443/y"));
        assert!(!same("https://a.example/", "http://a.example/"));
        assert!(!same("https://a.example/", "https://a.example:444/"));
        assert!(!same("https://a.example/", "https://a.example.evil/"));
    }
}
