//! What daemons stream, fed with mutated seeds.

use crate::mux::Demux;

#[test]
fn frames() {
    let seeds: [&[u8]; 4] = [
        b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x03err",
        b"\x03\0\0\0\0\0\0\x05wrong",
        b"\0\0\0\0\xff\xff\xff\xffendless",
        b"\x01\0\0",
    ];
    fuzz::bytes("frames", &seeds, |bytes| {
        let (mut demux, mut length) = (Demux::new(), 0);
        // In pieces, as they come.
        for piece in bytes.chunks(5) {
            demux.push(piece, |_, payload| length += payload.len()).map_err(|error| error.to_string())?;
        }
        assert!(length <= bytes.len(), "{length} bytes in {}", bytes.len());
        Ok::<_, String>(length)
    });
}
