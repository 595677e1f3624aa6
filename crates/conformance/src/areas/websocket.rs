//! Attaching over a WebSocket.

use crate::check::{Check, contains, same};
use crate::http::{Hijacked, Request, Streaming};
use crate::scope::Scope;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};

const AREA: &str = "websocket";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "input goes in and output comes back in binary frames", round_trip),
        Check::new(AREA, "output of both kinds is not framed, and its end closes the socket", output),
        Check::new(AREA, "logs come first", logs),
        Check::new(AREA, "a ping is answered", ping),
        Check::new(AREA, "a request that is none, or an unknown container, is refused", refusals),
        Check::new(AREA, "checkpoints are refused as an engine does that is not experimental", checkpoints),
    ]
}

fn request(scope: &Scope<'_>, container: &str, query: &str) -> Result<Streaming> {
    let path = format!("/v1.44/containers/{container}/attach/ws?{query}");
    let stream = Request::new("GET", &path)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Origin", "http://localhost")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .open(&scope.engine.socket)?;
    Ok(stream)
}

fn open(scope: &Scope<'_>, container: &str, query: &str) -> Result<Hijacked> {
    let stream = request(scope, container, query)?;
    same("status", stream.status, 101)?;
    same("accept", stream.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))?;
    Ok(stream.upgraded())
}

/// A frame of a client, masked with zeros and ones.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, 0x80 | u8::try_from(payload.len()).unwrap_or(0), 1, 0, 1, 0];
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at % 2 == 0)));
    frame
}

/// The next frame of the engine.
fn next(stream: &mut impl Read) -> Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).context("the head of a frame")?;
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            usize::from(u16::from_be_bytes(length))
        }
        short if short < 126 => usize::from(short),
        other => bail!("a frame whose length begins with {other}"),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).context("a frame")?;
    Ok((head[0] & 0x0f, payload))
}

/// The bytes of data frames until `enough` says so or the engine closes; and whether it closed.
fn data(stream: &mut impl Read, enough: impl Fn(&str) -> bool) -> Result<String> {
    let mut text = String::new();
    while !enough(&text) {
        match next(stream)? {
            (2, payload) => text.push_str(&String::from_utf8_lossy(&payload)),
            (8, _) => break,
            (other, _) => bail!("a frame of kind {other}"),
        }
    }
    Ok(text)
}

fn round_trip(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("cat", &["-i"], &["cat"])?;
    let mut stream = open(scope, &name, "stream=1&stdin=1&stdout=1&stderr=1")?;
    stream.write_all(&frame(2, b"one\n"))?;
    same("first", data(&mut stream, |text| text.ends_with('\n'))?, "one\n")?;
    stream.write_all(&frame(1, b"two\n"))?;
    same("second", data(&mut stream, |text| text.ends_with('\n'))?, "two\n")
}

fn output(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("both");
    scope.ok(&["create", "--name", &name, crate::fixture::BUSYBOX, "sh", "-c", "echo out; echo err >&2"])?;
    let mut stream = open(scope, &name, "stream=1&stdout=1&stderr=1")?;
    scope.ok(&["start", &name])?;
    let text = data(&mut stream, |_| false)?;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    same("lines", lines, ["err", "out"])
}

fn logs(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("logged", &[], &["sh", "-c", "echo before; sleep 300"])?;
    scope.logged(&name, "before")?;
    let mut stream = open(scope, &name, "logs=1&stream=1&stdout=1")?;
    same("first", data(&mut stream, |text| text.ends_with('\n'))?, "before\n")
}

fn ping(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("cat", &["-i"], &["cat"])?;
    let mut stream = open(scope, &name, "stream=1&stdin=1&stdout=1")?;
    stream.write_all(&frame(9, b"there?"))?;
    same("pong", next(&mut stream)?, (10, b"there?".to_vec()))
}

fn refusals(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("sleeper", &[], &["sleep", "300"])?;
    let plain = scope.api("GET", &format!("/containers/{name}/attach/ws?stream=1&stdout=1"))?;
    same("no handshake", plain.status, 400)?;
    let unknown = request(scope, "no-such-container", "stream=1")?;
    same("unknown", unknown.status, 404)
}

fn checkpoints(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("sleeper", &[], &["sleep", "300"])?;
    let answer = scope.api("GET", &format!("/containers/{name}/checkpoints"))?;
    if answer.status == 404 {
        scope.since_new_engines("its routes are not there")?;
    }
    contains("words", &answer.expect(501)?.message(), "experimental feature is disabled by default")
}
