//! A name server for checks, which tells the truth, lies, or says too much, depending on the name it is asked for.

use anyhow::{Context, Result};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The address that every truthful answer has.
pub(crate) const TRUTH: &str = "192.0.2.77";
/// How many addresses `big.example` has: more than fit into 512 bytes.
pub(crate) const MANY: usize = 60;
/// How often it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// Answers on port 53 of an address until it is dropped.
///
/// | name | answer |
/// |---|---|
/// | `plain.example` | [`TRUTH`] |
/// | `big.example` | by UDP only that there is more, by TCP [`MANY`] addresses |
/// | `lied.example` | forgeries with another identifier and for another question, then [`TRUTH`] |
/// | `broken.example` | half a header, then nothing |
/// | others | there is no such name |
#[derive(Debug)]
pub(crate) struct NameServer {
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl NameServer {
    pub(crate) fn start(address: IpAddr) -> Result<Self> {
        let udp = UdpSocket::bind((address, 53)).with_context(|| format!("UDP port 53 of {address}"))?;
        udp.set_read_timeout(Some(LOOK))?;
        let tcp = TcpListener::bind((address, 53)).with_context(|| format!("TCP port 53 of {address}"))?;
        tcp.set_nonblocking(true)?;
        let ends = Arc::<AtomicBool>::default();
        let (one, other) = (Arc::clone(&ends), Arc::clone(&ends));
        let threads = vec![
            std::thread::spawn(move || by_udp(&udp, &one)),
            std::thread::spawn(move || by_tcp(&tcp, &other)),
        ];
        Ok(Self { ends, threads })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn by_udp(socket: &UdpSocket, ends: &AtomicBool) {
    let mut query = [0; 512];
    while !ends.load(Ordering::Relaxed) {
        let Ok((length, client)) = socket.recv_from(&mut query) else { continue };
        for answer in answers(&query[..length], false) {
            // Whoever does not take an answer asks again, or does not need it.
            drop(socket.send_to(&answer, client));
        }
    }
}

fn by_tcp(listener: &TcpListener, ends: &AtomicBool) {
    while !ends.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, _)) => drop(converse(&mut stream)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(LOOK),
            Err(_) => return,
        }
    }
}

fn converse(stream: &mut std::net::TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut query)?;
    for answer in answers(&query, true) {
        stream.write_all(&u16::try_from(answer.len()).unwrap_or(0).to_be_bytes())?;
        stream.write_all(&answer)?;
    }
    Ok(())
}

/// The datagrams or messages that answer a query.
fn answers(query: &[u8], by_tcp: bool) -> Vec<Vec<u8>> {
    let Some((name, kind, end)) = question(query) else { return Vec::new() };
    let asked = &query[..end];
    let truth = || response(asked, 0, if kind == 1 { &[[192, 0, 2, 77]] } else { &[] }, false);
    match name.as_str() {
        "plain.example" => vec![truth()],
        "big.example" if !by_tcp => vec![response(asked, 0, &[], true)],
        "big.example" => {
            let many: Vec<[u8; 4]> = (0..MANY).map(|last| [198, 51, 100, last as u8]).collect();
            vec![response(asked, 0, &many, false)]
        }
        "lied.example" => {
            let forged = response(asked, 0, &[[203, 0, 113, 66]], false);
            let (mut other_id, mut other_name) = (forged.clone(), forged);
            other_id[1] ^= 1;
            other_name[13] ^= 1;
            vec![other_id, other_name, truth()]
        }
        "broken.example" => vec![query[..6].to_vec()],
        _ => vec![response(asked, 3, &[], false)],
    }
}

/// The name in lower case, the type, and where the question ends.
fn question(query: &[u8]) -> Option<(String, u16, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        let label = query.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if length == 0 {
            let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
            let end = at + 4;
            return (query.len() >= end).then(|| (labels.join("."), kind, end));
        }
        labels.push(String::from_utf8_lossy(label).to_lowercase());
    }
}

/// An answer to a question: `asked` is the query up to its end.
fn response(asked: &[u8], code: u8, addresses: &[[u8; 4]], truncated: bool) -> Vec<u8> {
    let mut answer = asked.to_vec();
    let count = (addresses.len() as u16).to_be_bytes();
    let flags = [0x81 | if truncated { 2 } else { 0 }, 0x80 | code];
    answer[2..4].copy_from_slice(&flags);
    answer[4..12].copy_from_slice(&[0, 1, count[0], count[1], 0, 0, 0, 0]);
    for address in addresses {
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend_from_slice(address);
    }
    answer
}
