//! One HTTP/1.1 exchange over a unix socket (RFC 9112): a POST, and an answer of limited size.

use std::io;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Bytes of an answer, its header included.
const LARGEST: usize = 1 << 20;
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";

/// Sends a body to `/<method>`; status and body of the answer.
pub(super) async fn post(socket: &Path, method: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = UnixStream::connect(socket).await?;
    let head = format!(
        "POST /{method} HTTP/1.1\r\nHost: plugin\r\nAccept: {MEDIA_TYPE}\r\nContent-Type: {MEDIA_TYPE}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await?;
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let length = stream.read(&mut buffer).await?;
        answer.extend_from_slice(&buffer[..length]);
        if let Some(complete) = parse(&answer, length == 0).map_err(io::Error::other)? {
            return Ok(complete);
        }
        if length == 0 {
            return Err(io::Error::other("it hung up in the middle of its answer"));
        }
        if answer.len() > LARGEST {
            return Err(io::Error::other(format!("its answer has more than {LARGEST} bytes")));
        }
    }
}

/// Status and body once all of an answer is there; `ended` says that nothing more will come.
pub(crate) fn parse(bytes: &[u8], ended: bool) -> Result<Option<(u16, Vec<u8>)>, &'static str> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "its answer is no HTTP")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok());
    let status: u16 = status.ok_or("its answer is no HTTP")?;
    let body = &bytes[end + 4..];
    if (100..200).contains(&status) {
        return parse(body, ended);
    }
    let field = |wanted: &str| {
        head.split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then_some(value.trim()))
    };
    if field("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return Ok(chunks(body)?.map(|body| (status, body)));
    }
    match field("content-length") {
        Some(length) => {
            let length: usize = length.parse().map_err(|_| "its Content-Length is no number")?;
            if length > LARGEST {
                return Err("its answer is too long");
            }
            Ok(body.get(..length).map(|body| (status, body.to_vec())))
        }
        None => Ok(ended.then(|| (status, body.to_vec()))),
    }
}

/// The content of a chunked body; `None` while its end is missing.
fn chunks(mut body: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    let mut content = Vec::new();
    loop {
        let Some(end) = body.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let line = std::str::from_utf8(&body[..end]).map_err(|_| "a chunk has no length")?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(digits, 16).map_err(|_| "a chunk has no length")?;
        if length > LARGEST {
            return Err("its answer is too long");
        }
        if length == 0 {
            return Ok(Some(content));
        }
        let Some(chunk) = body.get(end + 2..end + 2 + length) else { return Ok(None) };
        content.extend_from_slice(chunk);
        let Some(rest) = body.get(end + 4 + length..) else { return Ok(None) };
        body = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, ended: bool, expected: &str) {
        let shown = match parse(answer.as_bytes(), ended) {
            Ok(Some((status, body))) => format!("{status} {}", String::from_utf8_lossy(&body)),
            Ok(None) => "more".to_owned(),
            Err(words) => words.to_owned(),
        };
        assert_eq!(shown, expected, "{answer:?}");
    }

    #[test]
    fn answers_are_read_when_they_are_whole() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", false, "200 {}");
        check("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{", false, "more");
        check("HTTP/1.1 200 OK\r\n\r\n{}", false, "more");
        check("HTTP/1.0 500 Oh\r\n\r\n{}", true, "500 {}");
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n",
            false,
            "200 {}",
        );
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", false, "more");
        check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, "200 ");
        check("SSH-2.0-OpenSSH\r\n\r\n", false, "its answer is no HTTP");
        check("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", false, "its answer is too long");
        check("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", false, "its Content-Length is no number");
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, "a chunk has no length");
    }
}
