//! Collectors of logs as checks want them: sockets that keep what they are sent.

use crate::scope::eventually;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a collector does with what it has received so far on one connection: the bytes it has used up, and its answer.
type Answer = fn(&[u8]) -> (usize, Vec<u8>);

/// What has been received, in the order of its coming; for datagrams with where each ends.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    pub(crate) datagrams: Vec<Vec<u8>>,
}

/// A socket that listens until the suite ends: its thread waits for ever for more.
pub(crate) struct Collector {
    pub(crate) port: u16,
    received: Arc<Mutex<Received>>,
}

fn lock(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

fn silent(bytes: &[u8]) -> (usize, Vec<u8>) {
    (bytes.len(), Vec::new())
}

impl Collector {
    /// A UDP port.
    pub(crate) fn udp() -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = socket.local_addr()?.port();
        let collector = Self { port, received: Arc::default() };
        collector.gather(move |buffer| socket.recv(buffer));
        Ok(collector)
    }

    /// A datagram socket of this machine.
    pub(crate) fn unix_datagram(path: &Path) -> Result<Self> {
        let socket = UnixDatagram::bind(path).with_context(|| path.display().to_string())?;
        let collector = Self { port: 0, received: Arc::default() };
        collector.gather(move |buffer| socket.recv(buffer));
        Ok(collector)
    }

    fn gather(&self, receive: impl Fn(&mut [u8]) -> std::io::Result<usize> + Send + 'static) {
        let received = Arc::clone(&self.received);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 256 << 10];
            while let Ok(count) = receive(&mut buffer) {
                let mut received = lock(&received);
                received.bytes.extend_from_slice(&buffer[..count]);
                received.datagrams.push(buffer[..count].to_vec());
            }
        });
    }

    /// A TCP port that says nothing.
    pub(crate) fn tcp() -> Result<Self> {
        Self::answering(silent)
    }

    /// A TCP port that answers.
    pub(crate) fn answering(answer: Answer) -> Result<Self> {
        Self::listening(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, answer)
    }

    fn listening(listener: TcpListener, answer: Answer) -> Result<Self> {
        let port = listener.local_addr()?.port();
        let received: Arc<Mutex<Received>> = Arc::default();
        let collector = Self { port, received: Arc::clone(&received) };
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let received = Arc::clone(&received);
                std::thread::spawn(move || serve(stream, &received, answer));
            }
        });
        Ok(collector)
    }

    /// A stream socket of this machine.
    pub(crate) fn unix(path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path).with_context(|| path.display().to_string())?;
        let received: Arc<Mutex<Received>> = Arc::default();
        let collector = Self { port: 0, received: Arc::clone(&received) };
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let received = Arc::clone(&received);
                std::thread::spawn(move || serve(stream, &received, silent));
            }
        });
        Ok(collector)
    }

    /// Waits until what has been received satisfies `accept`, and gives what that says.
    pub(crate) fn until<T>(&self, what: &str, mut accept: impl FnMut(&Received) -> Option<T>) -> Result<T> {
        let found = eventually(what, || Ok(accept(&lock(&self.received))));
        found.with_context(|| {
            let received = lock(&self.received);
            format!("received so far: {:?}", String::from_utf8_lossy(&received.bytes))
        })
    }

    /// Waits until a text has come; everything that has come by then.
    pub(crate) fn text_with(&self, part: &str) -> Result<String> {
        self.until(part, |received| {
            let text = String::from_utf8_lossy(&received.bytes).into_owned();
            text.contains(part).then_some(text)
        })
    }
}

fn serve(mut stream: impl Read + Write, received: &Mutex<Received>, answer: Answer) {
    let (mut pending, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        lock(received).bytes.extend_from_slice(&buffer[..count]);
        pending.extend_from_slice(&buffer[..count]);
        let (used, words) = answer(&pending);
        pending.drain(..used);
        if stream.write_all(&words).is_err() {
            return;
        }
    }
}

/// Acknowledges every chunk of Fluentd's forward protocol.
pub(crate) fn acknowledging(bytes: &[u8]) -> (usize, Vec<u8>) {
    const KEY: &[u8] = b"\xa5chunk\xb0";
    let (mut used, mut words) = (0, Vec::new());
    while let Some(at) = bytes[used..].windows(KEY.len()).position(|window| window == KEY) {
        let start = used + at + KEY.len();
        let Some(chunk) = bytes.get(start..start + 16) else { break };
        words.extend_from_slice(b"\x81\xa3ack\xb0");
        words.extend_from_slice(chunk);
        used = start + 16;
    }
    (used, words)
}

/// Answers every HTTP request that is there as a whole.
pub(crate) fn http_collector(bytes: &[u8]) -> (usize, Vec<u8>) {
    let text = String::from_utf8_lossy(bytes);
    let whole = text.split_once("\r\n\r\n").and_then(|(head, _)| {
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?;
        let end = head.len() + 4 + length.parse::<usize>().ok()?;
        (bytes.len() >= end).then_some(end)
    });
    match whole {
        None => (0, Vec::new()),
        Some(end) => (end, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec()),
    }
}
