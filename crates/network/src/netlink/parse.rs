//! Reading netlink messages: every length is checked against what was received.

/// One message of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received<'a> {
    /// `nlmsg_type`.
    pub(crate) kind: u16,
    /// `nlmsg_flags`.
    pub(crate) flags: u16,
    /// `nlmsg_seq`.
    pub(crate) sequence: u32,
    /// What follows the header.
    pub(crate) payload: &'a [u8],
}

/// One attribute: its type without the flag bits, and its payload without padding.
pub(crate) type Attribute<'a> = (u16, &'a [u8]);

/// The messages of a datagram; `None` when a length lies.
pub(crate) fn messages(datagram: &[u8]) -> Option<Vec<Received<'_>>> {
    let mut rest = datagram;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let message = rest.get(..length)?;
        found.push(Received {
            kind: u16_at(message, 4)?,
            flags: u16_at(message, 6)?,
            sequence: u32_at(message, 8)?,
            payload: message.get(16..)?,
        });
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(found)
}

/// The attributes in `bytes`; `None` when a length lies.
pub(crate) fn attributes(bytes: &[u8]) -> Option<Vec<Attribute<'_>>> {
    const FLAGS: u16 = 0xc000;
    let mut rest = bytes;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(u16_at(rest, 0)?);
        found.push((u16_at(rest, 2)? & !FLAGS, rest.get(4..length)?));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(found)
}

/// The payload of the first attribute of type `kind`.
pub(crate) fn find<'a>(attributes: &[Attribute<'a>], kind: u16) -> Option<&'a [u8]> {
    attributes.iter().find(|(found, _)| *found == kind).map(|(_, payload)| *payload)
}

/// A string up to its NUL.
pub(crate) fn text(payload: &[u8]) -> String {
    let end = payload.iter().position(|byte| *byte == 0).unwrap_or(payload.len());
    String::from_utf8_lossy(&payload[..end]).into_owned()
}

/// A 16-bit number in host order.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(offset..offset + 2)?.try_into().ok()?))
}

/// A 32-bit number in host order.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

/// A 32-bit number in network order.
pub(crate) fn be32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_without_their_padding_and_flags() {
        let bytes = [5, 0, 1, 0x80, 7, 0, 0, 0, 8, 0, 2, 0, 1, 2, 3, 4];
        assert_eq!(attributes(&bytes), Some(vec![(1, &[7][..]), (2, &[1, 2, 3, 4][..])]));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for bytes in [&[3, 0, 1, 0][..], &[9, 0, 1, 0, 1, 2, 3, 4], &[4], &[0, 0, 0, 0], &[255, 255, 1, 0]] {
            assert_eq!(attributes(bytes), None, "{bytes:?}");
        }
        let short = [15, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(messages(&short), None);
        assert_eq!(messages(&[255; 16]), None);
        assert_eq!(messages(&[0; 16]), None);
    }
}
