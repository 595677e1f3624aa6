//! systemd's journal: its native protocol, one datagram of fields for each message.
//!
//! ```text
//! KEY=value\n                                     when the value has no end of line
//! KEY\n │ length, 64 bits little-endian │ value\n     for all others
//! ```

use crate::{About, Message, Partial, Wire};

/// Where the journal of a machine listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

pub(crate) fn encode(about: &About, message: &Message<'_>, wire: &mut Wire) {
    let out = &mut wire.bytes;
    field("MESSAGE", message.line, out);
    field("PRIORITY", message.severity().to_string().as_bytes(), out);
    for (key, value) in [
        ("CONTAINER_ID", about.short_id()),
        ("CONTAINER_ID_FULL", &about.container_id),
        ("CONTAINER_NAME", &about.container_name),
        ("CONTAINER_TAG", &about.tag),
        ("IMAGE_NAME", &about.image_name),
        ("SYSLOG_IDENTIFIER", &about.tag),
        ("SYSLOG_TIMESTAMP", &message.time.to_string()),
    ] {
        field(key, value.as_bytes(), out);
    }
    for (key, value) in &about.attributes {
        let key = name(key);
        if !key.is_empty() {
            field(&key, value.as_bytes(), out);
        }
    }
    if let Some(Partial { id, ordinal, last }) = &message.partial {
        if !last {
            field("CONTAINER_PARTIAL_MESSAGE", b"true", out);
        }
        field("CONTAINER_PARTIAL_ID", id.as_bytes(), out);
        field("CONTAINER_PARTIAL_ORDINAL", ordinal.to_string().as_bytes(), out);
        field("CONTAINER_PARTIAL_LAST", last.to_string().as_bytes(), out);
    }
    wire.end();
}

fn field(key: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A key as the journal takes it: capital letters, digits and underscores, none of which comes first.
fn name(key: &str) -> String {
    let allowed = |c: char| {
        let upper = c.to_ascii_uppercase();
        if upper.is_ascii_uppercase() || upper.is_ascii_digit() { upper } else { '_' }
    };
    key.chars().map(allowed).collect::<String>().trim_start_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Driver;
    use crate::message::tests::{about, options, out, refusal};

    #[test]
    fn fields_are_dockers() {
        let driver = Driver::parse("journald", &options(&[("tag", "x")])).unwrap().unwrap();
        let mut wire = Wire::default();
        let partial = Some(Partial { id: "i".into(), ordinal: 1, last: false });
        driver.encode(&about(), &Message { partial, ..out(b"two\nlines") }, &mut wire);
        let expected = concat!(
            "MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\nPRIORITY=6\nCONTAINER_ID=0123456789ab\n",
            "CONTAINER_ID_FULL=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
            "CONTAINER_NAME=foo\nCONTAINER_TAG=0123456789ab\nIMAGE_NAME=busybox\n",
            "SYSLOG_IDENTIFIER=0123456789ab\nSYSLOG_TIMESTAMP=2026-11-21T13:22:40.762578123Z\n",
            "COLOR=red\nA_B=1\nCONTAINER_PARTIAL_MESSAGE=true\nCONTAINER_PARTIAL_ID=i\n",
            "CONTAINER_PARTIAL_ORDINAL=1\nCONTAINER_PARTIAL_LAST=false\n",
        );
        assert_eq!(String::from_utf8(wire.bytes).unwrap(), expected);
        assert_eq!(wire.ends, [expected.len()]);
        assert_eq!(refusal("journald", &[("foo", "1")]), "unknown log opt 'foo' for journald log driver");
        assert_eq!((name("_a.b-C9é"), name("__")), ("A_B_C9_".to_owned(), String::new()));
    }
}
