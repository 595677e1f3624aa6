//! What collectors answer, fed with mutated seeds.

use crate::fluentd::acknowledged;

#[test]
fn acknowledgements() {
    let seeds: [&[u8]; 5] = [
        b"\x81\xa3ack\xa4abcd",
        b"\x82\xa1x\xc3\xa3ack\xd9\x04abcd",
        b"\xde\x00\x01\xa3ack\xda\x00\x04abcd",
        b"\x81\xa3ack\xdb\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff\xa3ack",
    ];
    fuzz::bytes("acknowledgements", &seeds, |bytes| {
        let answer = acknowledged(bytes).map_err(|error| error.to_string())?;
        if let Some((_, length)) = &answer {
            assert!(*length <= bytes.len(), "an answer of {length} in {} bytes", bytes.len());
        }
        Ok::<_, String>(answer)
    });
}
