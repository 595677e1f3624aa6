//! The command line against a scripted daemon: the order of calls, streams, half-close, exit codes, the terminal.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What the daemon does with one request.
enum Answer {
    /// A status and a JSON body.
    Json(u16, String),
    /// Headers at once; the body when the conversation over the hijacked connection is over.
    WhenOver(String),
    /// No content, and a word to another thread.
    Tell(Sender<()>),
    /// The connection becomes a stream, handed to the closure.
    Hijack(&'static str, Box<dyn FnOnce(UnixStream) + Send>),
}

/// One expected request (method and the end of its path) and its answer.
type Step = (&'static str, &'static str, Answer);

struct Daemon {
    socket: PathBuf,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    /// A daemon that answers each step once, in any order of connections; what it saw is kept in order.
    fn start(name: &str, steps: Vec<Step>) -> Self {
        let socket = std::env::temp_dir().join(format!("berth-test-{}-{name}.sock", std::process::id()));
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).expect("bind");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let steps: Arc<Mutex<VecDeque<Step>>> = Arc::new(Mutex::new(steps.into()));
        let (over, is_over) = channel();
        let is_over = Arc::new(Mutex::new(is_over));
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (steps, log) = (Arc::clone(&steps), Arc::clone(&log));
                let (over, is_over) = (over.clone(), Arc::clone(&is_over));
                std::thread::spawn(move || serve(stream.expect("accept"), &steps, &log, &over, &is_over));
            }
        });
        Self { socket, seen }
    }

    fn berth(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
        command.args(args).env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        command.env_remove("DOCKER_API_VERSION").env_remove("DOCKER_CONTEXT").env("HOME", "/nonexistent");
        command
    }

    fn seen(&self) -> String {
        self.seen.lock().expect("log").join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn serve(
    stream: UnixStream,
    steps: &Mutex<VecDeque<Step>>,
    log: &Mutex<Vec<String>>,
    over: &Sender<()>,
    is_over: &Mutex<Receiver<()>>,
) {
    let mut reader = BufReader::new(stream.try_clone().expect("clone"));
    let mut writer = stream;
    while let Some((method, path, body)) = request(&mut reader) {
        if path == "/_ping" {
            let head = "HTTP/1.1 200 OK\r\nApi-Version: 1.57\r\nOstype: linux\r\nContent-Length: 0\r\n\r\n";
            writer.write_all(head.as_bytes()).expect("ping");
            continue;
        }
        log.lock().expect("log").push(format!("{method} {path}{body}"));
        let bare = path.split('?').next().unwrap_or_default().to_owned();
        let step = {
            let mut steps = steps.lock().expect("steps");
            let found = steps.iter().position(|(verb, end, _)| *verb == method && bare.ends_with(end));
            found.and_then(|index| steps.remove(index))
        };
        match step.map(|(_, _, answer)| answer) {
            None => write_json(&mut writer, 500, &format!("{{\"message\":\"unexpected {method} {path}\"}}")),
            Some(Answer::Json(status, body)) => write_json(&mut writer, status, &body),
            Some(Answer::Tell(other)) => {
                write_json(&mut writer, 204, "");
                other.send(()).expect("somebody waits");
            }
            Some(Answer::WhenOver(body)) => {
                let head =
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
                writer.write_all(head.as_bytes()).expect("head");
                // A daemon whose conversation was given up answers no more.
                if is_over.lock().expect("over").recv().is_err() {
                    return;
                }
                let _ = write!(writer, "{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
            }
            Some(Answer::Hijack(kind, talk)) => {
                let head = format!(
                    "HTTP/1.1 101 UPGRADED\r\nContent-Type: {kind}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
                );
                writer.write_all(head.as_bytes()).expect("upgrade");
                talk(writer);
                let _ = over.send(());
                return;
            }
        }
    }
}

fn write_json(writer: &mut UnixStream, status: u16, body: &str) {
    let length = body.len();
    let kind = "Api-Version: 1.57\r\nContent-Type: application/json";
    let head = format!("HTTP/1.1 {status} X\r\n{kind}\r\nContent-Length: {length}\r\n\r\n");
    // A client that has its answer already may be gone.
    let _ = writer.write_all(format!("{head}{body}").as_bytes());
}

/// Method, unversioned path, and the JSON body with a blank before it.
fn request(reader: &mut BufReader<UnixStream>) -> Option<(String, String, String)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|length| *length > 0)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    // The client begins with the newest version, and asks for the daemon's only where it has to.
    let path = match path.strip_prefix("/v1.").and_then(|rest| rest.split_once('/')) {
        Some((_, rest)) => format!("/{rest}"),
        None => path,
    };
    // The body of create has tests of its own.
    let shown = if path.starts_with("/containers/create") { Vec::new() } else { body };
    let blank = if shown.is_empty() { "" } else { " " };
    Some((method, path, format!("{blank}{}", String::from_utf8(shown).ok()?)))
}

fn frame(stream: u8, text: &str) -> Vec<u8> {
    let mut out = vec![stream, 0, 0, 0];
    out.extend_from_slice(&u32::try_from(text.len()).expect("short").to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    out
}

fn created() -> Step {
    ("POST", "/containers/create", Answer::Json(201, format!("{{\"Id\":\"{ID}\",\"Warnings\":[]}}")))
}

fn started() -> Step {
    ("POST", "/start", Answer::Json(204, String::new()))
}

fn exits(code: i32) -> Step {
    ("POST", "/wait", Answer::WhenOver(format!("{{\"StatusCode\":{code}}}")))
}

fn attach(kind: &'static str, talk: impl FnOnce(UnixStream) + Send + 'static) -> Step {
    ("POST", "/attach", Answer::Hijack(kind, Box::new(talk)))
}

const MUX: &str = "application/vnd.docker.multiplexed-stream";
const RAW: &str = "application/vnd.docker.raw-stream";

fn feed(mut command: Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("berth");
    child.stdin.take().expect("stdin").write_all(input.as_bytes()).expect("input");
    child.wait_with_output().expect("output")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn run_attaches_and_waits_before_it_starts_and_ends_with_the_programs_code() {
    let steps = vec![
        created(),
        attach(MUX, |mut stream| {
            // Half-close: the end of input is seen, and output still arrives.
            let mut input = String::new();
            stream.read_to_string(&mut input).expect("input");
            stream.write_all(&frame(1, &format!("got {input}"))).expect("stdout");
            stream.write_all(&frame(2, "bad")).expect("stderr");
        }),
        exits(3),
        started(),
    ];
    let daemon = Daemon::start("run", steps);
    let output = feed(daemon.berth(&["run", "-i", "--name", "n", "busybox", "cat"]), "hello");
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("got hello".to_owned(), "bad".to_owned()));
    assert_eq!(output.status.code(), Some(3));
    let expected = format!(
        "POST /containers/create?name=n\n\
         POST /containers/{ID}/attach?stderr=1&stdin=1&stdout=1&stream=1\n\
         POST /containers/{ID}/wait?condition=next-exit\n\
         POST /containers/{ID}/start"
    );
    assert_eq!(daemon.seen(), expected);
}

#[test]
fn a_large_answer_to_a_large_input_does_not_stop_the_conversation() {
    let steps = vec![
        created(),
        attach(MUX, |mut stream| {
            let mut echo = stream.try_clone().expect("clone");
            let mut buffer = vec![0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                echo.write_all(&frame(1, &text(&buffer[..length]))).expect("echo");
            }
        }),
        exits(0),
        started(),
    ];
    let daemon = Daemon::start("echo", steps);
    let input = "0123456789abcdef".repeat(1 << 16);
    let mut command = daemon.berth(&["run", "-i", "busybox", "cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("berth");
    let mut stdin = child.stdin.take().expect("stdin");
    let sent = input.clone();
    let writer = std::thread::spawn(move || stdin.write_all(sent.as_bytes()).expect("input"));
    let output = child.wait_with_output().expect("output");
    writer.join().expect("writer");
    assert_eq!(output.stdout.len(), input.len());
    assert!(text(&output.stdout) == input, "the echo differs from the input");
}

#[test]
fn a_missing_image_is_pulled_and_the_container_created_then() {
    let missing = Answer::Json(404, "{\"message\":\"No such image: hello-world:latest\"}".to_owned());
    let progress = "{\"status\":\"Pulling from library/hello-world\",\"id\":\"latest\"}\r\n{\"status\":\"Status: Downloaded\"}\r\n";
    let steps = vec![
        ("POST", "/containers/create", missing),
        ("POST", "/images/create", Answer::Json(200, progress.to_owned())),
        created(),
        attach(MUX, |mut stream| stream.write_all(&frame(1, "Hello\n")).expect("stdout")),
        exits(0),
        started(),
    ];
    let daemon = Daemon::start("pull", steps);
    let output = daemon.berth(&["run", "--rm", "hello-world"]).output().expect("berth");
    assert_eq!(text(&output.stdout), "Hello\n");
    let expected = "Unable to find image 'hello-world:latest' locally\nlatest: Pulling from library/hello-world\nStatus: Downloaded\n";
    assert_eq!(text(&output.stderr), expected);
    let pulled = "POST /images/create?fromImage=docker.io%2Flibrary%2Fhello-world&tag=latest";
    assert_eq!(daemon.seen().lines().nth(1), Some(pulled));
    assert!(daemon.seen().contains("/wait?condition=removed"), "{}", daemon.seen());
}

#[test]
fn what_cannot_start_has_dockers_exit_codes() {
    let check = |name: &str, message: &str, code: i32| {
        let steps = vec![
            created(),
            attach(MUX, drop),
            ("POST", "/wait", Answer::Json(200, "{\"StatusCode\":0}".to_owned())),
            ("POST", "/start", Answer::Json(400, format!("{{\"message\":\"{message}\"}}"))),
        ];
        let daemon = Daemon::start(name, steps);
        let output = daemon.berth(&["run", "--rm", "busybox", "x"]).output().expect("berth");
        assert_eq!(output.status.code(), Some(code), "{message}");
        let expected = format!(
            "berth: Error response from daemon: {message}\n\nRun 'berth run --help' for more information\n"
        );
        assert_eq!(text(&output.stderr), expected);
    };
    check("127", "exec: x: executable file not found in $PATH", 127);
    check("127b", "exec: /x: stat /x: no such file or directory", 127);
    check("126", "exec: /etc: permission denied", 126);
    check("125", "driver failed programming external connectivity", 125);
}

#[test]
fn a_detached_container_is_told_by_its_id() {
    let daemon = Daemon::start("detach", vec![created(), exits(0), started()]);
    let output = daemon.berth(&["run", "-d", "busybox"]).output().expect("berth");
    assert_eq!((text(&output.stdout), output.status.code()), (format!("{ID}\n"), Some(0)));
    assert!(!daemon.seen().contains("attach"), "{}", daemon.seen());
}

#[test]
fn exec_ends_with_the_code_of_its_program() {
    let start =
        Answer::Hijack(MUX, Box::new(|mut stream| stream.write_all(&frame(1, "out\n")).expect("stdout")));
    let steps = vec![
        ("GET", "/containers/c/json", Answer::Json(200, "{}".to_owned())),
        ("POST", "/containers/c/exec", Answer::Json(201, "{\"Id\":\"e1\"}".to_owned())),
        ("POST", "/exec/e1/start", start),
        ("GET", "/exec/e1/json", Answer::Json(200, "{\"Running\":false,\"ExitCode\":7}".to_owned())),
    ];
    let daemon = Daemon::start("exec", steps);
    let output =
        daemon.berth(&["exec", "-e", "A=1", "-u", "0", "c", "sh", "-c", "x"]).output().expect("berth");
    assert_eq!((text(&output.stdout), output.status.code()), ("out\n".to_owned(), Some(7)));
    let expected = "GET /containers/c/json\n\
        POST /containers/c/exec {\"User\":\"0\",\"Privileged\":false,\"Tty\":false,\"AttachStdin\":false,\"AttachStderr\":true,\"AttachStdout\":true,\"DetachKeys\":\"\",\"Env\":[\"A=1\"],\"WorkingDir\":\"\",\"Cmd\":[\"sh\",\"-c\",\"x\"]}\n\
        POST /exec/e1/start {\"Detach\":false,\"Tty\":false}\n\
        GET /exec/e1/json";
    assert_eq!(daemon.seen(), expected);
}

/// The modes of a terminal, as stty(1) writes them for itself.
fn modes(terminal: &File) -> String {
    let stdin = terminal.try_clone().expect("clone");
    text(&Command::new("stty").arg("-g").stdin(stdin).output().expect("stty").stdout)
}

#[test]
fn a_terminal_is_raw_for_the_container_and_restored_after_the_detach_keys() {
    let pair = linux::pty::open().expect("a pty");
    linux::pty::set_size(&pair.controller, linux::pty::Size { rows: 33, columns: 101 }).expect("size");
    let terminal = File::from(pair.terminal);
    let mut user = File::from(pair.controller);
    let before = modes(&terminal);
    let (typed, was_typed) = channel();
    let steps = vec![
        created(),
        attach(RAW, move |mut stream| {
            stream.write_all(b"prompt").expect("output");
            let mut keys = Vec::new();
            // The client hangs up after the detach keys.
            let _ = stream.read_to_end(&mut keys);
            typed.send(keys).expect("keys");
        }),
        exits(0),
        started(),
        ("POST", "/resize", Answer::Json(200, String::new())),
    ];
    let daemon = Daemon::start("tty", steps);
    let stdio = || Stdio::from(terminal.try_clone().expect("clone"));
    let mut child = daemon
        .berth(&["run", "-it", "busybox"])
        .stdin(stdio())
        .stdout(stdio())
        .stderr(stdio())
        .spawn()
        .expect("berth");
    let mut prompt = [0; 6];
    user.read_exact(&mut prompt).expect("prompt");
    assert_eq!(&prompt, b"prompt");
    assert_ne!(modes(&terminal), before, "raw while the container has the terminal");
    // In raw mode Ctrl-C is a key like any other.
    user.write_all(&[b'a', 3, 16, 17]).expect("keys");
    assert_eq!(child.wait().expect("berth").code(), Some(0));
    assert_eq!(was_typed.recv().expect("keys"), [b'a', 3, 16, 17]);
    assert_eq!(modes(&terminal), before, "restored");
    assert!(daemon.seen().contains(&format!("POST /containers/{ID}/resize?h=33&w=101")), "{}", daemon.seen());
}

#[test]
fn signals_for_the_client_go_to_the_container() {
    let (killed, was_killed) = channel::<()>();
    let steps = vec![
        created(),
        attach(MUX, move |mut stream| {
            stream.write_all(&frame(1, "up\n")).expect("stdout");
            was_killed.recv().expect("the signal");
            let _ = stream.shutdown(Shutdown::Both);
        }),
        exits(143),
        started(),
        ("POST", "/kill", Answer::Tell(killed)),
    ];
    let daemon = Daemon::start("signal", steps);
    let mut child =
        daemon.berth(&["run", "busybox"]).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().expect("berth");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("line");
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
    assert_eq!(child.wait().expect("berth").code(), Some(143));
    assert!(daemon.seen().contains(&format!("POST /containers/{ID}/kill?signal=TERM")), "{}", daemon.seen());
}

#[test]
fn a_socket_without_a_daemon_is_told_in_dockers_words() {
    let output = Command::new(env!("CARGO_BIN_EXE_berth"))
        .args(["-H", "unix:///nonexistent/berth.sock", "ps"])
        .output()
        .expect("berth");
    let expected = "Cannot connect to the Docker daemon at unix:///nonexistent/berth.sock. Is the docker daemon running?\n";
    assert_eq!((text(&output.stderr), output.status.code()), (expected.to_owned(), Some(1)));
}

#[test]
fn a_reader_who_left_is_an_error_and_no_signal() {
    use std::os::unix::process::ExitStatusExt;
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    command.args(["runtime", "features"]).stdout(writer).stderr(Stdio::null());
    let status = command.status().expect("it starts");
    assert_eq!((status.signal(), status.success()), (None, false));
}
