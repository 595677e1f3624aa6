//! Go's `os.FileMode`, the form in which the archive endpoints send a file's type and permissions.

/// A file's mode as Go numbers it. Source: Go's `io/fs`, constants `Mode*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoFileMode(pub u32);

impl GoFileMode {
    /// A directory.
    pub const DIR: u32 = 1 << 31;
    /// A symbolic link.
    pub const SYMLINK: u32 = 1 << 27;
    /// A device.
    pub const DEVICE: u32 = 1 << 26;
    /// A named pipe.
    pub const NAMED_PIPE: u32 = 1 << 25;
    /// A socket.
    pub const SOCKET: u32 = 1 << 24;
    /// Set-user-ID.
    pub const SETUID: u32 = 1 << 23;
    /// Set-group-ID.
    pub const SETGID: u32 = 1 << 22;
    /// With [`Self::DEVICE`]: a character device.
    pub const CHAR_DEVICE: u32 = 1 << 21;
    /// Sticky.
    pub const STICKY: u32 = 1 << 20;
    /// Neither file, directory nor any of the above.
    pub const IRREGULAR: u32 = 1 << 19;

    /// Translates `st_mode` of stat(2).
    pub fn from_unix(mode: u32) -> GoFileMode {
        let kind = match mode & 0o170_000 {
            0o040_000 => Self::DIR,
            0o120_000 => Self::SYMLINK,
            0o060_000 => Self::DEVICE,
            0o020_000 => Self::DEVICE | Self::CHAR_DEVICE,
            0o010_000 => Self::NAMED_PIPE,
            0o140_000 => Self::SOCKET,
            0o100_000 => 0,
            _ => Self::IRREGULAR,
        };
        let special = [(0o4000, Self::SETUID), (0o2000, Self::SETGID), (0o1000, Self::STICKY)];
        let special = special.iter().filter(|(bit, _)| mode & bit != 0).fold(0, |all, (_, go)| all | go);
        GoFileMode(kind | special | (mode & 0o777))
    }

    /// Translates to `st_mode` of stat(2).
    pub fn to_unix(self) -> u32 {
        let kind = if self.0 & Self::DIR != 0 {
            0o040_000
        } else if self.0 & Self::SYMLINK != 0 {
            0o120_000
        } else if self.0 & Self::CHAR_DEVICE != 0 {
            0o020_000
        } else if self.0 & Self::DEVICE != 0 {
            0o060_000
        } else if self.0 & Self::NAMED_PIPE != 0 {
            0o010_000
        } else if self.0 & Self::SOCKET != 0 {
            0o140_000
        } else if self.0 & Self::IRREGULAR != 0 {
            0
        } else {
            0o100_000
        };
        let special = [(0o4000, Self::SETUID), (0o2000, Self::SETGID), (0o1000, Self::STICKY)];
        let special = special.iter().filter(|(_, go)| self.0 & go != 0).fold(0, |all, (bit, _)| all | bit);
        kind | special | (self.0 & 0o777)
    }

    /// Whether it is a directory.
    pub fn is_dir(self) -> bool {
        self.0 & Self::DIR != 0
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(self) -> bool {
        self.0 & Self::SYMLINK != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_way_there_and_back() {
        let check = |unix: u32, go: u32| {
            assert_eq!(GoFileMode::from_unix(unix).0, go, "{unix:o}");
            assert_eq!(GoFileMode(go).to_unix(), unix, "{go:x}");
        };
        check(0o100_644, 0o644);
        check(0o104_755, 0x0080_0000 | 0o755);
        check(0o102_755, 0x0040_0000 | 0o755);
        check(0o041_777, 0x8010_0000 | 0o777);
        check(0o120_777, 0x0800_0000 | 0o777);
        check(0o020_666, 0x0420_0000 | 0o666);
        check(0o060_660, 0x0400_0000 | 0o660);
        check(0o010_600, 0x0200_0000 | 0o600);
        check(0o140_755, 0x0100_0000 | 0o755);
    }
}
