//! Changes of an input: bits, bytes, numbers, and pieces that move within it or come from another one.

/// Bytes that parsers treat as special, and numbers at the edges of types.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r\n",
    b" ",
    b"\"",
    b"'",
    b"\\",
    b"$",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"/",
    b"../",
    b"%00",
    b"-1",
    b"0",
    b"9",
    b"1e999",
    b"18446744073709551616",
    b"9223372036854775807",
    b"4294967296",
    b"null",
    b"true",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0\0\0\x80",
    b"\xc0\x0c",
    "\u{fffd}".as_bytes(),
    "é".as_bytes(),
];

/// Makes inputs of inputs.
pub(crate) struct Mutator {
    state: u64,
    longest: usize,
}

impl Mutator {
    /// `seed` decides everything. Inputs become at most twice as long as the longest of `seeds`.
    pub(crate) fn new(seed: u64, seeds: &[Vec<u8>]) -> Self {
        let longest = seeds.iter().map(Vec::len).max().unwrap_or_default();
        // A state of zero would stay so; small seeds should differ in all bits.
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { state, longest: (longest * 2).max(256) }
    }

    /// A number below `bound`, which is not 0 (xorshift64, Marsaglia 2003).
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from((self.state >> 8) % bound.max(1) as u64).unwrap_or_default()
    }

    /// One of `corpus`, changed in one to eight places.
    pub(crate) fn mutate(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = if corpus.is_empty() { Vec::new() } else { corpus[self.below(corpus.len())].clone() };
        for _ in 0..=self.below(3).pow(2) + self.below(4) {
            self.change(&mut input, corpus);
        }
        input.truncate(self.longest);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        match self.below(10) {
            0 | 1 if at < input.len() => input[at] ^= 1 << self.below(8),
            2 if at < input.len() => input[at] = u8::try_from(self.below(256)).unwrap_or_default(),
            3 => {
                let piece = PIECES[self.below(PIECES.len())];
                input.splice(at..at, piece.iter().copied());
            }
            4 => {
                let piece = PIECES[self.below(PIECES.len())];
                let end = (at + piece.len()).min(input.len());
                input.splice(at..end, piece.iter().copied());
            }
            5 => {
                let end = at + self.below(input.len() - at + 1);
                input.drain(at..end);
            }
            6 => {
                let piece = self.piece_of(input);
                for _ in 0..=self.below(3) {
                    input.splice(at..at, piece.iter().copied());
                }
            }
            7 if !corpus.is_empty() => {
                let other = self.below(corpus.len());
                let piece = self.piece_of(&corpus[other]);
                let end = if self.below(2) == 0 { at } else { (at + piece.len()).min(input.len()) };
                input.splice(at..end, piece);
            }
            8 if self.below(4) == 0 => input.truncate(at),
            _ => self.change_number(input),
        }
    }

    fn piece_of(&mut self, input: &[u8]) -> Vec<u8> {
        let start = self.below(input.len() + 1);
        let length = if self.below(2) == 0 { self.below(16) } else { self.below(input.len() + 1) };
        input[start..(start + length).min(input.len())].to_vec()
    }

    /// Adds a little to a byte or a number of several, or puts another number in place of digits.
    fn change_number(&mut self, input: &mut Vec<u8>) {
        if input.is_empty() {
            return;
        }
        let at = self.below(input.len());
        let digits = input[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 {
            let number = match self.below(4) {
                0 => self.below(10).to_string(),
                1 => self.below(1 << 20).to_string(),
                2 => (1_u128 << self.below(70)).to_string(),
                _ => ((1_u128 << self.below(70)) - 1).to_string(),
            };
            input.splice(at..at + digits, number.into_bytes());
            return;
        }
        let change = u8::try_from(self.below(9)).unwrap_or_default().wrapping_sub(4);
        input[at] = input[at].wrapping_add(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_none_is_too_long() {
        let corpus = vec![b"some text, 12 and 13".to_vec(), vec![0; 200]];
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed, &corpus);
            (0..500).map(|_| mutator.mutate(&corpus)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
        assert!(inputs(7).iter().all(|input| input.len() <= 400));
    }
}
