//! Frames of a WebSocket (RFC 6455, section 5.2), read from bytes that may be cut anywhere.
//!
//! ```text
//!  byte 0          byte 1            then                                 then
//!  FIN RSV OPCODE  MASK LENGTH(7)    16 or 64 bits of length (126, 127)   4 bytes of mask, payload
//! ```

/// The longest header: 2 bytes, 8 of length, 4 of mask.
const MAX_HEADER: usize = 14;
/// The longest payload of a control frame.
const MAX_CONTROL: u64 = 125;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn of(number: u8) -> Option<Opcode> {
        let known = [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong];
        known.into_iter().find(|opcode| *opcode as u8 == number)
    }

    fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// What was found in a client's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The next so many bytes of the input are data, unmasked in place.
    Data(usize),
    /// A whole control frame with its payload.
    Control(Opcode, Vec<u8>),
    /// More bytes are needed.
    Nothing,
}

/// What a client must not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation(pub(super) &'static str);

/// Takes frames apart.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    header: Vec<u8>,
    frame: Option<Frame>,
    control: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    left: u64,
    mask: [u8; 4],
    at: usize,
}

impl Decoder {
    /// Looks at `input`; the number of bytes used before what was found. [`Found::Data`] follows those bytes and counts
    /// as used too once it is taken.
    pub(super) fn next(&mut self, input: &mut [u8]) -> Result<(usize, Found), Violation> {
        let mut used = 0;
        loop {
            let Some(frame) = &mut self.frame else {
                let Some(byte) = input.get(used) else { return Ok((used, Found::Nothing)) };
                used += 1;
                self.header.push(*byte);
                self.frame = header(&self.header)?;
                if self.frame.is_some() {
                    self.header.clear();
                }
                continue;
            };
            let rest = &mut input[used..];
            let count = rest.len().min(usize::try_from(frame.left).unwrap_or(usize::MAX));
            for byte in &mut rest[..count] {
                *byte ^= frame.mask[frame.at % 4];
                frame.at += 1;
            }
            frame.left -= count as u64;
            let (opcode, done) = (frame.opcode, frame.left == 0);
            if opcode.is_control() {
                self.control.extend_from_slice(&rest[..count]);
                used += count;
            }
            if done {
                self.frame = None;
            }
            match (opcode.is_control(), done) {
                (true, true) => {
                    return Ok((used, Found::Control(opcode, std::mem::take(&mut self.control))));
                }
                (true, false) => return Ok((used, Found::Nothing)),
                (false, _) if count > 0 => return Ok((used, Found::Data(count))),
                (false, true) => {}
                (false, false) => return Ok((used, Found::Nothing)),
            }
        }
    }
}

/// A header, once it is complete.
fn header(bytes: &[u8]) -> Result<Option<Frame>, Violation> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let opcode = Opcode::of(first & 0x0f).ok_or(Violation("unknown opcode"))?;
    if first & 0x70 != 0 {
        return Err(Violation("reserved bits are set"));
    }
    if second & 0x80 == 0 {
        return Err(Violation("a client's frame is not masked"));
    }
    let wide = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if rest.len() < wide + 4 {
        debug_assert!(bytes.len() < MAX_HEADER);
        return Ok(None);
    }
    let left = match wide {
        0 => u64::from(second & 0x7f),
        _ => rest[..wide].iter().fold(0u64, |length, byte| (length << 8) | u64::from(*byte)),
    };
    if opcode.is_control() && (left > MAX_CONTROL || first & 0x80 == 0) {
        return Err(Violation("a control frame is too long or in parts"));
    }
    let mask = &rest[wide..wide + 4];
    Ok(Some(Frame { opcode, left, mask: [mask[0], mask[1], mask[2], mask[3]], at: 0 }))
}

/// Appends a whole frame as a server sends it: not masked.
pub(super) fn encode(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode as u8);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => out.push(short),
        (_, Ok(length)) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A client's frame.
    pub(in super::super) fn client(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut plain = Vec::new();
        encode(Opcode::Binary, payload, &mut plain);
        let start = plain.len() - payload.len();
        let mut frame = vec![first, plain[1] | 0x80];
        frame.extend_from_slice(&plain[2..start]);
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
        frame
    }

    /// Takes frames in pieces of every size.
    fn check(input: &[u8], data: &[u8], control: &[(Opcode, &[u8])]) {
        for size in 1..=input.len() {
            let (mut decoder, mut found, mut others) = (Decoder::default(), Vec::new(), Vec::new());
            for piece in input.chunks(size) {
                let mut piece = piece.to_vec();
                let mut rest = piece.as_mut_slice();
                loop {
                    let (used, what) = decoder.next(rest).unwrap();
                    rest = &mut rest[used..];
                    match what {
                        Found::Data(count) => {
                            found.extend_from_slice(&rest[..count]);
                            rest = &mut rest[count..];
                        }
                        Found::Control(opcode, payload) => others.push((opcode, payload)),
                        Found::Nothing => break,
                    }
                }
            }
            assert_eq!(found, data, "pieces of {size}");
            let others: Vec<(Opcode, &[u8])> =
                others.iter().map(|(opcode, payload)| (*opcode, payload.as_slice())).collect();
            assert_eq!(others, control, "pieces of {size}");
        }
    }

    #[test]
    fn frames_are_taken_apart_wherever_they_are_cut() {
        check(&client(0x82, b"abc"), b"abc", &[]);
        check(&client(0x81, b""), b"", &[]);
        let long = [7; 300];
        check(&client(0x82, &long), &long, &[]);
        let mixed =
            [client(0x02, b"ab"), client(0x89, b"ping"), client(0x80, b"cd"), client(0x88, b"")].concat();
        check(&mixed, b"abcd", &[(Opcode::Ping, b"ping"), (Opcode::Close, b"")]);
    }

    #[test]
    fn what_is_forbidden_is_refused() {
        let check = |input: &[u8], words: &str| {
            let mut decoder = Decoder::default();
            assert_eq!(
                decoder.next(&mut input.to_vec()),
                Err(Violation(match words {
                    "mask" => "a client's frame is not masked",
                    "reserved" => "reserved bits are set",
                    "opcode" => "unknown opcode",
                    _ => "a control frame is too long or in parts",
                }))
            );
        };
        check(&[0x82, 0x01, b'a'], "mask");
        check(&client(0xc2, b"a"), "reserved");
        check(&client(0x83, b"a"), "opcode");
        check(&client(0x09, b"a"), "control");
        check(&client(0x89, &[0; 126]), "control");
    }

    #[test]
    fn lengths_are_written_as_short_as_they_can_be() {
        let head = |length: usize| {
            let mut out = Vec::new();
            encode(Opcode::Binary, &vec![0; length], &mut out);
            out.truncate(out.len() - length);
            out
        };
        assert_eq!(head(125), [0x82, 125]);
        assert_eq!(head(126), [0x82, 126, 0, 126]);
        assert_eq!(head(65_536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
