//! Tests of the pipeline: what comes out, which failure is returned, and that nothing hangs.

use std::io::Write;

use super::*;
use crate::hash::digest_of;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn pass(source: &[u8], limits: &Limits) -> Result<(Passed<Vec<u8>>, Vec<u8>)> {
    let mut tapped = Vec::new();
    let passed = run(
        source,
        |bytes| {
            tapped.extend_from_slice(bytes);
            Ok(())
        },
        Pump::Apart,
        limits,
        |reader| {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map_err(stream("read"))?;
            Ok(bytes)
        },
    )?;
    Ok((passed, tapped))
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x1234_5678_u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

#[test]
fn every_compression_is_passed_and_hashed() {
    let content = noise(3_000_000);
    let zstd = zstd::stream::encode_all(content.as_slice(), 1).unwrap();
    let gzip = gzip(&content);
    for (source, compression) in
        [(&content, Compression::None), (&gzip, Compression::Gzip), (&zstd, Compression::Zstd)]
    {
        let (passed, tapped) = pass(source, &Limits::default()).unwrap();
        assert_eq!(passed.compression, compression);
        assert!(passed.value == content && tapped == *source);
        let expected = (compression != Compression::None).then(|| digest_of(&content));
        assert_eq!(passed.diff_id, expected);
    }
}

#[test]
fn several_gzip_members_are_one_stream() {
    let mut source = gzip(b"first ");
    source.extend_from_slice(&gzip(b"second"));
    assert_eq!(pass(&source, &Limits::default()).unwrap().0.value, b"first second");
}

#[test]
fn empty_and_tiny_sources_pass() {
    for length in 0..8 {
        let content = vec![b'a'; length];
        assert_eq!(pass(&content, &Limits::default()).unwrap().0.value, content);
    }
}

#[test]
fn a_damaged_or_cut_stream_is_refused() {
    let whole = gzip(&noise(1_000_000));
    for cut in [7, 100, whole.len() / 2, whole.len() - 1] {
        let words = pass(&whole[..cut], &Limits::default()).unwrap_err().to_string();
        assert!(words.contains("cannot be inflated"), "{cut}: {words}");
    }
    let mut flipped = whole.clone();
    let at = whole.len() / 2;
    flipped[at] ^= 1;
    assert!(pass(&flipped, &Limits::default()).is_err());
    let mut checksum = whole;
    let at = checksum.len() - 6;
    checksum[at] ^= 1;
    assert!(pass(&checksum, &Limits::default()).is_err());
}

#[test]
fn a_decompression_bomb_is_refused_early() {
    let limits = Limits { max_ratio: 100, ratio_from: 1 << 20, ..Limits::default() };
    let bomb = gzip(&vec![0; 64 << 20]);
    let words = pass(&bomb, &limits).unwrap_err().to_string();
    assert!(words.contains("decompression bomb"), "{words}");
    let limits = Limits { max_layer_size: 1 << 20, ..Limits::default() };
    assert!(pass(&bomb, &limits).unwrap_err().to_string().contains("limit of 1048576"));
    assert!(pass(&vec![1; 2 << 20], &limits).unwrap_err().to_string().contains("limit of 1048576"));
}

#[test]
fn the_first_failure_is_the_one_returned() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the line was cut"))
        }
    }
    let noise = noise(2_000_000);
    for (source, pump) in [(gzip(&noise), Pump::Apart), (noise.clone(), Pump::Apart), (noise, Pump::Along)] {
        let cut = source[..1_000_000].chain(Broken);
        let consume = |reader: &mut dyn Read| io::copy(reader, &mut io::sink()).map_err(stream("read"));
        let words = run(cut, |_| Ok(()), pump, &Limits::default(), consume).unwrap_err().to_string();
        assert!(words.contains("the line was cut"), "{words}");
        let tap = |_: &[u8]| Err(Error::Cancelled);
        let error = run(source.as_slice(), tap, pump, &Limits::default(), consume).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Cancelled);
        let stop = |_: &mut dyn Read| Err::<(), _>(Error::Ambiguous);
        let stopped = run(source.as_slice(), |_| Ok(()), pump, &Limits::default(), stop);
        assert!(matches!(stopped, Err(Error::Ambiguous)));
    }
}

#[test]
fn a_plain_stream_passes_along_as_it_does_apart() {
    let content = noise(1_000_000);
    // A source that hands out little at a time is read until a piece is full.
    let source = content[..300_001].chain(&content[300_001..]);
    let mut tapped = Vec::new();
    let tap = |bytes: &[u8]| {
        tapped.extend_from_slice(bytes);
        Ok(())
    };
    let consume = |reader: &mut dyn Read| {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(stream("read"))?;
        Ok(bytes)
    };
    let passed = run(source, tap, Pump::Along, &Limits::default(), consume).unwrap();
    assert!(passed.value == content && tapped == content && passed.diff_id.is_none());
    let limits = Limits { max_layer_size: 1 << 19, ..Limits::default() };
    let words = run(content.as_slice(), |_| Ok(()), Pump::Along, &limits, consume).unwrap_err().to_string();
    assert!(words.contains("limit of 524288"), "{words}");
}
