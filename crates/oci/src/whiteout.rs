//! How a layer says that something of a lower layer is gone (image specification, `layer.md`, whiteouts).

/// What the name of a layer's tar entry means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// An ordinary name.
    Plain(&'a [u8]),
    /// `.wh.<name>`: `<name>` of the lower layers is gone.
    Whiteout(&'a [u8]),
    /// `.wh..wh..opq`: everything that lower layers have in this directory is gone.
    Opaque,
    /// `.wh..wh.*`: bookkeeping of AUFS, which no engine unpacks.
    Reserved(&'a [u8]),
}

/// The prefix of every special name.
pub const PREFIX: &[u8] = b".wh.";
/// The name that makes a directory opaque.
pub const OPAQUE: &[u8] = b".wh..wh..opq";
const RESERVED: &[u8] = b".wh..wh.";

/// What the last component of an entry's path means. The part behind the prefix may be empty or `.` or `..`, which
/// the caller refuses.
#[must_use]
pub fn classify(name: &[u8]) -> Name<'_> {
    if name == OPAQUE {
        return Name::Opaque;
    }
    if name.starts_with(RESERVED) {
        return Name::Reserved(name);
    }
    match name.strip_prefix(PREFIX) {
        Some(gone) => Name::Whiteout(gone),
        None => Name::Plain(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        assert_eq!(classify(b"etc"), Name::Plain(b"etc"));
        assert_eq!(classify(b".wh.etc"), Name::Whiteout(b"etc"));
        assert_eq!(classify(b".wh."), Name::Whiteout(b""));
        assert_eq!(classify(b".wh..wh..opq"), Name::Opaque);
        assert_eq!(classify(b".wh..wh.plnk"), Name::Reserved(b".wh..wh.plnk"));
        assert_eq!(classify(b".white"), Name::Plain(b".white"));
        assert_eq!(classify(b".wh...."), Name::Whiteout(b"..."));
    }
}
