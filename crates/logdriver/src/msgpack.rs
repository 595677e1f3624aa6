//! The few kinds of MessagePack values that the forward protocol needs.

/// An array of so many values, which follow; at most fifteen.
pub(crate) fn array(count: u8, out: &mut Vec<u8>) {
    out.push(0x90 | (count & 0x0f));
}

/// A map of so many keys, each followed by its value.
pub(crate) fn map(count: usize, out: &mut Vec<u8>) {
    match u8::try_from(count) {
        Ok(small @ 0..=15) => out.push(0x80 | small),
        _ => {
            out.push(0xde);
            out.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
}

/// Bytes as a string: what is no UTF-8 stays as it is, as with Docker.
pub(crate) fn string(bytes: &[u8], out: &mut Vec<u8>) {
    match bytes.len() {
        length @ 0..=31 => out.push(0xa0 | length as u8),
        length @ 32..=0xff => out.extend_from_slice(&[0xd9, length as u8]),
        length @ 0x100..=0xffff => {
            out.push(0xda);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0xdb);
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

/// Seconds since 1970 as a signed number of 32 bits, or of 64 after 2038.
pub(crate) fn seconds(seconds: i64, out: &mut Vec<u8>) {
    match i32::try_from(seconds) {
        Ok(short) => {
            out.push(0xd2);
            out.extend_from_slice(&short.to_be_bytes());
        }
        Err(_) => {
            out.push(0xd3);
            out.extend_from_slice(&seconds.to_be_bytes());
        }
    }
}

/// The forward protocol's `EventTime`: an extension of type 0 with seconds and nanoseconds.
pub(crate) fn event_time(seconds: i64, nanoseconds: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xd7, 0x00]);
    out.extend_from_slice(&u32::try_from(seconds).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&nanoseconds.to_be_bytes());
}

/// A value of a map of strings, and how long the map is.
pub(crate) type Found = (Option<Vec<u8>>, usize);

/// The string under a key of a map of strings at the beginning of `bytes`; `None` when the map is not all there. That is
/// what a collector's acknowledgement may be.
///
/// # Errors
/// What is no map of strings.
pub(crate) fn read_map(bytes: &[u8], wanted: &[u8]) -> Result<Option<Found>, &'static str> {
    let Some(first) = bytes.first() else { return Ok(None) };
    if first & 0xf0 != 0x80 {
        return Err("it is no map");
    }
    let (mut at, mut found) = (1, None);
    for _ in 0..first & 0x0f {
        let Some(key) = read_string(bytes, &mut at)? else { return Ok(None) };
        let Some(value) = read_string(bytes, &mut at)? else { return Ok(None) };
        if key == wanted {
            found = Some(value.to_vec());
        }
    }
    Ok(Some((found, at)))
}

fn read_string<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Option<&'a [u8]>, &'static str> {
    let Some(kind) = bytes.get(*at) else { return Ok(None) };
    let (head, length) = match kind {
        0xa0..=0xbf => (1, Some(usize::from(kind & 0x1f))),
        // Strings and bytes with a length of 8 and of 16 bits.
        0xd9 | 0xc4 => (2, bytes.get(*at + 1).map(|length| usize::from(*length))),
        0xda | 0xc5 => {
            let length = bytes.get(*at + 1..*at + 3).and_then(|two| two.try_into().ok());
            (3, length.map(|two| usize::from(u16::from_be_bytes(two))))
        }
        _ => return Err("it holds what is no string"),
    };
    let Some(text) = length.and_then(|length| bytes.get(*at + head..*at + head + length)) else {
        return Ok(None);
    };
    *at += head + text.len();
    Ok(Some(text))
}
