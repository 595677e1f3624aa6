//! Tests of the content store: nothing has a name before it is verified, and partial content is continued.

use super::*;
use crate::hash::digest_of;
use crate::testing::Scratch;

fn open(scratch: &Scratch) -> Content {
    Content::open(&scratch.path, Steps::default()).unwrap()
}

#[test]
fn content_is_named_by_its_digest_and_read_back_verified() {
    let scratch = Scratch::new("content-put");
    let content = open(&scratch);
    let blob = content.put(b"hello").unwrap();
    assert_eq!(blob.digest, digest_of(b"hello"));
    assert_eq!(content.read(&blob.digest, 5).unwrap(), b"hello");
    assert!(content.read(&blob.digest, 4).is_err());
    assert!(content.verify(&blob.digest).unwrap());
    assert_eq!(content.list().unwrap().0, std::slice::from_ref(&blob));
    assert_eq!(content.remove(&blob.digest).unwrap(), 5);
    assert_eq!(content.remove(&blob.digest).unwrap(), 0);
    assert!(matches!(content.read(&blob.digest, 5), Err(Error::MissingContent(_))));
}

#[test]
fn wrong_content_never_gets_a_name() {
    let scratch = Scratch::new("content-wrong");
    let content = open(&scratch);
    let expected = Blob { digest: digest_of(b"right"), size: 5 };
    let mut ingest = content.ingest_known(&expected).unwrap();
    ingest.write(b"wrong").unwrap();
    assert!(matches!(ingest.commit(Some(&expected)), Err(Error::WrongDigest { .. })));
    let mut ingest = content.ingest_known(&expected).unwrap();
    assert_eq!(ingest.offset(), 0, "wrong content is not continued");
    ingest.write(b"righ").unwrap();
    assert!(matches!(ingest.commit(Some(&expected)), Err(Error::WrongLength { .. })));
    assert_eq!(content.list().unwrap().0, []);
    assert_eq!(content.partial().unwrap(), []);
}

#[test]
fn content_of_a_known_digest_is_continued_where_it_stopped() {
    let scratch = Scratch::new("content-resume");
    let content = open(&scratch);
    let expected = Blob { digest: digest_of(b"hello world"), size: 11 };
    let mut ingest = content.ingest_known(&expected).unwrap();
    ingest.write(b"hello").unwrap();
    assert!(matches!(content.ingest_known(&expected), Err(Error::Conflict(_))));
    drop(ingest);
    let content = open(&scratch);
    assert_eq!(content.partial().unwrap().len(), 1);
    let mut ingest = content.ingest_known(&expected).unwrap();
    assert_eq!(ingest.offset(), 5);
    ingest.write(b" world").unwrap();
    assert_eq!(ingest.commit(Some(&expected)).unwrap(), expected);
    assert_eq!(content.read(&expected.digest, 100).unwrap(), b"hello world");
}

/// Content that tells its places apart.
fn numbers(length: u32) -> Vec<u8> {
    (0..length.div_ceil(4)).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn parts_come_in_any_order_and_are_known_to_the_next_attempt() {
    let scratch = Scratch::new("content-parts");
    let content = open(&scratch);
    let bytes = numbers(5 << 20);
    let whole = Blob { digest: digest_of(&bytes), size: bytes.len() as u64 };
    let mut ingest = content.ingest_known(&whole).unwrap();
    let put = |ingest: &mut Ingest<'_>, range: std::ops::Range<usize>| {
        ingest.write_part(range.start as u64, &bytes[range], whole.size).unwrap();
    };
    put(&mut ingest, 0..1000);
    put(&mut ingest, 3_000_000..4_500_000);
    put(&mut ingest, 2000..2100);
    put(&mut ingest, 1000..1500);
    assert_eq!(ingest.offset(), 1500);
    drop(ingest);
    let mut ingest = content.ingest_known(&whole).unwrap();
    let mut here = crate::Ranges::default();
    [0..1500, 2000..2100, 3_000_000..4_500_000].into_iter().for_each(|range| here.add(range));
    assert_eq!((ingest.here(), ingest.offset()), (here, 1500));
    put(&mut ingest, 4_500_000..5 << 20);
    put(&mut ingest, 2100..3_000_000);
    assert_eq!(ingest.offset(), 1500);
    put(&mut ingest, 1500..2000);
    assert_eq!(ingest.offset(), whole.size, "what came before its turn is hashed when it has come");
    ingest.commit(Some(&whole)).unwrap();
    assert!(content.verify(&whole.digest).unwrap());
    assert_eq!(content.size(&whole.digest).unwrap(), Some(whole.size), "no record is left behind it");
}

#[test]
fn parts_without_a_record_come_again() {
    let scratch = Scratch::new("content-records");
    let content = open(&scratch);
    let bytes = numbers(100_000);
    let whole = Blob { digest: digest_of(&bytes), size: bytes.len() as u64 };
    let mut ingest = content.ingest_known(&whole).unwrap();
    ingest.write_part(50_000, &bytes[50_000..60_000], whole.size).unwrap();
    // As a kill leaves it: nothing is told of the end.
    std::mem::forget(ingest);
    let name = format!("ingest/sha256-{}.part", whole.digest.hex());
    let copy = std::fs::read(scratch.path.join(&name)).unwrap();
    let (other, records) = (Scratch::new("content-records-after"), copy.len() as u64 - whole.size);
    let content = open(&other);
    let resumed = |bytes: &[u8]| {
        std::fs::write(other.path.join(&name), bytes).unwrap();
        content.ingest_known(&whole).unwrap().here()
    };
    assert_eq!(records % 16, 0);
    assert_eq!(resumed(&copy), crate::Ranges::default());
    // Records that are torn, empty, turned round or beyond the end say nothing.
    let mut lies = bytes.clone();
    for (start, end) in [(7_u64, 7_u64), (9, 3), (5, 100_001), (u64::MAX, u64::MAX), (10, 20)] {
        lies.extend_from_slice(&start.to_le_bytes());
        lies.extend_from_slice(&end.to_le_bytes());
    }
    lies.extend_from_slice(&[1; 9]);
    let mut told = crate::Ranges::default();
    told.add(10..20);
    assert_eq!(resumed(&lies), told);
    assert_eq!(resumed(&bytes[..40_000]).prefix(), 40_000, "a short file is a beginning");
}

#[test]
fn content_can_start_again_from_nothing() {
    let scratch = Scratch::new("content-restart");
    let content = open(&scratch);
    let expected = Blob { digest: digest_of(b"new"), size: 3 };
    let mut ingest = content.ingest_known(&expected).unwrap();
    ingest.write_part(1, b"ld", 3).unwrap();
    ingest.restart().unwrap();
    ingest.write(b"new").unwrap();
    ingest.commit(Some(&expected)).unwrap();
}

#[test]
fn damage_on_the_disk_is_noticed() {
    let scratch = Scratch::new("content-damage");
    let content = open(&scratch);
    let blob = content.put(b"hello").unwrap();
    let path = content.path(&blob.digest);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "hallo").unwrap();
    assert!(matches!(content.read(&blob.digest, 5), Err(Error::DamagedContent(_))));
    assert!(!content.verify(&blob.digest).unwrap());
}

#[test]
fn strange_names_among_the_blobs_are_told_apart() {
    let scratch = Scratch::new("content-strange");
    let content = open(&scratch);
    std::fs::write(scratch.path.join("blobs/sha256/nonsense"), "x").unwrap();
    let (blobs, strange) = content.list().unwrap();
    assert!(blobs.is_empty());
    assert_eq!(strange.len(), 1);
}

#[test]
fn partial_content_goes_unless_somebody_is_taking_it_in() {
    let scratch = Scratch::new("content-partial");
    let content = open(&scratch);
    let left = Blob { digest: digest_of(b"left"), size: 20_000 };
    let active = Blob { digest: digest_of(b"active"), size: 6 };
    let mut ingest = content.ingest_known(&left).unwrap();
    ingest.write(&[1; 10_000]).unwrap();
    drop(ingest);
    let mut ingest = content.ingest_known(&active).unwrap();
    ingest.write(b"act").unwrap();
    assert!(content.remove_partial(&|_| false).unwrap() >= 10_000);
    ingest.write(b"ive").unwrap();
    ingest.commit(Some(&active)).unwrap();
    assert_eq!(content.read(&active.digest, 6).unwrap(), b"active");
    assert_eq!(content.partial().unwrap(), []);
}
