//! `xtask load …`: the small programs that put load on a network, run inside and beside containers. Each prints how many
//! of its things were done in a second.
//!
//! ```text
//! load accept PORT                    takes connections, answers one byte with one byte, for ever
//! load connections ADDRESS SECONDS    makes connections, a byte there and back on each
//! load dns NAME SECONDS               asks 127.0.0.11 for an address
//! ```

use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// How many are under way at once.
const THREADS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(words: &[String]) -> Result<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["accept", port] => accept(port.parse()?),
        ["connections", address, seconds] => {
            let address = address.parse()?;
            count(seconds.parse()?, || connection(address))
        }
        ["dns", name, seconds] => count(seconds.parse()?, || question(name)),
        _ => bail!("load accept PORT | connections ADDRESS SECONDS | dns NAME SECONDS"),
    }
}

/// Does it again and again with several threads, and says how often it was done in a second.
fn count(seconds: u64, act: impl Fn() -> Result<()> + Sync) -> Result<()> {
    let began = Instant::now();
    let end = began + Duration::from_secs(seconds);
    let done = std::thread::scope(|scope| -> Result<u64> {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| -> Result<u64> {
                    let mut done = 0;
                    while Instant::now() < end {
                        act()?;
                        done += 1;
                    }
                    Ok(done)
                })
            })
            .collect();
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
