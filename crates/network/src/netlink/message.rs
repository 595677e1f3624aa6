//! Building netlink messages: lengths are computed here and never overflow into a neighbour's attribute.

use super::flag;

const HEADER: usize = 16;
const NESTED: u16 = 0x8000;

/// A request and the words that name it in an error, such as `RTM_NEWLINK(bridge docker0)`.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    kind: u16,
    flags: u16,
    body: Attributes,
    name: String,
}

impl Message {
    /// A message of type `kind` whose fixed header (the part before the attributes) is `header`.
    pub(crate) fn new(kind: u16, flags: u16, header: &[u8], name: impl Into<String>) -> Self {
        let mut body = Attributes::default();
        body.pad(header);
        Self { kind, flags: flags | flag::REQUEST, body, name: name.into() }
    }

    /// The words that name the request.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The attributes, to be added to.
    pub(crate) fn attributes(&mut self) -> &mut Attributes {
        &mut self.body
    }

    /// Adds flags to the header.
    pub(crate) fn with_flags(mut self, flags: u16) -> Self {
        self.flags |= flags;
        self
    }

    /// Appends the message to a datagram; `None` when one of its attributes is longer than 65,531 bytes.
    pub(crate) fn write(&self, sequence: u32, datagram: &mut Vec<u8>) -> Option<()> {
        if self.body.too_long {
            return None;
        }
        let length = u32::try_from(HEADER + self.body.bytes.len()).ok()?;
        datagram.extend_from_slice(&length.to_ne_bytes());
        datagram.extend_from_slice(&self.kind.to_ne_bytes());
        datagram.extend_from_slice(&self.flags.to_ne_bytes());
        datagram.extend_from_slice(&sequence.to_ne_bytes());
        datagram.extend_from_slice(&0u32.to_ne_bytes());
        datagram.extend_from_slice(&self.body.bytes);
        Some(())
    }
}

/// A run of attributes (`struct nlattr` with payloads, each padded to four bytes).
#[derive(Debug, Clone, Default)]
pub(crate) struct Attributes {
    bytes: Vec<u8>,
    too_long: bool,
}

impl Attributes {
    /// Adds an attribute with bytes as they are.
    pub(crate) fn bytes(&mut self, kind: u16, payload: &[u8]) -> &mut Self {
        self.length(4 + payload.len());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.pad(payload);
        self
    }

    /// Adds a byte.
    pub(crate) fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    /// Adds a 16-bit number in host order.
    pub(crate) fn u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Adds a 32-bit number in host order, as rtnetlink has it.
    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Adds a 32-bit number in network order, as nfnetlink has it.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds a NUL-terminated string.
    pub(crate) fn string(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut payload = Vec::with_capacity(value.len() + 1);
        payload.extend_from_slice(value.as_bytes());
        payload.push(0);
        self.bytes(kind, &payload)
    }

    /// Adds an attribute that holds the attributes which `fill` adds.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes)) -> &mut Self {
        self.nest_after(kind, &[], fill)
    }

    /// Like [`nest`](Self::nest), with a fixed header before the inner attributes (VETH_INFO_PEER).
    pub(crate) fn nest_after(
        &mut self,
        kind: u16,
        header: &[u8],
        fill: impl FnOnce(&mut Attributes),
    ) -> &mut Self {
        let mut inner = Attributes::default();
        inner.pad(header);
        fill(&mut inner);
        self.too_long |= inner.too_long;
        self.bytes(kind | NESTED, &inner.bytes)
    }

    fn length(&mut self, length: usize) {
        let written = u16::try_from(length).unwrap_or_else(|_| {
            self.too_long = true;
            4
        });
        self.bytes.extend_from_slice(&written.to_ne_bytes());
    }

    fn pad(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nested() {
        let mut message = Message::new(16, flag::ACK, &[1, 2, 3, 4], "test");
        message.attributes().string(3, "eth0").nest(18, |inner| {
            inner.u8(1, 7);
        });
        let mut datagram = Vec::new();
        message.write(9, &mut datagram).unwrap();
        let expected = [
            &[44, 0, 0, 0, 16, 0, 5, 0, 9, 0, 0, 0, 0, 0, 0, 0][..],
            &[1, 2, 3, 4],
            &[9, 0, 3, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0],
            &[12, 0, 18, 0x80, 5, 0, 1, 0, 7, 0, 0, 0],
        ];
        assert_eq!(datagram, expected.concat());
    }

    #[test]
    fn an_attribute_that_does_not_fit_is_refused() {
        let mut message = Message::new(16, 0, &[], "test");
        message.attributes().nest(1, |inner| {
            inner.bytes(2, &vec![0; 70_000]);
        });
        assert!(message.write(1, &mut Vec::new()).is_none());
    }
}
