//! What comes over the bus of systemd, fed with mutated seeds.

use super::message::{FIXED, length, parse};

#[test]
fn messages() {
    // A return with a signature and a body, and an error with a text.
    let mut answer = vec![b'l', 2, 1, 1, 4, 0, 0, 0, 1, 0, 0, 0, 15, 0, 0, 0];
    answer.extend_from_slice(b"\x05\x01u\x00\x07\x00\x00\x00\x08\x01g\x00\x01u\x00\x00\x2a\x00\x00\x00");
    let mut error = vec![b'l', 3, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0];
    error.extend_from_slice(b"\x04\x01s\x00\x07\x00\x00\x00a.b.c.d\x00");
    fuzz::bytes("messages", &[answer, error], |input| {
        let fixed = input.first_chunk::<FIXED>().and_then(length);
        let Some(message) = parse(input) else { return Err(format!("none, {}", fixed.is_some())) };
        assert!(message.body.len() <= input.len());
        Ok((message.member.len(), message.signature.len()).0)
    });
}
