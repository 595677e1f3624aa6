//! firewalld forwards nothing of interfaces that are in none of its zones: our bridges are put into `docker`, as Docker
//! calls its own, or else into `trusted`. What becomes of their packets stays a matter of our rules.
//!
//! ```text
//!  task   told of new bridges, of changed rules, and once in a while
//!    └ system bus, NO_AUTO_START ─ zone.addInterface(zone, bridge) ─ done, or there is no firewalld, or somebody put it elsewhere
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use network::InterfaceName;

use crate::engine::Engine;

/// How long an answer may take: firewalld answers nobody while it makes its rules anew.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// A longer answer is none of firewalld's.
const MAX_MESSAGE: usize = 64 * 1024;
const ZONES: [&str; 2] = ["docker", "trusted"];
const ERROR: u8 = 3;

/// Puts every bridge into a zone whenever there may be one that is in none. Ends with the daemon.
pub(crate) async fn keep_zones(engine: Engine) {
    let changed = engine.networks.lock().bridges_changed.clone();
    let mut placed = Placed::new();
    loop {
        let (owned, before) = (engine.clone(), std::mem::take(&mut placed));
        match crate::blocking(move || Ok(tell(&owned, before))).await {
            Ok(now) => placed = now,
            Err(error) => tracing::error!(%error, "bridges are not put into a zone of firewalld"),
        }
        changed.notified().await;
    }
}

/// The bridges that we have put into a zone, with the zone.
type Placed = BTreeMap<String, &'static str>;

fn tell(engine: &Engine, mut placed: Placed) -> Placed {
    let bridges: Vec<InterfaceName> =
        engine.networks.lock().rules.networks().values().map(|rules| rules.bridge.clone()).collect();
    if let Err(error) = put_into_zones(&engine.config.system_bus, &bridges, &mut placed) {
        tracing::warn!(%error, "firewalld cannot be told of our bridges");
    }
    placed
}

/// Puts bridges into a zone, and takes those out again that are no more; does nothing when there is no bus or no firewalld.
fn put_into_zones(socket: &Path, bridges: &[InterfaceName], placed: &mut Placed) -> io::Result<()> {
    let mut bus = match UnixStream::connect(socket) {
        Ok(stream) => Bus { stream, serial: 0 },
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    bus.greet()?;
    for bridge in bridges {
        for zone in ZONES {
            match bus.zone_call("addInterface", zone, bridge.as_str())?.as_deref() {
                None => {
                    tracing::info!(%bridge, zone, "put into a zone of firewalld");
                    placed.insert(bridge.to_string(), zone);
                }
                Some(words) if words.starts_with("INVALID_ZONE") => continue,
                Some(NO_FIREWALLD) => return Ok(()),
                // It is there already, or where the administrator wants it.
                Some(words) if is_placed(words) => {}
                Some(words) => tracing::warn!(%bridge, words, "firewalld refuses this bridge"),
            }
            break;
        }
    }
    let is_gone = |bridge: &str| bridges.iter().all(|known| known.as_str() != bridge);
    let gone: Vec<_> =
        placed.iter().filter(|(bridge, _)| is_gone(bridge)).map(|(bridge, _)| bridge.clone()).collect();
    for bridge in gone {
        let zone = placed.remove(&bridge).unwrap_or_default();
        // Whoever has moved it meanwhile may keep it.
        if let Some(words) = bus.zone_call("removeInterface", zone, &bridge)? {
            tracing::debug!(bridge, words, "firewalld knows no such bridge any more");
        }
    }
    Ok(())
}

const NO_FIREWALLD: &str = "no firewalld";

fn is_placed(words: &str) -> bool {
    ["ZONE_ALREADY_SET", "ALREADY_ENABLED", "ZONE_CONFLICT"].iter().any(|known| words.starts_with(known))
}

/// A connection to the system bus.
struct Bus {
    stream: UnixStream,
    serial: u32,
}

impl Bus {
    fn greet(&mut self) -> io::Result<()> {
        self.stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        self.stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        let uid = std::fs::metadata("/proc/self")?.uid().to_string();
        let uid: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        self.stream.write_all(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
            if answer.len() > 256 {
                return Err(wrong("answer to AUTH"));
            }
        }
        if !answer.starts_with(b"OK ") {
            return Err(wrong("answer to AUTH"));
        }
        self.stream.write_all(b"BEGIN\r\n")?;
        self.call(["org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello"], &[])
            .and_then(|refusal| refusal.map_or(Ok(()), |words| Err(io::Error::other(words))))
    }

    /// Calls a method about a zone and an interface; why it was refused, in firewalld's words.
    fn zone_call(&mut self, method: &str, zone: &str, interface: &str) -> io::Result<Option<String>> {
        let target = [
            "org.fedoraproject.FirewallD1",
            "/org/fedoraproject/FirewallD1",
            "org.fedoraproject.FirewallD1.zone",
            method,
        ];
        self.call(target, &[zone, interface])
    }

    /// Calls a method that takes texts: destination, path, interface, member. Its refusal, if any.
    fn call(&mut self, target: [&str; 4], texts: &[&str]) -> io::Result<Option<String>> {
        self.serial += 1;
        self.stream.write_all(&call(self.serial, target, texts))?;
        loop {
            let answer = self.receive()?;
            if answer.reply_to == self.serial {
                return Ok(answer.refusal);
            }
        }
    }

    fn receive(&mut self) -> io::Result<Answer> {
        let mut message = vec![0; 16];
        self.stream.read_exact(&mut message)?;
        let number = |at: usize| number(&message, at).map(|number| number as usize);
        let (body, fields) = number(4).zip(number(12)).ok_or_else(|| wrong("message"))?;
        let rest = fields.checked_next_multiple_of(8).and_then(|fields| fields.checked_add(body));
        let rest = rest.filter(|rest| *rest <= MAX_MESSAGE && message[0] == b'l');
        let rest = rest.ok_or_else(|| wrong("message"))?;
        message.resize(16 + rest, 0);
        self.stream.read_exact(&mut message[16..])?;
        parse(&message, fields).ok_or_else(|| wrong("message"))
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the system bus: unexpected {what}"))
}

/// What matters of a message: to which call it is the answer, and the refusal if it is one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    reply_to: u32,
    pub(super) refusal: Option<String>,
}

/// A method call as D-Bus has it, in little endian; texts are its arguments.
fn call(serial: u32, [destination, path, interface, member]: [&str; 4], texts: &[&str]) -> Vec<u8> {
    const NO_AUTO_START: u8 = 2;
    let mut fields = Vec::new();
    for (code, kind, value) in
        [(1, b'o', path), (2, b's', interface), (3, b's', member), (6, b's', destination)]
    {
        pad(&mut fields, 8);
        fields.extend([code, 1, kind, 0]);
        push_text(&mut fields, value);
    }
    if !texts.is_empty() {
        pad(&mut fields, 8);
        fields.extend([8, 1, b'g', 0, u8::try_from(texts.len()).unwrap_or(u8::MAX)]);
        fields.extend(texts.iter().map(|_| b's'));
        fields.push(0);
    }
    let mut body = Vec::new();
    texts.iter().for_each(|text| push_text(&mut body, text));
    let mut message = vec![b'l', 1, NO_AUTO_START, 1];
    for number in [body.len() as u32, serial, fields.len() as u32] {
        message.extend(number.to_le_bytes());
    }
    message.extend(fields);
    pad(&mut message, 8);
    message.extend(body);
    message
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    pad(bytes, 4);
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

fn pad(bytes: &mut Vec<u8>, alignment: usize) {
    bytes.resize(bytes.len().next_multiple_of(alignment), 0);
}

pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes))
}

/// A text and where it ends.
fn text(bytes: &[u8], at: usize) -> Option<(String, usize)> {
    let at = at.checked_next_multiple_of(4)?;
    let end = (at + 4).checked_add(number(bytes, at)? as usize)?;
    Some((String::from_utf8_lossy(bytes.get(at + 4..end)?).into_owned(), end + 1))
}

/// Reads a message whose header fields have this many bytes.
pub(super) fn parse(message: &[u8], fields: usize) -> Option<Answer> {
    let (mut reply_to, mut error) = (0, String::new());
    let mut at = 16;
    while at < 16 + fields {
        at = at.checked_next_multiple_of(8)?;
        let (code, length) = (*message.get(at)?, *message.get(at + 1)?);
        let kind = *message.get(at + 2)?;
        if length != 1 {
            return None;
        }
        at += 4;
        match kind {
            b'u' => {
                if code == 5 {
                    reply_to = number(message, at)?;
                }
                at += 4;
            }
            b's' | b'o' => {
                let (value, end) = text(message, at)?;
                if code == 4 {
                    error = value;
                }
                at = end;
            }
            b'g' => at += 2 + usize::from(*message.get(at)?),
            _ => return None,
        }
    }
    if message.get(1) != Some(&ERROR) {
        return Some(Answer { reply_to, refusal: None });
    }
    let body = (16 + fields).checked_next_multiple_of(8)?;
    let gone = ["ServiceUnknown", "NameHasNoOwner"].iter().any(|word| error.ends_with(word));
    let refusal = match text(message, body) {
        _ if gone => NO_FIREWALLD.to_owned(),
        Some((words, _)) => words,
        None => error,
    };
    Some(Answer { reply_to, refusal: Some(refusal) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_what_the_bus_reads() {
        let bytes = call(7, ["a.b", "/a", "a.c", "Do"], &["zone", "br0"]);
        assert_eq!(&bytes[..4], [b'l', 1, 2, 1]);
        assert_eq!((number(&bytes, 4), number(&bytes, 8)), (Some(20), Some(7)));
        let fields = number(&bytes, 12).unwrap() as usize;
        let body = (16 + fields).next_multiple_of(8);
        assert_eq!(bytes.len(), body + 20);
        let (zone, next) = text(&bytes, body).unwrap();
        assert_eq!((zone.as_str(), text(&bytes, next).unwrap().0.as_str()), ("zone", "br0"));
    }

    /// An answer with its serial, a sender, and an error's name where it is one.
    fn answer(error: &str, words: &str) -> (Vec<u8>, usize) {
        let mut fields = vec![5, 1, b'u', 0, 9, 0, 0, 0];
        for (code, value) in [(7, ":1.5"), (4, error)] {
            if !value.is_empty() {
                pad(&mut fields, 8);
                fields.extend([code, 1, b's', 0]);
                push_text(&mut fields, value);
            }
        }
        pad(&mut fields, 8);
        fields.extend([8, 1, b'g', 0, 1, b's', 0]);
        let mut message = vec![b'l', if error.is_empty() { 2 } else { ERROR }, 1, 1];
        message.extend([0; 12]);
        message.extend(&fields);
        pad(&mut message, 8);
        push_text(&mut message, words);
        (message, fields.len())
    }

    #[test]
    fn answers_are_read_and_nonsense_is_none() {
        let (message, fields) = answer("", "trusted");
        assert_eq!(parse(&message, fields), Some(Answer { reply_to: 9, refusal: None }));
        let (message, fields) = answer("org.fedoraproject.FirewallD1.Exception", "ZONE_CONFLICT: x");
        let refusal = parse(&message, fields).unwrap().refusal.unwrap();
        assert!(is_placed(&refusal), "{refusal}");
        let (message, fields) = answer("org.freedesktop.DBus.Error.ServiceUnknown", "no such name");
        assert_eq!(parse(&message, fields).unwrap().refusal.as_deref(), Some(NO_FIREWALLD));
        for end in 0..message.len() {
            drop(parse(&message[..end], fields));
            drop(parse(&message, end));
        }
    }

    #[test]
    fn without_a_bus_nothing_is_done() {
        let bridge = "docker0".parse().unwrap();
        let mut placed = Placed::new();
        put_into_zones(Path::new("/nonexistent/bus"), &[bridge], &mut placed).unwrap();
        assert!(placed.is_empty());
    }
}
