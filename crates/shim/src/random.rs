//! Random data for tests: a small generator whose seed is printed, so that a failure can be repeated.

use std::time::{SystemTime, UNIX_EPOCH};

/// A xorshift generator.
pub(crate) struct Random(u64);

impl Random {
    /// Seeded by the clock, or by the environment variable `SEED`; prints the seed.
    pub(crate) fn from_clock(name: &str) -> Self {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos();
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or((clock & u128::from(u64::MAX)) as u64) | 1;
        println!("{name}: SEED={seed}");
        Self(seed)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).expect("53 bits") % limit.max(1)
    }

    /// Fewer than `limit` bytes: text with some line ends, some multi-byte characters and some noise.
    pub(crate) fn bytes(&mut self, limit: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let length = self.below(limit);
        while bytes.len() < length {
            match self.below(12) {
                0 => bytes.push(b'\n'),
                1 => bytes.extend_from_slice("€😀é".as_bytes()),
                2 => bytes.push(u8::try_from(self.below(256)).expect("a byte")),
                _ => bytes.push(b' ' + u8::try_from(self.below(95)).expect("a byte")),
            }
        }
        bytes
    }
}
