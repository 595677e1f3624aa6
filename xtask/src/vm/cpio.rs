//! An initramfs: files in the "newc" form of cpio (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::fmt::Write;

const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

/// An archive that is being written.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    inodes: u32,
}

impl Archive {
    pub(crate) fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY | 0o755, &[]);
    }

    pub(crate) fn program(&mut self, path: &str, content: &[u8]) {
        self.entry(path, REGULAR | 0o755, content);
    }

    /// The finished archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    /// A header of 110 characters, the name with its NUL, the content; the last two end on a multiple of four bytes.
    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.inodes += 1;
        let (links, name_bytes) = (1, path.len() + 1);
        let mut header = "070701".to_owned();
        let fields =
            [self.inodes as usize, mode as usize, 0, 0, links, 0, content.len(), 0, 0, 0, 0, name_bytes, 0];
        for field in fields {
            // Writing into a string cannot fail.
            let _ = write!(header, "{field:08x}");
        }
        self.bytes.extend(header.into_bytes());
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_header_name_and_content_on_borders_of_four() {
        let mut archive = Archive::default();
        archive.program("ab", b"hello");
        let bytes = archive.finish();
        let text = String::from_utf8(bytes.clone()).expect("text");
        let header = "070701000000010000\
                      81ed0000000000000000000000010000000000000005\
                      000000000000000000000000000000000000000300000000";
        assert_eq!(&text[..110], header);
        assert_eq!(&text[110..124], "ab\0\0\0\0hello\0\0\0".get(..14).unwrap_or_default());
        assert!(text[124..].starts_with("070701") && text.ends_with("TRAILER!!!\0\0\0\0"), "{text:?}");
    }
}
