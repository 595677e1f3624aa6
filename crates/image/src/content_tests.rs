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
    let mut ingest = content.ingest_known(&expected.digest).unwrap();
    ingest.write(b"wrong").unwrap();
    assert!(matches!(ingest.commit(Some(&expected)), Err(Error::WrongDigest { .. })));
    let mut ingest = content.ingest_known(&expected.digest).unwrap();
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
    let mut ingest = content.ingest_known(&expected.digest).unwrap();
    ingest.write(b"hello").unwrap();
    assert!(matches!(content.ingest_known(&expected.digest), Err(Error::Conflict(_))));
    drop(ingest);
    let content = open(&scratch);
    assert_eq!(content.partial().unwrap().len(), 1);
    let mut ingest = content.ingest_known(&expected.digest).unwrap();
    assert_eq!(ingest.offset(), 5);
    ingest.write(b" world").unwrap();
    assert_eq!(ingest.commit(Some(&expected)).unwrap(), expected);
    assert_eq!(content.read(&expected.digest, 100).unwrap(), b"hello world");
}

#[test]
fn content_can_start_again_from_nothing() {
    let scratch = Scratch::new("content-restart");
    let content = open(&scratch);
    let expected = Blob { digest: digest_of(b"new"), size: 3 };
    let mut ingest = content.ingest_known(&expected.digest).unwrap();
    ingest.write(b"old and wrong").unwrap();
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
    let (left, active) = (digest_of(b"left"), digest_of(b"active"));
    let mut ingest = content.ingest_known(&left).unwrap();
    ingest.write(&[1; 10_000]).unwrap();
    drop(ingest);
    let mut ingest = content.ingest_known(&active).unwrap();
    ingest.write(b"act").unwrap();
    assert!(content.remove_partial(&|_| false).unwrap() >= 10_000);
    ingest.write(b"ive").unwrap();
    ingest.commit(Some(&Blob { digest: active.clone(), size: 6 })).unwrap();
    assert_eq!(content.read(&active, 6).unwrap(), b"active");
    assert_eq!(content.partial().unwrap(), []);
}
