//! What the system bus says, fed with mutated seeds.

use super::firewalld::{number, parse};

#[test]
fn bus_messages() {
    let seeds: [&[u8]; 3] = [
        b"l\x02\x01\x01\x08\0\0\0\x01\0\0\0\x17\0\0\0\x05\x01u\0\x09\0\0\0\x07\x01s\0\x04\0\0\0:1.5\0\0\0\0\x08\x01g\0\x01s\0\0\x03\0\0\0abc\0",
        b"l\x03\x01\x01\x0a\0\0\0\x02\0\0\0\x18\0\0\0\x04\x01s\0\x03\0\0\0a.b\0\0\0\0\0\x05\x01u\0\x01\0\0\0\x05\0\0\0ZONE_\0",
        b"l\x04\x01\x01\0\0\0\0\x03\0\0\0\x08\0\0\0\x05\x01u\0\xff\xff\xff\xff",
    ];
    fuzz::bytes("bus_messages", &seeds, |bytes| {
        let fields = number(bytes, 12).ok_or("too short")?;
        let answer = parse(bytes, fields as usize).ok_or("no message")?;
        Ok::<_, &str>(answer.refusal.is_some_and(|words| words.len() <= 3 * bytes.len()))
    });
}
