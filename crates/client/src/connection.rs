//! One daemon: connecting, the negotiated version, requests, hijacked streams.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use crate::request::escape_path;
use crate::transport::Transport;
use crate::{Address, ApiVersion, Error, InvalidTls, JsonLines, Outgoing, Ping, Request, Result, TlsFiles};

/// The largest answer that is read into memory at once, in bytes.
const LARGEST_ANSWER: usize = 256 << 20;

/// The longest error body that is read, in bytes.
const LARGEST_ERROR: usize = 1 << 20;

type Sender = SendRequest<Outgoing>;

/// A client of one daemon. Connects when it is first used, and keeps one idle connection.
pub struct Client {
    address: Address,
    tls: Option<TlsConnector>,
    user_agent: String,
    version: OnceLock<ApiVersion>,
    idle: Arc<Mutex<Option<Sender>>>,
}

impl Client {
    /// A client of the daemon at `address`; `user_agent` names the program, `berth/0.1.0 (linux)`.
    #[must_use]
    pub fn new(address: Address, user_agent: impl Into<String>) -> Self {
        let (user_agent, version, idle) = (user_agent.into(), OnceLock::new(), Arc::default());
        Self { address, tls: None, user_agent, version, idle }
    }

    /// A client that speaks `version` without asking (`DOCKER_API_VERSION`).
    #[must_use]
    pub fn pinned(address: Address, user_agent: impl Into<String>, version: ApiVersion) -> Self {
        let client = Self::new(address, user_agent);
        client.version.get_or_init(|| version);
        client
    }

    /// Encrypts its connections when they go over TCP.
    pub fn with_tls(mut self, files: &TlsFiles) -> Result<Self, InvalidTls> {
        self.tls = Some(files.connector()?);
        Ok(self)
    }

    /// Where the daemon is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The version in use: the one that was settled with the daemon, else the newest.
    #[must_use]
    pub fn version(&self) -> ApiVersion {
        self.version.get().copied().unwrap_or(crate::NEWEST)
    }

    /// Connects, unless a connection is there: whether the daemon can be reached.
    pub async fn reach(&self) -> Result<()> {
        if self.idle.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let sender = self.connect().await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).replace(sender);
        Ok(())
    }

    /// Asks `/_ping` and settles the version, once. Docker's client does this before the first call; ours only when a
    /// request cannot be sent twice.
    pub async fn negotiate(&self) -> Result<Ping> {
        let mut response = self.exchange(Request::head("/_ping"), false).await?;
        if response.status() != StatusCode::OK {
            response = self.exchange(Request::get("/_ping"), false).await?;
        }
        let ping = Ping::from_headers(response.headers());
        if response.status() != StatusCode::OK && ping.api_version.is_none() {
            return Err(response.into_error().await);
        }
        self.version.get_or_init(|| ping.negotiated(crate::NEWEST));
        response.discard().await?;
        Ok(ping)
    }

    /// Sends a request and returns the answer; a status of 400 and above is the daemon's error.
    pub async fn send(&self, request: Request) -> Result<Response> {
        let response = self.ask(request, false).await?;
        if response.status().as_u16() >= 400 { Err(response.into_error().await) } else { Ok(response) }
    }

    /// Sends a request, and decodes the JSON of the answer.
    pub async fn json<T: DeserializeOwned>(&self, request: Request) -> Result<T> {
        self.send(request).await?.json().await
    }

    /// Sends a request whose answer has no content of interest.
    pub async fn call(&self, request: Request) -> Result<()> {
        self.send(request).await?.discard().await
    }

    /// Sends a request that turns the connection into a stream of bytes in both directions.
    pub async fn hijack(&self, request: Request) -> Result<Hijacked> {
        let request = request.header("connection", "Upgrade").header("upgrade", "tcp");
        let response = self.ask(request, true).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(response.into_error().await);
        }
        let content_type = response.header("content-type").to_owned();
        let upgraded = hyper::upgrade::on(response.head)
            .await
            .map_err(|source| Error::Http { address: self.address.clone(), source })?;
        Ok(Hijacked::new(content_type, TokioIo::new(upgraded)))
    }

    /// A connection of its own, without a word of HTTP on it yet: what a relay passes on.
    pub async fn dial(&self) -> Result<Hijacked> {
        Ok(Hijacked::new(String::new(), Transport::connect(&self.address, self.tls.as_ref()).await?))
    }

    /// Sends a request in the version that was settled. Before one is, the newest is tried: an older daemon refuses the
    /// request unseen and names its own version in every answer, so the request is sent once more. That saves a round trip
    /// before every command; a request whose body flows by cannot be sent twice, and asks first.
    async fn ask(&self, request: Request, fresh: bool) -> Result<Response> {
        let again = if self.version.get().is_none() { request.again() } else { None };
        let Some(again) = again else {
            if self.version.get().is_none() {
                self.negotiate().await?;
            }
            return self.exchange(request, fresh).await;
        };
        let response = self.exchange(request, fresh).await?;
        let ping = Ping::from_headers(response.headers());
        let is_refused = response.status() == StatusCode::BAD_REQUEST;
        if ping.api_version.is_some() || is_refused {
            self.version.get_or_init(|| ping.negotiated(crate::NEWEST));
        }
        if !is_refused || self.version() == crate::NEWEST {
            return Ok(response);
        }
        response.discard().await?;
        self.exchange(again, fresh).await
    }

    async fn exchange(&self, request: Request, fresh: bool) -> Result<Response> {
        let path = request.path.clone();
        let versioned = path != "/_ping";
        let request = self.http_request(request, versioned)?;
        let mut sender = match if fresh { None } else { self.take_idle().await } {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let head = sender
            .send_request(request)
            .await
            .map_err(|source| Error::Http { address: self.address.clone(), source })?;
        let idle = Arc::clone(&self.idle);
        Ok(Response { address: self.address.clone(), path, head, connection: Some((sender, idle)) })
    }

    fn http_request(&self, request: Request, versioned: bool) -> Result<http::Request<Outgoing>> {
        let prefix = if versioned { format!("/v{}", self.version()) } else { String::new() };
        let uri = format!("{prefix}{}{}", escape_path(&request.path), request.query.as_str());
        let what = || format!("{} {}", request.method, request.path);
        let mut builder = http::Request::builder()
            .method(request.method.clone())
            .uri(uri)
            .header(header::HOST, self.address.host_header())
            .header(header::USER_AGENT, &self.user_agent);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        let what = what();
        builder.body(request.body).map_err(|source| Error::Request { what, source })
    }

    async fn take_idle(&self) -> Option<Sender> {
        let mut sender = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        sender.ready().await.ok()?;
        Some(sender)
    }

    async fn connect(&self) -> Result<Sender> {
        let transport = Transport::connect(&self.address, self.tls.as_ref()).await?;
        let (sender, connection) = handshake(TokioIo::new(transport))
            .await
            .map_err(|source| Error::Http { address: self.address.clone(), source })?;
        // The task ends with the connection; its failure reaches the caller through the sender.
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }
}

/// An answer whose body has not been read yet.
pub struct Response {
    address: Address,
    path: String,
    head: http::Response<Incoming>,
    connection: Option<(Sender, Arc<Mutex<Option<Sender>>>)>,
}

impl Response {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.head.status()
    }

    /// The headers of the answer.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.head.headers()
    }

    /// The value of a header as text; empty when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The unversioned path that was asked.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.head.body_mut().frame().await {
            let frame = frame.map_err(|source| Error::Http { address: self.address.clone(), source })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The whole body, at most 256 MiB of it.
    pub async fn bytes(self) -> Result<Bytes> {
        self.read(LARGEST_ANSWER).await
    }

    /// The body as one JSON value, by the rules of Go's decoder.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        let what = self.path.clone();
        let bytes = self.bytes().await?;
        api::json::from_slice(&bytes).map_err(|source| Error::Decode { what, source })
    }

    /// The body as a sequence of JSON values.
    #[must_use]
    pub fn json_lines(self) -> JsonLines {
        JsonLines::new(self)
    }

    /// Reads the body and drops it, so that the connection can be used again.
    pub async fn discard(self) -> Result<()> {
        self.bytes().await.map(drop)
    }

    async fn read(mut self, limit: usize) -> Result<Bytes> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if whole.len() + chunk.len() > limit {
                return Err(Error::TooLarge { what: self.path, limit });
            }
            whole.extend_from_slice(&chunk);
        }
        if let Some((sender, idle)) = self.connection.take() {
            *idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        }
        Ok(whole.freeze())
    }

    async fn into_error(self) -> Error {
        let (status, path) = (self.status(), self.path.clone());
        let body = match self.read(LARGEST_ERROR).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        Error::Daemon { status: status.as_u16(), message: error_message(status, &path, &body) }
    }
}

/// The text of an error body: `{"message": …}`, or plain text from daemons older than 1.24.
fn error_message(status: StatusCode, path: &str, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct ErrorBody {
        message: String,
    }
    let text = String::from_utf8_lossy(body).trim().to_owned();
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(error) if !error.message.trim().is_empty() => error.message.trim().to_owned(),
        _ if text.is_empty() => format!(
            "request returned {status} for API route {path}, check if the server supports the requested API version"
        ),
        _ => text,
    }
}

/// A connection that has become a stream of bytes in both directions.
pub struct Hijacked {
    content_type: String,
    reader: Reader,
    writer: Writer,
}

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// The half of a hijacked connection that is read.
pub struct HijackedReader(Reader);

/// The half of a hijacked connection that is written.
pub struct HijackedWriter(Writer);

impl Hijacked {
    fn new(content_type: String, stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { content_type, reader: Box::new(reader), writer: Box::new(writer) }
    }

    /// The content type of the answer: `application/vnd.docker.raw-stream` or `…multiplexed-stream`.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Both halves, to be used by different tasks.
    #[must_use]
    pub fn split(self) -> (HijackedReader, HijackedWriter) {
        (HijackedReader(self.reader), HijackedWriter(self.writer))
    }
}

impl HijackedReader {
    /// The next bytes, at most 32 KiB; `None` when the daemon closed the stream.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let mut buffer = BytesMut::with_capacity(32 << 10);
        match self.0.read_buf(&mut buffer).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(buffer.freeze())),
            Err(source) => Err(Error::Stream { what: "reading the container's output", source }),
        }
    }
}

impl HijackedWriter {
    /// Writes all of `bytes`.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let done = async {
            self.0.write_all(bytes).await?;
            self.0.flush().await
        };
        done.await.map_err(|source| Error::Stream { what: "writing to the container's input", source })
    }

    /// Half-close: the daemon sees the end of standard input, and output goes on.
    pub async fn close(&mut self) -> Result<()> {
        match self.0.shutdown().await {
            // The daemon was faster and has closed the whole stream: nobody is left to be told.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other.map_err(|source| Error::Stream { what: "closing the container's input", source }),
        }
    }
}
