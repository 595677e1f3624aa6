//! Request targets with characters in them that have to be escaped and are not: `curl 'http://localhost/containers/json?filters={"label":["x"]}'`.
//! Docker takes them as they are and scripts rely on it; hyper would refuse the request before anybody sees it.
//!
//! Only the first request of a connection is looked at, where the beginning of a head is certain: whoever keeps a
//! connection open for more is a program, whose library escapes.

/// Escapes what must not stand in a request target, in the first line of what a client has begun with.
pub fn escape(begun: Vec<u8>) -> Vec<u8> {
    let line_end = begun.iter().position(|byte| *byte == b'\r').unwrap_or(begun.len());
    if !begun[..line_end].iter().any(|byte| has_to_be_escaped(*byte)) {
        return begun;
    }
    let mut escaped = Vec::with_capacity(begun.len() + 64);
    for byte in &begun[..line_end] {
        if has_to_be_escaped(*byte) {
            escaped.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            escaped.push(*byte);
        }
    }
    escaped.extend_from_slice(&begun[line_end..]);
    escaped
}

/// The printable characters that RFC 3986 keeps out of paths and queries; a space ends the target.
fn has_to_be_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(begun: &str, expected: &str) {
        assert_eq!(String::from_utf8(escape(begun.into())).unwrap(), expected);
    }

    #[test]
    fn only_the_target_is_changed() {
        check(
            "GET /j?filters={\"a\":[\"b c\"]} HTTP/1.1\r\nX: {\"}\r\n\r\n{\"",
            "GET /j?filters=%7B%22a%22:[%22b c%22]%7D HTTP/1.1\r\nX: {\"}\r\n\r\n{\"",
        );
        check(
            "POST /v1.44/x?a=%22 HTTP/1.1\r\n\r\n{\"b\":1}",
            "POST /v1.44/x?a=%22 HTTP/1.1\r\n\r\n{\"b\":1}",
        );
        check("GET /a|b", "GET /a%7Cb");
        check("", "");
    }
}
