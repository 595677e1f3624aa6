//! What a descriptor in the epoll set is, packed into the 64 bits the kernel keeps for it.

/// A descriptor of the supervisor. `process` is a process' key, `id` is never used twice, so that an event for
/// something that was closed in the same batch finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// Where daemons connect.
    Listener,
    /// Signals: children that ended.
    Signals,
    /// The container's memory events.
    Memory,
    /// A daemon.
    Connection { id: u32 },
    /// What a process writes; `stream` is 0 or 1.
    Output { process: u32, stream: usize },
    /// What a process reads.
    Input { process: u32 },
    /// An attached stream.
    Attachment { process: u32, id: u32 },
}

/// Keys and ids are this wide.
pub(super) const MASK: u32 = 0x0fff_ffff;

impl Token {
    pub(super) fn pack(self) -> u64 {
        let (kind, process, id) = match self {
            Self::Listener => (0, 0, 0),
            Self::Signals => (1, 0, 0),
            Self::Memory => (2, 0, 0),
            Self::Connection { id } => (3, 0, id),
            Self::Output { process, stream } => (4, process, u32::from(stream != 0)),
            Self::Input { process } => (5, process, 0),
            Self::Attachment { process, id } => (6, process, id),
        };
        kind << 56 | u64::from(process & MASK) << 28 | u64::from(id & MASK)
    }

    pub(super) fn unpack(bits: u64) -> Option<Self> {
        let part = |shift: u32| u32::try_from(bits >> shift & u64::from(MASK)).unwrap_or(0);
        let (process, id) = (part(28), part(0));
        Some(match bits >> 56 {
            0 => Self::Listener,
            1 => Self::Signals,
            2 => Self::Memory,
            3 => Self::Connection { id },
            4 => Self::Output { process, stream: usize::from(id != 0) },
            5 => Self::Input { process },
            6 => Self::Attachment { process, id },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_packing() {
        let tokens = [
            Token::Listener,
            Token::Signals,
            Token::Memory,
            Token::Connection { id: MASK },
            Token::Output { process: MASK, stream: 1 },
            Token::Input { process: 1 },
            Token::Attachment { process: 2, id: 3 },
        ];
        for token in tokens {
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
        assert_eq!(Token::unpack(u64::MAX), None);
    }
}
