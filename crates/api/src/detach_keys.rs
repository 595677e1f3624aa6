//! Detach keys as requests have them: `ctrl-p,ctrl-q`.

/// Docker's default: ctrl-p, ctrl-q.
const DEFAULT: &[u8] = &[0x10, 0x11];
/// More keys than this are a mistake.
const MAX_KEYS: usize = 64;

/// Reads `ctrl-p,ctrl-q`, `a,b`, `ctrl-@`. Nothing means the default. `None` when it is not a list of keys.
pub fn parse(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() {
        return Some(DEFAULT.to_vec());
    }
    let keys: Option<Vec<u8>> = text.split(',').map(parse_key).collect();
    keys.filter(|keys| keys.len() <= MAX_KEYS)
}

fn parse_key(key: &str) -> Option<u8> {
    match (key.strip_prefix("ctrl-").map(str::as_bytes), key.as_bytes()) {
        (Some([letter @ b'a'..=b'z']), _) => Some(letter - b'a' + 1),
        (Some(b"@"), _) => Some(0),
        (Some(b"["), _) => Some(27),
        (Some(b"\\"), _) => Some(28),
        (Some(b"]"), _) => Some(29),
        (Some(b"^"), _) => Some(30),
        (Some(b"_"), _) => Some(31),
        (None, [byte]) if byte.is_ascii() => Some(*byte),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read() {
        assert_eq!(parse(""), Some(vec![16, 17]));
        assert_eq!(parse("ctrl-a,x,ctrl-@,ctrl-]"), Some(vec![1, b'x', 0, 29]));
        for text in ["ctrl-", "ctrl-A", "ctrl-ab", "ab", "a,", "é"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
