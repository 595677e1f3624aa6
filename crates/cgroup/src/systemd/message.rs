//! Messages of D-Bus as bytes: as much of the wire format as talking to systemd needs (D-Bus Specification, "Type
//! System" and "Message Protocol"). Everything is little-endian.

use std::fmt;

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A string (`s`).
    Text(String),
    /// A truth value (`b`).
    Flag(bool),
    /// A number of 64 bits (`t`).
    Number(u64),
    /// Strings (`as`).
    Texts(Vec<String>),
    /// Numbers of 32 bits (`au`).
    Numbers32(Vec<u32>),
    /// Bytes (`ay`).
    Bytes(Vec<u8>),
    /// Pairs of strings (`a(ss)`).
    Pairs(Vec<(String, String)>),
    /// Strings, each with a number (`a(st)`).
    Rates(Vec<(String, u64)>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(u64::MAX) => write!(f, "infinity"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Texts(texts) => write!(f, "{}", texts.join(" ")),
            Self::Numbers32(numbers) => write!(f, "{numbers:?}"),
            Self::Bytes(bytes) => write!(f, "{bytes:02x?}"),
            Self::Pairs(pairs) => {
                let pairs: Vec<String> = pairs.iter().map(|(one, other)| format!("{one} {other}")).collect();
                write!(f, "{}", pairs.join(", "))
            }
            Self::Rates(rates) => {
                let rate = |(name, rate): &(String, u64)| format!("{name} {}", Self::Number(*rate));
                write!(f, "{}", rates.iter().map(rate).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl Value {
    fn signature(&self) -> &'static str {
        match self {
            Self::Text(_) => "s",
            Self::Flag(_) => "b",
            Self::Number(_) => "t",
            Self::Texts(_) => "as",
            Self::Numbers32(_) => "au",
            Self::Bytes(_) => "ay",
            Self::Pairs(_) => "a(ss)",
            Self::Rates(_) => "a(st)",
        }
    }
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Call,
    Return,
    Error,
    Signal,
}

/// Bytes being written; alignment is counted from their start.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn number32(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.number32(u32::from(value));
    }

    fn number64(&mut self, value: u64) {
        self.align(8);
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn text(&mut self, value: &str) {
        self.number32(value.len() as u32);
        self.0.extend(value.as_bytes());
        self.byte(0);
    }

    fn signature(&mut self, value: &str) {
        self.byte(value.len() as u8);
        self.0.extend(value.as_bytes());
        self.byte(0);
    }

    /// An array: its length in bytes, without the padding before its first element.
    pub(super) fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Self)) {
        self.number32(0);
        let length_at = self.0.len() - 4;
        self.align(alignment);
        let start = self.0.len();
        elements(self);
        let length = (self.0.len() - start) as u32;
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::Text(text) => self.text(text),
            Value::Flag(flag) => self.flag(*flag),
            Value::Number(number) => self.number64(*number),
            Value::Texts(texts) => self.array(4, |array| texts.iter().for_each(|text| array.text(text))),
            Value::Numbers32(numbers) => {
                self.array(4, |array| numbers.iter().for_each(|n| array.number32(*n)))
            }
            Value::Bytes(bytes) => self.array(1, |array| array.0.extend(bytes)),
            Value::Pairs(pairs) => self.array(8, |array| {
                for (one, other) in pairs {
                    array.align(8);
                    array.text(one);
                    array.text(other);
                }
            }),
            Value::Rates(rates) => self.array(8, |array| {
                for (name, rate) in rates {
                    array.align(8);
                    array.text(name);
                    array.number64(*rate);
                }
            }),
        }
    }

    /// Properties with their values (`a(sv)`).
    pub(super) fn properties(&mut self, properties: &[(String, Value)]) {
        self.array(8, |array| {
            for (name, value) in properties {
                array.align(8);
                array.text(name);
                array.variant(value);
            }
        });
    }
}

/// A call of a method, ready to be sent.
pub(super) fn call(serial: u32, path: &str, interface: &str, member: &str, body: (&str, Writer)) -> Vec<u8> {
    let (signature, Writer(body)) = body;
    let mut message = Writer(vec![b'l', 1, 0, 1]);
    message.number32(body.len() as u32);
    message.number32(serial);
    message.array(8, |fields| {
        let texts =
            [(1, "o", path), (3, "s", member), (2, "s", interface), (6, "s", "org.freedesktop.systemd1")];
        for (code, kind, text) in texts {
            fields.align(8);
            fields.byte(code);
            fields.signature(kind);
            fields.text(text);
        }
        if !signature.is_empty() {
            fields.align(8);
            fields.byte(8);
            fields.signature("g");
            fields.signature(signature);
        }
    });
    message.align(8);
    message.0.extend(body);
    message.0
}

/// A message that was received, as far as we look at it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    /// For answers: the serial of the call.
    pub(super) reply_to: u32,
    /// For signals: its name.
    pub(super) member: String,
    /// For errors: its name.
    pub(super) error_name: String,
    pub(super) signature: String,
    pub(super) body: Vec<u8>,
}

/// The length of the fixed part of a message, from which the whole length follows.
pub(super) const FIXED: usize = 16;

/// The longest message taken, in bytes.
const LONGEST: usize = 1 << 20;

/// The length of a whole message from its first sixteen bytes; `None` when it is none, or too long.
pub(super) fn length(fixed: &[u8; FIXED]) -> Option<usize> {
    let word =
        |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]) as usize;
    let header = FIXED.checked_add(word(12))?.next_multiple_of(8);
    let length = header.checked_add(word(4))?;
    (fixed[0] == b'l' && fixed[3] == 1 && length <= LONGEST).then_some(length)
}

/// Parses a whole message; `None` when it is malformed.
pub(super) fn parse(bytes: &[u8]) -> Option<Message> {
    let kind = match bytes.get(1)? {
        1 => Kind::Call,
        2 => Kind::Return,
        3 => Kind::Error,
        4 => Kind::Signal,
        _ => return None,
    };
    let mut message = Message {
        kind,
        reply_to: 0,
        member: String::new(),
        error_name: String::new(),
        signature: String::new(),
        body: Vec::new(),
    };
    let mut reader = Reader { bytes, at: 12 };
    let end = reader.number32()? as usize + FIXED;
    while reader.at < end {
        reader.align(8);
        let code = reader.byte()?;
        match (code, reader.signature()?.as_str()) {
            (3, "s") => message.member = reader.text()?,
            (4, "s") => message.error_name = reader.text()?,
            (5, "u") => message.reply_to = reader.number32()?,
            (8, "g") => message.signature = reader.signature()?,
            (_, "s" | "o") => drop(reader.text()?),
            (_, "g") => drop(reader.signature()?),
            (_, "u") => drop(reader.number32()?),
            _ => return None,
        }
    }
    reader.align(8);
    message.body = bytes.get(reader.at..)?.to_vec();
    Some(message)
}

/// Bytes being read.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub(super) fn number32(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let length = self.number32()? as usize;
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        self.byte()?;
        Some(text)
    }

    pub(super) fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        self.byte()?;
        Some(text)
    }
}
