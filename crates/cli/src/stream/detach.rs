//! The keys that leave a container running: `ctrl-p,ctrl-q`, recognised in what is typed.

/// The keys when nobody says otherwise.
pub(crate) const DEFAULT: &str = "ctrl-p,ctrl-q";

/// The bytes of a key sequence: single characters and `ctrl-X`, with commas between.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, String> {
    text.split(',').map(key).collect()
}

fn key(text: &str) -> Result<u8, String> {
    let unknown = || format!("Unknown character: '{text}'");
    if let [byte] = text.as_bytes() {
        return if byte.is_ascii() { Ok(*byte) } else { Err(unknown()) };
    }
    let letter = text.strip_prefix("ctrl-").filter(|rest| rest.len() == 1).ok_or_else(unknown)?;
    match letter.as_bytes()[0] {
        letter @ b'a'..=b'z' => Ok(letter - b'a' + 1),
        letter @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_') => Ok(letter & 0x1f),
        _ => Err(unknown()),
    }
}

/// Looks for a key sequence in what is typed, across pieces.
pub(crate) struct Detector {
    keys: Vec<u8>,
    matched: usize,
}

impl Detector {
    /// A detector for a sequence; an empty one is never found.
    pub(crate) fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// Takes the next typed bytes. The number of bytes up to and with the last key when the sequence is complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<usize> {
        for (index, byte) in bytes.iter().enumerate() {
            if self.keys.get(self.matched) != Some(byte) {
                self.matched = 0;
            }
            if self.keys.get(self.matched) == Some(byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return Some(index + 1);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_characters_or_control_characters() {
        assert_eq!(parse(DEFAULT), Ok(vec![16, 17]));
        assert_eq!(parse("a,ctrl-[,ctrl-z"), Ok(vec![b'a', 27, 26]));
        for text in ["", "ctrl-", "ctrl-A", "ctrl-aa", "xy", "a,,b"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_sequence_is_found_across_pieces_and_after_a_false_start() {
        let mut detector = Detector::new(vec![16, 17]);
        assert_eq!(detector.push(b"abc"), None);
        assert_eq!(detector.push(&[b'x', 16]), None);
        assert_eq!(detector.push(&[17, b'y']), Some(1));
        assert_eq!(detector.push(&[16, 16, 17]), Some(3));
        assert_eq!(detector.push(&[16, b'a', 17]), None);
        assert_eq!(Detector::new(Vec::new()).push(b"abc"), None);
    }
}
