//! Through a SOCKS 5 proxy (RFC 1928), with name and secret if it wants them (RFC 1929).

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::Cause;

const VERSION: u8 = 5;
const CONNECT: u8 = 1;
const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;
const LOGIN_VERSION: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Has the proxy connect to a host; afterwards the stream leads there.
pub(super) async fn open(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    login: Option<(&str, &str)>,
    host: &str,
    port: u16,
) -> Result<(), Cause> {
    let methods: &[u8] =
        if login.is_some() { &[VERSION, 2, NO_LOGIN, LOGIN] } else { &[VERSION, 1, NO_LOGIN] };
    send(stream, methods).await?;
    match (take::<2>(stream).await?, login) {
        ([VERSION, NO_LOGIN], _) => {}
        ([VERSION, LOGIN], Some((name, secret))) => log_in(stream, name, secret).await?,
        ([VERSION, _], _) => return Err(fail("socks: the proxy wants another way to log in")),
        _ => return Err(fail("socks: the proxy does not speak SOCKS 5")),
    }
    let mut request = vec![VERSION, CONNECT, 0];
    request.extend(address(host)?);
    request.extend(port.to_be_bytes());
    send(stream, &request).await?;
    let [version, reply, _, kind] = take::<4>(stream).await?;
    if version != VERSION {
        return Err(fail("socks: the proxy does not speak SOCKS 5"));
    }
    if reply != 0 {
        return Err(fail(&format!("socks connect {host}:{port}: {}", words(reply))));
    }
    // Where the proxy itself connects from: of no interest, but it comes.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(take::<1>(stream).await?[0]),
        _ => return Err(fail("socks: the proxy answers with an address of an unknown kind")),
    };
    let mut rest = vec![0; length + 2];
    stream.read_exact(&mut rest).await.map(drop).map_err(broken)
}

async fn log_in(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    name: &str,
    secret: &str,
) -> Result<(), Cause> {
    let mut request = vec![LOGIN_VERSION];
    for text in [name, secret] {
        let length =
            u8::try_from(text.len()).map_err(|_| fail("socks: the name or the secret is too long"))?;
        request.push(length);
        request.extend(text.as_bytes());
    }
    send(stream, &request).await?;
    match take::<2>(stream).await? {
        [_, 0] => Ok(()),
        _ => Err(fail("socks: the proxy refuses name and secret")),
    }
}

/// A host as SOCKS writes it: the proxy resolves names.
fn address(host: &str) -> Result<Vec<u8>, Cause> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    Ok(match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => [&[IPV4][..], &address.octets()].concat(),
        Ok(IpAddr::V6(address)) => [&[IPV6][..], &address.octets()].concat(),
        Err(_) => {
            let length = u8::try_from(bare.len()).map_err(|_| fail("socks: the name is too long"))?;
            [&[NAME, length][..], bare.as_bytes()].concat()
        }
    })
}

fn words(reply: u8) -> &'static str {
    match reply {
        1 => "general SOCKS server failure",
        2 => "connection not allowed by ruleset",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "unknown failure",
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), Cause> {
    stream.write_all(bytes).await.map_err(broken)
}

async fn take<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> Result<[u8; N], Cause> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(broken)?;
    Ok(bytes)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn broken(error: std::io::Error) -> Cause {
    Cause::Proxy(error.to_string())
}

fn fail(reason: &str) -> Cause {
    Cause::Proxy(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent to a proxy that answers so, and what comes of it.
    async fn check(
        login: Option<(&str, &str)>,
        host: &str,
        answers: &[u8],
        sent: &[u8],
        result: Result<(), &str>,
    ) {
        let (mut near, mut far) = tokio::io::duplex(1000);
        far.write_all(answers).await.expect("the answers fit");
        let opened = open(&mut near, login, host, 443).await;
        assert_eq!(opened.map_err(|cause| cause.to_string()), result.map_err(str::to_owned), "{host}");
        drop(near);
        let mut found = Vec::new();
        far.read_to_end(&mut found).await.expect("what was sent");
        assert_eq!(found, sent, "{host}");
    }

    #[tokio::test]
    async fn a_proxy_is_asked_for_a_name_or_an_address() {
        let answer = [5, 0, 5, 0, 0, 1, 10, 0, 0, 1, 4, 0];
        check(None, "r.example", &answer, b"\x05\x01\x00\x05\x01\x00\x03\x09r.example\x01\xbb", Ok(())).await;
        check(None, "10.1.2.3", &answer, b"\x05\x01\x00\x05\x01\x00\x01\x0a\x01\x02\x03\x01\xbb", Ok(()))
            .await;
        let refusal = Err("proxyconnect tcp: socks connect r.example:443: connection refused");
        let sent = b"\x05\x01\x00\x05\x01\x00\x03\x09r.example\x01\xbb";
        check(None, "r.example", &[5, 0, 5, 5, 0, 1, 0, 0, 0, 0, 0, 0], sent, refusal).await;
        let strange = Err("proxyconnect tcp: socks: the proxy does not speak SOCKS 5");
        check(None, "r.example", b"HTTP/1.1 400", b"\x05\x01\x00", strange).await;
    }

    #[tokio::test]
    async fn a_proxy_may_want_name_and_secret() {
        let answer = [5, 2, 1, 0, 5, 0, 0, 3, 1, b'x', 4, 0];
        let sent = b"\x05\x02\x00\x02\x01\x01a\x01b\x05\x01\x00\x03\x01r\x01\xbb";
        check(Some(("a", "b")), "r", &answer, sent, Ok(())).await;
        let refusal = Err("proxyconnect tcp: socks: the proxy refuses name and secret");
        check(Some(("a", "b")), "r", &[5, 2, 1, 1], b"\x05\x02\x00\x02\x01\x01a\x01b", refusal).await;
        let another = Err("proxyconnect tcp: socks: the proxy wants another way to log in");
        check(None, "r", &[5, 255], b"\x05\x01\x00", another).await;
    }
}
