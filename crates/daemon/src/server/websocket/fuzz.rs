//! What takes a client's frames apart, fed with mutated seeds: whole and in pieces it must find the same.

use super::frame::{Decoder, Found, Opcode};

/// What is in a stream of frames, and why it ended early.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decoded {
    data: Vec<u8>,
    others: Vec<(Opcode, Vec<u8>)>,
    violation: Option<&'static str>,
}

/// Takes a stream apart that comes in pieces of this size.
fn decode(input: &[u8], size: usize) -> Decoded {
    let (mut decoder, mut decoded) = (Decoder::default(), Decoded::default());
    for piece in input.chunks(size.max(1)) {
        let mut piece = piece.to_vec();
        let mut rest = piece.as_mut_slice();
        loop {
            let (used, found) = match decoder.next(rest) {
                Ok(found) => found,
                Err(violation) => return Decoded { violation: Some(violation.0), ..decoded },
            };
            rest = &mut rest[used..];
            match found {
                Found::Data(count) => {
                    decoded.data.extend_from_slice(&rest[..count]);
                    rest = &mut rest[count..];
                }
                Found::Control(opcode, payload) => decoded.others.push((opcode, payload)),
                Found::Nothing => break,
            }
        }
    }
    decoded
}

#[test]
fn frames() {
    let mask = [1, 2, 3, 4];
    let frame = |first: u8, length: &[u8], payload: &[u8]| [&[first], length, &mask, payload].concat();
    let seeds = [
        frame(0x82, &[0x85], b"hello"),
        [frame(0x01, &[0x82], b"ab"), frame(0x89, &[0x81], b"p"), frame(0x80, &[0x81], b"c")].concat(),
        frame(0x82, &[0xfe, 1, 0], &[7; 256]),
        frame(0x82, &[0xff, 0, 0, 0, 0, 0, 0, 0, 3], b"xyz"),
        frame(0x88, &[0x82], &[3, 232]),
        frame(0x82, &[0xff, 255, 255, 255, 255, 255, 255, 255, 255], b"x"),
        vec![0x82, 0x05],
    ];
    fuzz::bytes("frames", &seeds, |input| {
        let whole = decode(input, input.len());
        for size in [1, 3, 7] {
            assert_eq!(decode(input, size), whole, "in pieces of {size}");
        }
        assert!(whole.data.len() <= input.len());
        whole.violation.map_or(Ok(whole.data.len()), Err)
    });
}
