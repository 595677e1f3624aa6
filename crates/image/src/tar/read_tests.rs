//! Tests of the reader: round trips with the writer, and archives that lie.

use linux::file::Time;

use super::super::entry::stored_size;
use super::*;
use crate::tar::{EntryKind, Header, Writer};

fn limits() -> Limits {
    Limits::default()
}

fn file(path: &str, content: &[u8]) -> (Entry, Vec<u8>) {
    let entry = Entry {
        path: path.into(),
        kind: EntryKind::File { sparse: None },
        mode: 0o644,
        uid: 0,
        gid: 0,
        modified: Time { seconds: 1_700_000_000, nanoseconds: 0 },
        size: content.len() as u64,
        xattrs: Vec::new(),
    };
    (entry, content.to_vec())
}

fn write(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in entries {
        writer
            .begin(&Header {
                path: &entry.path,
                kind: &entry.kind,
                mode: entry.mode,
                uid: entry.uid,
                gid: entry.gid,
                modified: entry.modified,
                size: entry.size,
                xattrs: &entry.xattrs,
            })
            .unwrap();
        writer.write(content).unwrap();
    }
    writer.finish().unwrap()
}

fn read(archive: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>> {
    let mut reader = Reader::new(archive, "test", &limits());
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        let content = reader.read_all(1 << 20)?;
        entries.push((entry, content));
    }
    Ok(entries)
}

fn refused(archive: &[u8]) -> String {
    read(archive).unwrap_err().to_string()
}

/// Sets a header field of the first entry and repairs the checksum.
fn patch(archive: &mut [u8], offset: usize, value: &[u8]) {
    archive[offset..offset + value.len()].copy_from_slice(value);
    archive[148..156].copy_from_slice(b"        ");
    let sum: u64 = archive[..512].iter().map(|byte| u64::from(*byte)).sum();
    archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
fn what_is_written_is_read_back() {
    let (mut odd, content) = file(&format!("{}/ünïcode", "long".repeat(60)), b"content");
    odd.uid = 3_000_000;
    odd.gid = 4_000_000_000;
    odd.modified = Time { seconds: -3, nanoseconds: 250_000_000 };
    odd.mode = 0o4755;
    odd.xattrs =
        vec![(b"user.a".to_vec(), b"=\n\0x".to_vec()), (b"security.capability".to_vec(), vec![1, 0, 0, 2])];
    let simple = |path: &str, kind| {
        let (mut entry, _) = file(path, b"");
        entry.kind = kind;
        (entry, Vec::new())
    };
    let entries = vec![
        simple("d/", EntryKind::Dir),
        (odd, content),
        file("d/f", &[7; 1000]),
        file("empty", b""),
        simple("s", EntryKind::Symlink("t".repeat(300).into_bytes())),
        simple("h", EntryKind::HardLink(b"d/f".to_vec())),
        simple("c", EntryKind::CharDevice(5, 1)),
        simple("b", EntryKind::BlockDevice(259, 70_000)),
        simple("p", EntryKind::Fifo),
    ];
    assert_eq!(read(&write(&entries)).unwrap(), entries);
}

#[test]
fn an_archive_may_end_without_its_zero_blocks() {
    let archive = write(&[file("a", b"1234")]);
    assert_eq!(read(&archive[..1024]).unwrap().len(), 1);
    assert_eq!(read(&archive[..1536]).unwrap().len(), 1);
    assert_eq!(read(b"").unwrap(), []);
}

#[test]
fn a_truncated_archive_is_refused_wherever_it_is_cut() {
    let archive = write(&[file("a", &[1; 700]), file("b", b"x")]);
    for cut in 1..archive.len() - 1024 {
        let whole_entries = [512 + 1024];
        if whole_entries.contains(&cut) {
            assert_eq!(read(&archive[..cut]).unwrap().len(), 1);
            continue;
        }
        assert!(refused(&archive[..cut]).contains("unexpected EOF"), "{cut}");
    }
}

#[test]
fn sizes_that_lie_are_refused() {
    let mut negative = write(&[file("a", b"1234")]);
    patch(&mut negative, 124, &[0xff; 12]);
    assert!(refused(&negative).contains("size"), "{}", refused(&negative));
    let mut huge = write(&[file("a", b"1234")]);
    patch(&mut huge, 124, b"77777777777\0");
    assert!(refused(&huge).contains("longer than the limit"), "{}", refused(&huge));
    let mut garbage = write(&[file("a", b"1234")]);
    patch(&mut garbage, 124, b"zzzzzzzzzzz\0");
    assert!(refused(&garbage).contains("octal"), "{}", refused(&garbage));
}

#[test]
fn identities_that_mean_nobody_are_refused() {
    let mut archive = write(&[file("a", b"")]);
    patch(&mut archive, 108, &[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    assert!(refused(&archive).contains("user ID 4294967295"), "{}", refused(&archive));
    patch(&mut archive, 108, &[0x80, 0, 0, 1, 0, 0, 0, 0]);
    assert!(refused(&archive).contains("user ID 4294967296"));
}

#[test]
fn a_link_has_no_content_whatever_its_size_says() {
    let (mut link, _) = file("l", b"");
    link.kind = EntryKind::HardLink(b"a".to_vec());
    let mut archive = write(&[(link, Vec::new()), file("b", b"")]);
    patch(&mut archive, 124, b"00000001000\0");
    let entries = read(&archive).unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1].0.path, b"b");
}

#[test]
fn a_wrong_checksum_and_an_unknown_type_are_refused() {
    let mut archive = write(&[file("a", b"")]);
    archive[0] = b'z';
    assert!(refused(&archive).contains("checksum"));
    let mut archive = write(&[file("a", b"")]);
    patch(&mut archive, 156, b"Z");
    assert!(refused(&archive).contains("type"));
}

/// An archive whose first entry is a PAX header with `records`, in front of an ordinary file.
fn with_pax(records: &[u8]) -> Vec<u8> {
    let (header, content) = file("pax", records);
    let mut archive = write(&[(header, content)]);
    patch(&mut archive, 156, b"x");
    archive.truncate(512 + records.len().next_multiple_of(512));
    archive.extend_from_slice(&write(&[file("a", b"1234")]));
    archive
}

#[test]
fn pax_records_are_checked() {
    assert!(refused(&with_pax(b"11 size=-4\n")).contains("not a number"));
    assert!(refused(&with_pax(b"12 uid=0x10\n")).contains("not a number"));
    assert!(
        refused(&with_pax(b"17 mtime=nonsense\n")).contains("malformed")
            || refused(&with_pax(b"18 mtime=nonsense\n")).contains("not a time")
    );
    assert!(refused(&with_pax(b"99 path=x\n")).contains("alformed"));
    assert!(refused(&with_pax(b"garbage")).contains("malformed"));
    assert!(
        refused(&with_pax(b"13 path=a\0bc\n")).contains("zero byte"),
        "{}",
        refused(&with_pax(b"13 path=a\0bc\n"))
    );
    let entries = read(&with_pax(b"20 mtime=-1.5000000\n")).unwrap();
    assert_eq!(entries[0].0.modified, Time { seconds: -2, nanoseconds: 500_000_000 });
    let entries = read(&with_pax(b"13 path=long\n")).unwrap();
    assert_eq!(entries[0].0.path, b"long");
}

#[test]
fn a_bomb_of_headers_is_refused() {
    let huge = vec![b'a'; 2 << 20];
    assert!(refused(&with_pax(&huge)).contains("limit"));
    let mut many = Vec::new();
    for _ in 0..200 {
        let (header, content) = file("long", b"name\0");
        let mut one = write(&[(header, content)]);
        patch(&mut one, 156, b"L");
        many.extend_from_slice(&one[..1024]);
    }
    many.extend_from_slice(&write(&[file("a", b"")]));
    assert!(refused(&many).contains("duplicate") || refused(&many).contains("pending"));
}

#[test]
fn too_many_entries_and_attributes_are_refused() {
    let entries: Vec<_> = (0..20).map(|number| file(&format!("f{number}"), b"")).collect();
    let archive = write(&entries);
    let few = Limits { max_entries: 10, ..limits() };
    let mut reader = Reader::new(archive.as_slice(), "test", &few);
    let error = loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("read to the end"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("more than 10 entries"));
    let (mut entry, content) = file("a", b"");
    entry.xattrs = (0..200).map(|n| (format!("user.{n}").into_bytes(), vec![1])).collect();
    assert!(refused(&write(&[(entry, content)])).contains("extended attributes"));
}

#[test]
fn overlapping_holes_are_refused() {
    let segment = |offset, length| Segment { offset, length };
    let check =
        |segments: Vec<Segment>, size, stored| stored_size(stored, Some(Sparse { size, segments }), "f");
    assert_eq!(check(vec![segment(0, 10), segment(20, 5)], 100, 15).unwrap().1, 15);
    assert!(check(vec![segment(0, 10), segment(5, 5)], 100, 15).is_err());
    assert!(check(vec![segment(95, 10)], 100, 10).is_err());
    assert!(check(vec![segment(u64::MAX, 2)], 100, 2).is_err());
    assert!(check(vec![segment(0, 10)], 100, 5).is_err());
    assert!(check(vec![segment(0, 10)], u64::MAX, 10).is_err());
}

/// Archives changed at random are read or refused; nothing panics and nothing loops.
#[test]
fn seeded_mutations_never_panic() {
    let (mut odd, content) = file(&"p/".repeat(80), b"content");
    odd.path.push(b'x');
    odd.xattrs = vec![(b"user.a".to_vec(), b"v".to_vec())];
    let original = write(&[(odd, content), file("a", &[3; 600])]);
    let mut state = 0x0dd0_beef_cafe_f00d_u64;
    let mut next = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).unwrap()
    };
    for _ in 0..3000 {
        let mut bytes = original.clone();
        for _ in 0..=next(4) {
            let at = next(bytes.len());
            bytes[at] = u8::try_from(next(256)).unwrap();
        }
        let length = if next(4) == 0 { next(bytes.len()) } else { bytes.len() };
        bytes.truncate(length);
        // With right checksums the change reaches the decisions behind them.
        let starts: Vec<usize> = (0..bytes.len() / 512).map(|block| block * 512).collect();
        for start in starts {
            if bytes[start + 257..start + 262] == *b"ustar" {
                patch(&mut bytes[start..], 148, b" ");
            }
        }
        drop(read(&bytes));
    }
}
