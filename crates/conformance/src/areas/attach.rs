//! Attaching to a running container: output, input, half-close, detach keys, and the upgraded connection itself.

use crate::check::{Check, contains, same};
use crate::fixture::BUSYBOX;
use crate::frames::demultiplex;
use crate::http::{Hijacked, PATIENCE, Request, Streaming};
use crate::scope::Scope;
use anyhow::{Context, Result};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const AREA: &str = "attach";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "output comes, input goes, and the exit code is the program's", command_line),
        Check::new(AREA, "the detach keys leave the container running", detach_keys),
        Check::new(AREA, "--detach-keys chooses others", other_keys),
        Check::new(AREA, "an exec has its own detach keys, and tells that they were used", exec_keys),
        Check::new(AREA, "detach keys leave docker run with its container running", detach_from_run),
        Check::new(AREA, "the connection is upgraded with 101 and its media type", upgrade),
        Check::new(AREA, "without Upgrade it is a raw 200", no_upgrade),
        Check::new(AREA, "without Upgrade it is a raw 200 on a connection used before too", no_upgrade_later),
        Check::new(AREA, "half-close is the end of input, and output goes on", half_close),
        Check::new(AREA, "logs=1 gives what was written before", with_logs),
        Check::new(AREA, "two clients see the same output", two_clients),
        Check::new(AREA, "a client that goes away leaves the container alone", vanished_client),
        Check::new(AREA, "a container that does not run is refused by the client", not_running),
        Check::new(AREA, "an unknown container is 404", unknown),
        Check::new(AREA, "the head of the answer comes alone, however late it is read", lonely_head),
        Check::new(AREA, "output that nobody reads does not stop other clients", slow_reader),
    ]
}

fn attach(scope: &Scope<'_>, name: &str, query: &str) -> Result<Streaming> {
    Request::new("POST", &format!("/containers/{name}/attach?{query}"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "tcp")
        .open(&scope.engine.socket)
}

fn upgraded(scope: &Scope<'_>, name: &str, query: &str) -> Result<Hijacked> {
    let answer = attach(scope, name, query)?;
    same("status", answer.status, 101)?;
    Ok(answer.upgraded())
}

fn command_line(scope: &Scope<'_>) -> Result<()> {
    // Created, not run detached: only then does the end of the input leave the output open.
    let name = scope.name("talker");
    let script = "read line; echo got $line; echo err >&2; exit 8";
    scope.ok(&["create", "-i", "--name", &name, BUSYBOX, "sh", "-c", script])?;
    scope.ok(&["start", &name])?;
    let output = scope.client().call_with_input(&["attach", &name], b"hello\n")?.expect_code(8)?;
    same("streams", (output.stdout.as_str(), output.stderr.as_str()), ("got hello\n", "err\n"))
}

fn detach_keys(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("detached", &["-it"], &["sh"])?;
    let mut terminal = scope.terminal(&["attach", &name])?;
    terminal.write("echo to-$((40+2))\r")?;
    terminal.expect("to-42")?;
    terminal.write("\u{10}\u{11}")?;
    let (code, text) = terminal.end()?;
    contains("screen", &text, "read escape sequence")?;
    same("still running", &scope.inspect(&name)?["State"]["Running"], &json!(true))?;
    // The client says the detaching in its own way: Docker's exits with 1 for attach.
    same("exit code", code == 0 || code == 1, true)
}

fn other_keys(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("keys", &["-it"], &["sh"])?;
    let mut terminal = scope.terminal(&["attach", "--detach-keys", "ctrl-x,q", &name])?;
    terminal.write("echo to-$((40+2))\r")?;
    terminal.expect("to-42")?;
    terminal.write("\u{18}q")?;
    terminal.end()?;
    same("still running", &scope.inspect(&name)?["State"]["Running"], &json!(true))
}

fn exec_keys(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("exec-keys", &[], &["sleep", "300"])?;
    let body = json!({
        "Cmd": ["sh"], "Tty": true, "AttachStdin": true, "AttachStdout": true, "DetachKeys": "ctrl-x,q",
    });
    let created = scope.api_json("POST", &format!("/containers/{name}/exec"), &body)?.expect(201)?.json()?;
    let id = created["Id"].as_str().unwrap_or_default().to_owned();
    let start = Request::new("POST", &format!("/exec/{id}/start"))
        .json(&json!({ "Tty": true }))
        .header("Connection", "Upgrade")
        .header("Upgrade", "tcp");
    let mut stream = start.open(&scope.engine.socket)?.upgraded();
    // The default keys are input like any other here.
    stream.write_all(b"\x10\x11\x18q")?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)?;
    let shown = scope.api("GET", &format!("/exec/{id}/json"))?.expect(200)?.json()?;
    same("the program runs on", &shown["Running"], &json!(true))?;
    same("DetachKeys", shown["DetachKeys"].as_str(), Some("GHE="))
}

fn detach_from_run(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("left");
    let mut terminal = scope.terminal(&["run", "-it", "--name", &name, BUSYBOX, "sh"])?;
    terminal.write("echo to-$((40+2))\r")?;
    terminal.expect("to-42")?;
    terminal.write("\u{10}\u{11}")?;
    same("exit code", terminal.end()?.0, 0)?;
    same("still running", &scope.inspect(&name)?["State"]["Running"], &json!(true))
}

fn upgrade(scope: &Scope<'_>) -> Result<()> {
    let framed = scope.start("framed", &["-i"], &["cat"])?;
    let answer = attach(scope, &framed, "stream=1&stdout=1")?;
    same("status", answer.status, 101)?;
    same("Upgrade", answer.header("Upgrade"), Some("tcp"))?;
    same("Connection", answer.header("Connection"), Some("Upgrade"))?;
    let raw = scope.start("raw", &["-it"], &["cat"])?;
    let answer_raw = attach(scope, &raw, "stream=1&stdout=1")?;
    same("raw", answer_raw.header("Content-Type"), Some("application/vnd.docker.raw-stream"))?;
    scope.since_new_engines("there is one media type only")?;
    same("framed", answer.header("Content-Type"), Some("application/vnd.docker.multiplexed-stream"))
}

fn no_upgrade(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("plain", &["-i"], &["sh", "-c", "read line; echo got $line"])?;
    let request = Request::new("POST", &format!("/containers/{name}/attach?stream=1&stdin=1&stdout=1"));
    let answer = request.open(&scope.engine.socket)?;
    same("status", answer.status, 200)?;
    same("Content-Type", answer.header("Content-Type"), Some("application/vnd.docker.raw-stream"))?;
    let mut stream = answer.upgraded();
    stream.write_all(b"plain\n")?;
    same("stdout", demultiplex(stream)?.stdout, "got plain\n")
}

/// Node's and Java's clients keep connections, and ask for streams on those without the header.
fn no_upgrade_later(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("pooled", &["-i"], &["sh", "-c", "read line; echo got $line; sleep 60"])?;
    let exec = json!({ "Cmd": ["echo", "from the exec"], "AttachStdout": true });
    let exec = scope.api_json("POST", &format!("/containers/{name}/exec"), &exec)?.expect(201)?.json()?;
    let start = format!("/exec/{}/start", exec["Id"].as_str().unwrap_or_default());
    let attach = format!("/containers/{name}/attach?stream=1&stdin=1&stdout=1");
    for (path, body, input, expected) in
        [(start, "{}", "", "from the exec\n"), (attach, "", "typed\n", "got typed\n")]
    {
        let mut stream = UnixStream::connect(&scope.engine.own_socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        for used in ["GET /_ping", "GET /containers/nobody/json", "HEAD /_ping", "GET /version"] {
            write!(stream, "{used} HTTP/1.1\r\nHost: engine\r\n\r\n")?;
            let head = head(&mut stream)?;
            let length = if used.starts_with("HEAD") { 0 } else { content_length(&head)? };
            stream.read_exact(&mut vec![0; length])?;
        }
        // A body that nobody wants comes after its answer, its end together with the next request.
        write!(stream, "GET /_ping HTTP/1.1\r\nHost: engine\r\nContent-Length: 8\r\n\r\n")?;
        let length = content_length(&head(&mut stream)?)?;
        stream.read_exact(&mut vec![0; length])?;
        write!(stream, "null")?;
        let length = body.len();
        let headers = format!("Host: engine\r\nContent-Type: application/json\r\nContent-Length: {length}");
        write!(stream, "nullPOST {path} HTTP/1.1\r\n{headers}\r\n\r\n{body}")?;
        let head = head(&mut stream)?;
        let raw = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n";
        same("head", head.as_str(), raw)?;
        stream.write_all(input.as_bytes())?;
        // One frame: eight bytes, the last four of which are the length of the text.
        let mut frame = vec![0; 8 + expected.len()];
        stream.read_exact(&mut frame)?;
        same("output", String::from_utf8_lossy(&frame[8..]).as_ref(), expected)?;
    }
    Ok(())
}

/// The head of an answer, read byte by byte: nothing of what follows it is taken.
fn head(stream: &mut UnixStream) -> Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).with_context(|| String::from_utf8_lossy(&head).into_owned())?;
        head.extend(byte);
    }
    Ok(String::from_utf8(head)?)
}

fn content_length(head: &str) -> Result<usize> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut found = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    Ok(found.next().with_context(|| format!("no length in {head:?}"))?.1.parse()?)
}

fn half_close(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("half");
    let body = json!({
        "Image": BUSYBOX, "Cmd": ["sh", "-c", "cat; sleep 0.2; echo end"],
        "OpenStdin": true, "StdinOnce": true, "AttachStdin": true, "AttachStdout": true,
    });
    scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?.expect(201)?;
    let mut stream = upgraded(scope, &name, "stream=1&stdin=1&stdout=1&stderr=1")?;
    scope.api("POST", &format!("/containers/{name}/start"))?.expect(204)?;
    stream.write_all(b"to the end\n")?;
    stream.finish_writing()?;
    same("stdout", demultiplex(stream)?.stdout, "to the end\nend\n")
}

fn with_logs(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("before", &["-i"], &["sh", "-c", "echo before; read line; echo after"])?;
    scope.logged(&name, "before")?;
    let mut stream = upgraded(scope, &name, "logs=1&stream=1&stdin=1&stdout=1")?;
    stream.write_all(b"go\n")?;
    same("stdout", demultiplex(stream)?.stdout, "before\nafter\n")?;
    let old = upgraded(scope, &name, "logs=1&stdout=1")?;
    same("of an ended one", demultiplex(old)?.stdout, "before\nafter\n")
}

fn two_clients(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("shared", &["-i"], &["sh", "-c", "read line; echo got $line"])?;
    let watcher = upgraded(scope, &name, "stream=1&stdout=1")?;
    let mut talker = upgraded(scope, &name, "stream=1&stdin=1&stdout=1")?;
    talker.write_all(b"both\n")?;
    same("the talker", demultiplex(talker)?.stdout, "got both\n")?;
    same("the watcher", demultiplex(watcher)?.stdout, "got both\n")
}

fn vanished_client(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start(
        "abandoned",
        &["-i"],
        &["sh", "-c", "while read line; do echo got $line; done; echo end"],
    )?;
    let mut stream = upgraded(scope, &name, "stream=1&stdin=1&stdout=1")?;
    stream.write_all(b"one\n")?;
    let mut frame = [0; 16];
    stream.read_exact(&mut frame)?;
    drop(stream);
    let mut stream = upgraded(scope, &name, "stream=1&stdin=1&stdout=1")?;
    stream.write_all(b"two\n")?;
    stream.read_exact(&mut frame)?;
    same("the second client", &frame[8..], b"got two\n")
}

fn not_running(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("over", &[], &["true"])?;
    scope.ended(&name)?;
    let output = scope.docker(&["attach", &name])?;
    same("exit code", output.code, 1)?;
    contains("stderr", &output.stderr, "You cannot attach to a stopped container, start it first").or_else(
        |_| contains("stderr", &output.stderr, "cannot attach to a stopped container, start it first"),
    )
}

fn unknown(scope: &Scope<'_>) -> Result<()> {
    // Also who wants nothing of it.
    for query in ["stream=1&stdout=1", "logs=1&stream=0", ""] {
        let answer = attach(scope, "nobody-has-this-name", query)?;
        same(query, answer.status, 404)?;
    }
    Ok(())
}

fn slow_reader(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("flood", &["-i"], &["sh", "-c", "read line; seq 5000; echo end"])?;
    let lazy = upgraded(scope, &name, "stream=1&stdout=1")?;
    let mut stream = upgraded(scope, &name, "stream=1&stdin=1&stdout=1")?;
    stream.write_all(b"go\n")?;
    let text = demultiplex(stream)?.stdout;
    same("the reader's last line", text.lines().last().context("lines")?, "end")?;
    same("lines", text.lines().count(), 5001)?;
    same("the lazy one reads it all later", demultiplex(lazy)?.stdout.lines().count(), 5001)
}

/// docker-py reads the head through a buffer and the stream past it: it would lose output that comes with the head.
fn lonely_head(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("printed");
    scope.ok(&["run", "--name", &name, BUSYBOX, "echo", "hello"])?;
    let sleeper = scope.start("sleeper", &[], &["sleep", "60"])?;
    let exec = json!({ "Cmd": ["echo", "hello"], "AttachStdout": true });
    let exec = scope.api_json("POST", &format!("/containers/{sleeper}/exec"), &exec)?.expect(201)?.json()?;
    let exec = exec["Id"].as_str().unwrap_or_default();
    for upgrade in ["Connection: Upgrade\r\nUpgrade: tcp\r\n", ""] {
        let attach = format!("POST /containers/{name}/attach?logs=1&stdout=1 HTTP/1.1");
        let start = format!("POST /exec/{exec}/start HTTP/1.1");
        for (line, body) in [(attach, ""), (start, "{}")] {
            // An exec runs once.
            if upgrade.is_empty() && body == "{}" {
                continue;
            }
            let mut stream = UnixStream::connect(&scope.engine.own_socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let length = body.len();
            let type_ = "Content-Type: application/json";
            let head = format!(
                "{line}\r\nHost: engine\r\n{upgrade}{type_}\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            stream.write_all(head.as_bytes())?;
            // What matters is being late.
            std::thread::sleep(Duration::from_millis(200));
            let mut first = vec![0; 64 << 10];
            let got = stream.read(&mut first)?;
            let first = String::from_utf8_lossy(&first[..got]).into_owned();
            if !first.ends_with("\r\n\r\n") {
                scope.since_new_engines("what is late gets all at once")?;
                anyhow::bail!("{line}: the first read has more than a head: {first:?}");
            }
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest)?;
            contains(&line, &String::from_utf8_lossy(&rest), "hello\n")?;
        }
    }
    Ok(())
}
