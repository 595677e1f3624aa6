//! A small blocking HTTP/1.1 client over a unix socket: one request per connection, chunks, upgrades.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long an engine may stay silent before a check gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What is sent: the path with its query, extra headers, and a body with its media type.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), ..Self::default() }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string().into_bytes())
    }

    pub(crate) fn body(mut self, media_type: &str, bytes: Vec<u8>) -> Self {
        self.body = bytes;
        self.header("Content-Type", media_type)
    }

    /// Sends the request and reads the head of the answer; the body is read by the caller, as it comes.
    pub(crate) fn open(&self, socket: &Path) -> Result<Streaming> {
        self.exchange(socket).with_context(|| format!("{} {}", self.method, self.path))
    }

    /// Sends the request and reads the whole answer.
    pub(crate) fn send(&self, socket: &Path) -> Result<Response> {
        let mut streaming = self.open(socket)?;
        let mut body = Vec::new();
        if self.method != "HEAD" {
            streaming
                .read_to_end(&mut body)
                .with_context(|| format!("{} {}: body", self.method, self.path))?;
        }
        let Streaming { status, headers, .. } = streaming;
        Ok(Response { status, headers, body })
    }

    fn exchange(&self, socket: &Path) -> Result<Streaming> {
        let mut stream =
            UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut head = format!("{} {} HTTP/1.1\r\nHost: engine\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.headers.iter().any(|(name, _)| name == "Connection") {
            head.push_str("Connection: close\r\n");
        }
        if self.method != "GET" && self.method != "HEAD" {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        let sent =
            stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(&self.body));
        match sent {
            // An engine that refuses before it has read everything has answered all the same.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Streaming::begin(stream),
        }
    }
}

/// An answer read to its end.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }

    /// The words of an error body, `{"message": "..."}`.
    pub(crate) fn message(&self) -> String {
        let words = self.json().ok().and_then(|body| body["message"].as_str().map(str::to_owned));
        words.unwrap_or_else(|| self.text())
    }

    /// The answer itself if it has the expected status, else an error with its words.
    pub(crate) fn expect(self, status: u16) -> Result<Self> {
        if self.status != status {
            bail!("expected status {status}, got {}: {}", self.status, self.message());
        }
        Ok(self)
    }
}

/// How the end of a body is known.
#[derive(Debug)]
enum Framing {
    Length(u64),
    Chunked { left: u64, ended: bool },
    UntilClose,
}

/// An answer whose body is still coming; reading it gives the bytes without their framing.
#[derive(Debug)]
pub(crate) struct Streaming {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    framing: Framing,
    reader: BufReader<UnixStream>,
}

impl Streaming {
    fn begin(stream: UnixStream) -> Result<Self> {
        let mut reader = BufReader::new(stream);
        let status_line = line(&mut reader)?;
        let status = status_line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let Some(status) = status else { bail!("not a status line: {status_line:?}") };
        let mut headers = Vec::new();
        loop {
            let header = line(&mut reader)?;
            if header.is_empty() {
                break;
            }
            let Some((name, value)) = header.split_once(':') else { bail!("not a header: {header:?}") };
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        let framing = framing(status, &headers)?;
        Ok(Self { status, headers, framing, reader })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Bytes in both directions after a 101, or after a 200 that hijacks the connection.
    pub(crate) fn upgraded(self) -> Hijacked {
        Hijacked { reader: self.reader }
    }
}

impl Read for Streaming {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.framing {
            Framing::UntilClose => self.reader.read(buffer),
            Framing::Length(left) => {
                let wanted = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                let got = self.reader.read(&mut buffer[..wanted])?;
                if got == 0 && wanted > 0 {
                    return Err(std::io::Error::other(format!("the body ends {left} bytes early")));
                }
                *left -= got as u64;
                Ok(got)
            }
            Framing::Chunked { ended: true, .. } => Ok(0),
            Framing::Chunked { left, ended } => {
                if *left == 0 {
                    *left = chunk_size(&mut self.reader)?;
                }
                if *left == 0 {
                    *ended = true;
                    return Ok(0);
                }
                let wanted = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                let got = self.reader.read(&mut buffer[..wanted])?;
                if got == 0 {
                    return Err(std::io::Error::other("the body ends inside a chunk"));
                }
                *left -= got as u64;
                if *left == 0 {
                    self.reader.read_exact(&mut [0; 2])?;
                }
                Ok(got)
            }
        }
    }
}

/// A connection that has left HTTP: raw bytes in both directions.
#[derive(Debug)]
pub(crate) struct Hijacked {
    reader: BufReader<UnixStream>,
}

impl Hijacked {
    /// Says that nothing more will be written; output continues.
    pub(crate) fn finish_writing(&self) -> Result<()> {
        Ok(self.reader.get_ref().shutdown(Shutdown::Write)?)
    }
}

impl Read for Hijacked {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl Write for Hijacked {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.reader.get_ref().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn framing(status: u16, headers: &[(String, String)]) -> Result<Framing> {
    if status == 101 {
        return Ok(Framing::UntilClose);
    }
    if status == 204 || status == 304 {
        return Ok(Framing::Length(0));
    }
    if find(headers, "Transfer-Encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return Ok(Framing::Chunked { left: 0, ended: false });
    }
    match find(headers, "Content-Length") {
        Some(length) => Ok(Framing::Length(length.parse().context("Content-Length")?)),
        None => Ok(Framing::UntilClose),
    }
}

fn chunk_size(reader: &mut impl BufRead) -> std::io::Result<u64> {
    let text = line(reader).map_err(std::io::Error::other)?;
    let size = u64::from_str_radix(text.split(';').next().unwrap_or_default().trim(), 16)
        .map_err(|error| std::io::Error::other(format!("chunk size {text:?}: {error}")))?;
    if size == 0 {
        // Trailers, then the empty line that ends the message.
        while !line(reader).map_err(std::io::Error::other)?.is_empty() {}
    }
    Ok(size)
}

fn line(reader: &mut impl BufRead) -> Result<String> {
    let mut text = String::new();
    if reader.read_line(&mut text)? == 0 {
        bail!("the engine closed the connection");
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
