//! Bytes of output as the inside of a JSON string, escaped exactly as Docker's json-file does it.
//!
//! `<`, `>`, `&`, U+2028 and U+2029 are escaped although JSON does not ask for it (Go's HTML-safe form), control
//! characters other than `\n` and `\r` as `\u00xx`, and every byte that is not UTF-8 becomes U+FFFD.

use super::scan;

const HEX: &[u8; 16] = b"0123456789abcdef";
/// Bytes that cannot be copied as they are; 0xe2 begins U+2028 and U+2029.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        special[byte] = true;
        byte += 1;
    }
    let others = b"\"\\<>&\xe2";
    let mut index = 0;
    while index < others.len() {
        special[others[index] as usize] = true;
        index += 1;
    }
    special
};

/// Appends `bytes`, escaped, to `out`.
pub(super) fn append(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + bytes.len() / 8);
    // Most lines are plain from end to end.
    let (plain, bytes) = bytes.split_at(scan::plain(bytes));
    out.extend_from_slice(plain);
    match std::str::from_utf8(bytes) {
        Ok(text) => append_text(text.as_bytes(), out),
        Err(_) => {
            for chunk in bytes.utf8_chunks() {
                append_text(chunk.valid().as_bytes(), out);
                for _ in chunk.invalid() {
                    out.extend_from_slice(b"\\ufffd");
                }
            }
        }
    }
}

/// Appends bytes that are UTF-8.
fn append_text(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = text.iter().position(|byte| SPECIAL[usize::from(*byte)]) {
        out.extend_from_slice(&text[..at]);
        let mut used = 1;
        match text[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            0xe2 => match text[at..] {
                [_, 0x80, last @ (0xa8 | 0xa9), ..] => {
                    out.extend_from_slice(if last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                    used = 3;
                }
                _ => out.push(0xe2),
            },
            byte => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
        }
        text = &text[at + used..];
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    #[test]
    fn output_is_escaped_as_docker_does() {
        let cases: [(&[u8], &str); 9] = [
            (b"plain text\n", r"plain text\n"),
            (b"a\"b\\c\r\n", r#"a\"b\\c\r\n"#),
            (b"tab\tnul\0del\x7f esc\x1b[0m", "tab\\u0009nul\\u0000del\x7f esc\\u001b[0m"),
            (b"<a href='x'>&</a>", r"\u003ca href='x'\u003e\u0026\u003c/a\u003e"),
            ("grüße €20 😀".as_bytes(), "grüße €20 😀"),
            ("\u{2028}\u{2029}\u{2030}".as_bytes(), "\\u2028\\u2029\u{2030}"),
            (b"\xff\xfe", r"\ufffd\ufffd"),
            (
                b"cut \xe2\x82 and \xf0\x9f\x98 and \xe2",
                r"cut \ufffd\ufffd and \ufffd\ufffd\ufffd and \ufffd",
            ),
            (b"", ""),
        ];
        for (bytes, expected) in cases {
            let mut out = Vec::new();
            super::append(bytes, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{bytes:?}");
        }
    }

    #[test]
    fn any_bytes_become_a_json_string() {
        let mut random = crate::random::Random::from_clock("escape");
        for _ in 0..300 {
            let bytes = random.bytes(200);
            let mut out = vec![b'"'];
            super::append(&bytes, &mut out);
            out.push(b'"');
            let read: String = serde_json::from_slice(&out).expect("JSON");
            if let Ok(text) = String::from_utf8(bytes) {
                assert_eq!(read, text);
            }
        }
    }
}
