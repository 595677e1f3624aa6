//! HTTP/1.1 on a plain socket, right or wrong (RFC 9112).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::Shared;
use crate::fault::{self, Fault};
use crate::routes;

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `GET`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Seen {
    /// A header's value; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// An answer to be.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Answers requests until the connection ends; what goes wrong with it is the other side's to notice.
pub(crate) fn serve(stream: TcpStream, shared: &Shared) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let _as_it_is = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    if speaks_tls(&mut reader) {
        // What a Go server answers to whoever takes it for one with TLS.
        let _gone = writer.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        let _gone = writer.shutdown(std::net::Shutdown::Write);
        let _gone = io::copy(&mut reader, &mut io::sink());
        return;
    }
    while let Ok(Some(request)) = read_request(&mut reader) {
        let is_head = request.method == "HEAD";
        let fault = {
            let mut state = shared.state();
            state.seen.push(request.clone());
            state.busy.push((request.method.clone(), request.target.clone()));
            let busy = state.busy.clone();
            state.at_once.push(busy);
            fault::choose(&mut state.rules, &request.method, &request.target)
        };
        let ignores_range = fault == Some(Fault::IgnoreRange);
        let reply = routes::answer(&mut shared.state(), &request, ignores_range);
        let written = write_reply(&mut writer, reply, &request, is_head, fault);
        let mut state = shared.state();
        let own = (request.method, request.target);
        if let Some(place) = state.busy.iter().position(|busy| *busy == own) {
            state.busy.swap_remove(place);
        }
        drop(state);
        if !matches!(written, Ok(true)) {
            let _closed = writer.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

/// Whether the first byte is that of a TLS handshake (RFC 8446, section 5.1).
fn speaks_tls(reader: &mut BufReader<TcpStream>) -> bool {
    matches!(reader.fill_buf(), Ok([22, ..]))
}

fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Seen>> {
    let Some(line) = read_line(reader)? else { return Ok(None) };
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut request =
        Seen { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() };
    while let Some(line) = read_line(reader)?.filter(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(':') {
            request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    if request.header("transfer-encoding").is_some() {
        read_chunks(reader, &mut request.body)?;
    } else if let Some(length) = request.header("content-length").and_then(|text| text.parse().ok()) {
        reader.take(length).read_to_end(&mut request.body)?;
    }
    Ok(Some(request))
}

fn read_chunks(reader: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = read_line(reader)?.unwrap_or_default();
        let length = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let taken = reader.take(length).read_to_end(body)?;
        read_line(reader)?;
        if length == 0 || u64::try_from(taken).is_ok_and(|taken| taken < length) {
            return Ok(());
        }
    }
}

fn read_line(reader: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    let length = reader.read_line(&mut line)?;
    Ok((length > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Writes the answer, or what the fault makes of it. Whether the connection goes on.
fn write_reply(
    writer: &mut TcpStream,
    mut reply: Reply,
    request: &Seen,
    is_head: bool,
    fault: Option<Fault>,
) -> io::Result<bool> {
    let mut sent = None;
    let mut stalls = false;
    let mut announced = None;
    let mut pace = None;
    match fault {
        None | Some(Fault::IgnoreRange) => {}
        Some(Fault::NoAnswer) => return Ok(false),
        Some(Fault::Raw(bytes)) => {
            writer.write_all(&bytes)?;
            return Ok(false);
        }
        Some(Fault::Status(status, headers, body)) => reply = Reply { status, headers, body },
        Some(Fault::WrongBytes) => {
            if let Some(first) = reply.body.first_mut() {
                *first ^= 1;
            }
        }
        Some(Fault::Longer(more)) => reply.body.extend_from_slice(&more),
        Some(Fault::Short(missing)) => {
            announced = Some(reply.body.len() + missing);
            sent = Some(reply.body.len());
        }
        Some(Fault::CutAfter(length)) => sent = Some(length),
        Some(Fault::StallAfter(length)) => {
            sent = Some(length);
            stalls = true;
        }
        Some(Fault::Slow(bytes)) => pace = Some(bytes),
        Some(Fault::Late(milliseconds)) => std::thread::sleep(Duration::from_millis(milliseconds)),
        Some(Fault::ContentType(value)) => set(&mut reply, "Content-Type", &value),
        Some(Fault::ContentDigest(value)) => set(&mut reply, "Docker-Content-Digest", &value),
        Some(Fault::Redirect(to)) => {
            let location = to.replace("{self}", &request.target);
            reply = Reply { status: 307, headers: vec![("Location".into(), location)], body: Vec::new() };
        }
        Some(Fault::HugeHead(length)) => reply.headers.push(("X-Huge".into(), "x".repeat(length))),
    }
    let length = announced.unwrap_or(reply.body.len());
    let mut head = format!("HTTP/1.1 {} X\r\nContent-Length: {length}\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut whole = head.into_bytes();
    let end = if is_head { 0 } else { sent.unwrap_or(reply.body.len()).min(reply.body.len()) };
    if let Some(bytes) = pace {
        writer.write_all(&whole)?;
        write_slowly(writer, &reply.body[..end], bytes)?;
    } else {
        whole.extend_from_slice(&reply.body[..end]);
        writer.write_all(&whole)?;
    }
    if stalls {
        // Ends when the other side gives up, or the registry is dropped.
        let _closed = writer.read(&mut [0]);
    }
    Ok(sent.is_none())
}

/// Writes as many bytes in a second as it should, a twentieth of them at a time.
fn write_slowly(writer: &mut TcpStream, body: &[u8], bytes_per_second: u64) -> io::Result<()> {
    let step = usize::try_from(bytes_per_second / 20).unwrap_or(usize::MAX).max(1);
    for piece in body.chunks(step) {
        writer.write_all(piece)?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn set(reply: &mut Reply, name: &str, value: &str) {
    reply.headers.retain(|(known, _)| known != name);
    if !value.is_empty() {
        reply.headers.push((name.to_owned(), value.to_owned()));
    }
}
