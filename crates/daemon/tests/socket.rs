//! The transport through a real unix socket, with requests written as bytes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use daemon::server::body::Body;
use daemon::server::call::{Call, MAX_JSON};
use daemon::server::dispatch::{Dispatcher, Identity};
use daemon::server::failure::Failure;
use daemon::server::listener::{ListenError, Listener};
use daemon::server::negotiate::Versions;
use daemon::server::router::{Outcome, Router};
use daemon::server::{hijack, reply, serve};
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, watch};

/// Clients at a time.
const ROOM: usize = 64;

/// What the test's handlers share with the test.
#[derive(Default)]
struct Shared {
    release: Notify,
    finished: AtomicUsize,
    left: Notify,
}

type State = Arc<Shared>;

/// A server of its own for every test.
struct Server {
    path: PathBuf,
    shared: State,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start(name: &str) -> Server {
        let path =
            std::env::temp_dir().join(format!("berth-socket-{}-{name}", std::process::id())).join("api.sock");
        let (stop, stopped) = watch::channel(false);
        let shared = State::default();
        let (at, state) = (path.clone(), shared.clone());
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = Listener::unix(&at, None).unwrap();
                let identity = Identity { version: "1.2.3".into(), experimental: false };
                let router = routes();
                let dispatcher = Dispatcher::new(router, Versions::default(), identity, state);
                ready.send(()).unwrap();
                serve::serve(vec![listener], Arc::new(dispatcher), ROOM, stopped).await;
            });
        });
        is_ready.recv().unwrap();
        Server { path, shared, stop, thread: Some(thread) }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends bytes, ends sending, and reads to the end.
    fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        let _ = std::fs::remove_dir_all(self.path.parent().unwrap());
    }
}

fn routes() -> Router<State> {
    let mut router = Router::new();
    router.add(Method::GET, "/_ping", ping);
    router.add(Method::HEAD, "/_ping", ping);
    router.add(Method::POST, "/echo", echo);
    router.add(Method::POST, "/size", size);
    router.add(Method::GET, "/fail", |_: Call<State>| async { Err(Failure::internal("no luck")) });
    router.add(Method::GET, "/panic", |_: Call<State>| async { panic!("a test panics on purpose") });
    router.add(Method::GET, "/stream", stream);
    router.add(Method::GET, "/silent", silent);
    router.add(Method::GET, "/work", work);
    router.add(Method::GET, "/flood", flood);
    router.add(Method::POST, "/attach", attach);
    router.add(Method::PUT, "/refuse", refuse);
    router
}

async fn ping(call: Call<State>) -> Outcome {
    let is_head = call.method == Method::HEAD;
    let body = if is_head { Body::Empty } else { Body::Full("OK".into()) };
    let mut reply = reply::with_body(StatusCode::OK, "text/plain; charset=utf-8", body);
    if is_head {
        reply.headers_mut().insert(http::header::CONTENT_LENGTH, 0.into());
    }
    Ok(reply)
}

async fn echo(mut call: Call<State>) -> Outcome {
    reply::ok(&call.json_value().await?)
}

/// Counts the bytes of a body without keeping them.
async fn size(mut call: Call<State>) -> Outcome {
    use http_body_util::BodyExt;
    let mut total = 0;
    while let Some(frame) = call.body.frame().await {
        let frame = frame.map_err(Failure::invalid)?;
        total += frame.data_ref().map_or(0, bytes::Bytes::len);
    }
    reply::ok(&total)
}

/// Sends its headers, and its body when it is released.
async fn stream(call: Call<State>) -> Outcome {
    let (sender, body) = Body::channel();
    let shared = call.state.clone();
    tokio::spawn(async move {
        shared.release.notified().await;
        sender.send(Ok("late".into())).await.unwrap();
    });
    Ok(reply::stream("text/plain", body))
}

/// Sends for as long as somebody reads.
async fn flood(_: Call<State>) -> Outcome {
    let (sender, body) = Body::channel();
    tokio::spawn(async move { while sender.send(Ok(vec![0; 1 << 16].into())).await.is_ok() {} });
    Ok(reply::stream("application/octet-stream", body))
}

/// Sends nothing until the client leaves.
async fn silent(call: Call<State>) -> Outcome {
    let (sender, body) = Body::channel();
    tokio::spawn(async move {
        call.presence.stops_sending().await;
        call.state.left.notify_one();
        drop(sender);
    });
    Ok(reply::stream("text/plain", body))
}

/// Works until it is released, whether or not the client waits.
async fn work(call: Call<State>) -> Outcome {
    call.state.release.notified().await;
    call.state.finished.fetch_add(1, Ordering::SeqCst);
    call.state.left.notify_one();
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// Refuses without reading the body.
async fn refuse(call: Call<State>) -> Outcome {
    call.state.left.notify_one();
    Err(Failure::new(StatusCode::NOT_FOUND, "No such thing"))
}

/// A "container" that says hello, then upper-cases its input, and says goodbye when its input ends.
async fn attach(call: Call<State>) -> Outcome {
    let (ours, theirs) = tokio::net::UnixStream::pair().map_err(Failure::internal)?;
    tokio::spawn(async move {
        let (mut input, mut output) = theirs.into_split();
        output.write_all(b"hello\n").await.unwrap();
        let mut text = Vec::new();
        input.read_to_end(&mut text).await.unwrap();
        text.make_ascii_uppercase();
        output.write_all(&text).await.unwrap();
        output.write_all(b"bye\n").await.unwrap();
    });
    let content_type = hijack::content_type(call.version, true);
    tokio::spawn(async move {
        if let Some(client) = hijack::take(call.upgrade).await {
            let _ = hijack::pump(client, ours, Vec::new(), &call.presence, std::future::ready(())).await;
        }
    });
    Ok(hijack::reply(content_type))
}

/// Splits an answer into its head, without the date, and its body.
fn parts(answer: &str) -> (String, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let lines: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with("Date: ")).collect();
    (lines.join("\n"), body.to_string())
}

#[test]
fn ping_is_exact() {
    let server = Server::start("ping");
    let common = "Api-Version: 1.57\nDocker-Experimental: false\nOstype: linux\nServer: Docker/1.2.3 (linux)";
    let (head, body) = parts(&server.exchange(b"HEAD /_ping HTTP/1.1\r\nHost: d\r\n\r\n"));
    assert_eq!(
        head,
        format!("HTTP/1.1 200 OK\nContent-Type: text/plain; charset=utf-8\nContent-Length: 0\n{common}")
    );
    assert_eq!(body, "");
    let (head, body) = parts(&server.exchange(b"GET /v1.24/_ping HTTP/1.1\r\nHost: d\r\n\r\n"));
    assert_eq!(
        head,
        format!("HTTP/1.1 200 OK\nContent-Type: text/plain; charset=utf-8\n{common}\nContent-Length: 2")
    );
    assert_eq!(body, "OK");
}

#[test]
fn errors_have_dockers_words_and_leave_the_connection_usable() {
    let server = Server::start("errors");
    let mut stream = server.connect();
    let mut check = |request: &str, status: u16, body: &str| {
        stream.write_all(format!("{request}\r\nHost: d\r\n\r\n").as_bytes()).unwrap();
        let (found_status, found_body) = read_answer(&mut stream);
        assert_eq!((found_status, found_body.as_str()), (status, body), "{request}");
    };
    check("GET /nowhere HTTP/1.1", 404, "{\"message\":\"page not found\"}\n");
    check("DELETE /_ping HTTP/1.1", 404, "{\"message\":\"page not found\"}\n");
    check("GET /v1.99/nowhere HTTP/1.1", 404, "{\"message\":\"page not found\"}\n");
    check(
        "GET /v1.99/_ping HTTP/1.1",
        400,
        "{\"message\":\"client version 1.99 is too new. Maximum supported API version is 1.57\"}\n",
    );
    check(
        "GET /v1.12/_ping HTTP/1.1",
        400,
        "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a \
         newer version\n",
    );
    check("GET /fail HTTP/1.1", 500, "{\"message\":\"no luck\"}\n");
    check("GET /_ping?x=%zz HTTP/1.1", 400, "{\"message\":\"invalid URL escape \\\"%zz\\\"\"}\n");
    check("GET /_ping HTTP/1.1", 200, "OK");
}

#[test]
fn a_handler_that_panics_is_an_error_answer() {
    let server = Server::start("panic");
    let (head, body) = parts(&server.exchange(b"GET /panic HTTP/1.1\r\nHost: d\r\n\r\n"));
    assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
    assert!(body.contains("the handler of this request failed"), "{body}");
}

#[test]
fn json_bodies_are_checked() {
    let server = Server::start("json");
    let post = |headers: &str, body: &str| {
        let request = format!("POST /echo HTTP/1.1\r\nHost: d\r\n{headers}\r\n{body}");
        let (head, body) = parts(&server.exchange(request.as_bytes()));
        format!("{} {}", &head[9..12], body.trim_end())
    };
    let json = "Content-Type: application/json\r\n";
    assert_eq!(post("", ""), "200 null");
    assert_eq!(post("Content-Length: 0\r\nContent-Type: application/json\r\n", ""), "200 null");
    assert_eq!(post(&format!("{json}Content-Length: 7\r\n"), "{\"a\":1}"), "200 {\"a\":1}");
    assert_eq!(
        post(&format!("{json}Transfer-Encoding: chunked\r\n"), "3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n"),
        "200 {\"a\":1}"
    );
    assert_eq!(
        post("Content-Type: text/plain\r\nContent-Length: 2\r\n", "{}"),
        "400 {\"message\":\"unsupported Content-Type header (text/plain): must be 'application/json'\"}"
    );
    assert_eq!(
        post(&format!("{json}Content-Length: 5\r\n"), "{} {}"),
        "400 {\"message\":\"unexpected content after JSON\"}"
    );
    assert_eq!(
        post(&format!("{json}Transfer-Encoding: chunked\r\n"), "0\r\n\r\n"),
        "400 {\"message\":\"invalid JSON: got EOF while reading request body\"}"
    );
    assert!(post(&format!("{json}Content-Length: 9\r\n"), "{\"a\"").starts_with("400 "), "a body cut short");
}

#[test]
fn what_is_too_large_is_refused() {
    let server = Server::start("large");
    let mut stream = server.connect();
    let length = MAX_JSON + 1;
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The server may stop reading before the end.
    let _ = stream.write_all(&vec![b' '; length]);
    assert_eq!(read_answer(&mut stream).0, 413);

    let long = format!("GET /_ping HTTP/1.1\r\nHost: d\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20));
    let mut stream = server.connect();
    let _ = stream.write_all(long.as_bytes());
    assert_eq!(read_answer(&mut stream).0, 431);

    let many = format!("GET /_ping HTTP/1.1\r\nHost: d\r\n{}\r\n", "X-Many: 1\r\n".repeat(300));
    let mut stream = server.connect();
    let _ = stream.write_all(many.as_bytes());
    assert_eq!(read_answer(&mut stream).0, 431);
}

#[test]
fn a_client_that_still_sends_when_it_is_refused_gets_the_answer() {
    let server = Server::start("refused");
    let mut stream = server.connect();
    let head = "PUT /refuse HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    wait_for(&server.shared.left);
    // The handler has refused by now; what follows is still taken, and the connection is good for more.
    for _ in 0..100 {
        stream.write_all(b"4\r\nmore\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream).0, 404);
    // A body that a handler has no use for may come after its answer.
    for before in ["", "null", "null"] {
        let request = format!("{before}GET /_ping HTTP/1.1\r\nHost: d\r\nContent-Length: 4\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(read_answer(&mut stream), (200, "OK".into()));
    }

    // More than is taken for politeness: the answer comes, and can be read although bytes were left.
    for path in ["refuse", "nowhere"] {
        let mut stream = server.connect();
        let head = format!("PUT /{path} HTTP/1.1\r\nHost: d\r\nContent-Length: 1000000000\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let _ = stream.write_all(&vec![0; 1 << 20]);
        assert_eq!(read_answer(&mut stream).0, 404, "{path}");
    }
}

#[test]
fn a_client_that_expects_100_is_told_to_go_on() {
    let server = Server::start("expect");
    let mut stream = server.connect();
    stream
        .write_all(b"POST /size HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .unwrap();
    let mut line = [0; 25];
    stream.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"12345").unwrap();
    assert_eq!(read_answer(&mut stream), (200, "5\n".into()));
}

#[test]
fn headers_of_a_stream_leave_before_its_body() {
    let server = Server::start("stream");
    let mut stream = server.connect();
    stream.write_all(b"GET /stream HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
    let head = read_head(&mut stream);
    assert!(head.contains("Transfer-Encoding: chunked"), "{head}");
    server.shared.release.notify_one();
    let mut body = [0; 14];
    stream.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"4\r\nlate\r\n0\r\n\r\n");
}

#[test]
fn a_silent_stream_ends_when_its_client_leaves() {
    let server = Server::start("silent");
    let mut stream = server.connect();
    stream.write_all(b"GET /silent HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
    read_head(&mut stream);
    drop(stream);
    wait_for(&server.shared.left);
}

#[test]
fn work_goes_on_when_the_client_leaves() {
    let server = Server::start("work");
    let mut stream = server.connect();
    stream.write_all(b"GET /work HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
    drop(stream);
    server.shared.release.notify_one();
    wait_for(&server.shared.left);
    assert_eq!(server.shared.finished.load(Ordering::SeqCst), 1);
}

#[test]
fn a_hijacked_connection_keeps_its_output_after_its_input_ended() {
    let server = Server::start("hijack");
    // Input that comes together with the request must not be lost.
    let request = b"POST /attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly ";
    let mut stream = server.connect();
    stream.write_all(request).unwrap();
    let head = read_head(&mut stream);
    let lines: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with("Date: ")).collect();
    assert_eq!(lines[0], "HTTP/1.1 101 UPGRADED");
    for wanted in [
        "Content-Type: application/vnd.docker.multiplexed-stream",
        "Connection: Upgrade",
        "Upgrade: tcp",
        "Api-Version: 1.57",
    ] {
        assert!(lines.contains(&wanted), "{wanted} in {head}");
    }
    stream.write_all(b"late").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut output = String::new();
    stream.read_to_string(&mut output).unwrap();
    assert_eq!(output, "hello\nEARLY LATEbye\n");
}

#[test]
fn a_hijack_survives_a_client_that_ends_its_input_at_once() {
    let server = Server::start("hijack-eof");
    let request = b"POST /v1.41/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nall";
    let answer = server.exchange(request);
    let (head, output) = parts(&answer);
    assert!(head.contains("Content-Type: application/vnd.docker.raw-stream"), "{head}");
    assert_eq!(output, "hello\nALLbye\n");
}

#[test]
fn the_oldest_form_of_hijacking_is_answered_by_200() {
    let server = Server::start("hijack-old");
    let mut stream = server.connect();
    // The head may come in pieces.
    for piece in ["POST /att", "ach HTTP/1.1\r\nHost: d\r\n", "\r\nearly "] {
        stream.write_all(piece.as_bytes()).unwrap();
        std::thread::yield_now();
    }
    let head = read_head(&mut stream);
    assert_eq!(head, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n");
    stream.write_all(b"late").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut output = String::new();
    stream.read_to_string(&mut output).unwrap();
    assert_eq!(output, "hello\nEARLY LATEbye\n");

    let answer = server.exchange(b"POST /nowhere/attach HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert!(answer.ends_with("{\"message\":\"page not found\"}\n"), "{answer}");
}

#[test]
fn stopping_lets_requests_finish_and_removes_the_socket() {
    let server = Server::start("stop");
    let mut stream = server.connect();
    stream.write_all(b"GET /stream HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
    read_head(&mut stream);
    server.stop.send(true).unwrap();
    server.shared.release.notify_one();
    let mut body = Vec::new();
    stream.read_to_end(&mut body).unwrap();
    assert_eq!(body, b"4\r\nlate\r\n0\r\n\r\n");
    let path = server.path.clone();
    drop(server);
    assert!(!path.exists());
}

#[test]
fn a_socket_in_use_is_not_taken_and_a_stale_one_is() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start("stale");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    assert!(matches!(Listener::unix(&server.path, None), Err(ListenError::InUse(_))));
    let mode = std::fs::metadata(&server.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);

    let stale = server.path.with_file_name("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(Listener::unix(&stale, None).is_ok());

    let file = server.path.with_file_name("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(Listener::unix(&file, None), Err(ListenError::NotASocket(_))));
}

/// Reads to the end of a head, and not a byte more.
fn read_head(stream: &mut UnixStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Reads an answer whose length is in its head.
fn read_answer(stream: &mut UnixStream) -> (u16, String) {
    let head = read_head(stream);
    let length = head.split("\r\n").find_map(|line| line.strip_prefix("Content-Length: ")).unwrap_or("0");
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())
}

fn wait_for(notify: &Notify) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(20), notify.notified()).await.expect("it never happened");
    });
}

/// A request over HTTP/2 without negotiation, by a client that knows.
async fn over_http2(
    path: &std::path::Path,
    request: http::Request<String>,
) -> (StatusCode, http::HeaderMap, String) {
    use http_body_util::BodyExt;
    let stream = tokio::net::UnixStream::connect(path).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn http2_is_spoken_without_negotiation() {
    let server = Server::start("http2");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let get = |path: &str| http::Request::get(format!("http://d{path}")).body(String::new()).unwrap();
        let (status, headers, body) = over_http2(&server.path, get("/v1.44/_ping")).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "OK"));
        assert_eq!(headers["api-version"], "1.57");
        let (status, _, body) = over_http2(&server.path, get("/nowhere")).await;
        assert_eq!((status, body.as_str()), (StatusCode::NOT_FOUND, "{\"message\":\"page not found\"}\n"));
        let post = |content_type: &str, path: &str, body: &str| {
            let builder = http::Request::post(format!("http://d{path}")).header("content-type", content_type);
            builder.body(body.to_owned()).unwrap()
        };
        let (_, _, body) = over_http2(&server.path, post("application/json", "/echo", "{\"a\":1}")).await;
        assert_eq!(body, "{\"a\":1}\n");
        // A stream of bytes in both directions needs a connection of its own.
        let (status, _, body) = over_http2(&server.path, post("text/plain", "/attach", "")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(body.contains("HTTP/1.1"), "{body}");
        let call = post("application/grpc", "/moby.buildkit.v1.Control/ListWorkers", "");
        let (status, headers, _) = over_http2(&server.path, call).await;
        assert_eq!((status, headers["grpc-status"].to_str().unwrap()), (StatusCode::OK, "12"));
    });
}

#[test]
fn a_client_beyond_the_room_is_told_so_and_others_are_served() {
    let server = Server::start("room");
    let mut held: Vec<UnixStream> = (0..ROOM).map(|_| server.connect()).collect();
    // Served, and so accepted: the others were accepted before.
    held[ROOM - 1].write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut held[ROOM - 1]).0, 200);
    let mut beyond = server.connect();
    let mut answer = String::new();
    beyond.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("too many connections"), "{answer}");
    held[0].write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut held[0]).0, 200);
}

#[test]
fn clients_that_are_slow_or_silent_hold_up_nobody() {
    let server = Server::start("slow");
    let mut slow: Vec<UnixStream> = (0..ROOM / 2).map(|_| server.connect()).collect();
    for (index, client) in slow.iter_mut().enumerate() {
        // Nothing, a piece of a word, a head without its end, a body without its end, an answer that is not read.
        let begun: &[u8] = match index % 5 {
            0 => b"",
            1 => b"GE",
            2 => b"GET /_ping HTTP/1.1\r\nHost: d\r\nX-Slow: ",
            3 => b"POST /echo HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{",
            _ => b"GET /flood HTTP/1.1\r\nHost: d\r\n\r\n",
        };
        client.write_all(begun).unwrap();
    }
    let began = std::time::Instant::now();
    for _ in 0..20 {
        let (head, body) = parts(&server.exchange(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n"));
        assert!(head.starts_with("HTTP/1.1 200 ") && body == "OK", "{head}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // The slow ones are served as soon as they are done.
    slow[2].write_all(b"x\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut slow[2]), (200, "OK".into()));
    slow[3].write_all(b"\"a\":12}").unwrap();
    assert_eq!(read_answer(&mut slow[3]), (200, "{\"a\":12}\n".into()));
}
