//! `xtask load …`: the small programs that put load on a network, run inside and beside containers. Each prints how many
//! of its things were done in a second.
//!
//! ```text
//! load accept PORT                    takes connections, answers one byte with one byte, for ever
//! load echo PORT                      sends back what it is sent, over TCP and UDP, for ever
//! load connections ADDRESS SECONDS    makes connections, a byte there and back on each
//! load turns ADDRESS SECONDS          a byte there and back, again and again, on one connection
//! load datagrams ADDRESS SECONDS      a datagram there and back, each thread with a socket of its own
//! load dns NAME SECONDS               asks 127.0.0.11 for an address
//! ```

use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// How many are under way at once.
const THREADS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(words: &[String]) -> Result<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["accept", port] => accept(port.parse()?),
        ["echo", port] => echo(port.parse()?),
        ["connections", address, seconds] => {
            let address = address.parse()?;
            count(THREADS, seconds.parse()?, || Ok(move || connection(address)))
        }
        ["turns", address, seconds] => {
            let address = address.parse()?;
            count(1, seconds.parse()?, || turns(address))
        }
        ["datagrams", address, seconds] => {
            let address = address.parse()?;
            count(THREADS, seconds.parse()?, || datagrams(address))
        }
        ["dns", name, seconds] => count(THREADS, seconds.parse()?, || Ok(|| question(name))),
        _ => bail!("load accept|echo PORT | connections|turns|datagrams ADDRESS SECONDS | dns NAME SECONDS"),
    }
}

/// Does it again and again with several threads, each of which prepares itself first, and says how often it was done in
/// a second.
fn count<A: FnMut() -> Result<()>>(
    threads: usize,
    seconds: u64,
    prepare: impl Fn() -> Result<A> + Sync,
) -> Result<()> {
    let began = Instant::now();
    let end = began + Duration::from_secs(seconds);
    let work = || -> Result<u64> {
        let (mut act, mut done) = (prepare()?, 0);
        while Instant::now() < end {
            act()?;
            done += 1;
        }
        Ok(done)
    };
    let done = std::thread::scope(|scope| -> Result<u64> {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut sum = 0;
        for thread in threads {
            sum += thread.join().map_err(|_| anyhow::anyhow!("a thread has failed"))??;
        }
        Ok(sum)
    })?;
    println!("{:.0}", done as f64 / began.elapsed().as_secs_f64());
    Ok(())
}

fn accept(port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    let serve = || -> Result<()> {
        loop {
            let (mut stream, _) = listener.accept()?;
            let mut byte = [0];
            // One that breaks off is the other side's affair. The port stays busy on this side, which has only one.
            if stream.read_exact(&mut byte).is_ok() {
                drop(stream.write_all(&byte));
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(serve)).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// Serves both families where there is IPv6.
fn echo(port: u16) -> Result<()> {
    let (six, four) = (Ipv6Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
    let listener = TcpListener::bind((six, port)).or_else(|_| TcpListener::bind((four, port)))?;
    let socket = UdpSocket::bind((six, port)).or_else(|_| UdpSocket::bind((four, port)))?;
    let answer = || -> Result<()> {
        let mut datagram = [0; 2048];
        loop {
            let (length, peer) = socket.recv_from(&mut datagram)?;
            socket.send_to(&datagram[..length], peer)?;
        }
    };
    std::thread::scope(|scope| {
        (0..THREADS).for_each(|_| drop(scope.spawn(answer)));
        for stream in listener.incoming() {
            let stream = stream?;
            stream.set_nodelay(true)?;
            // One that breaks off is the other side's affair.
            scope.spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
        Ok(())
    })
}

fn turns(address: SocketAddr) -> Result<impl FnMut() -> Result<()>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(move || {
        stream.write_all(b"x")?;
        Ok(stream.read_exact(&mut [0])?)
    })
}

fn datagrams(address: SocketAddr) -> Result<impl FnMut() -> Result<()>> {
    let any: IpAddr =
        if address.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(address)?;
    Ok(move || {
        let mut answer = [0; 64];
        socket.send(&answer)?;
        ensure!(socket.recv(&mut answer)? == answer.len(), "an answer of another length");
        Ok(())
    })
}

fn connection(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"x")?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)?;
    ensure!(rest == b"x", "{} bytes came back", rest.len());
    Ok(())
}

/// A question for an address (RFC 1035), and an answer with at least one.
fn question(name: &str) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect((Ipv4Addr::new(127, 0, 0, 11), 53))?;
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).context("a label")?);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    socket.send(&query)?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    ensure!(length > query.len() && answer[3] & 15 == 0 && answer[7] > 0, "no answer with an address");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_must_be_known() {
        for words in [&["nonsense"][..], &["accept"], &["accept", "x"], &["connections", "nowhere", "1"]] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert!(run(&words).is_err(), "{words:?}");
        }
    }
}
