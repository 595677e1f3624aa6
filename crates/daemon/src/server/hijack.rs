//! Connections that stop being HTTP: attach and exec. The answer is 101, then bytes flow both ways until the
//! container's side ends.
//!
//! ```text
//!  client                       daemon                         shim
//!    | POST …/attach  Upgrade: tcp |                             |
//!    |<--- 101 UPGRADED -----------|                             |
//!    |---- stdin ----------------->|---------------------------->|
//!    |---- FIN (stdin has ended) ->|---- FIN ------------------->|   output goes on
//!    |<--- output -----------------|<----------------------------|
//!    |<--- close ------------------|<--- close ------------------|   the container's side ended
//! ```

use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use http::{Response, StatusCode};
use hyper::ext::ReasonPhrase;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::body::Body;
use super::detach::Detachable;
use super::presence::Presence;
use super::reply::Reply;

/// How long a client may take to leave after the end of its output.
const LINGER: std::time::Duration = std::time::Duration::from_secs(2);

/// The most of a container's output that is held back until a client has read the head of the answer.
const FIRST: usize = 8 << 10;

/// A connection after the answer 101.
pub type Stream = TokioIo<Upgraded>;

/// The answer that hands the connection over.
pub fn reply(content_type: &'static str) -> Reply {
    let mut reply = Response::new(Body::Empty);
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    reply.extensions_mut().insert(ReasonPhrase::from_static(b"UPGRADED"));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    reply
}

/// The media type of a hijacked stream: the framed one has a name of its own since 1.42.
pub fn content_type(version: api::version::ApiVersion, multiplexed: bool) -> &'static str {
    if multiplexed && version >= api::version::ApiVersion::v1(42) {
        api::media_type::MULTIPLEXED_STREAM
    } else {
        api::media_type::RAW_STREAM
    }
}

/// The connection, once the answer has left. `None` when the client has gone before.
pub async fn take(upgrade: OnUpgrade) -> Option<Stream> {
    match upgrade.await {
        Ok(upgraded) => Some(TokioIo::new(upgraded)),
        Err(error) => {
            tracing::debug!(%error, "the client left before its stream began");
            None
        }
    }
}

/// How a hijacked stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The container's side ended, or the client left.
    Closed,
    /// The client typed its detach keys.
    Detached,
}

/// Copies both ways between a client and a container's streams until the container's side ends, the client hangs up,
/// or types `keys` (watched for when there are any). The end of the client's input is passed on and does not end the
/// copying. Once all output is out, `before_close` is waited for: what a client asks next must be known by then.
pub async fn pump(
    client: impl AsyncRead + AsyncWrite,
    container: impl AsyncRead + AsyncWrite,
    keys: Vec<u8>,
    presence: &Presence,
    before_close: impl Future<Output = ()>,
) -> std::io::Result<End> {
    let (client_reader, mut client_writer) = tokio::io::split(client);
    let (mut container_reader, mut container_writer) = tokio::io::split(container);
    let (mut client_reader, mut detached) = Detachable::new(client_reader, keys);
    let input = async {
        let copied = tokio::io::copy(&mut client_reader, &mut container_writer).await;
        if detached.try_recv().is_ok() {
            return;
        }
        // A container that takes no more input still has output.
        if let Err(error) = copied.and(container_writer.shutdown().await) {
            tracing::debug!(%error, "input of a hijacked stream ended early");
        }
        std::future::pending::<()>().await
    };
    let output = async {
        // Some clients (docker-py) read the head through a buffer and the stream past it: what would arrive together with
        // the head, they lose.
        let mut first = vec![0; FIRST];
        let begun = container_reader.read(&mut first).await?;
        presence.has_read().await;
        client_writer.write_all(&first[..begun]).await?;
        drop(first);
        tokio::io::copy(&mut container_reader, &mut client_writer).await?;
        before_close.await;
        client_writer.shutdown().await
    };
    tokio::select! {
        result = output => result?,
        () = input => return Ok(End::Detached),
        () = presence.hangs_up() => return Ok(End::Closed),
    }
    discard(&mut client_reader).await;
    Ok(End::Closed)
}

/// Takes what a client still sends to a program that has ended, up to its end. Closing with bytes unread would reset the
/// connection, and the client would lose the end of the output. A client that leaves ends its input too, so nothing else
/// is watched: with both directions shut down a unix socket counts as hung up while it still holds unread bytes. The
/// client is not waited for longer than a moment.
async fn discard(client: &mut (impl AsyncRead + Unpin)) {
    let mut sink = tokio::io::sink();
    // How it ends does not matter: nobody is interested in these bytes.
    let _rest = tokio::time::timeout(LINGER, tokio::io::copy(client, &mut sink)).await;
}
