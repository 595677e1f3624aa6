//! How the version is settled: the newest is tried, and a daemon that is older says so.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread::JoinHandle;

use client::{Address, Client, Outgoing, Request};

/// A daemon of version 1.`minor` that answers requests on any number of connections, `count` in all, and tells them.
fn daemon(name: &str, minor: u16, count: usize) -> (PathBuf, JoinHandle<Vec<String>>) {
    let path = std::env::temp_dir().join(format!("berth-client-{name}-{}.sock", std::process::id()));
    if path.exists() {
        std::fs::remove_file(&path).expect("remove an old socket");
    }
    let listener = UnixListener::bind(&path).expect("bind");
    let thread = std::thread::spawn(move || {
        let mut seen = Vec::new();
        while seen.len() < count {
            let (stream, _) = listener.accept().expect("accept");
            let mut reader = BufReader::new(stream.try_clone().expect("clone"));
            let mut writer = stream;
            while let Some((line, body)) = request(&mut reader) {
                let version = line.split_once("/v1.").and_then(|(_, rest)| rest.split('/').next());
                let is_refused =
                    version.and_then(|text| text.parse::<u16>().ok()).is_some_and(|asked| asked > minor);
                let (status, text) = if is_refused { (400, r#"{"message":"too new"}"#) } else { (200, "{}") };
                let length = if line.starts_with("HEAD") { 0 } else { text.len() };
                let head = format!(
                    "HTTP/1.1 {status} X\r\nApi-Version: 1.{minor}\r\nContent-Length: {length}\r\n\r\n"
                );
                writer.write_all(head.as_bytes()).expect("head");
                writer.write_all(&text.as_bytes()[..length]).expect("body");
                seen.push(format!("{} {body}", line.trim_end_matches(" HTTP/1.1")).trim_end().to_owned());
                if seen.len() == count {
                    break;
                }
            }
        }
        seen
    });
    (path, thread)
}

/// The first line of a request and its body; `None` at the end of the connection.
fn request(reader: &mut impl BufRead) -> Option<(String, String)> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|length| *length > 0)?;
    let (mut length, mut is_chunked) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        length = line.strip_prefix("content-length: ").map_or(length, |text| text.parse().expect("a length"));
        is_chunked |= line == "transfer-encoding: chunked";
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    while is_chunked {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a chunk");
        is_chunked = line.trim() != "0";
        let mut chunk = vec![0; usize::from_str_radix(line.trim(), 16).expect("a length") + 2];
        reader.read_exact(&mut chunk).expect("a chunk's bytes");
        body.extend_from_slice(&chunk[..chunk.len() - 2]);
    }
    Some((first.trim().to_owned(), String::from_utf8_lossy(&body).into_owned()))
}

/// What a daemon sees of these requests, all by one client.
fn seen(name: &str, minor: u16, count: usize, requests: Vec<Request>) -> Vec<String> {
    let (path, thread) = daemon(name, minor, count);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let address = Address::parse(&format!("unix://{}", path.display()), false).expect("an address");
        let client = Client::new(address, "test");
        client.reach().await.expect("a connection");
        for request in requests {
            client.call(request).await.expect("an answer");
        }
    });
    drop(runtime);
    std::fs::remove_file(&path).expect("remove the socket");
    thread.join().expect("the daemon")
}

#[test]
fn a_daemon_of_our_version_is_asked_once() {
    let requests = vec![Request::get("/info"), Request::post("/x").json(&[1])];
    assert_eq!(seen("same", 57, 2, requests), ["GET /v1.57/info", "POST /v1.57/x [1]"]);
    assert_eq!(seen("newer", 60, 1, vec![Request::get("/info")]), ["GET /v1.57/info"]);
}

#[test]
fn an_older_daemon_is_asked_again_in_its_version() {
    let requests = vec![Request::post("/x").json(&[1]), Request::get("/info")];
    let expected = ["POST /v1.57/x [1]", "POST /v1.41/x [1]", "GET /v1.41/info"];
    assert_eq!(seen("older", 41, 3, requests), expected);
}

#[test]
fn a_body_that_flows_by_is_not_sent_twice() {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    sender.try_send(Ok("abc".into())).expect("room");
    drop(sender);
    let request = Request::post("/load").body("application/x-tar", Outgoing::Channel(receiver));
    assert_eq!(seen("stream", 41, 2, vec![request]), ["HEAD /_ping", "POST /v1.41/load abc"]);
}
