//! Questions and answers on the wire (RFC 1035, section 4). Pure.

use std::net::IpAddr;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An IPv4 address.
    A,
    /// An IPv6 address (RFC 3596).
    Aaaa,
}

impl Kind {
    fn code(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
        }
    }
}

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The addresses of the kind asked for; none is an answer, too.
    Addresses(Vec<IpAddr>),
    /// The name does not exist.
    NoSuchName,
    /// The server cannot or will not say.
    Refused,
    /// The answer did not fit: ask again over TCP.
    Truncated,
}

/// A query: header, one question. `None` when `host` is not a host name.
pub(crate) fn question(id: u16, host: &str, kind: Kind) -> Option<Vec<u8>> {
    let host = host.trim_end_matches('.');
    if host.is_empty() || host.len() > 253 {
        return None;
    }
    let mut out = Vec::with_capacity(host.len() + 18);
    for word in [id, 0x0100, 1, 0, 0, 0] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    for label in host.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        out.push(length);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&kind.code().to_be_bytes());
    out.extend_from_slice(&1_u16.to_be_bytes());
    Some(out)
}

/// Reads an answer; `None` when the message is not a whole answer to this very question.
///
/// A recursive server answers with the chain of aliases and the addresses at its end, so every address in the answer
/// section is one of the name asked for.
pub(crate) fn read(message: &[u8], id: u16, host: &str, kind: Kind) -> Option<Answer> {
    let asked = question(id, host, kind)?;
    let flags = word(message, 2)?;
    let question_back = message.get(12..asked.len())?;
    if word(message, 0)? != id
        || flags & 0x8000 == 0
        || word(message, 4)? != 1
        || !question_back.eq_ignore_ascii_case(&asked[12..])
    {
        return None;
    }
    if flags & 0x0200 != 0 {
        return Some(Answer::Truncated);
    }
    match flags & 0xf {
        0 => {}
        3 => return Some(Answer::NoSuchName),
        _ => return Some(Answer::Refused),
    }
    addresses(message, asked.len(), kind).map(Answer::Addresses)
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]))
}

fn addresses(message: &[u8], mut at: usize, kind: Kind) -> Option<Vec<IpAddr>> {
    let mut found = Vec::new();
    for _ in 0..word(message, 6)? {
        at = skip_name(message, at)?;
        let (record, length) = (word(message, at)?, usize::from(word(message, at + 8)?));
        let data = message.get(at + 10..at + 10 + length)?;
        at += 10 + length;
        if record != kind.code() {
            continue;
        }
        if let Ok(bytes) = <[u8; 4]>::try_from(data) {
            found.push(IpAddr::from(bytes));
        } else if let Ok(bytes) = <[u8; 16]>::try_from(data) {
            found.push(IpAddr::from(bytes));
        }
    }
    Some(found)
}

fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer to `question` with one A record.
    fn answered() -> Vec<u8> {
        let mut message = question(7, "a.example", Kind::A).expect("a name");
        message[2] = 0x81;
        message[7] = 1;
        message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4]);
        message
    }

    #[test]
    fn an_answer_is_read_and_a_lie_is_not_followed() {
        let message = answered();
        let read = |message: &[u8], id, name| read(message, id, name, Kind::A);
        assert_eq!(read(&message, 7, "A.example"), Some(Answer::Addresses(vec![IpAddr::from([1, 2, 3, 4])])));
        assert_eq!(read(&message, 8, "a.example"), None, "another id");
        assert_eq!(read(&message, 7, "b.example"), None, "another question");
        for end in 0..message.len() {
            assert_eq!(read(&message[..end], 7, "a.example"), None, "cut at {end}");
        }
    }

    #[test]
    fn what_a_server_does_not_know_is_told_from_what_it_will_not_say() {
        let mut message = answered();
        for (code, expected) in [(3, Answer::NoSuchName), (2, Answer::Refused), (5, Answer::Refused)] {
            message[3] = code;
            assert_eq!(read(&message, 7, "a.example", Kind::A), Some(expected));
        }
        message[2] |= 0x02;
        assert_eq!(read(&message, 7, "a.example", Kind::A), Some(Answer::Truncated));
    }

    #[test]
    fn a_name_that_does_not_fit_the_wire_is_refused() {
        assert_eq!(question(1, "a..b", Kind::A), None);
        assert_eq!(question(1, &"x".repeat(64), Kind::A), None);
        assert_eq!(question(1, &"x.".repeat(200), Kind::A), None);
        assert!(question(1, "a.b.", Kind::A).is_some());
    }
}
