//! Finding bytes in blocks of 32, which the compiler turns into a few vector instructions each.

const BLOCK: usize = 32;

/// Where the first line ends: the place of the first `\n`.
pub(super) fn line_end(bytes: &[u8]) -> Option<usize> {
    first(bytes, |byte| byte == b'\n')
}

/// How many bytes at the beginning mean themselves inside a JSON string, as Docker writes it: printable ASCII without
/// quotes, backslashes, `<`, `>` and `&`.
pub(super) fn plain(bytes: &[u8]) -> usize {
    let is_special = |byte: u8| {
        !(0x20..0x80).contains(&byte)
            | (byte == b'"')
            | (byte == b'\\')
            | (byte == b'<')
            | (byte == b'>')
            | (byte == b'&')
    };
    first(bytes, is_special).unwrap_or(bytes.len())
}

/// The place of the first byte for which `is_wanted` says so. The question must have no branches, so that a block can be
/// asked as one.
#[inline(always)]
fn first(bytes: &[u8], is_wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    for (number, block) in blocks.iter().enumerate() {
        let found = block.iter().fold(false, |found, byte| found | is_wanted(*byte));
        if found {
            return block.iter().position(|byte| is_wanted(*byte)).map(|at| number * BLOCK + at);
        }
    }
    rest.iter().position(|byte| is_wanted(*byte)).map(|at| blocks.len() * BLOCK + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_searched_as_bytes_are() {
        let mut random = crate::random::Random::from_clock("scan");
        for _ in 0..500 {
            let mut bytes = random.bytes(200);
            // Few of the bytes are special, so that there are long ways to them.
            bytes.iter_mut().filter(|byte| **byte % 64 != 0).for_each(|byte| *byte = b'a' + *byte % 26);
            assert_eq!(line_end(&bytes), bytes.iter().position(|byte| *byte == b'\n'));
            let is_special = |byte: &u8| !(0x20..0x80).contains(byte) || b"\"\\<>&".contains(byte);
            assert_eq!(plain(&bytes), bytes.iter().position(is_special).unwrap_or(bytes.len()));
        }
        for byte in 0..=u8::MAX {
            let long = [&[b'x'; 100][..], &[byte]].concat();
            let is_special = !(0x20..0x80).contains(&byte) || b"\"\\<>&".contains(&byte);
            assert_eq!(plain(&long), if is_special { 100 } else { 101 }, "{byte}");
        }
    }
}
