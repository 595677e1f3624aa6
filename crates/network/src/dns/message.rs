//! DNS messages (RFC 1035, RFC 6891): the question of a query is read, an answer is written.

use std::net::IpAddr;

/// Record types.
pub(crate) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const OPT: u16 = 41;
}

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;

const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;

/// Response codes.
pub(crate) mod code {
    pub(crate) const SUCCESS: u16 = 0;
    pub(crate) const FORMAT_ERROR: u16 = 1;
    pub(crate) const SERVER_FAILURE: u16 = 2;
    pub(crate) const NOT_IMPLEMENTED: u16 = 4;
}

/// What a query asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The id of the query.
    pub id: u16,
    /// The name in lower case, without the dot at its end.
    pub name: String,
    /// The record type, such as 1 for A.
    pub kind: u16,
    /// The class, 1 for the Internet.
    pub class: u16,
    /// The longest answer that the client takes over UDP, in bytes: 512 without EDNS.
    pub udp_size: usize,
    /// Whether the query has an OPT record, which the answer then has as well.
    pub extended: bool,
    flags: u16,
    /// Where the question is in the query, with its type and class.
    section: (usize, usize),
}

/// A message that is not a query with one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It has no header, or is a response: nothing is answered.
    Silent,
    /// It is answered with this code.
    Code(u16),
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(offset..offset + 2)?.try_into().ok()?))
}

/// Reads a query.
///
/// # Errors
/// What it is answered with instead.
pub fn parse_query(query: &[u8]) -> Result<Question, Refused> {
    let (Some(id), Some(flags)) = (u16_at(query, 0), u16_at(query, 2)) else { return Err(Refused::Silent) };
    if flags & RESPONSE != 0 || query.len() < HEADER {
        return Err(Refused::Silent);
    }
    if flags & OPCODE != 0 {
        return Err(Refused::Code(code::NOT_IMPLEMENTED));
    }
    let malformed = Refused::Code(code::FORMAT_ERROR);
    if u16_at(query, 4) != Some(1) {
        return Err(malformed);
    }
    let (name, end) = read_name(query, HEADER).ok_or(malformed)?;
    let (Some(kind), Some(class)) = (u16_at(query, end), u16_at(query, end + 2)) else {
        return Err(malformed);
    };
    let end = end + 4;
    let edns_size = find_opt(query, end);
    Ok(Question {
        id,
        name,
        kind,
        class,
        udp_size: edns_size.map_or(512, |size| usize::from(size).clamp(512, 4096)),
        extended: edns_size.is_some(),
        flags,
        section: (HEADER, end),
    })
}

/// Reads an uncompressed name; questions have no other.
fn read_name(message: &[u8], offset: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut at = offset;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((name, at));
        }
        if length > 63 || at - offset + length > 254 {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        // A byte that is no letter is kept apart from every name that we have by its escape.
        for byte in message.get(at..at + length)? {
            match byte {
                b'!'..=b'~' if *byte != b'.' && *byte != b'\\' => name.push(byte.to_ascii_lowercase().into()),
                byte => name.push_str(&format!("\\{byte:03}")),
            }
        }
        at += length;
    }
}

/// The UDP size of the OPT record, when it is the first additional record, as in every query.
fn find_opt(query: &[u8], at: usize) -> Option<u16> {
    let no_records = u16_at(query, 6) == Some(0) && u16_at(query, 8) == Some(0);
    let is_opt = query.get(at) == Some(&0) && u16_at(query, at + 1) == Some(kind::OPT);
    (no_records && u16_at(query, 10)? > 0 && is_opt).then(|| u16_at(query, at + 3)).flatten()
}

/// The data of one record.
pub(crate) enum Data {
    Address(IpAddr),
    Name(String),
    /// A port of a container, and its name.
    Service(u16, String),
}

/// Writes an answer with the records that fit into `limit` bytes; when not all do, it says that it is truncated.
pub(crate) fn write(query: &[u8], question: &Question, code: u16, records: &[Data], limit: usize) -> Vec<u8> {
    const TTL_SECONDS: u32 = 600;
    let mut message = header(question.id, question.flags, code);
    message[5] = 1;
    message.extend_from_slice(query.get(question.section.0..question.section.1).unwrap_or_default());
    let opt = if question.extended { 11 } else { 0 };
    let (mut written, mut truncated) = (0u16, false);
    for record in records {
        let (kind, data) = match record {
            Data::Address(IpAddr::V4(address)) => (kind::A, address.octets().to_vec()),
            Data::Address(IpAddr::V6(address)) => (kind::AAAA, address.octets().to_vec()),
            Data::Name(name) => (kind::PTR, encode_name(name)),
            // Priority and weight are the same for all.
            Data::Service(port, name) => {
                (kind::SRV, [&[0; 4][..], &port.to_be_bytes(), &encode_name(name)].concat())
            }
        };
        if message.len() + 12 + data.len() + opt > limit {
            truncated = true;
            break;
        }
        message.extend_from_slice(&[0xc0, HEADER as u8]);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&CLASS_IN.to_be_bytes());
        message.extend_from_slice(&TTL_SECONDS.to_be_bytes());
        message.extend_from_slice(&(data.len() as u16).to_be_bytes());
        message.extend_from_slice(&data);
        written += 1;
    }
    message[6..8].copy_from_slice(&written.to_be_bytes());
    if truncated {
        message[2] |= (TRUNCATED >> 8) as u8;
    }
    if question.extended {
        message[11] = 1;
        message.extend_from_slice(&[0, 0, kind::OPT as u8, 4, 208, 0, 0, 0, 0, 0, 0]);
    }
    message
}

fn header(id: u16, query_flags: u16, code: u16) -> Vec<u8> {
    let flags = RESPONSE | RECURSION_AVAILABLE | query_flags & (OPCODE | RECURSION_DESIRED) | code;
    let mut header = vec![0; HEADER];
    header[0..2].copy_from_slice(&id.to_be_bytes());
    header[2..4].copy_from_slice(&flags.to_be_bytes());
    header
}

/// The answer to a message that could not be read; `None` when it gets none.
#[must_use]
pub(crate) fn refusal(query: &[u8], refused: Refused) -> Option<Vec<u8>> {
    let Refused::Code(code) = refused else { return None };
    Some(header(u16_at(query, 0)?, u16_at(query, 2)?, code))
}

fn encode_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    bytes
}

/// A copy of a message with another id: queries are forwarded with one that nobody can guess.
#[must_use]
pub fn with_id(message: &[u8], id: u16) -> Vec<u8> {
    let mut copy = message.to_vec();
    if let Some(place) = copy.get_mut(0..2) {
        place.copy_from_slice(&id.to_be_bytes());
    }
    copy
}

/// Whether `response` answers the forwarded `query`: the same id and the same question, letter case aside. Everything
/// else is somebody's attempt to answer for the name server.
#[must_use]
pub fn answers(response: &[u8], query: &[u8]) -> bool {
    let Ok(question) = parse_query(query) else { return false };
    let is_response = u16_at(response, 2).is_some_and(|flags| flags & RESPONSE != 0 && flags & OPCODE == 0);
    let same_id = u16_at(response, 0) == Some(question.id);
    let (begin, end) = question.section;
    let same_question = u16_at(response, 4) == Some(1)
        && response.get(begin..end).is_some_and(|found| found.eq_ignore_ascii_case(&query[begin..end]));
    is_response && same_id && same_question
}
